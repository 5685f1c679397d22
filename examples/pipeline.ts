/**
 * Four agents make a text: an editor asks a researcher for notes, a writer for a draft, and a critic until it is content.
 *
 *   by send editor "Why do queues have groups?" --follow
 *
 * The editor is a loop of calls. Each answer may take days and any worker may die meanwhile: the loop goes on where it was.
 */
import {defineAgent} from 'by-toolkit';

const MOST_ROUNDS = 3;

export const editor = defineAgent({
  type: 'editor',
  async run(ctx, ask) {
    await ctx.emitState('Looking things up');
    // Three questions at once; the answers come back in the order of the calls.
    const angles = ['what it is', 'what it costs', 'what goes wrong'];
    const notes = await ctx.callAll(angles.map(angle => ['researcher', `${ask.text} (${angle})`]));
    let draft = String(await ctx.call('writer', notes.join('\n')));
    for (let round = 1; round <= MOST_ROUNDS; round++) {
      const verdict = String(await ctx.call('critic', draft));
      if (verdict === 'good') break;
      await ctx.emitState(`Round ${round}: ${verdict}`);
      draft = String(await ctx.call('writer', `${draft}\n[${verdict}]`));
    }
    await ctx.emitChunk(draft);
    return {content: draft};
  },
});

// What stands below is where a model would be asked. Without one, these know a little and always the same.

export const researcher = defineAgent({
  type: 'researcher',
  async run(ctx, ask) {
    // A search costs money, and finds something else tomorrow: as a step it is made once and kept.
    const found = await ctx.step('search', () => `On ${ask.text}: it depends, very much so.`);
    return {content: found};
  },
});

export const writer = defineAgent({
  type: 'writer',
  run(_ctx, ask) {
    const wish = /\[(.+)\]$/.exec(ask.text)?.[1];
    if (wish === 'too long')
      return {content: ask.text.replace(/, very much so/g, '').replace(/\n?\[.+\]$/, '')};
    return {content: ask.text};
  },
});

export const critic = defineAgent({
  type: 'critic',
  run: (_ctx, ask) => ({content: ask.text.includes('very much so') ? 'too long' : 'good'}),
});
