/** What a manager says of itself: whether it hears Redis, whether it does its work, and its metrics. */
import type {WakeupDecision, WakeupRequest} from '../protocol/wakeup.js';
import {heldTypes} from '../registry/pending-deliveries.js';
import {listWakeups} from '../registry/wakeups.js';
import {countDeadLetters} from '../store/dead-letters.js';
import {streamLength} from '../store/queues.js';
import {serverTimeMs, type Store} from '../store/store.js';
import type {HealthAnswer, HealthPages} from './health-server.js';
import {MetricsRegistry} from './prometheus.js';

/** Without an answer of Redis for so long it is deaf: a restart may help, and harms nothing. Milliseconds. */
const DEAF_MS = 60_000;
/** A loop that was not heard of for so long does not do its work. Milliseconds. */
const STALE_MS = 10_000;
/** Requests whose waiters are counted in one scrape: those that joined a wakeup are no requests any more. */
const COUNTED_WAKEUPS = 100;
/** In seconds: from a worker that was there, to one that had to be scheduled. */
const WAKEUP_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

export interface WatchedManager {
  readonly managerId: string;
  /** Wakeups and deliveries not settled yet. */
  readonly underWay: number;
}

export interface ManagerWatchOptions {
  readonly store: Store;
  /** Loops that this manager has: each must be heard of. */
  readonly beats: readonly string[];
  /** So many under way, and it reads no more until one of them ends. */
  readonly full: number;
  /** Monotonic milliseconds. Default `performance.now`. */
  readonly clock?: () => number;
}

/** Hears what a manager does, and answers for it. */
export class ManagerWatch implements HealthPages {
  readonly #options: ManagerWatchOptions;
  readonly #clock: () => number;
  readonly #startedAt: number;
  readonly #heard = new Map<string, number>();
  #manager: WatchedManager | undefined;
  #isDraining = false;

  readonly #registry = new MetricsRegistry();
  readonly #wakeups = this.#registry.counter('by_wakeups_total', 'Wakeups carried out, by decision.');
  readonly #wakeupSeconds = this.#registry.histogram(
    'by_wakeup_duration_seconds',
    'From reading a request to the answer of the provider.',
    WAKEUP_BUCKETS,
  );
  readonly #told = this.#registry.counter(
    'by_wakeup_waiters_told_total',
    'Executions that were told a decision.',
  );
  readonly #deliveries = this.#registry.counter(
    'by_pending_deliveries_total',
    'Pending deliveries that were released, or gave up waiting, by outcome.',
  );
  readonly #waiters = this.#registry.gauge(
    'by_wakeup_waiters',
    `Executions that wait for a wakeup, of the oldest ${COUNTED_WAKEUPS} requests.`,
  );
  readonly #requests = this.#registry.gauge(
    'by_wakeup_requests',
    'Requests in the stream of wakeups, those other SDKs leave there included.',
  );
  readonly #held = this.#registry.gauge('by_pending_held', 'Commands held back for an agent type.');
  readonly #heldAge = this.#registry.gauge(
    'by_pending_first_age_seconds',
    'Since when the command waits that is released next.',
  );
  readonly #online = this.#registry.gauge(
    'by_pending_workers_online',
    'Workers online for an agent type that something is held back for.',
  );
  readonly #deadLetters = this.#registry.gauge('by_dead_letters', 'Dead letters there are.');
  readonly #deadLetterLimit = this.#registry.gauge(
    'by_dead_letters_limit',
    'Dead letters there may be; 0 is no limit.',
  );
  readonly #roundTrip = this.#registry.gauge(
    'by_redis_round_trip_seconds',
    'How long Redis took to answer just now.',
  );
  readonly #underWay = this.#registry.gauge(
    'by_manager_under_way',
    'Wakeups and deliveries this manager has begun and not settled.',
  );
  readonly #draining = this.#registry.gauge('by_manager_draining', '1 while it takes nothing new and ends.');
  readonly #heardAge = this.#registry.gauge(
    'by_manager_heard_seconds',
    'Since when a loop of this manager had no answer of Redis.',
  );
  readonly #memory = this.#registry.gauge('process_resident_memory_bytes', 'Memory of this process.');

  constructor(options: ManagerWatchOptions) {
    this.#options = options;
    this.#clock = options.clock ?? (() => performance.now());
    this.#startedAt = this.#clock();
  }

  /** It has started. */
  watch(manager: WatchedManager): void {
    this.#manager = manager;
  }

  /** It takes nothing new from now on. */
  drain(): void {
    this.#isDraining = true;
  }

  beat(name: string): void {
    this.#heard.set(name, this.#clock());
  }

  wakeup({targetAgentType}: WakeupRequest, {status}: WakeupDecision, elapsedMs: number, told: number): void {
    const labels = {agent_type: targetAgentType, decision: status};
    this.#wakeups.add(labels);
    this.#wakeupSeconds.observe(elapsedMs / 1000, {decision: status});
    this.#told.add(labels, told);
  }

  delivery(agentType: string, outcome: string): void {
    this.#deliveries.add({agent_type: agentType, outcome});
  }

  alive(): HealthAnswer {
    const heardMs = this.#sinceHeard();
    return heardMs > DEAF_MS ? this.#answer(false, 'deaf') : this.#answer(true, 'alive');
  }

  async ready(): Promise<HealthAnswer> {
    if (this.#manager === undefined) return this.#answer(false, 'starting');
    if (this.#isDraining) return this.#answer(false, 'draining');
    const silent = this.#options.beats.find(beat => this.#since(beat) > STALE_MS && !this.#mayPause(beat));
    if (silent !== undefined) return this.#answer(false, `not_heard_of_${silent}`);
    await this.#askTime();
    return this.#answer(true, 'serving');
  }

  async metrics(): Promise<string> {
    const {store} = this.#options;
    const [wakeups, held, requests, deadLetters, {now, tookMs}] = await Promise.all([
      listWakeups(store, COUNTED_WAKEUPS),
      heldTypes(store),
      streamLength(store, store.keys.wakeup()),
      countDeadLetters(store),
      this.#askTime(),
    ]);
    for (const gauge of [this.#waiters, this.#held, this.#heldAge, this.#online]) gauge.clear();
    const waiters = new Map<string, Set<string>>();
    for (const {request, waiters: ids} of wakeups) {
      const type = request?.targetAgentType;
      if (type !== undefined) waiters.set(type, new Set([...(waiters.get(type) ?? []), ...ids]));
    }
    for (const [agentType, ids] of waiters) this.#waiters.set(ids.size, {agent_type: agentType});
    for (const {agentType, held: count, workersOnline, firstAt} of held) {
      const labels = {agent_type: agentType};
      this.#held.set(count, labels);
      this.#heldAge.set(firstAt === null ? 0 : Math.max(0, now - firstAt) / 1000, labels);
      this.#online.set(workersOnline, labels);
    }
    this.#requests.set(requests);
    this.#deadLetters.set(deadLetters);
    this.#deadLetterLimit.set(store.limits.deadLetters);
    this.#roundTrip.set(tookMs / 1000);
    this.#underWay.set(this.#manager?.underWay ?? 0);
    this.#draining.set(this.#isDraining ? 1 : 0);
    for (const beat of this.#options.beats) this.#heardAge.set(this.#since(beat) / 1000, {loop: beat});
    this.#memory.set(process.memoryUsage.rss());
    return this.#registry.render();
  }

  /** While it has as much under way as it may, it reads nothing: that is busy, not deaf. */
  #mayPause(beat: string): boolean {
    const isReader = beat === 'wakeups' || beat === 'pending';
    return isReader && (this.#manager?.underWay ?? 0) >= this.#options.full;
  }

  /** The clock that gave the entries their ids, and how long it took to ask. Milliseconds. */
  async #askTime(): Promise<{readonly now: number; readonly tookMs: number}> {
    const from = this.#clock();
    const now = await serverTimeMs(this.#options.store);
    return {now, tookMs: this.#clock() - from};
  }

  #since = (beat: string): number => this.#clock() - (this.#heard.get(beat) ?? this.#startedAt);

  #sinceHeard(): number {
    return this.#clock() - Math.max(this.#startedAt, ...this.#heard.values());
  }

  #answer(ok: boolean, reason: string): HealthAnswer {
    return {
      ok,
      reason,
      facts: {
        manager_id: this.#manager?.managerId ?? '',
        draining: this.#isDraining,
        under_way: this.#manager?.underWay ?? 0,
        last_heard_ms: Math.round(this.#sinceHeard()),
        uptime_ms: Math.round(this.#clock() - this.#startedAt),
      },
    };
  }
}
