/** Workers with their status, joined with whether anybody can reach them; and an agent type's workers in numbers. */
import {
  AGENT_STATUSES,
  type AgentStatus,
  type AgentStatusRecord,
  type ExhaustReason,
} from '../protocol/orchestration/status.js';
import {readStatuses, workersWithStatus} from '../store/agent-status.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {checkExhaustedRecovery, checkHeartbeatTimeout, HEARTBEAT_TIMEOUT_MS} from './agent-status.js';
import {listWorkers, type WorkerSummary} from './listing.js';

export interface AgentWorker {
  readonly workerId: string;
  readonly agentTypes: readonly string[];
  readonly status: AgentStatus;
  /** Nobody is sent to it any more, though it was not silent for long enough to be offline. */
  readonly stale: boolean;
  /** Unix milliseconds by Redis's clock; null if it was never heard. */
  readonly lastHeartbeatAt: number | null;
  readonly slotsUsed: number;
  /** Null where nobody said. */
  readonly slotsMax: number | null;
  readonly exhaustReason: ExhaustReason | null;
  readonly recoveryAt: number | null;
  /** `native`: one of ours, which stops reading when it is exhausted. */
  readonly origin: 'native' | 'derived';
  /** While it is on call it takes nothing but on-call work. */
  readonly reserved: boolean;
  /** Suspended, evicted, and so on; undefined for one that left or died. */
  readonly state: WorkerSummary['state'] | undefined;
  /** It is suspended until its quota is there again; `ignored`: it does not obey. Null: it is not, or an operator decided. */
  readonly untilRecovery: WorkerSummary['untilRecovery'];
  /** It takes new work now. */
  readonly routable: boolean;
}

/** An agent type's workers in numbers. */
export interface TypeAggregate {
  readonly agentType: string;
  readonly counts: Readonly<Record<AgentStatus, number>>;
  /** Of {@link counts}, those that nobody is sent to though they are not offline. */
  readonly stale: number;
  /** Of routable workers; null where none of them says how many it has. */
  readonly freeSlots: number | null;
  readonly routable: boolean;
  /** When the first exhausted worker may work again, in Unix milliseconds; null if none is. */
  readonly earliestRecoveryAt: number | null;
  readonly computedAt: number;
}

/** Every worker that has a status, or a lease, by id. */
export async function listAgentWorkers(
  store: Store,
): Promise<{readonly now: number; readonly workers: readonly AgentWorker[]}> {
  const [now, known, ids] = await Promise.all([
    serverTimeMs(store),
    listWorkers(store),
    workersWithStatus(store),
  ]);
  const summaries = new Map(known.map(worker => [worker.workerId, worker]));
  const all = [...new Set([...summaries.keys(), ...ids])].sort();
  const records = await readStatuses(store, all);
  return {
    now: Math.floor(now),
    workers: all.flatMap(
      (workerId, i) => agentWorker(workerId, records[i], summaries.get(workerId), now) ?? [],
    ),
  };
}

/** As the next sweep will make it, so that what is shown is right where nobody sweeps. */
function asOf(record: AgentStatusRecord, now: number): AgentStatusRecord {
  const {state, changed} = checkHeartbeatTimeout({agent: record.workerId, ...record}, now);
  if (changed) return {...record, status: state.status};
  const recovered = checkExhaustedRecovery({agent: record.workerId, ...record}, now);
  if (!recovered.changed) return record;
  const busy = record.firstSlotType === 'on_call' ? 'on_call' : 'busy';
  return {
    ...record,
    ...{
      status: record.slotsUsed > 0 ? busy : 'idle',
      exhaustedAt: null,
      recoveryAt: null,
      exhaustReason: null,
    },
  };
}

/** @returns undefined for one of which nothing is known. */
export function agentWorker(
  workerId: string,
  kept: AgentStatusRecord | undefined,
  summary: WorkerSummary | undefined,
  now: number,
): AgentWorker | undefined {
  if (kept === undefined && summary === undefined) return undefined;
  const record = kept && asOf(kept, now);
  const isOnline = summary?.online === true;
  const status = record?.status ?? (isOnline ? 'idle' : 'offline');
  const used = record?.slotsUsed ?? 0;
  const most = record?.slotsMax ?? null;
  const hasRoom = most === null || used < most;
  return {
    workerId,
    agentTypes: record?.agentTypes.length ? record.agentTypes : (summary?.agentTypes ?? []),
    status,
    stale: !isOnline && status !== 'offline',
    lastHeartbeatAt: record?.lastHeartbeatAt ?? (summary?.lastSeen || null),
    slotsUsed: used,
    slotsMax: most,
    exhaustReason: record?.exhaustReason ?? null,
    recoveryAt: record?.recoveryAt ?? null,
    origin: record?.origin ?? 'derived',
    reserved: record?.reserveOnCall ?? false,
    state: summary?.state,
    untilRecovery: summary?.untilRecovery ?? null,
    routable: summary?.state === 'online' && (status === 'idle' || (status === 'busy' && hasRoom)),
  };
}

/** The workers of one agent type in numbers. */
export function aggregateOf(agentType: string, workers: readonly AgentWorker[], now: number): TypeAggregate {
  const mine = workers.filter(worker => worker.agentTypes.includes(agentType));
  const routable = mine.filter(worker => worker.routable);
  const slots = routable.filter(worker => worker.slotsMax !== null);
  const recoveries = mine
    .filter(({status, stale}) => status === 'exhausted' && !stale)
    .flatMap(({recoveryAt}) => recoveryAt ?? []);
  const countOf = (status: AgentStatus) => mine.filter(worker => worker.status === status).length;
  return {
    agentType,
    counts: Object.fromEntries(AGENT_STATUSES.map(status => [status, countOf(status)])) as Record<
      AgentStatus,
      number
    >,
    stale: mine.filter(worker => worker.stale).length,
    freeSlots:
      slots.length === 0 && routable.length > 0
        ? null
        : slots.reduce((sum, {slotsUsed, slotsMax}) => sum + Math.max(0, (slotsMax ?? 0) - slotsUsed), 0),
    routable: routable.length > 0,
    earliestRecoveryAt: recoveries.length === 0 ? null : Math.min(...recoveries),
    computedAt: now,
  };
}

/** Milliseconds until a silent worker is offline; 0 if it is due. */
export const offlineInMs = ({lastHeartbeatAt}: AgentWorker, now: number): number =>
  lastHeartbeatAt === null ? 0 : Math.max(0, lastHeartbeatAt + HEARTBEAT_TIMEOUT_MS - now);
