/**
 * The fleet in numbers, from its registries: who is online, what waits where. It costs a few commands for each agent type
 * and walks no keys. How executions ended, and how long they took, is known of our workers that are online: they tell.
 */
import type {KnownPoint} from '../protocol/metrics.js';
import {listWorkers} from '../registry/listing.js';
import {knownAgentTypes, listQueues, type QueueSummary} from '../registry/queues.js';
import {countDeadLetters} from '../store/dead-letters.js';
import {workerMetrics} from '../store/worker-metrics.js';
import {streamLength} from '../store/queues.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {CONSUMER_GROUP} from '../protocol/keys.js';
import type {WorkerMetrics} from '../protocol/worker-metrics.js';
import {alertsOf, SEVERITIES, type Alert} from './alerts.js';
import {latencyOf, recentEnds, type FleetLatency} from './latency.js';
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
    /** How often one entry was given to a worker, at most. */
    readonly maxDeliveries: number;
    /** Executions that ended since the workers that are online were started. */
    readonly completed: number;
    readonly failed: number;
    readonly cancelled: number;
  };
  /** Of the last quarter of an hour, at most a hundred of each worker. */
  readonly recent: {readonly ended: number; readonly failed: number};
  readonly latency: FleetLatency;
  /** Milliseconds since a worker was last heard to tell of itself; 0 where none does. */
  readonly freshnessAgeMs: number;
  readonly alerts: readonly Alert[];
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
  const told = await workerMetrics(
    store,
    workers.filter(({online}) => online).map(({workerId}) => workerId),
  );
  const sum = (of: (queue: QueueSummary) => number) => queues.reduce((total, queue) => total + of(queue), 0);
  const ended = (how: keyof WorkerMetrics['ended']) => told.reduce((total, one) => total + one.ended[how], 0);
  const ends = recentEnds(told, now - RECENT_MS);
  const facts = {
    generatedAt: Math.floor(now),
    totals: {
      workersOnline: workers.filter(({online}) => online).length,
      agentTypes: queues.length,
      activeExecutions: sum(({pending}) => pending),
      queuedExecutions: sum(({waiting, heldBack}) => (waiting ?? 0) + heldBack) + deliveryPending,
      queueDepth: sum(({depth}) => depth),
      deadLetters: deadletter,
      maxDeliveries: Math.max(0, ...queues.map(({maxDeliveries}) => maxDeliveries)),
      ...{completed: ended('completed'), failed: ended('failed'), cancelled: ended('cancelled')},
    },
    recent: {ended: ends.length, failed: ends.filter(([, how]) => how === 'f').length},
    latency: latencyOf(told, now - RECENT_MS),
    freshnessAgeMs:
      told.length === 0 ? 0 : Math.max(0, Math.floor(now) - Math.max(...told.map(({at}) => at))),
    queues,
    controlPlane: {wakeup, deliveryPending, deadletter},
  };
  return {...facts, alerts: alertsOf(facts)};
}

/** What ended before says little about now. */
const RECENT_MS = 900_000;
const MILLION = 1_000_000;

/** The point of the history that a snapshot is; what is not known stays out of it. */
export const historyPointOf = ({
  generatedAt,
  totals,
  latency,
  alerts,
  freshnessAgeMs,
}: FleetSnapshot): KnownPoint => ({
  generatedAt,
  workersOnline: totals.workersOnline,
  activeExecutions: totals.activeExecutions,
  queuedExecutions: totals.queuedExecutions,
  queueDepthTotal: totals.queueDepth,
  consumerPendingTotal: totals.activeExecutions,
  deadletterCount: totals.deadLetters,
  completedExecutions: totals.completed,
  failedExecutions: totals.failed,
  cancelledExecutions: totals.cancelled,
  terminalExecutions: terminal(totals),
  maxDeliveryCount: totals.maxDeliveries,
  alertCount: alerts.length,
  latencyP95Ms: latency.run.p95Ms,
  queueLatencyP95Ms: latency.queue.p95Ms,
  totalLatencyP95Ms: latency.total.p95Ms,
  successRatioPpm: terminal(totals) === 0 ? 0 : Math.round((totals.completed / terminal(totals)) * MILLION),
  freshnessAgeMs,
});

const terminal = ({completed, failed, cancelled}: FleetSnapshot['totals']) => completed + failed + cancelled;

/** A snapshot for Prometheus, under the names of the SDKs (spec §9.6). */
export function fleetText(
  {totals, queues, controlPlane, latency, alerts}: FleetSnapshot,
  keys: Store['keys'],
): string {
  const registry = new MetricsRegistry();
  const gauge = (name: string, help: string) => registry.gauge(`by_framework_${name}`, help);
  gauge('workers_online', 'Workers with a lease.').set(totals.workersOnline);
  gauge('agent_types', 'Agent types that are known.').set(totals.agentTypes);
  gauge('active_executions', 'Commands given to a worker and not settled.').set(totals.activeExecutions);
  const severities = gauge('alerts_current', 'What somebody should look at.');
  for (const severity of SEVERITIES)
    severities.set(alerts.filter(alert => alert.severity === severity).length, {severity});
  gauge('execution_latency_avg_ms', 'Mean time of executions, lately.').set(latency.run.avgMs);
  gauge('execution_latency_p95_ms', 'From first start to end, lately.').set(latency.run.p95Ms);
  gauge('execution_queue_latency_p95_ms', 'From acceptance to first start, lately.').set(latency.queue.p95Ms);
  gauge('execution_total_latency_p95_ms', 'From acceptance to end, lately.').set(latency.total.p95Ms);
  const deliveries = gauge(
    'stream_max_delivery_count',
    'How often one pending entry was given out, at most.',
  );
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
    deliveries.set(queue.maxDeliveries, ofGroup);
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
