import {setTimeout as pause} from 'node:timers/promises';
import {defineAgent} from 'by-toolkit';
import {plainText, summarise, words} from './text.js';

/** Between two words of the answer, so that a reader can follow. */
const WORD_PAUSE_MS = Number(process.env.WORD_PAUSE_MS ?? 10);

/** Answers a document with its keywords and its key sentences. */
export default defineAgent({
  type: '{{agentType}}',

  async run(ctx, ask) {
    const document = plainText(ask.text);
    const count = words(document).length;
    // An error ends the task as FAILED, and its message is what the sender sees.
    if (count === 0) throw new Error('The document has no words: send some text to read.');

    await ctx.emitState(`Reading ${count.toLocaleString('en')} ${count === 1 ? 'word' : 'words'}`);

    const answer = summarise(document);
    for (const piece of answer.split(/(?<=\s)/)) {
      await ctx.emitChunk(piece);
      // Aborted when somebody cancels the task: stop writing at once.
      await pause(WORD_PAUSE_MS, undefined, {signal: ctx.signal});
    }
    return {content: answer};
  },
});
