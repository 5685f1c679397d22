/** `by agent list --workers`: agent types and workers with their status. */
import {
  aggregateOf,
  listAgentWorkers,
  offlineInMs,
  type AgentWorker,
  type TypeAggregate,
} from '../registry/agent-workers.js';
import type {AgentStatus} from '../protocol/orchestration/status.js';
import type {Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {paint, type Printer, type Text} from './printer.js';
import {relativeTime} from './time.js';

export interface WorkersFilter {
  readonly agentType: string | undefined;
  /** Only workers with one of these; `stale` for those nobody is sent to though they are not offline. */
  readonly statuses: readonly WorkerStatus[];
}

export type WorkerStatus = AgentStatus | 'stale';

export async function showAgentWorkers(
  store: Store,
  printer: Printer,
  output: string,
  {agentType, statuses}: WorkersFilter,
) {
  const {now, workers: all} = await listAgentWorkers(store);
  const ofType = agentType === undefined ? all : all.filter(one => one.agentTypes.includes(agentType));
  const workers = statuses.length === 0 ? ofType : ofType.filter(one => statuses.includes(shownStatus(one)));
  const names = [...new Set(ofType.flatMap(({agentTypes}) => agentTypes))].sort();
  const agents = names
    .filter(name => agentType === undefined || name === agentType)
    .map(name => ({...aggregateOf(name, all, now), workers: countsOf(name, all)}));
  if (output === 'name') for (const {workerId} of workers) printer.out(workerId);
  else showTables(printer, agents, workers, now);
  if (workers.length === 0 && printer.mode === 'text')
    printer.note(
      all.length === 0
        ? 'No worker is known here. Start one: by worker run FILE'
        : 'No worker is like that. Leave --type or --status out to see all.',
    );
  return {agents: agents.map(({workers: _counts, ...row}) => row), workers};
}

/** Agent types, then their workers. */
export function showTables(
  printer: Printer,
  agents: readonly TypeRow[],
  workers: readonly AgentWorker[],
  now: number,
): void {
  typeTable(printer, agents, now);
  if (agents.length > 0 && workers.length > 0) printer.out('');
  workerTable(printer, workers, now);
}

/** Stale first: that it was idle once says nothing any more. */
const shownStatus = ({status, stale}: AgentWorker): WorkerStatus => (stale ? 'stale' : status);

/** In the order people ask for them. */
const ORDER: readonly WorkerStatus[] = ['idle', 'busy', 'on_call', 'exhausted', 'stale', 'offline'];

export function countsText(workers: readonly AgentWorker[]): string {
  const counted = ORDER.map(
    status => [status, workers.filter(one => shownStatus(one) === status).length] as const,
  );
  const parts = counted.filter(([, count]) => count > 0).map(([status, count]) => `${count} ${status}`);
  return parts.length === 0 ? '0' : `${workers.length} (${parts.join(', ')})`;
}

export const countsOf = (agentType: string, workers: readonly AgentWorker[]): string =>
  countsText(workers.filter(({agentTypes}) => agentTypes.includes(agentType)));

export type TypeRow = TypeAggregate & {readonly workers: string};

function typeTable(printer: Printer, rows: readonly TypeRow[], now: number): void {
  printer.table(rows, [
    {header: 'AGENT TYPE', value: row => row.agentType},
    {header: 'ROUTABLE', value: row => (row.routable ? 'yes' : paint.red('no'))},
    {header: 'WORKERS', value: row => row.workers, shrink: true},
    {header: 'FREE', value: row => (row.freeSlots === null ? '-' : String(row.freeSlots))},
    {header: 'RECOVERY', value: row => (row.routable ? '-' : recoveryText(row.earliestRecoveryAt, now))},
  ]);
}

/** `in 41m (14:20:05Z)`. */
export const recoveryText = (at: number | null, now: number): string =>
  at === null ? '-' : `${relativeTime(at, now)} (${utcTime(at)})`;

/** `14:20:05Z`: of today, or of a day the duration beside it tells. */
export const utcTime = (ms: number): string => `${new Date(ms).toISOString().slice(11, 19)}Z`;

function workerTable(printer: Printer, workers: readonly AgentWorker[], now: number): void {
  printer.table(workers, [
    {header: 'WORKER', value: worker => worker.workerId},
    {header: 'TYPE', value: worker => worker.agentTypes.join(', '), shrink: true},
    {header: 'STATUS', value: worker => statusText(worker, now)},
    {header: 'SLOTS', value: slotsText},
    {header: 'HEARTBEAT', value: worker => ageText(worker, now)},
    {header: 'NOTE', value: worker => noteText(printer, worker, now), shrink: true},
  ]);
}

export function statusText(worker: AgentWorker, now: number): Text {
  const {status, stale} = worker;
  if (stale) return paint.dim(`${status} (stale ${ageText(worker, now)})`);
  switch (status) {
    case 'idle':
      return paint.green(status);
    case 'busy':
    case 'on_call':
      return paint.cyan(status);
    case 'exhausted':
      return paint.red(status);
    case 'offline':
      return paint.dim(status);
  }
}

export const slotsText = ({slotsUsed, slotsMax}: AgentWorker): string =>
  `${slotsUsed}/${slotsMax === null ? '?' : slotsMax}`;

const ageText = ({lastHeartbeatAt}: AgentWorker, now: number): string =>
  lastHeartbeatAt === null
    ? '-'
    : formatDuration(Math.floor(Math.max(0, now - lastHeartbeatAt) / 1000) * 1000).replace(/^0ms$/, '0s');

/** Whether a foreign worker that is exhausted takes nothing, as ours do. */
export function enforcedText({untilRecovery}: AgentWorker): string {
  switch (untilRecovery) {
    case 'suspended':
      return 'enforced (suspended until then)';
    case 'ignored':
      return 'not enforced (it does not obey)';
    case null:
      return 'not enforced (foreign worker)';
  }
}

/** What an operator has to know beside the status. */
export function noteText(printer: Printer, worker: AgentWorker, now: number): string {
  const {status, origin, exhaustReason, recoveryAt, state, stale, reserved, untilRecovery} = worker;
  const notes: string[] = [];
  if (status === 'exhausted') {
    notes.push(
      `${exhaustReason ?? 'exhausted'}${recoveryAt === null ? '' : ` until ${utcTime(recoveryAt)}`}`,
    );
    if (exhaustReason === 'billing') notes.push('waiting may not fix billing');
    if (origin === 'derived') notes.push(enforcedText(worker));
  }
  if (reserved) notes.push('reserved for on-call work');
  const isSuspended = state === 'suspended' && (untilRecovery === null || status !== 'exhausted');
  if (isSuspended || state === 'evicted' || state === 'draining') notes.push(state);
  // In seconds: it is two minutes at most, and counts down.
  if (stale) notes.push(`not routable; offline in ${Math.ceil(offlineInMs(worker, now) / 1000)}s`);
  return notes.length === 0 ? origin : notes.join(` ${printer.symbol('separator')} `);
}
