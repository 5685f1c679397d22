/** An agent whose prompt and tool come from a plugin (examples/plugins/glossary.ts). */
import {defineAgent} from 'by-toolkit';

export const translator = defineAgent({
  type: 'translator',
  async run(ctx, ask) {
    const {language} = ctx.config.agent?.extra ?? {};
    await ctx.emitReasoning(ctx.prompt('task', {language, text: ask.text}));
    const words = ask.text.split(' ');
    // Each is a step: an execution that is run again does not look up again.
    const found = await Promise.all(words.map(term => ctx.tools.call('look_up', {term})));
    return {content: words.map((word, at) => (typeof found[at] === 'string' ? found[at] : word)).join(' ')};
  },
});
