/** What a process knows of commands and executions, under the names of the SDKs (spec §9.6). */
import {ExecutionCounters, type EndedExecution} from './execution-counters.js';
import {MetricsRegistry} from './prometheus.js';

/** In seconds: from a word to a long piece of work. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];
/** In milliseconds: from one round trip to a worker that has to be scheduled. */
const ROUTING_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000, 120_000];

/**
 * For a client (`metrics` of its options): commands it sends. For a worker: executions it begins and ends. One may serve
 * several of both; {@link text} is for a page of your own.
 */
export class FrameworkMetrics {
  readonly #registry = new MetricsRegistry();
  readonly #executions = new ExecutionCounters(this.#registry, SECONDS, 'From its first start to its end.');
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
    this.#executions.started(agentType, queuedMs);
  }

  ended(execution: EndedExecution): void {
    this.#executions.ended(execution);
  }

  /** In the text format of Prometheus. */
  text(): string {
    return this.#registry.render();
  }
}
