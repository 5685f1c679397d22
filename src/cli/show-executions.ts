/** Executions of a session, as a table. */
import {ByError} from '../errors.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {sessionExecutions} from '../store/executions.js';
import type {Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {relativeTime} from './time.js';

/** @throws {ByError} NOT_FOUND */
export async function showExecutions(store: Store, printer: Printer, output: string, sessionId: string) {
  const records = await sessionExecutions(store, sessionId);
  if (records.length === 0) {
    throw new ByError('NOT_FOUND', `There is no session "${sessionId}".`, {
      hint: 'Check the id; sessions are kept for seven days.',
    });
  }
  const now = Date.now();
  if (output === 'name') for (const record of records) printer.out(record.executionId);
  else {
    printer.table(records, [
      {header: 'EXECUTION', value: record => record.executionId},
      {header: 'AGENT TYPE', value: record => record.targetAgentType},
      {header: 'STATUS', value: record => statusText(record.status)},
      {header: 'AGE', value: record => relativeTime(record.createdAt, now).replace(' ago', '')},
      {header: 'TOOK', value: record => took(record)},
      {header: 'WORKER', value: record => record.workerId || '-'},
      {header: 'ERROR', value: record => record.errorMessage ?? '', shrink: true},
    ]);
  }
  return records.map(({extra, ...record}) => ({...record, extra: opaque(extra)}));
}

function statusText(status: string): Text {
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

function took(record: ExecutionRecord): string {
  if (record.startedAt === 0 || record.finishedAt === 0) return '-';
  return formatDuration(Math.max(0, record.finishedAt - record.startedAt));
}
