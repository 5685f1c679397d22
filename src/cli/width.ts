/** How many terminal columns a text takes: East Asian wide characters and emoji take two, combining marks none. */

/** Wide and fullwidth ranges of Unicode 16 EastAsianWidth.txt, without the emoji (asked by property below). */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2329, 0x232a],
  [0x2630, 0x2637],
  [0x268a, 0x268f],
  [0x2e80, 0x303e],
  [0x3041, 0x4dbf],
  [0x4e00, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe10, 0xfe19],
  [0xfe30, 0xfe6f],
  [0xff01, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18cff],
  [0x1aff0, 0x1b2ff],
  [0x1d300, 0x1d376],
  [0x1f200, 0x1f2ff],
  [0x20000, 0x2fffd],
  [0x30000, 0x3fffd],
];

const NARROW = /^[\x20-\x7e\u00a1-\u02ff]*$/;
const EMOJI = /^(?:\p{Emoji_Presentation}|\p{Emoji}\ufe0f|[#*0-9]\ufe0f?\u20e3)/u;
const NO_WIDTH = /^[\p{Mn}\p{Me}\p{Cc}\p{Default_Ignorable_Code_Point}]/u;

let segmenter: Intl.Segmenter | undefined;

/** V8 copies the whole input for each segment it hands out, so a long text is segmented in pieces. */
const PIECE = 200;

function* graphemes(text: string): Iterable<string> {
  // Building one takes milliseconds, and most text never needs it.
  segmenter ??= new Intl.Segmenter('en', {granularity: 'grapheme'});
  for (let start = 0; start < text.length;) {
    const end = pieceEnd(text, start);
    for (const {segment} of segmenter.segment(text.slice(start, end))) yield segment;
    start = end;
  }
}

/** Behind a space where there is one, else never inside a surrogate pair. */
function pieceEnd(text: string, start: number): number {
  const end = start + PIECE;
  if (end >= text.length) return text.length;
  const space = start + text.slice(start, end).lastIndexOf(' ');
  // A space with a combining mark on it is one grapheme; cutting there shifts the mark by nothing anybody sees.
  if (space > start) return space + 1;
  return /[\udc00-\udfff]/.test(text[end] ?? '') ? end + 1 : end;
}

/** @returns Columns of one line of text without escape codes. */
export function displayWidth(text: string): number {
  if (NARROW.test(text)) return text.length;
  let width = 0;
  for (const segment of graphemes(text)) width += graphemeWidth(segment);
  return width;
}

function graphemeWidth(grapheme: string): 0 | 1 | 2 {
  const code = grapheme.codePointAt(0) ?? 0;
  if (code < 0x300) return EMOJI.test(grapheme) && grapheme.length > 1 ? 2 : code < 0x20 ? 0 : 1;
  if (NO_WIDTH.test(grapheme)) return 0;
  return EMOJI.test(grapheme) || isWide(code) ? 2 : 1;
}

function isWide(code: number): boolean {
  return code >= 0x1100 && WIDE.some(([first, last]) => code >= first && code <= last);
}

/** @returns The text, cut so that it and its ellipsis take at most `width` columns. */
export function truncate(text: string, width: number, ellipsis = '…'): string {
  if (displayWidth(text) <= width) return text;
  const room = width - displayWidth(ellipsis);
  if (room < 0) return '';
  let taken = 0;
  let kept = '';
  for (const segment of graphemes(text)) {
    taken += graphemeWidth(segment);
    if (taken > room) break;
    kept += segment;
  }
  return kept + ellipsis;
}

/** @returns The text as lines of at most `width` columns, broken at spaces where there are any. */
export function wrap(text: string, width: number): string[] {
  if (width < 2 || displayWidth(text) <= width) return [text];
  const lines: string[] = [];
  let line = '';
  let taken = 0;
  const flush = () => {
    lines.push(line.trimEnd());
    line = '';
    taken = 0;
  };
  for (const word of text.split(/(?<=\s)/)) {
    const columns = displayWidth(word);
    if (taken > 0 && taken + displayWidth(word.trimEnd()) > width) flush();
    if (columns <= width) {
      line += word;
      taken += columns;
      continue;
    }
    for (const segment of graphemes(word)) {
      const one = graphemeWidth(segment);
      if (taken + one > width) flush();
      line += segment;
      taken += one;
    }
  }
  if (line !== '') flush();
  return lines;
}
