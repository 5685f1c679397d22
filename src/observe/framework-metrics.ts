/** What a process knows of commands and executions, under the names of the SDKs (spec §9.6): the one place that counts them. */
import {MetricsRegistry} from './prometheus.js';

/** How an execution ended. Milliseconds are undefined where they are not known. */
export interface EndedExecution {
  readonly agentType: string;
  readonly status: string;
  /** '' if nothing failed. */
  readonly errorType: string;
  /** From its acceptance to its first start. */
  readonly queueMs: number | undefined;
  /** From its first start to its end, what it waited for included. */
  readonly runMs: number | undefined;
  /** From its acceptance to its end. */
  readonly totalMs: number | undefined;
}

/** Who is told how commands and executions fare. */
export type FrameworkCounts = Pick<FrameworkMetrics, 'routed' | 'started' | 'ended'>;

/** In seconds: from a word to what takes an hour. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
/** In milliseconds: from one round trip to a worker that has to be scheduled. */
const ROUTING_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000, 120_000];

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
  readonly #queued = this.#duration('queue', 'From its acceptance until a worker began.');
  readonly #run = this.#duration('run', 'From its first start to its end.');
  readonly #total = this.#duration('total', 'From its acceptance to its end.');
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
    if (queuedMs !== undefined) this.#queued.observe(inSeconds(queuedMs), {agent_type: agentType});
  }

  ended({agentType, status, errorType, runMs, totalMs}: EndedExecution): void {
    const labels = {status, agent_type: agentType};
    this.#completed.add(labels);
    if (status === 'FAILED') this.#failed.add({agent_type: agentType, error_type: errorType || 'unknown'});
    if (runMs !== undefined) this.#run.observe(inSeconds(runMs), labels);
    if (totalMs !== undefined) this.#total.observe(inSeconds(totalMs), labels);
  }

  /** In the text format of Prometheus. */
  text(): string {
    return this.#registry.render();
  }

  #duration(what: string, help: string) {
    return this.#registry.histogram(`by_framework_execution_${what}_duration_seconds`, help, SECONDS);
  }
}

/** Clocks may have been set back meanwhile. */
export const inSeconds = (ms: number): number => Math.max(0, ms) / 1000;
