/** Executions a worker ended, in the few numbers it tells the fleet; whoever else counts them is told too. */
import {MAX_RECENT, type WorkerMetrics} from '../protocol/worker-metrics.js';
import {publishWorkerMetrics} from '../store/worker-metrics.js';
import type {Store} from '../store/store.js';
import type {EndedExecution, FrameworkCounts} from './framework-metrics.js';

/** Told at most so often while something happens, and so often while nothing does. Milliseconds. */
const TELL_EVERY_MS = 2000;
const TELL_IDLE_MS = 30_000;

const LETTERS = {COMPLETED: 'c', FAILED: 'f', CANCELLED: 'x'} as const;
const WORDS = {c: 'completed', f: 'failed', x: 'cancelled'} as const;

export class ExecutionTally implements FrameworkCounts {
  private begun = 0;
  private readonly ends = {completed: 0, failed: 0, cancelled: 0};
  private readonly recent: WorkerMetrics['recent'][number][] = [];
  private isTold = false;
  private toldAt = -Infinity;

  constructor(
    private readonly store: Store,
    private readonly workerId: string,
    private readonly now: () => number,
    private readonly others: readonly FrameworkCounts[],
  ) {}

  routed(agentType: string, policy: string, status: string, ms: number): void {
    for (const one of this.others) one.routed(agentType, policy, status, ms);
  }

  started(agentType: string, queuedMs: number | undefined): void {
    this.begun++;
    this.isTold = false;
    for (const one of this.others) one.started(agentType, queuedMs);
  }

  ended(execution: EndedExecution): void {
    for (const one of this.others) one.ended(execution);
    const letter = LETTERS[execution.status as keyof typeof LETTERS] as 'c' | 'f' | 'x' | undefined;
    if (letter === undefined) return;
    this.ends[WORDS[letter]]++;
    const {queueMs, runMs, totalMs} = execution;
    this.recent.push([this.now(), letter, whole(queueMs), whole(runMs), whole(totalMs)]);
    if (this.recent.length > MAX_RECENT) this.recent.shift();
    this.isTold = false;
  }

  report(): WorkerMetrics {
    return {
      ...{schema: 1, worker_id: this.workerId, at: this.now()},
      ...{started: this.begun, ended: {...this.ends}, recent: [...this.recent]},
    };
  }

  /** With a heartbeat: say how it stands, if that is news. */
  async tick(): Promise<void> {
    const since = performance.now() - this.toldAt;
    if (since < (this.isTold ? TELL_IDLE_MS : TELL_EVERY_MS)) return;
    this.toldAt = performance.now();
    this.isTold = true;
    await publishWorkerMetrics(this.store, this.report());
  }
}

/** Clocks may have been set back meanwhile. */
const whole = (ms: number | undefined): number | null =>
  ms === undefined ? null : Math.max(0, Math.round(ms));
