/**
 * Styled text without escape codes in it. A string is always untrusted and is escaped when it is rendered; colour
 * exists only as {@link Styled} values, so no string can bring a colour, or worse, of its own.
 */
import {styleText} from 'node:util';
import {safeText} from './safe-text.js';
import {displayWidth, truncate} from './width.js';

export type StyleName =
  'bold' | 'dim' | 'inverse' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan' | 'gray';

export class Styled {
  constructor(
    readonly style: StyleName,
    readonly content: Text,
  ) {}
}

/** One line of output: strings, styled pieces, or a list of both. */
export type Text = string | Styled | readonly Text[];

const styled =
  (style: StyleName) =>
  (content: Text): Styled =>
    new Styled(style, content);

export const paint = {
  bold: styled('bold'),
  dim: styled('dim'),
  inverse: styled('inverse'),
  red: styled('red'),
  green: styled('green'),
  yellow: styled('yellow'),
  blue: styled('blue'),
  magenta: styled('magenta'),
  cyan: styled('cyan'),
  gray: styled('gray'),
} as const;

/** @returns One line for a terminal: every string in it escaped, styles as colour codes or not at all. */
export function render(text: Text, color: boolean): string {
  if (typeof text === 'string') return safeText(text);
  if (!(text instanceof Styled)) return text.map(part => render(part, color)).join('');
  const content = render(text.content, color);
  return color && content !== '' ? styleText(text.style, content, {validateStream: false}) : content;
}

/** @returns Columns the text will take once rendered. */
export function textWidth(text: Text): number {
  return displayWidth(render(text, false));
}

/** @returns The text, cut to `width` columns with an ellipsis if it is longer; styles stay. */
export function truncateText(text: Text, width: number): Text {
  if (textWidth(text) <= width) return text;
  return width < 1 ? '' : [take(text, width - 1), '…'];
}

function take(text: Text, room: number): Text {
  if (typeof text === 'string') return truncate(safeText(text), room, '');
  if (text instanceof Styled) return new Styled(text.style, take(text.content, room));
  const parts: Text[] = [];
  let left = room;
  for (const part of text) {
    const taken = textWidth(part);
    if (taken > left) return [...parts, take(part, left)];
    parts.push(part);
    left -= taken;
  }
  return parts;
}
