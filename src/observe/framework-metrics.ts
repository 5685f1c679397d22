/** What a process knows of commands and executions, under the names of the SDKs (spec §9.6). */
import {MetricsRegistry} from './prometheus.js';

/** In seconds: from a word to a long piece of work. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];
/** In milliseconds: from one round trip to a worker that has to be scheduled. */
const ROUTING_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000, 120_000];

/** How an execution ended. */
export interface EndedExecution {
  readonly agentType: string;
  readonly status: string;
  readonly errorType: string;
  /** Milliseconds; undefined where it is not known. */
  readonly runMs: number | undefined;
  readonly totalMs: number | undefined;
}

/**
 * For a client (`metrics` of its options): commands it sends. For a worker: executions it begins and ends. One may serve
 * several of both; {@link text} is for a page of your own.
 */
export class FrameworkMetrics {
  readonly #registry = new MetricsRegistry();
  readonly #started = this.#registry.counter('by_framework_executions_started_total', 'Executions begun.');
  readonly #completed = this.#registry.counter(
    'by_framework_executions_completed_total',
    'Executions ended, by how.',
  );
  readonly #failed = this.#registry.counter('by_framework_executions_failed_total', 'Executions failed.');
  readonly #queued = this.#registry.histogram(
    'by_framework_execution_queue_duration_seconds',
    'From being accepted until a worker began.',
    SECONDS,
  );
  readonly #run = this.#registry.histogram(
    'by_framework_execution_run_duration_seconds',
    'From its first start to its end.',
    SECONDS,
  );
  readonly #total = this.#registry.histogram(
    'by_framework_execution_total_duration_seconds',
    'From being accepted to its end.',
    SECONDS,
  );
  readonly #routing = this.#registry.histogram(
    'by_framework_availability_routing_ms',
    'From a command to its acceptance or refusal.',
    ROUTING_MS,
  );

  routed(agentType: string, policy: string, status: string, ms: number): void {
    this.#routing.observe(ms, {agent_type: agentType, policy, status});
  }

  /** An execution was begun for the first time. @param queuedMs undefined where it is not known since when it waited. */
  started(agentType: string, queuedMs: number | undefined): void {
    this.#started.add({agent_type: agentType});
    if (queuedMs !== undefined) this.#queued.observe(Math.max(0, queuedMs) / 1000, {agent_type: agentType});
  }

  ended({agentType, status, errorType, runMs, totalMs}: EndedExecution): void {
    const labels = {status, agent_type: agentType};
    this.#completed.add(labels);
    if (status === 'FAILED') this.#failed.add({agent_type: agentType, error_type: errorType || 'unknown'});
    if (runMs !== undefined) this.#run.observe(Math.max(0, runMs) / 1000, labels);
    if (totalMs !== undefined) this.#total.observe(Math.max(0, totalMs) / 1000, labels);
  }

  /** In the text format of Prometheus. */
  text(): string {
    return this.#registry.render();
  }
}
