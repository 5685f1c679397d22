/** A plugin: a prompt for agents, and a hook that looks on. Tools and the other hooks: docs/plugins.md of by-toolkit. */
import {definePlugin} from 'by-toolkit';

export default definePlugin({
  manifest: {name: '{{name}}', version: '0.1.0'},

  registerAgentConfigs: () => [
    {
      agentId: '{{agentType}}',
      // ctx.prompt('greeting', {who: 'Ada'}) in the agent of that type; what has a default may be left out.
      prompts: {greeting: {text: 'Greet \{{who}}, \{{tone}}.', defaults: {tone: 'warmly'}}},
    },
  ],

  onTaskComplete(ctx, {status}) {
    ctx.log.debug('turn ended', {status});
  },
});
