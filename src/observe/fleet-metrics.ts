/**
 * The fleet in numbers, from its registries: who is online, what waits where. It costs a few commands for each agent type
 * and walks no keys. What only statistics of other SDKs know (how executions ended) is not among it.
 */
import type {KnownPoint} from '../protocol/metrics.js';
import {listWorkers} from '../registry/listing.js';
import {knownAgentTypes, listQueues, type QueueSummary} from '../registry/queues.js';
import {countDeadLetters} from '../store/dead-letters.js';
import {streamLength} from '../store/queues.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {CONSUMER_GROUP} from '../protocol/keys.js';
import {MetricsRegistry} from './prometheus.js';

export interface FleetSnapshot {
  /** Unix milliseconds by Redis's clock. */
  readonly generatedAt: number;
  readonly totals: {
    readonly workersOnline: number;
    readonly agentTypes: number;
    /** Given to a worker and not settled. */
    readonly activeExecutions: number;
    /** Given to nobody yet, those held back included. */
    readonly queuedExecutions: number;
    readonly queueDepth: number;
    readonly deadLetters: number;
  };
  readonly queues: readonly QueueSummary[];
  readonly controlPlane: {
    readonly wakeup: number;
    readonly deliveryPending: number;
    readonly deadletter: number;
  };
}

export async function fleetSnapshot(store: Store): Promise<FleetSnapshot> {
  const [now, workers, queues, wakeup, deliveryPending, deadletter] = await Promise.all([
    serverTimeMs(store),
    listWorkers(store),
    knownAgentTypes(store).then(types => listQueues(store, types)),
    streamLength(store, store.keys.wakeup()),
    streamLength(store, store.keys.deliveryPending()),
    countDeadLetters(store),
  ]);
  const sum = (of: (queue: QueueSummary) => number) => queues.reduce((total, queue) => total + of(queue), 0);
  return {
    generatedAt: Math.floor(now),
    totals: {
      workersOnline: workers.filter(({online}) => online).length,
      agentTypes: queues.length,
      activeExecutions: sum(({pending}) => pending),
      queuedExecutions: sum(({waiting, heldBack}) => (waiting ?? 0) + heldBack) + deliveryPending,
      queueDepth: sum(({depth}) => depth),
      deadLetters: deadletter,
    },
    queues,
    controlPlane: {wakeup, deliveryPending, deadletter},
  };
}

/** The point of the history that a snapshot is; what is not known stays out of it. */
export const historyPointOf = ({generatedAt, totals}: FleetSnapshot): KnownPoint => ({
  generatedAt,
  workersOnline: totals.workersOnline,
  activeExecutions: totals.activeExecutions,
  queuedExecutions: totals.queuedExecutions,
  queueDepthTotal: totals.queueDepth,
  consumerPendingTotal: totals.activeExecutions,
  deadletterCount: totals.deadLetters,
});

/** A snapshot for Prometheus, under the names of the SDKs (spec §9.6). */
export function fleetText({totals, queues, controlPlane}: FleetSnapshot, keys: Store['keys']): string {
  const registry = new MetricsRegistry();
  const gauge = (name: string, help: string) => registry.gauge(`by_framework_${name}`, help);
  gauge('workers_online', 'Workers with a lease.').set(totals.workersOnline);
  gauge('agent_types', 'Agent types that are known.').set(totals.agentTypes);
  gauge('active_executions', 'Commands given to a worker and not settled.').set(totals.activeExecutions);
  const depth = gauge('stream_depth', 'Entries in a stream.');
  const pending = gauge('stream_pending_messages', 'Entries given to a worker and not settled.');
  const age = gauge('stream_oldest_pending_age_seconds', 'Age of the oldest of them.');
  const lag = gauge('stream_consumer_lag', 'Entries given to nobody yet.');
  const queueDepth = gauge('queue_depth', 'Entries in a stream.');
  const ofType = gauge('agent_queue_depth', 'Entries in the stream of an agent type.');
  const workers = gauge('agent_workers', 'Workers that are online for an agent type.');
  const held = registry.gauge('by_pending_held', 'Commands held back for an agent type.');
  for (const queue of queues) {
    const {agentType: name} = queue;
    const labels = {queue_type: 'agent_type', name};
    const ofGroup = {...labels, group: CONSUMER_GROUP};
    depth.set(queue.depth, labels);
    pending.set(queue.pending, ofGroup);
    age.set((queue.oldestPendingMs ?? 0) / 1000, ofGroup);
    if (queue.waiting !== null) lag.set(queue.waiting, ofGroup);
    queueDepth.set(queue.depth, {...labels, stream: keys.ctrlStream(name)});
    ofType.set(queue.depth, {agent_type: name});
    workers.set(queue.workersOnline, {agent_type: name});
    held.set(queue.heldBack, {agent_type: name});
  }
  const control = [
    ['wakeup', controlPlane.wakeup, keys.wakeup()],
    ['delivery_pending', controlPlane.deliveryPending, keys.deliveryPending()],
    ['deadletter', controlPlane.deadletter, keys.deadletter()],
  ] as const;
  for (const [name, length, stream] of control) {
    depth.set(length, {queue_type: 'control_plane', name});
    queueDepth.set(length, {queue_type: 'control_plane', name, stream});
  }
  return registry.render();
}
