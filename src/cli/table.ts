/** Tables: aligned by display width, cut to the terminal where there is one. */
import {paint, render, textWidth, truncateText, type Text} from './text.js';

export interface Column<Row> {
  readonly header: string;
  readonly value: (row: Row) => Text;
  readonly align?: 'left' | 'right';
  /** May be cut when the terminal is narrow; the widest such column is cut first. Default: only the last column. */
  readonly shrink?: boolean;
}

export interface TableOptions {
  /** Columns of the terminal; leave out to cut nothing. */
  readonly width?: number | undefined;
  readonly header?: boolean;
}

const GAP = '  ';
const NARROWEST = 8;

/** @returns One line a row, after a header line. */
export function tableLines<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  {width, header = true}: TableOptions = {},
): Text[] {
  const cells = rows.map(row => columns.map(column => column.value(row)));
  const headers = columns.map(({header: name}) => name);
  const widths = columns.map((_, at) =>
    Math.max(header ? textWidth(headers[at] ?? '') : 0, ...cells.map(row => textWidth(row[at] ?? ''))),
  );
  if (width !== undefined) shrinkToFit(widths, columns, width);

  const line = (row: readonly Text[]): Text =>
    columns.flatMap(({align}, at): Text[] => {
      const room = widths[at] ?? 0;
      const cell = truncateText(row[at] ?? '', room);
      const padding = ' '.repeat(Math.max(0, room - textWidth(cell)));
      const isLast = at === columns.length - 1;
      if (align === 'right') return isLast ? [padding, cell] : [padding, cell, GAP];
      return isLast ? [cell] : [cell, padding + GAP];
    });

  const body = cells.map(line);
  return header ? [paint.bold(render(line(headers), false)), ...body] : body;
}

function shrinkToFit<Row>(widths: number[], columns: readonly Column<Row>[], width: number): void {
  const named = columns.flatMap(({shrink}, at) => (shrink === true ? [at] : []));
  const candidates = named.length > 0 ? named : [columns.length - 1];
  const total = () => widths.reduce((sum, one) => sum + one, 0) + GAP.length * (columns.length - 1);
  for (let excess = total() - width; excess > 0; excess = total() - width) {
    const widest = candidates.reduce((a, b) => ((widths[b] ?? 0) > (widths[a] ?? 0) ? b : a));
    const room = widths[widest] ?? 0;
    if (room <= NARROWEST) return;
    const next = Math.max(0, ...candidates.filter(at => at !== widest).map(at => widths[at] ?? 0));
    // Down to the next widest candidate at most, so that several long columns share the loss.
    widths[widest] = Math.max(NARROWEST, room - excess, Math.min(next, room - 1));
  }
}
