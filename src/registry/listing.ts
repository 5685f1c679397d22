/** Who is there, joined into what people ask: workers, and agent types with their workers. */
import {ByError} from '../errors.js';
import {knownWorkers, workerFacts, type WorkerFacts} from '../store/presence.js';
import type {Store} from '../store/store.js';
import {deniedAmong, managedWorkers} from '../store/worker-admin.js';

export type WorkerState = 'online' | 'draining' | 'suspended' | 'evicted' | 'stale';

export interface WorkerSummary extends WorkerFacts {
  /**
   * `draining`: holds its worker id, and takes nothing new (it starts, or finishes what it has). `stale`: announced
   * once, but without a lease now.
   */
  readonly state: WorkerState;
}

export interface AgentTypeSummary {
  readonly agentType: string;
  /** Workers that are online and take its work. */
  readonly online: number;
  readonly suspended: number;
  readonly workerIds: readonly string[];
}

export async function listWorkers(store: Store): Promise<WorkerSummary[]> {
  const [known, managed] = await Promise.all([knownWorkers(store), managedWorkers(store)]);
  const facts = await workerFacts(store, managed);
  // One that left, and that an operator let take work again before, is nobody.
  return facts
    .filter(({workerId, lifecycle}) => lifecycle !== 'active' || known.includes(workerId))
    .map(summarise);
}

/** @throws {ByError} NOT_FOUND */
export async function showWorker(
  store: Store,
  workerId: string,
): Promise<WorkerSummary & {readonly deniedTypes: readonly string[]}> {
  const [facts] = await workerFacts(store, [workerId]);
  if (!facts || (!facts.online && facts.agentTypes.length === 0 && facts.lifecycle === 'active')) {
    throw new ByError('NOT_FOUND', `There is no worker "${workerId}".`, {
      hint: 'See who is there with `by worker list`.',
      next: ['by worker list'],
    });
  }
  return {...summarise(facts), deniedTypes: await deniedAmong(store, workerId, facts.agentTypes)};
}

function summarise(facts: WorkerFacts): WorkerSummary {
  return {...facts, state: stateOf(facts)};
}

function stateOf({lifecycle, online, leaseMs}: WorkerFacts): WorkerSummary['state'] {
  if (lifecycle !== 'active') return lifecycle;
  if (online) return 'online';
  // It starts, or finishes what it has and takes nothing new.
  return leaseMs > 0 ? 'draining' : 'stale';
}

/** Agent types that some known worker declares, by name. */
export async function listAgentTypes(store: Store): Promise<AgentTypeSummary[]> {
  const types = new Map<string, {online: number; suspended: number; workerIds: string[]}>();
  for (const worker of await listWorkers(store)) {
    for (const type of worker.agentTypes) {
      const row = types.get(type) ?? {online: 0, suspended: 0, workerIds: []};
      types.set(type, row);
      if (worker.state === 'online') {
        row.online++;
        row.workerIds.push(worker.workerId);
      }
      if (worker.state === 'suspended') row.suspended++;
    }
  }
  return [...types]
    .map(([agentType, row]) => ({agentType, ...row}))
    .sort((a, b) => (a.agentType < b.agentType ? -1 : 1));
}
