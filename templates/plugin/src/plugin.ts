/** What a worker loads: a prompt, a tool and two hooks. */
import {definePlugin, defineTool} from 'by-toolkit';
import {z} from 'zod';
import {toMetric, UNITS} from './units.js';

const begun = new Map<string, number>();

export default definePlugin({
  manifest: {name: '{{name}}', version: '0.1.0', description: 'Measures in metric units'},

  /** Asked when a worker starts, and again by `by plugin reload`. */
  registerAgentConfigs: ({settings}) => [
    {
      agentId: '{{agentType}}',
      prompts: {
        // \{{text}} is filled in by ctx.prompt('answer', {text}); what has a default may be left out.
        answer: {text: 'Answer in \{{units}} units: \{{text}}', defaults: {units: String(settings['units'] ?? 'metric')}},
      },
      tools: {
        to_metric: defineTool({
          description: 'A length or weight in metric units.',
          input: z.object({value: z.number().nonnegative(), unit: z.enum(UNITS)}),
          execute: ({value, unit}) => toMetric(value, unit),
        }),
      },
    },
  ],

  // A hook that throws or takes too long is counted (by plugin list --hooks), and changes nothing for the task.
  onTaskStart(ctx) {
    begun.set(ctx.executionId, performance.now());
  },
  onTaskComplete(ctx, {status}) {
    const ms = Math.round(performance.now() - (begun.get(ctx.executionId) ?? NaN));
    begun.delete(ctx.executionId);
    ctx.log.info('turn timed', {status, ms});
  },
  onTaskError(ctx) {
    begun.delete(ctx.executionId);
  },
  onTaskCancel(ctx) {
    begun.delete(ctx.executionId);
  },
});
