/** The fleet's history: one point every few seconds, written by whichever worker holds the lock. Spec §9.5. */
import {integerOf} from './fields.js';
import {parseUntrustedObject} from './limits.js';

/** Older points are removed with every write. */
export const HISTORY_WINDOW_MS = 7_200_000;
export const DEFAULT_INTERVAL_S = 5;

/** Lifetime of the collector's lock, in seconds. */
export const collectorLockTtlS = (intervalS: number): number => Math.max(3 * intervalS, 15);

/** Wire names of a point's fields; all are whole numbers. */
const FIELDS = {
  /** Unix milliseconds, also the score. */
  generatedAt: 'generated_at',
  workersOnline: 'workers_online',
  activeExecutions: 'active_executions',
  queuedExecutions: 'queued_executions',
  completedExecutions: 'completed_executions',
  failedExecutions: 'failed_executions',
  cancelledExecutions: 'cancelled_executions',
  terminalExecutions: 'terminal_executions',
  queueDepthTotal: 'queue_depth_total',
  consumerPendingTotal: 'consumer_pending_total',
  maxDeliveryCount: 'max_delivery_count',
  alertCount: 'alert_count',
  latencyP95Ms: 'latency_p95_ms',
  queueLatencyP95Ms: 'queue_latency_p95_ms',
  totalLatencyP95Ms: 'total_latency_p95_ms',
  successRatioPpm: 'success_ratio_ppm',
  deadletterCount: 'deadletter_count',
  freshnessAgeMs: 'freshness_age_ms',
} as const;

type Field = keyof typeof FIELDS;
export type HistoryPoint = Readonly<Record<Field, number>>;
/** What is not known stays out, and counts as 0 for whoever reads it. */
export type KnownPoint = Readonly<Partial<Record<Field, number>>> & Pick<HistoryPoint, 'generatedAt'>;

const fields = Object.entries(FIELDS) as [Field, string][];

export function encodeHistoryPoint(point: KnownPoint): string {
  return JSON.stringify(Object.fromEntries(fields.map(([field, name]) => [name, point[field]])));
}

/**
 * Missing fields are 0: TypeScript and Java write six of them.
 *
 * @throws {ProtocolError} as parseUntrusted; NOT_AN_OBJECT.
 */
export function readHistoryPoint(data: string): HistoryPoint {
  const doc = parseUntrustedObject(data);
  return Object.fromEntries(fields.map(([field, name]) => [field, integerOf(doc[name], 0)])) as Record<
    Field,
    number
  >;
}
