/** An agent that uses what the plugin brings. A model would get ctx.prompt and ctx.tools.list(); this one goes by itself. */
import {defineAgent} from 'by-toolkit';
import {measuresIn} from './units.js';

export default defineAgent({
  type: '{{agentType}}',

  async run(ctx, ask) {
    await ctx.emitReasoning(ctx.prompt('answer', {text: ask.text}));
    const lines: string[] = [];
    for (const {value, unit} of measuresIn(ask.text)) {
      // A step: an execution that is run again does not ask again.
      lines.push(`${value} ${unit} are ${String(await ctx.tools.call('to_metric', {value, unit}))}`);
    }
    return {content: lines.length > 0 ? lines.join('\n') : 'There is nothing to convert in that.'};
  },
});
