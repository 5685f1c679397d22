/** Executions that begin and end, counted under the names of the SDKs (spec §9.6). */
import type {Counter, Histogram, MetricsRegistry} from './prometheus.js';

/** How an execution ended. */
export interface EndedExecution {
  readonly agentType: string;
  readonly status: string;
  /** '' if nothing failed. */
  readonly errorType: string;
  /** Milliseconds; undefined where it is not known. */
  readonly runMs: number | undefined;
  readonly totalMs: number | undefined;
}

export class ExecutionCounters {
  readonly #started: Counter;
  readonly #completed: Counter;
  readonly #failed: Counter;
  readonly #queued: Histogram;
  readonly #run: Histogram;
  readonly #total: Histogram;

  /** @param bounds of the durations, in seconds. @param run what {@link EndedExecution.runMs} is here, for people. */
  constructor(registry: MetricsRegistry, bounds: readonly number[], run: string) {
    const duration = (what: string, help: string) =>
      registry.histogram(`by_framework_execution_${what}_duration_seconds`, help, bounds);
    this.#started = registry.counter('by_framework_executions_started_total', 'Executions begun.');
    this.#completed = registry.counter(
      'by_framework_executions_completed_total',
      'Executions ended, by how.',
    );
    this.#failed = registry.counter('by_framework_executions_failed_total', 'Executions failed.');
    this.#queued = duration('queue', 'From being accepted until a worker began.');
    this.#run = duration('run', run);
    this.#total = duration('total', 'From being accepted to its end.');
  }

  /** An execution was begun for the first time. @param queuedMs undefined where it is not known since when it waited. */
  started(agentType: string, queuedMs: number | undefined): void {
    this.#started.add({agent_type: agentType});
    if (queuedMs !== undefined) this.#queued.observe(inSeconds(queuedMs), {agent_type: agentType});
  }

  ended({agentType, status, errorType, runMs, totalMs}: EndedExecution): void {
    const labels = {status, agent_type: agentType};
    this.#completed.add(labels);
    if (status === 'FAILED') this.#failed.add({agent_type: agentType, error_type: errorType || 'unknown'});
    if (runMs !== undefined) this.#run.observe(inSeconds(runMs), labels);
    if (totalMs !== undefined) this.#total.observe(inSeconds(totalMs), labels);
  }
}

/** Clocks may have been set back meanwhile. */
export const inSeconds = (ms: number): number => Math.max(0, ms) / 1000;
