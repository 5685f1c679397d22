/** Executions as a table, and as programs see them. */
import {ByError} from '../errors.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {statusKind} from '../protocol/execution.js';
import {sessionExecutions} from '../store/executions.js';
import type {Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {relativeTime} from './time.js';

/** @throws {ByError} NOT_FOUND */
export async function showExecutions(store: Store, printer: Printer, output: string, sessionId: string) {
  const records = await requireExecutions(store, sessionId);
  printExecutions(printer, output, records);
  return records.map(executionView);
}

/**
 * Every execution of a session, oldest first; never none.
 * @throws {ByError} NOT_FOUND
 */
export async function requireExecutions(store: Store, sessionId: string): Promise<ExecutionRecord[]> {
  const records = await sessionExecutions(store, sessionId);
  if (records.length === 0) throw noSuchSession(sessionId);
  return records;
}

export const noSuchSession = (sessionId: string) =>
  new ByError('NOT_FOUND', `There is no session "${sessionId}".`, {
    hint: 'Check the id; sessions are kept for seven days.',
    next: ['by session list'],
  });

/** @param withSession whether they may be of several sessions. */
export function printExecutions(
  printer: Printer,
  output: string,
  records: readonly ExecutionRecord[],
  withSession = false,
): void {
  if (output === 'name') {
    for (const record of records) printer.out(record.executionId);
    return;
  }
  const now = Date.now();
  printer.table(records, [
    {header: 'EXECUTION', value: record => record.executionId},
    ...(withSession ? [{header: 'SESSION', value: (record: ExecutionRecord) => record.sessionId}] : []),
    {header: 'AGENT TYPE', value: record => record.targetAgentType},
    {header: 'STATUS', value: record => statusText(record.status)},
    {header: 'AGE', value: record => relativeTime(record.createdAt, now).replace(' ago', '')},
    {header: 'TOOK', value: record => tookText(record)},
    {header: 'WORKER', value: record => record.workerId || '-'},
    {header: 'ERROR', value: record => record.errorMessage ?? '', shrink: true},
  ]);
}

/** A record as `--json` prints it: fields of other programs keep their names. */
export function executionView({extra, ...record}: ExecutionRecord) {
  return {...record, extra: opaque(extra)};
}

export function statusText(status: string): Text {
  switch (status) {
    case 'COMPLETED':
      return paint.green(status);
    case 'FAILED':
      return paint.red(status);
    case 'CANCELLED':
    case 'CANCELLING':
      return paint.yellow(status);
    default:
      return status;
  }
}

/** Milliseconds from its start to its end; null before it has ended, and for what never ran. */
export function tookMs({startedAt, finishedAt, status}: ExecutionRecord): number | null {
  if (startedAt === 0 || finishedAt === 0 || statusKind(status) !== 'terminal') return null;
  return Math.max(0, finishedAt - startedAt);
}

export function tookText(record: ExecutionRecord): string {
  const took = tookMs(record);
  return took === null ? '-' : formatDuration(took);
}
