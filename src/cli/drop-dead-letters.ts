/** `by deadletter drop`. */
import {systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import {newReplayId} from '../ids.js';
import {dropDeadLetter, encodeAudit} from '../store/replays.js';
import type {Store} from '../store/store.js';
import {described, selectLetters, type Selection} from './dead-letter-filter.js';
import {paint, type Printer} from './printer.js';
import {actor} from './replay-dead-letters.js';

export interface DropRequest extends Selection {
  readonly reason: string;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  confirm(question: string): Promise<boolean>;
}

/** @throws {ByError} USAGE without a selection, NOT_FOUND, CONFLICT if the person says no, PARTIAL. */
export async function dropForPeople(store: Store, printer: Printer, request: DropRequest) {
  const {entries, hasMore} = await selectLetters(store, request);
  const rows = (await described(store, entries)).map(({row}) => row);
  printer.table(rows, [
    {header: 'ID', value: row => row.id},
    {header: 'AGENT', value: row => row.agentType || '-'},
    {header: 'CODE', value: row => row.code},
    {header: 'REPLAY', value: row => row.replay},
    {header: 'REASON', value: row => row.reason, shrink: true},
  ]);
  if (hasMore) printer.note(`More fit than the ${request.filter.limit} of --limit.`);
  const counts = {matched: rows.length, dropped: 0};
  if (rows.length === 0 || request.dryRun) {
    printer.note(rows.length === 0 ? 'No dead letters fit.' : 'Nothing was dropped.');
    return {dryRun: request.dryRun, counts, hasMore, ids: rows.map(({id}) => id)};
  }
  if (!(await request.confirm(`Drop ${rows.length} for good? Their commands are lost.`)))
    throw new ByError('CONFLICT', 'Nothing was dropped.', {hint: 'Answer yes, or give --yes.'});
  const dropId = newReplayId();
  const dropped: string[] = [];
  for (const row of rows) {
    if (request.signal.aborted) break;
    const audit = encodeAudit({
      ...{action: 'drop', entry: row.id, replayId: dropId, actor: actor(), reason: request.reason},
      ...{at: systemClock(), replayOf: row.executionId, executionId: '', target: '', policy: ''},
      ...{sessionId: row.sessionId, messageId: row.messageId, changed: [], before: '', after: ''},
    });
    if (await dropDeadLetter(store, row.id, audit)) dropped.push(row.id);
  }
  printer.out(paint.green(printer.symbol('ok')), ` ${dropped.length} dropped    audit: ${dropId}`);
  const result = {dryRun: false, dropId, counts: {...counts, dropped: dropped.length}, hasMore, ids: dropped};
  if (dropped.length < rows.length) {
    throw new ByError('PARTIAL', `${rows.length - dropped.length} of ${rows.length} were not dropped.`, {
      hint: 'Somebody else replayed or dropped them meanwhile.',
      details: result,
    });
  }
  return result;
}
