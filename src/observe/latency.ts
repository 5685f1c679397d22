/** How long executions took lately, over the workers that tell. */
import type {WorkerMetrics} from '../protocol/worker-metrics.js';

/** Milliseconds; 0 where there is nothing to tell of. */
export interface LatencySummary {
  readonly count: number;
  readonly avgMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

export interface FleetLatency {
  /** From acceptance to the first start. */
  readonly queue: LatencySummary;
  /** From the first start to the end. */
  readonly run: LatencySummary;
  /** From acceptance to the end. */
  readonly total: LatencySummary;
}

const COLUMNS = {queue: 2, run: 3, total: 4} as const;

/** @param sinceMs what ended before is left out. Unix milliseconds. */
export function latencyOf(metrics: readonly WorkerMetrics[], sinceMs: number): FleetLatency {
  const ends = recentEnds(metrics, sinceMs);
  const of = (name: keyof typeof COLUMNS) => summaryOf(ends.flatMap(end => end[COLUMNS[name]] ?? []));
  return {queue: of('queue'), run: of('run'), total: of('total')};
}

export const recentEnds = (metrics: readonly WorkerMetrics[], sinceMs: number): WorkerMetrics['recent'] =>
  metrics.flatMap(({recent}) => recent.filter(([at]) => at >= sinceMs));

export function summaryOf(times: readonly number[]): LatencySummary {
  const sorted = [...times].sort((a, b) => a - b);
  // The nearest rank: a time that was measured, not one between two.
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  const sum = sorted.reduce((all, one) => all + one, 0);
  return {
    count: sorted.length,
    avgMs: sorted.length === 0 ? 0 : Math.round(sum / sorted.length),
    p50Ms: at(0.5),
    p95Ms: at(0.95),
    maxMs: sorted.at(-1) ?? 0,
  };
}
