/** A plugin: a prompt and a tool for the translator, and a watch on how long its turns take. */
import {readFile} from 'node:fs/promises';
import {definePlugin, defineTool} from 'by-toolkit';
import {z} from 'zod';

/** Read whenever the configuration is built: a reload brings what the file says then. */
const readTerms = async () =>
  z
    .record(z.string(), z.string())
    .parse(JSON.parse(await readFile(new URL('glossary.json', import.meta.url), 'utf8')));

const begun = new Map<string, number>();

export default definePlugin({
  manifest: {name: 'glossary', version: '1.0.0', description: 'How terms are to be translated'},

  async registerAgentConfigs({settings}) {
    const terms = await readTerms();
    return [
      {
        agentId: 'translator',
        prompts: {
          task: {text: 'Translate into {{language}}, {{tone}}: {{text}}', defaults: {tone: 'plainly'}},
        },
        tools: {
          look_up: defineTool({
            description: 'How a term has to be translated; null if that is open.',
            input: z.object({term: z.string().min(1)}),
            execute: ({term}) => terms[term.toLowerCase()] ?? null,
          }),
        },
        extra: {language: settings['language'] ?? 'French', terms: Object.keys(terms).length},
      },
    ];
  },

  onTaskStart(ctx) {
    begun.set(ctx.executionId, performance.now());
  },
  onTaskComplete(ctx, {status}) {
    const ms = Math.round(performance.now() - (begun.get(ctx.executionId) ?? NaN));
    begun.delete(ctx.executionId);
    ctx.log.info('turn timed', {status, ms});
  },
});
