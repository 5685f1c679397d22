/** The lines that lead to a row of a tree. */
import {paint, type Text} from './printer.js';

/** @param lasts for each level below the root, whether the branch is the last one there. */
export function stems(lasts: readonly boolean[], ascii: boolean): Text {
  const [through, last, line] = ascii ? ['|- ', '`- ', '|  '] : ['├ ', '└ ', '│ '];
  const blank = ' '.repeat(line.length);
  const own = lasts.at(-1);
  return paint.dim([
    ...lasts.slice(0, -1).map(isLast => (isLast ? blank : line)),
    own === undefined ? '' : own ? last : through,
  ]);
}
