/**
 * What the workers of a process say of themselves: whether they do their work (spec §6.13), and metrics of what they did,
 * counted as it happens. Nobody asks Redis for them.
 */
import type {Lifecycle} from '../protocol/admin.js';
import {FrameworkMetrics, inSeconds, type FrameworkCounts} from './framework-metrics.js';
import type {HealthAnswer, HealthPages} from './health-server.js';
import {MetricsRegistry} from './prometheus.js';

/** What a worker tells whoever watches it, as it happens. */
export interface WorkerEvents {
  /** Counts what the worker does. */
  readonly counts: FrameworkCounts;
  /** It serves, from now on. */
  online(worker: WatchedWorker): void;
  /** A heartbeat arrived, and this is what an operator wants of it. */
  heartbeat(lifecycle: Lifecycle): void;
  /** A heartbeat did not arrive: Redis is away. */
  unheard(): void;
  /** It looked for work, or may not take any. */
  looked(): void;
  /** It takes nothing new and ends. */
  ending(reason: string): void;
}

export interface WatchedWorker {
  readonly workerId: string;
  /** Executions at once. */
  readonly slots: number;
  /** Executions now. */
  readonly running: () => number;
}

/** A worker with free slots that has not looked for work for so long does not do its work. Milliseconds. */
const STALLED_MS = 60_000;

/** Reasons after which a worker does not live any more, whatever its process does. */
const DEAD: Readonly<Record<string, string>> = {'lease-lost': 'lease_lost', deaf: 'redis_unreachable'};

export class WorkersWatch implements HealthPages {
  readonly #registry = new MetricsRegistry();
  readonly #running = this.#registry.gauge('by_worker_running', 'Executions now.');
  readonly #slots = this.#registry.gauge('by_worker_slots', 'Executions there may be at once.');
  readonly #ready = this.#registry.gauge('by_worker_ready', '1 while it takes work.');
  readonly #heard = this.#registry.gauge('by_worker_heartbeat_age_seconds', 'Since its last heartbeat.');
  readonly #memory = this.#registry.gauge('process_resident_memory_bytes', 'Memory of this process.');
  readonly #workers: OneWorker[] = [];
  readonly #clock: () => number;
  readonly #startedAt: number;
  #isDraining = false;

  /**
   * @param expected workers this process is to have: it is ready once all are.
   * @param counts counts the executions of these workers, and perhaps those of others; the page shows them.
   * @param clock monotonic milliseconds. Default `performance.now`.
   */
  constructor(
    private readonly expected = 1,
    readonly counts = new FrameworkMetrics(),
    clock: () => number = () => performance.now(),
  ) {
    this.#clock = clock;
    this.#startedAt = clock();
  }

  /** @returns who is to be told what one more worker does. */
  add(): WorkerEvents {
    const worker = new OneWorker(this.#clock, this.counts);
    this.#workers.push(worker);
    return worker;
  }

  /** The process was told to stop. */
  drain(): void {
    this.#isDraining = true;
  }

  alive(): HealthAnswer {
    const dead = this.#workers.find(({isDead}) => isDead);
    return dead === undefined ? this.#answer(true, 'alive') : this.#answer(false, dead.reason, dead);
  }

  ready(): Promise<HealthAnswer> {
    const unready = this.#workers.find(({reason}) => reason !== 'serving');
    const isStarting = this.#workers.length < this.expected;
    const reason = isStarting ? 'starting' : this.#isDraining ? 'draining' : (unready?.reason ?? 'serving');
    return Promise.resolve(this.#answer(reason === 'serving', reason, unready));
  }

  metrics(): Promise<string> {
    for (const gauge of [this.#running, this.#slots, this.#ready, this.#heard]) gauge.clear();
    for (const worker of this.#workers) {
      const labels = {worker_id: worker.id};
      this.#running.set(worker.running, labels);
      this.#slots.set(worker.slots, labels);
      this.#ready.set(worker.reason === 'serving' ? 1 : 0, labels);
      this.#heard.set(inSeconds(worker.sinceHeartbeat), labels);
    }
    this.#memory.set(process.memoryUsage.rss());
    return Promise.resolve(this.#registry.render() + this.counts.text());
  }

  /** @param about the worker the reason is of; the first one where it is of none. */
  #answer(ok: boolean, reason: string, about: OneWorker | undefined = this.#workers[0]): HealthAnswer {
    const first = about ?? this.#workers[0];
    return {
      ok,
      reason,
      facts: {
        ready: this.#isReady(),
        worker_id: first?.id ?? '',
        admin_lifecycle: first?.lifecycle ?? 'active',
        consumer_healthy: this.#workers.length > 0 && this.#workers.every(({isStalled}) => !isStalled),
        uptime_ms: Math.round(this.#clock() - this.#startedAt),
        ...(this.#workers.length > 1
          ? {workers: this.#workers.map(({id, reason: why}) => ({worker_id: id, reason: why}))}
          : {}),
      },
    };
  }

  #isReady(): boolean {
    return (
      !this.#isDraining &&
      this.#workers.length >= this.expected &&
      this.#workers.every(({reason}) => reason === 'serving')
    );
  }
}

/** What is known of one worker, from what it told. */
class OneWorker implements WorkerEvents {
  lifecycle: Lifecycle = 'active';
  #worker: WatchedWorker | undefined;
  #end: string | undefined;
  #isUnheard = false;
  #heardAt: number;
  #lookedAt: number;

  constructor(
    private readonly clock: () => number,
    readonly counts: FrameworkCounts,
  ) {
    this.#heardAt = this.#lookedAt = clock();
  }

  get id(): string {
    return this.#worker?.workerId ?? '';
  }
  get running(): number {
    return this.#worker?.running() ?? 0;
  }
  get slots(): number {
    return this.#worker?.slots ?? 0;
  }
  get sinceHeartbeat(): number {
    return this.clock() - this.#heardAt;
  }
  get isDead(): boolean {
    return this.#end !== undefined && this.#end in DEAD;
  }
  /** With every slot taken it need not look: that is busy, not stalled. */
  get isStalled(): boolean {
    return this.running < this.slots && this.clock() - this.#lookedAt > STALLED_MS;
  }
  /** Why it takes no work; `serving` if it does. The order is that of spec §6.13, with two of ours. */
  get reason(): string {
    if (this.#worker === undefined) return 'starting';
    if (this.#end !== undefined) return DEAD[this.#end] ?? (this.#end === 'evicted' ? 'evicted' : 'draining');
    if (this.lifecycle !== 'active') return this.lifecycle;
    if (this.#isUnheard) return 'redis_unreachable';
    return this.isStalled ? 'consumer_stalled' : 'serving';
  }

  online(worker: WatchedWorker): void {
    this.#worker = worker;
    this.looked();
  }
  heartbeat(lifecycle: Lifecycle): void {
    this.lifecycle = lifecycle;
    this.#isUnheard = false;
    this.#heardAt = this.clock();
  }
  unheard(): void {
    this.#isUnheard = true;
  }
  looked(): void {
    this.#lookedAt = this.clock();
  }
  ending(reason: string): void {
    this.#end = reason;
  }
}
