/** The spans of a trace as a tree: who caused what, in the order in which it began. */
import {spanIdHex} from '../ids.js';
import type {Span} from '../protocol/trace.js';

export interface TraceRow {
  readonly span: Span;
  /** 0 for a root. */
  readonly depth: number;
  /** For each level below the root, whether this branch is the last there; the last entry is the span's own. */
  readonly lasts: readonly boolean[];
  /** `orphan`: it names a parent that is not here (yet). */
  readonly placement: 'root' | 'child' | 'orphan';
}

/** Some name a parent as records do, some by the hex form that travels in headers. A span told twice counts once. */
export function traceTree(spans: readonly Span[]): TraceRow[] {
  const known = [...new Map(spans.map(span => [span.spanId, span])).values()];
  const byId = new Map<string, Span>();
  for (const span of known) byId.set(spanIdHex(span.spanId), span).set(span.spanId, span);
  const children = new Map<Span | undefined, Span[]>();
  for (const span of known) {
    const parent = byId.get(span.parentSpanId ?? '');
    const above = parent === span ? undefined : parent;
    children.set(above, [...(children.get(above) ?? []), span]);
  }
  const rows: TraceRow[] = [];
  const seen = new Set<Span>();
  const inOrder = (siblings: readonly Span[]) =>
    [...siblings].sort((a, b) => a.startTs - b.startTs || b.endTs - b.startTs - (a.endTs - a.startTs));
  // Not by calling itself: a trace may be as deep as it is long.
  const walk = (root: Span, placement: TraceRow['placement']) => {
    const open: TraceRow[] = [{span: root, depth: 0, lasts: [], placement}];
    for (let row = open.pop(); row !== undefined; row = open.pop()) {
      if (seen.has(row.span)) continue;
      seen.add(row.span);
      rows.push(row);
      const {depth, lasts} = row;
      const below = inOrder(children.get(row.span) ?? []).filter(span => !seen.has(span));
      for (const [index, span] of [...below.entries()].reverse())
        open.push({
          span,
          depth: depth + 1,
          lasts: [...lasts, index === below.length - 1],
          placement: 'child',
        });
    }
  };
  for (const root of inOrder(children.get(undefined) ?? []))
    walk(root, (root.parentSpanId ?? '') === '' ? 'root' : 'orphan');
  // Spans that name each other as parents.
  for (const span of inOrder(known)) if (!seen.has(span)) walk(span, 'orphan');
  return rows;
}
