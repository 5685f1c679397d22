/** Keywords and key sentences of a text, by counting words. Works for any language that Unicode can split. */

const STOP_WORDS = new Set(
  `a about after all also an and any are as at be because been but by can could did do does each for from had has have
   he her his how if in into is it its just like may more most no not of on one only or other our out over same she
   should so some such than that the their them then there these they this those through to too two under up use very
   was we were what when where which while who will with would you your
   aber als am an auch auf aus bei bis das dass dem den der des die doch ein eine einem einen einer es für hat ich im
   ist man mit nach nicht noch nur oder sein sich sie sind über um und uns von vor war wie wir wird zu zum zur
   au aux avec ce ces cette comme dans de des du elle en est et il ils je la le les leur lui mais ne nous on ou par pas
   plus pour qui que se ses son sont sur un une vous
   al como con del el ella en entre era es esta este ha hay lo los más muy no para pero por que ser sin sobre su sus
   una uno y ya
   的 了 是 在 和 也 就 都 而 及 与 或 我 你 他 她 它 们 这 那 有 不 之 で に の は を が と も し て た な です ます`
    .split(/\s+/)
    .filter(word => word !== ''),
);

const wordSegmenter = new Intl.Segmenter(undefined, {granularity: 'word'});
const sentenceSegmenter = new Intl.Segmenter(undefined, {granularity: 'sentence'});

/** Takes the marks of Markdown away and leaves out code blocks: they are not prose. */
export function plainText(markdown: string): string {
  return markdown
    .replace(/\r\n?/g, '\n')
    .replace(/^ {0,3}(`{3,}|~{3,})(?![`~])[^\n]*\n[\s\S]*?(?:^ {0,3}\1[`~]*[ \t]*$|(?![\s\S]))/gm, '')
    .replace(/<!--(?:(?!<!--)[\s\S])*?-->/g, ' ')
    .replace(/<\/?[a-z][^<>\n]*>/gi, ' ')
    .replace(/!\[[^[\]\n]*\]\([^()\n]*\)/g, ' ')
    .replace(/\[([^[\]\n]*)\]\([^()\n]*\)/g, '$1')
    .replace(/^[-|: \t]+$/gm, rule => (rule.includes('--') ? '' : rule))
    // Each row of a table stands for itself.
    .replace(/^\|.*$/gm, '\n$&\n')
    .replace(/^[ \t]{0,6}(?:#{1,6}\s+|>\s?|[-*+]\s+|\d{1,3}[.)]\s+)/gm, '')
    .replace(/[`*_~|]+/g, ' ')
    .replace(/[ \t]+/g, ' ')
    .replace(/ ?\n ?/g, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}

/** All words, in order, as they are written. */
export function words(text: string): string[] {
  return pieces(text, 500).flatMap(piece =>
    Array.from(wordSegmenter.segment(piece))
      .filter(({isWordLike}) => isWordLike)
      .map(({segment}) => segment),
  );
}

/** All sentences, in order. A blank line ends one too. */
export function sentences(text: string): string[] {
  return text
    .split(/\n\s*\n/)
    .flatMap(paragraph => pieces(paragraph.replace(/\s+/g, ' '), 5000))
    .flatMap(piece => Array.from(sentenceSegmenter.segment(piece)))
    .map(({segment}) => segment.trim())
    .filter(sentence => sentence !== '');
}

/** The text in pieces that end at a space where they can: Intl.Segmenter copies its whole input for each segment. */
function pieces(text: string, size: number): string[] {
  const found: string[] = [];
  for (let start = 0; start < text.length; ) {
    const piece = text.slice(start, start + size);
    const space = start + size < text.length ? piece.lastIndexOf(' ') : -1;
    found.push(space > 0 ? piece.slice(0, space + 1) : piece);
    start += space > 0 ? space + 1 : size;
  }
  return found;
}

export interface Keyword {
  /** As it is mostly written in the text. */
  readonly word: string;
  readonly count: number;
}

/** The most frequent words that carry meaning; among equals, the one that comes first. */
export function keywords(text: string, limit = 8): Keyword[] {
  const found = new Map<string, Map<string, number>>();
  for (const word of words(text)) {
    const key = word.toLowerCase();
    if (!carriesMeaning(key)) continue;
    const spellings = found.get(key) ?? new Map<string, number>();
    spellings.set(word, (spellings.get(word) ?? 0) + 1);
    found.set(key, spellings);
  }
  return Array.from(found.values())
    .map(spellings => {
      const ranked = [...spellings].sort(([, a], [, b]) => b - a);
      return {word: ranked[0]?.[0] ?? '', count: ranked.reduce((sum, [, count]) => sum + count, 0)};
    })
    .sort((a, b) => b.count - a.count)
    .slice(0, limit);
}

/** The sentences that say most of what the text says, in the order of the text. */
export function keySentences(text: string, limit = 3): string[] {
  const weights = new Map(keywords(text, 50).map(({word, count}) => [word.toLowerCase(), count]));
  const scored = sentences(text).map((sentence, place) => {
    const own = words(sentence).map(word => word.toLowerCase());
    const weight = [...new Set(own)].reduce((sum, word) => sum + (weights.get(word) ?? 0), 0);
    // Divided by the root of the length: a long sentence may win, but not by its length alone.
    const score = own.length < 3 ? 0 : weight / Math.sqrt(own.length);
    // Texts tend to say first what they are about.
    return {sentence, place, score: place === 0 ? score * 1.2 : score};
  });
  return scored
    .filter(({score}) => score > 0)
    .sort((a, b) => b.score - a.score || a.place - b.place)
    .slice(0, limit)
    .sort((a, b) => a.place - b.place)
    .map(({sentence}) => sentence);
}

/** The answer: keywords and key sentences, as Markdown. */
export function summarise(text: string): string {
  const top = keywords(text).map(({word, count}) => (count > 1 ? `${word} (${count})` : word));
  const key = keySentences(text);
  const parts = [`Keywords: ${top.length > 0 ? top.join(', ') : 'none'}`];
  if (key.length > 0) parts.push(`Key sentences:\n${key.map(sentence => `- ${sentence}`).join('\n')}`);
  return `${parts.join('\n\n')}\n`;
}

function carriesMeaning(word: string): boolean {
  if (STOP_WORDS.has(word) || !/\p{L}/u.test(word)) return false;
  // One letter of an alphabet says nothing; one Chinese character may.
  return /[\p{scx=Han}\p{scx=Hangul}]/u.test(word) || word.length > 2;
}
