/**
 * Foreign workers whose quota is used up go on reading: the stream of an agent type is read by whoever comes first. Where
 * that is wanted they are suspended until they recover, and the circuits of agent types that have nobody else are opened.
 * Both are what operators could do by hand, and every SDK honours; an operator's word stands above them.
 */
import {
  closeExhaustedCircuit,
  exhaustedCircuits,
  openAutoCircuit,
  type ExhaustedCircuit,
} from '../store/admission.js';
import type {ExhaustReason} from '../protocol/orchestration/status.js';
import {readLedger} from '../store/agent-status.js';
import type {Store} from '../store/store.js';
import {WHOLE_WORKER} from '../protocol/orchestration/status.js';
import {endSuspension, keepOut, suspendUntilRecovery} from '../store/worker-admin.js';
import {listAgentWorkers, type AgentWorker} from './agent-workers.js';

export interface Enforcement {
  /** Foreign workers are suspended while they are exhausted. */
  readonly suspends: boolean;
  /** The circuit of an agent type is opened while every worker it has is exhausted, and a foreign one among them. */
  readonly opensCircuits: boolean;
}

export interface EnforceReport {
  readonly suspended: readonly string[];
  readonly resumed: readonly string[];
  /** Workers that are suspended and go on all the same. */
  readonly ignoring: readonly string[];
  /** Agent types. */
  readonly opened: readonly string[];
  readonly closed: readonly string[];
}

/** What was suspended or opened is let go again once it has recovered, whether more of it is wanted or not. */
export async function enforceExhausted(
  store: Store,
  {suspends, opensCircuits}: Enforcement,
): Promise<EnforceReport> {
  const {now, workers} = await listAgentWorkers(store);
  const theirs = workers.filter(({untilRecovery}) => untilRecovery !== null);
  const resumed = await those(theirs, async ({workerId}) =>
    (await hasRecovered(store, workerId, now)) ? endSuspension(store, workerId) : false,
  );
  const [suspended, ignoring, circuits] = await Promise.all([
    those(suspends ? workers.filter(mustStop) : [], worker =>
      suspendUntilRecovery(store, worker.workerId, {reason: reasonOf(worker)}),
    ),
    those(
      theirs.filter(
        ({workerId, untilRecovery, stale}) =>
          untilRecovery === 'suspended' && !stale && !resumed.includes(workerId),
      ),
      ({workerId}) => keepOut(store, workerId),
    ),
    settleCircuits(store, workers, now, opensCircuits),
  ]);
  return {suspended, resumed, ignoring, ...circuits};
}

async function those(
  workers: readonly AgentWorker[],
  act: (worker: AgentWorker) => Promise<boolean>,
): Promise<string[]> {
  const did = await Promise.all(workers.map(act));
  return workers.filter((_, i) => did[i]).map(({workerId}) => workerId);
}

const mustStop = ({origin, status, stale, state}: AgentWorker): boolean =>
  origin === 'derived' && status === 'exhausted' && !stale && state === 'online';

const reasonOf = ({exhaustReason, recoveryAt}: AgentWorker): string =>
  `exhausted: ${exhaustReason ?? ('rate_limit' satisfies ExhaustReason)}${until(recoveryAt)}`;

const until = (at: number | null): string => (at === null ? '' : ` until ${new Date(at).toISOString()}`);

/** By what is known of the quota, which outlives the worker: one that is away comes back to where it stood. */
async function hasRecovered(store: Store, workerId: string, now: number): Promise<boolean> {
  const row = await readLedger(store, workerId, WHOLE_WORKER);
  return row === undefined || row.recoveryAt <= now;
}

async function settleCircuits(
  store: Store,
  workers: readonly AgentWorker[],
  now: number,
  opens: boolean,
): Promise<Pick<EnforceReport, 'opened' | 'closed'>> {
  const types = [...new Set(workers.flatMap(({agentTypes}) => agentTypes))];
  const known = await exhaustedCircuits(store, types);
  const opened: string[] = [];
  const closed: string[] = [];
  await Promise.all(
    types.map(async (agentType, i) => {
      const ours = known[i];
      const wanted = circuitOf(agentType, workers, now);
      const isOver = ours !== undefined && (wanted === undefined || isOther(ours, wanted, now));
      if (isOver && (await closeExhaustedCircuit(store, agentType, ours))) closed.push(agentType);
      if (!opens || wanted === undefined || (ours !== undefined && !isOver)) return;
      if (await openAutoCircuit(store, agentType, wanted)) opened.push(agentType);
    }),
  );
  return {opened, closed: closed.filter(agentType => !opened.includes(agentType))};
}

/** It would go a second or more before or after it should. */
const isOther = (ours: ExhaustedCircuit, {forMs}: {readonly forMs: number}, now: number): boolean =>
  Math.abs(ours.until - (now + forMs)) >= 1000;

/** For how long an agent type should not be sent to, if at all. */
export function circuitOf(
  agentType: string,
  workers: readonly AgentWorker[],
  now: number,
): {readonly reason: string; readonly forMs: number; readonly exhaustedUntil: number} | undefined {
  const there = workers.filter(worker => worker.agentTypes.includes(agentType) && isThere(worker));
  const isSpent = there.length > 0 && there.every(({status}) => status === 'exhausted');
  const isForeign = there.some(({origin}) => origin === 'derived');
  const recoveries = there.flatMap(({recoveryAt}) => recoveryAt ?? []);
  const at = Math.min(...recoveries);
  if (!isSpent || !isForeign || recoveries.length === 0 || at <= now) return undefined;
  const workersText = there.length === 1 ? 'its worker is' : `all ${there.length} workers are`;
  return {reason: `${workersText} exhausted${until(at)}`, forMs: at - now, exhaustedUntil: at};
}

/** Online, also while it is suspended until it recovers. */
const isThere = ({stale, status, state, untilRecovery}: AgentWorker): boolean =>
  !stale && status !== 'offline' && (state === 'online' || untilRecovery !== null);
