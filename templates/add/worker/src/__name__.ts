import {defineAgent} from 'by-toolkit';

/** Answers with how many words it was sent. */
export default defineAgent({
  type: '{{agentType}}',

  async run(ctx, ask) {
    await ctx.emitState('Counting');
    const words = ask.text.split(/\s+/).filter(word => word !== '');
    return {content: `${words.length} ${words.length === 1 ? 'word' : 'words'}`};
  },
});
