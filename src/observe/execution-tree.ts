/** The executions of a session as a tree: who was called by whom, in the order it happened. Pure. */
import type {ExecutionRecord} from '../protocol/execution.js';

/**
 * `root`: nobody called it. `orphan`: whoever called it is not in this session (any more). `cycle`: records written by
 * somebody else say that it descends from itself; the ring is cut here.
 */
export type Placement = 'root' | 'child' | 'orphan' | 'cycle';

export interface TreeRow {
  readonly record: ExecutionRecord;
  /** 0 for what hangs on nothing. */
  readonly depth: number;
  readonly placement: Placement;
  /** '' for what hangs on nothing. */
  readonly parentExecutionId: string;
  /** For each level from the first below the root down to this one: whether it is the last of its siblings. */
  readonly lasts: readonly boolean[];
  /** Descendants left out because they are too deep. */
  readonly hidden: number;
}

interface Waiting {
  readonly record: ExecutionRecord;
  readonly placement: Placement;
  readonly parentExecutionId: string;
  readonly lasts: readonly boolean[];
}

/** Every record once, a parent before its children, siblings oldest first. @param maxDepth deepest level that is shown. */
export function executionTree(records: readonly ExecutionRecord[], maxDepth: number): TreeRow[] {
  const ordered = records.slice().sort(byAge);
  const byMessage = new Map<string, ExecutionRecord>();
  // A message that was replayed has several executions; what it calls hangs on the newest.
  for (const record of ordered) byMessage.set(record.messageId, record);
  const parentOf = (record: ExecutionRecord) =>
    record.parentMessageId === '' ? undefined : byMessage.get(record.parentMessageId);
  const children = new Map<ExecutionRecord, ExecutionRecord[]>();
  for (const record of ordered) {
    const parent = parentOf(record);
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), record]);
  }

  const rows: TreeRow[] = [];
  const seen = new Set<ExecutionRecord>();
  const walk = (record: ExecutionRecord, placement: Placement) => {
    const stack: Waiting[] = [{record, placement, parentExecutionId: '', lasts: []}];
    seen.add(record);
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const {lasts} = next;
      const below = (children.get(next.record) ?? []).filter(child => !seen.has(child));
      const isDeepest = lasts.length >= maxDepth;
      const hidden = isDeepest ? hideAll(below, children, seen) : 0;
      rows.push({...next, depth: lasts.length, hidden});
      if (isDeepest) continue;
      for (const child of below) seen.add(child);
      const parentExecutionId = next.record.executionId;
      // Last in, first out: the oldest child is pushed last.
      for (const [at, child] of [...below.entries()].reverse()) {
        const isLast = at === below.length - 1;
        stack.push({record: child, placement: 'child', parentExecutionId, lasts: [...lasts, isLast]});
      }
    }
  };
  for (const record of ordered) {
    if (parentOf(record) === undefined) walk(record, record.parentMessageId === '' ? 'root' : 'orphan');
  }
  for (const record of ordered) if (!seen.has(record)) walk(record, 'cycle');
  return rows;
}

/** Marks everything below as seen. @returns how many that are. */
function hideAll(
  below: readonly ExecutionRecord[],
  children: ReadonlyMap<ExecutionRecord, readonly ExecutionRecord[]>,
  seen: Set<ExecutionRecord>,
): number {
  const hidden = below.slice();
  for (const record of hidden) {
    seen.add(record);
    hidden.push(...(children.get(record) ?? []).filter(child => !seen.has(child)));
  }
  return hidden.length;
}

const byAge = (a: ExecutionRecord, b: ExecutionRecord): number =>
  a.createdAt - b.createdAt || (a.executionId < b.executionId ? -1 : 1);
