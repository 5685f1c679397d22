/**
 * One agent hands a hundred documents to as many agents at once, and joins what they found. A paragraph is a document.
 *
 *   by send word_census - --wait < README.md
 *
 * Documents that nobody could read are counted, and do not spoil the rest.
 */
import {defineAgent} from 'by-toolkit';

type Counts = Record<string, number>;

export const census = defineAgent({
  type: 'word_census',
  async run(ctx, ask) {
    const documents = ask.text.split(/\n\s*\n/).filter(text => text.trim() !== '');
    await ctx.emitState(`Reading ${documents.length} documents`);
    const found = await ctx.callAll(
      documents.map(text => ['word_counter', text]),
      {policy: 'allSettled'},
    );
    const total: Counts = {};
    let unread = 0;
    for (const one of found) {
      if (one.status === 'failed') unread++;
      else
        for (const [word, count] of Object.entries(one.value as Counts))
          total[word] = (total[word] ?? 0) + count;
    }
    const most = Object.entries(total).sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
    const lines = most.slice(0, 5).map(([word, count]) => `${word} ${count}`);
    return {content: [...lines, `unread ${unread} of ${documents.length}`].join('\n')};
  },
});

export const counter = defineAgent({
  type: 'word_counter',
  run(_ctx, ask) {
    const counts = new Map<string, number>();
    for (const [word] of ask.text.toLowerCase().matchAll(/\p{L}{4,}/gu))
      counts.set(word, (counts.get(word) ?? 0) + 1);
    if (counts.size === 0) throw new Error('There are no words in it.');
    // Data in place of content: the caller gets the object.
    return Object.fromEntries(counts);
  },
});
