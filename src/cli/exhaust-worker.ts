/** `by agent exhaust|recover`. */
import {ByError} from '../errors.js';
import type {AgentStatusRecord, ExhaustReason} from '../protocol/orchestration/status.js';
import {MAX_RECOVERY_MS, MIN_RECOVERY_MS} from '../registry/agent-status.js';
import {AgentStatusService} from '../registry/agent-status-service.js';
import {listWorkers} from '../registry/listing.js';
import {workersWithStatus} from '../store/agent-status.js';
import {serverNowMs, type Store} from '../store/store.js';
import {recoveryText} from './agent-workers.js';
import {formatDuration} from './duration.js';
import {checkedId} from './ids.js';
import {paint, type Printer} from './printer.js';
import {actor} from './replay-dead-letters.js';
import {suggest} from './suggest.js';

export interface ExhaustRequest {
  readonly workerId: string;
  readonly reason: ExhaustReason;
  readonly forMs: number | undefined;
  /** ISO 8601. */
  readonly until: string | undefined;
  readonly scope: string;
  readonly note: string;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND. */
export async function exhaustWorker(store: Store, printer: Printer, request: ExhaustRequest) {
  const {reason, scope, note, forMs} = request;
  const workerId = checkedId(request.workerId, 'worker id');
  const now = await serverNowMs(store);
  const recoveryAt = request.until === undefined ? undefined : untilMs(request.until, now);
  checkLength(recoveryAt === undefined ? forMs : recoveryAt - now);
  const service = new AgentStatusService(store);
  await requireStatus(store, service, workerId);
  const {record} = await service.exhaust(workerId, {
    ...{reason, scope, note, by: actor(), source: 'operator'},
    ...(recoveryAt === undefined ? {} : {recoveryAt}),
    ...(forMs === undefined ? {} : {recoveryInMs: forMs}),
  });
  const row = await service.ledger(workerId, scope);
  const ends = row?.recoveryAt ?? null;
  const of = scope === '*' ? '' : ` for ${scope}`;
  printer.out(
    paint.green(printer.symbol('ok')),
    ` ${workerId} is exhausted${of}: ${reason}, recovers ${recoveryText(ends, now)}`,
  );
  if (row !== undefined && wanted(recoveryAt, forMs, now) < row.recoveryAt - 1000)
    printer.warn('a longer exhaustion was known already, and holds');
  if (record?.status === 'offline')
    printer.warn(`"${workerId}" is offline: it is exhausted when it comes back`);
  if (scope === '*') tellEnforced(printer, record);
  return {...view(record), scope, exhaustion: row ?? null};
}

const wanted = (recoveryAt: number | undefined, forMs: number | undefined, now: number): number =>
  recoveryAt ?? (forMs === undefined ? Infinity : now + forMs);

function tellEnforced(printer: Printer, record: AgentStatusRecord | undefined): void {
  if (record?.origin !== 'derived') return;
  printer.warn(
    `not enforced: "${record.workerId}" is a foreign worker and goes on reading, unless \`by serve --enforce-exhausted\` runs; sends of ours are refused once all are exhausted`,
  );
}

/** @throws {ByError} INVALID_INPUT */
function checkLength(ms: number | undefined): void {
  if (ms === undefined || (ms >= MIN_RECOVERY_MS && ms <= MAX_RECOVERY_MS)) return;
  throw new ByError('INVALID_INPUT', `${formatDuration(ms)} can not be the time of an exhaustion.`, {
    hint: 'Give at least 1s and at most 7d.',
  });
}

/** @throws {ByError} INVALID_INPUT for what is no time, or has passed. */
function untilMs(text: string, now: number): number {
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN;
  if (at > now) return at;
  throw new ByError('INVALID_INPUT', `"${text}" is no time to come.`, {
    hint: 'Write an ISO date such as 2026-05-01T10:00:00Z, or say how long with --for 5h.',
  });
}

export interface RecoverRequest {
  readonly workerId: string;
  readonly scope: string;
  readonly note: string;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND, STATUS_TRANSITION_INVALID. */
export async function recoverWorker(
  store: Store,
  printer: Printer,
  {scope, note, ...request}: RecoverRequest,
) {
  const workerId = checkedId(request.workerId, 'worker id');
  if (note.trim() === '') {
    throw new ByError('USAGE', '--note is empty.', {hint: 'Say why it is over: --note "card was replaced".'});
  }
  const service = new AgentStatusService(store);
  await requireStatus(store, service, workerId);
  const {record} = await service.recover(workerId, {scope, note, by: actor()});
  const of = scope === '*' ? '' : ` for ${scope}`;
  printer.out(
    paint.green(printer.symbol('ok')),
    ` ${workerId} is not exhausted any more${of}: ${record?.status ?? 'offline'}`,
  );
  return {...view(record), scope};
}

/** A foreign worker that no sweep has seen yet is looked at now. @throws {ByError} NOT_FOUND, with the nearest name. */
async function requireStatus(store: Store, service: AgentStatusService, workerId: string): Promise<void> {
  if ((await service.get(workerId)) !== undefined) return;
  const known = await listWorkers(store);
  const found = known.find(worker => worker.workerId === workerId);
  if (found?.online === true) {
    await service.heartbeat(workerId, {agentTypes: found.agentTypes, origin: 'derived'});
    return;
  }
  const ids = [...known.map(worker => worker.workerId), ...(await workersWithStatus(store))];
  const near = suggest(workerId, ids);
  throw new ByError('NOT_FOUND', `Nothing is known of a worker "${workerId}".`, {
    hint: near === null ? 'See who is there with `by agent list --workers`.' : `Did you mean "${near}"?`,
    next: ['by agent list --workers'],
  });
}

const view = (record: AgentStatusRecord | undefined) => ({
  worker: record ?? null,
  enforced: record?.origin === 'native',
  actor: actor(),
});
