/**
 * The manager: carries out wakeups and releases pending deliveries. Everything it does is claimed from a consumer
 * group, acknowledged after its effect, and may be repeated, so any number of managers run at once.
 */
import {setMaxListeners} from 'node:events';
import {backoffMs} from '../backoff.js';
import {sleep, systemClock, type Clock} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {isValidId, newHexUuid} from '../ids.js';
import {createLogger} from '../json-log.js';
import type {Logger} from '../log.js';
import type {Tracer} from '../protocol/tracer.js';
import {encodeDeadLetter, entryTimeMs, newDeadLetter, type DeadLetterSource} from '../protocol/deadletter.js';
import {isDeliverable, readPendingDelivery, timesOf, type PendingDelivery} from '../protocol/delivery.js';
import {requireData} from '../protocol/limits.js';
import {unreadableLetter} from '../protocol/unreadable.js';
import {
  encodeWakeupRequest,
  readWakeupRequest,
  type WakeupDecision,
  type WakeupRequest,
} from '../protocol/wakeup.js';
import {
  claimStale,
  decideWakeup,
  expiredPending,
  handOver,
  holdEntries,
  holdWakeup,
  joinWakeup,
  MANAGER_GROUP,
  nextPending,
  pendingScore,
  pendingTypes,
  releasePending,
  takePending,
  type HeldDelivery,
} from '../store/control-plane.js';
import {ensureGroup, readNew, settleMany, type ControlEntry} from '../store/control-streams.js';
import {findExecution} from '../store/executions.js';
import {firstAcceptedAt} from '../protocol/execution.js';
import {noAnswer} from '../protocol/reply.js';
import {isTerminal} from '../protocol/states.js';
import {moveToDeadLetters} from '../store/dead-letters.js';
import {appendOnce} from '../store/outbox.js';
import {alarmFull} from './full-letters.js';
import {sweepDeadlines} from '../store/deadlines.js';
import {sweepTimers} from '../store/timers.js';
import {routableMembers} from '../store/routable.js';
import {replyFor} from '../store/replies.js';
import {consumersOf, dropConsumer, type ConsumerFacts} from '../store/recovery.js';
import {forgetGoneWorkers, takeSweepTurn} from '../store/gone-workers.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {entriesById} from '../store/queues.js';
import {carryOut} from './carry-out.js';
import {judgeWakeup, type CircuitRules} from './circuits.js';
import {FairSlots} from './fair-slots.js';
import {ProviderRunner, type ProviderRunOptions} from './provider-runner.js';
import type {Provider} from './provider.js';
import {traceWakeup} from './trace-wakeup.js';

/**
 * What a manager may do: `wakeups` carries them out, `pending` takes and releases pending deliveries, `sweeps` forgets
 * workers that are gone and ends what is past its deadline. Somewhere in a deployment each must be done.
 */
export const MANAGER_ROLES = ['wakeups', 'pending', 'sweeps'] as const;
export type ManagerRole = (typeof MANAGER_ROLES)[number];

/** Loops that are heard of: who reads the two streams, who releases, who looks at deadlines. Each at least once in a few seconds. */
export type ManagerBeat = 'wakeups' | 'pending' | 'releases' | 'sweeps';

const BEATS: Readonly<Record<ManagerRole, readonly ManagerBeat[]>> = {
  wakeups: ['wakeups'],
  pending: ['pending', 'releases'],
  sweeps: ['sweeps'],
};

/** The loops a manager with these roles has. */
export const beatsOf = (roles: readonly ManagerRole[]): ManagerBeat[] => roles.flatMap(role => BEATS[role]);

export interface ManagerOptions {
  readonly provider: Provider;
  /** How often the provider is asked for one wakeup, for how long, and when it is left alone. */
  readonly providerRun?: Omit<ProviderRunOptions, 'log'>;
  /** Milliseconds one wakeup stands for all requests of its type, user and region. Default, and at most, 30,000. */
  readonly dedupeTtlMs?: number;
  /** Default all. */
  readonly roles?: readonly ManagerRole[];
  /** Default: `manager-` and eight random hex digits. */
  readonly managerId?: string;
  /** Milliseconds a pending delivery may wait before it becomes a dead letter. Default 24 hours. */
  readonly pendingDeadlineMs?: number;
  /**
   * Milliseconds a silent manager keeps what it has begun, before another takes it up; a third of it passes between its
   * signs of life. Default 10,000: well within the time a caller waits.
   */
  readonly leaseMs?: number;
  /** When wakeups that fail in a row open the circuit of their agent type. Default: never. */
  readonly circuit?: CircuitRules;
  readonly log?: Logger;
  /** Told of each wakeup, as part of the trace of the command that asked for it. Whoever made it ends it. */
  readonly tracer?: Tracer;
  readonly now?: Clock;
  /**
   * Told about every wakeup as it ends: how many waited for it (`told`), and the id of its dead letter if it became one.
   */
  readonly onWakeup?: (
    request: WakeupRequest,
    decision: WakeupDecision,
    elapsedMs: number,
    told: number,
    deadLetterId?: string,
  ) => void;
  readonly onDelivery?: (
    delivery: PendingDelivery,
    outcome: 'released' | 'expired' | 'undeliverable',
  ) => void;
  /** Told each time Redis answered one of the loops: a manager that hears nothing is deaf. */
  readonly onBeat?: (beat: ManagerBeat) => void;
}

export interface ManagerHandle {
  readonly managerId: string;
  /** Wakeups and deliveries that are ours and not settled yet, those that wait for a slot among them. */
  readonly underWay: number;
  /**
   * Take nothing new, and wait for what is under way. What a provider has not answered after `drainMs` (default 0) is
   * left to another manager, or to the next start.
   */
  stop(options?: {readonly drainMs?: number}): Promise<void>;
}

const READ_BLOCK_MS = 1000;
/** How often agent types with pending deliveries are looked at. */
const SWEEP_EVERY_MS = 60_000;
const PENDING_POLL_MS = 200;
/** How often what nobody runs is looked at for its deadline; workers do so with their heartbeats. */
const DEADLINE_EVERY_MS = 1000;
const RELEASE_BATCH = 100;
/** Batches of one agent type before the others have their turn. */
const MAX_BATCHES = 10;
/** How often, and how many at a time, what is held back is looked through for executions that were ended meanwhile. */
const ENDED_EVERY_MS = 1000;
const ENDED_BATCH = 200;
/** Deliveries of which is remembered that somebody was asked for; those that are forgotten are found asked for in Redis. */
const MAX_ASKED = 10_000;
/** Entries of a stream handled at once: a wakeup may wait long for its provider. Agent types share them: fair-slots.ts. */
export const MAX_AT_ONCE = 256;
/** Wakeups that wait for their agent type's share; with so many nothing more is read. */
const MAX_PARKED = 10_000;
/** What became of an entry here; one that is parked stays ours. */
type Handled = 'over' | 'parked';

/** How long an entry that is handed over claims to have been left alone, in milliseconds: longer than any lease. */
const HANDED_OVER_MS = 3_600_000;
const LEASE_MS = 10_000;
/** Managers that were killed leave their names behind for this long. */
const FORGET_MANAGERS_MS = 3_600_000;

export async function startManager(store: Store, options: ManagerOptions): Promise<ManagerHandle> {
  const manager = new Manager(store, options);
  await manager.start();
  return manager;
}

class Manager implements ManagerHandle {
  readonly managerId: string;
  private readonly log: Logger;
  private readonly now: Clock;
  private readonly stopping = new AbortController();
  /** Providers are not waited for any longer. */
  private readonly letGo = new AbortController();
  private readonly work = new Set<Promise<void>>();
  /** Dead letters of failed wakeups that found no room, by the entry that waits for it: the provider is not asked again. */
  private readonly heldLetters = new Map<string, string>();
  private readonly leaseMs: number;
  private readonly runner: ProviderRunner;
  /** Entries that are ours and not settled yet, by {@link nameOf}. */
  private readonly held = new Map<string, ControlEntry>();
  /** What waits for a slot is known by its id alone: there may be thousands, and each may hold a large command. */
  private readonly slots = new FairSlots<ControlEntry>(MAX_AT_ONCE);
  /** Wakeups that we lead. */
  private readonly led = new Set<WakeupRequest>();
  /** How far each agent type's queue was looked through for what has ended. */
  private readonly lookedThrough = new Map<string, number>();
  private lookedAt = -Infinity;
  /** Deliveries for which a worker was asked for, once their time had come. */
  private readonly askedFor = new Set<string>();
  private loops: Promise<void>[] = [];
  private holding: Promise<void> = Promise.resolve();
  /** The signs of life that are being given now. */
  private holdRound: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: Store,
    private readonly options: ManagerOptions,
  ) {
    this.managerId = options.managerId ?? `manager-${newHexUuid().slice(0, 8)}`;
    this.log = (options.log ?? createLogger()).child({manager_id: this.managerId});
    this.now = options.now ?? systemClock;
    this.leaseMs = options.leaseMs ?? LEASE_MS;
    this.runner = new ProviderRunner(options.provider, {...options.providerRun, log: this.log});
  }

  async start(): Promise<void> {
    // Each wakeup listens until it ends, and so do the loops.
    setMaxListeners(4 * MAX_AT_ONCE, this.stopping.signal, this.letGo.signal);
    const {keys} = this.store;
    await ensureGroup(this.store, keys.wakeup(), MANAGER_GROUP);
    await ensureGroup(this.store, keys.deliveryPending(), MANAGER_GROUP);
    const loops: Readonly<Record<ManagerRole, () => Promise<void>[]>> = {
      wakeups: () => [this.readLoop('wakeups', keys.wakeup(), entry => this.handleWakeup(entry))],
      pending: () => [
        this.readLoop('pending', keys.deliveryPending(), entry => this.takeDelivery(entry)),
        this.releaseLoop(),
      ],
      sweeps: () => [this.sweepLoop(), this.deadlineLoop()],
    };
    const roles = new Set(this.options.roles ?? MANAGER_ROLES);
    this.loops = [...roles].flatMap(role => loops[role]());
    this.holding = this.holdLoop();
  }

  get underWay(): number {
    return this.work.size + this.slots.parked;
  }

  async stop({drainMs = 0}: {readonly drainMs?: number} = {}): Promise<void> {
    this.stopping.abort();
    await this.leaveToOthers(this.slots.leave());
    const over = new AbortController();
    await Promise.race([this.idle(), sleep(drainMs, over.signal)]);
    over.abort();
    this.letGo.abort();
    await this.idle();
    await this.holding;
    await this.leaveGroups(() => [this.managerId]);
    await this.runner.close();
  }

  /** Resolves once the loops have ended, and what they began. */
  private async idle(): Promise<void> {
    await Promise.allSettled(this.loops);
    await Promise.allSettled([...this.work]);
  }

  /** Take consumers out of the groups that managers share; one that still has entries stays. */
  private async leaveGroups(who: (consumers: readonly ConsumerFacts[]) => readonly string[]): Promise<void> {
    const {keys} = this.store;
    for (const stream of [keys.wakeup(), keys.deliveryPending()]) {
      try {
        for (const name of who(await consumersOf(this.store, stream, MANAGER_GROUP)))
          await dropConsumer(this.store, stream, MANAGER_GROUP, name);
      } catch (error) {
        this.log.warn('leaving the group of managers failed', {error: messageOf(error)});
      }
    }
  }

  /** Entries are handled beside each other: a slow provider must not hold up an unrelated agent type. */
  private async readLoop(
    name: 'wakeups' | 'pending',
    stream: string,
    handle: (entry: ControlEntry) => Promise<Handled>,
  ): Promise<void> {
    const connection = this.store.blocking(name, stream);
    const stop = () => void connection.unblock(this.store.commands).catch(() => connection.close());
    this.stopping.signal.addEventListener('abort', stop, {once: true});
    let failures = 0;
    let reclaimedAt = -Infinity;
    // Of this loop alone: hung wakeups must not keep pending deliveries from being taken.
    const jobs = new Set<Promise<void>>();
    const begin = (entry: ControlEntry) => {
      const job = this.run(entry, handle).finally(() => jobs.delete(job));
      jobs.add(job);
    };
    while (!this.stopping.signal.aborted) {
      try {
        if (performance.now() - reclaimedAt > this.leaseMs / 3) {
          reclaimedAt = performance.now();
          await this.reclaim(stream, begin);
        }
        if (this.slots.parked >= MAX_PARKED && name === 'wakeups') {
          await sleep(PENDING_POLL_MS, this.stopping.signal);
          continue;
        }
        const entries = await readNew(this.store, connection, {
          streams: [stream],
          group: MANAGER_GROUP,
          consumer: this.managerId,
          count: Math.max(1, MAX_AT_ONCE - jobs.size),
          blockMs: Math.min(READ_BLOCK_MS, this.leaseMs / 3),
        });
        failures = 0;
        this.options.onBeat?.(name);
        for (const entry of entries) begin(entry);
        if (jobs.size >= MAX_AT_ONCE) await Promise.race(jobs);
      } catch (error) {
        if (this.stopping.signal.aborted as boolean) break;
        failures++;
        this.log.warn(`reading ${name} failed`, {error: messageOf(error), failures});
        await sleep(backoffMs(failures, {baseMs: 100, maxMs: 2000}) + 50, this.stopping.signal);
      }
    }
    connection.close();
  }

  /** Take up what managers that are gone had begun. */
  private async reclaim(stream: string, begin: (entry: ControlEntry) => void): Promise<void> {
    let isMore = true;
    while (isMore && this.slots.parked < MAX_PARKED && !this.stopping.signal.aborted) {
      const claimed = await claimStale(this.store, stream, this.managerId, this.leaseMs);
      // One whose work went on while its sign of life came late was claimed from ourselves.
      const fresh = claimed.filter(entry => !this.held.has(nameOf(entry)));
      for (const entry of fresh) begin(entry);
      isMore = fresh.length > 0;
    }
  }

  private run(entry: ControlEntry, handle: (entry: ControlEntry) => Promise<Handled>): Promise<void> {
    const name = nameOf(entry);
    this.held.set(name, entry);
    const job = handle(entry)
      .then(outcome => {
        if (outcome !== 'parked') this.held.delete(name);
      })
      .catch((error: unknown) => {
        if (error instanceof ByError && error.code === 'DEAD_LETTERS_FULL') alarmFull(this.store, this.log);
        else this.log.error('left for later', {entry: entry.id, error: messageOf(error)});
        this.held.delete(name);
      })
      .finally(() => this.work.delete(job));
    this.work.add(job);
    return job;
  }

  /** A provider may take long: the entries it works for are kept from managers that would think us dead. */
  private async holdLoop(): Promise<void> {
    while (!this.letGo.signal.aborted) {
      await sleep(this.leaseMs / 3, this.letGo.signal);
      // What is under way then is handed over, and must not look as if we cared for it.
      if (this.letGo.signal.aborted as boolean) return;
      this.holdRound = this.hold();
      await this.holdRound;
    }
  }

  private async hold(): Promise<void> {
    try {
      await holdEntries(this.store, this.managerId, [...this.held.values()]);
      await Promise.all([...this.led].map(request => holdWakeup(this.store, request)));
    } catch (error) {
      this.log.warn('holding on to entries failed', {error: messageOf(error)});
    }
  }

  /** A wakeup waits until its agent type's share of the slots has room for it; its entry stays ours. */
  private async park(type: string, {stream, id}: ControlEntry): Promise<Handled> {
    const entry = {stream, id, data: undefined};
    // Nothing is begun any more.
    if (this.stopping.signal.aborted) {
      await this.leaveToOthers([entry]);
      return 'over';
    }
    this.held.set(nameOf(entry), entry);
    this.slots.park(type, entry);
    return 'parked';
  }

  private giveSlot(type: string): void {
    for (const {type: next, item} of this.slots.give(type))
      void this.run(item, () => this.unpark(next, item));
  }

  /** Its turn has come: it is read again, and what has become of it meanwhile is looked at as if it came now. */
  private async unpark(type: string, {stream, id}: ControlEntry): Promise<Handled> {
    try {
      const [entry] = await entriesById(this.store, stream, [id]);
      return entry === undefined ? 'over' : await this.handleWakeup(entry, true);
    } finally {
      this.giveSlot(type);
    }
  }

  /** Whoever is there takes them at once. */
  private async leaveToOthers(entries: readonly ControlEntry[]): Promise<void> {
    for (const entry of entries) this.held.delete(nameOf(entry));
    // They must not look as if we cared for them.
    await this.holdRound;
    try {
      await handOver(this.store, this.managerId, entries, HANDED_OVER_MS);
    } catch (error) {
      // They are taken up all the same, once we have been silent for long enough.
      this.log.warn('handing over failed', {entries: entries.length, error: messageOf(error)});
    }
  }

  private async handleWakeup(entry: ControlEntry, hasSlot = false): Promise<Handled> {
    const held = this.heldLetters.get(entry.id);
    if (held !== undefined) {
      await this.keepFailedWakeup(entry, held);
      return 'over';
    }
    let request: WakeupRequest;
    try {
      request = readWakeupRequest(requireData(entry.data));
      for (const id of [request.executionId, request.targetAgentType]) {
        if (!isValidId(id)) throw new TypeError(`"${id.slice(0, 80)}" can not be an id`);
      }
      for (const part of [request.userCode, request.region]) {
        if (part !== '' && !isValidId(part))
          throw new TypeError(`"${part.slice(0, 80)}" can not be part of a key`);
      }
    } catch (error) {
      await this.quarantine(entry, 'wakeup', messageOf(error));
      return 'over';
    }
    const {role, remainingMs} = await joinWakeup(this.store, request, {
      ...patienceOf(request, entry),
      ...(this.options.dedupeTtlMs === undefined ? {} : {dedupeTtlMs: this.options.dedupeTtlMs}),
    });
    if (role !== 'lead') {
      await settleMany(this.store, MANAGER_GROUP, entry.stream, [entry.id], true);
      return 'over';
    }
    const type = request.targetAgentType;
    if (!hasSlot && !this.slots.take(type)) return this.park(type, entry);
    try {
      await this.leadToEnd(entry, request, remainingMs);
    } finally {
      // One that waited gives its slot back where it was given.
      if (!hasSlot) this.giveSlot(type);
    }
    return 'over';
  }

  /** Carry a wakeup out, tell everybody, and settle its entry. */
  private async leadToEnd(entry: ControlEntry, request: WakeupRequest, remainingMs: number): Promise<void> {
    const startedAt = this.now();
    const decision = await this.lead(request, remainingMs);
    if (decision === undefined) {
      await handOver(this.store, this.managerId, [entry], HANDED_OVER_MS);
      return;
    }
    const told = await decideWakeup(this.store, request, decision, true);
    await this.judge(decision);
    const endedAt = this.now();
    const elapsedMs = endedAt - startedAt;
    traceWakeup(this.options.tracer, {
      ...{request, decision, told, managerId: this.managerId, startTs: startedAt, endTs: endedAt},
    });
    this.log.info('wakeup', {
      agent_type: request.targetAgentType,
      execution_id: request.executionId,
      decision: decision.status,
      reason: decision.reason,
      duration_ms: elapsedMs,
    });
    // With WAKE_AND_QUEUE the command waits in the pending queue, so nothing is lost with the wakeup; and of one that
    // nobody waited for any more, its sender was told long ago.
    const isLost = decision.status === 'FAILED' && request.policy !== 'WAKE_AND_QUEUE' && remainingMs > 0;
    let letterId: string | undefined;
    try {
      if (isLost) letterId = await this.keepFailedWakeup(entry, this.failedWakeup(entry, request, decision));
    } finally {
      this.options.onWakeup?.(request, decision, elapsedMs, told, letterId);
    }
    if (!isLost) await settleMany(this.store, MANAGER_GROUP, entry.stream, [entry.id], true);
  }

  /** @returns undefined if we stop before it is decided. */
  private async lead(request: WakeupRequest, remainingMs: number): Promise<WakeupDecision | undefined> {
    this.led.add(request);
    try {
      return await carryOut({
        ...{store: this.store, provider: this.runner, request, remainingMs},
        signal: this.letGo.signal,
        onProgress: decision => decideWakeup(this.store, request, decision, false),
      });
    } finally {
      this.led.delete(request);
    }
  }

  private async judge(decision: WakeupDecision): Promise<void> {
    if (this.options.circuit === undefined) return;
    try {
      const openedMs = await judgeWakeup(this.store, decision, this.options.circuit);
      if (openedMs !== undefined)
        this.log.warn('circuit opened', {agent_type: decision.targetAgentType, open_ms: openedMs});
    } catch (error) {
      // The waiters were told; a failure that was not counted is one less.
      this.log.warn('counting a wakeup failed', {error: messageOf(error)});
    }
  }

  /** The dead letter of a wakeup, written with its acknowledgement: one without the other is lost or doubled. */
  private async keepFailedWakeup(entry: ControlEntry, letter: string): Promise<string> {
    try {
      const id = await moveToDeadLetters(this.store, MANAGER_GROUP, entry, letter);
      this.heldLetters.delete(entry.id);
      return id;
    } catch (error) {
      if (error instanceof ByError && error.code === 'DEAD_LETTERS_FULL')
        this.heldLetters.set(entry.id, letter);
      throw error;
    }
  }

  private failedWakeup(entry: ControlEntry, request: WakeupRequest, failed: WakeupDecision): string {
    return encodeDeadLetter(
      newDeadLetter({
        source: 'wakeup',
        reason: failed.reason,
        executionId: request.executionId,
        targetAgentType: request.targetAgentType,
        region: request.region,
        commandPayload: request.commandPayload,
        deliveryStream: this.store.keys.ctrlStream(request.targetAgentType),
        attempts: [{workerId: this.managerId, error: failed.reason, at: this.now()}],
        firstFailedAt: this.now(),
        firstAcceptedAt: entryTimeMs(entry.id),
        xStream: entry.stream,
        xEntryId: entry.id,
      }),
    );
  }

  private async takeDelivery(entry: ControlEntry): Promise<Handled> {
    let delivery: PendingDelivery;
    try {
      delivery = readDelivery(requireData(entry.data));
    } catch (error) {
      await this.quarantine(entry, 'pending', `undeliverable: ${messageOf(error)}`);
      return 'over';
    }
    await takePending(this.store, {
      entryId: entry.id,
      document: entry.data?.toString('utf8') ?? '',
      score: pendingScore(delivery.priority, entry.id),
      agentType: delivery.targetAgentType,
    });
    return 'over';
  }

  private async quarantine(entry: ControlEntry, source: DeadLetterSource, reason: string): Promise<void> {
    const letter = unreadableLetter(entry, {source, reason, now: this.now(), workerId: this.managerId});
    const id = await moveToDeadLetters(this.store, MANAGER_GROUP, entry, letter);
    this.log.warn('unreadable entry moved to the dead letters', {entry: entry.id, dead_letter: id, reason});
  }

  private async releaseLoop(): Promise<void> {
    let failures = 0;
    while (!this.stopping.signal.aborted) {
      let isMore = false;
      try {
        const types = await pendingTypes(this.store);
        // Ages are by the clock that gave the entries their ids.
        const now = types.length === 0 ? 0 : await serverTimeMs(this.store);
        // One type that can not be released must not keep the others from it.
        const ends = await Promise.allSettled(types.map(agentType => this.releaseType(agentType, now)));
        isMore = ends.some(end => end.status === 'fulfilled' && end.value);
        const looked = await this.lookThroughNowAndThen(types, now);
        for (const end of [...ends, ...looked]) if (end.status === 'rejected') throw end.reason as Error;
        failures = 0;
        this.options.onBeat?.('releases');
      } catch (error) {
        failures++;
        this.log.warn('releasing pending deliveries failed', {error: messageOf(error), failures});
        await sleep(backoffMs(failures, {baseMs: 100, maxMs: 2000}), this.stopping.signal);
      }
      if (!isMore) await sleep(PENDING_POLL_MS, this.stopping.signal);
    }
  }

  private async sweepLoop(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        if (await takeSweepTurn(this.store)) {
          for (const workerId of await forgetGoneWorkers(this.store))
            this.log.info('forgot a worker that has been gone for a day', {worker_id: workerId});
          // One that is alive is put there again by its next entry.
          await this.leaveGroups(all =>
            all.filter(one => one.idleMs > FORGET_MANAGERS_MS).map(one => one.name),
          );
        }
      } catch (error) {
        this.log.warn('sweeping failed', {error: messageOf(error)});
      }
      await sleep(SWEEP_EVERY_MS, this.stopping.signal);
    }
  }

  private async deadlineLoop(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        await sweepDeadlines(this.store, this.now());
        await sweepTimers(this.store);
        this.options.onBeat?.('sweeps');
      } catch (error) {
        this.log.warn('looking at deadlines failed', {error: messageOf(error)});
      }
      await sleep(DEADLINE_EVERY_MS, this.stopping.signal);
    }
  }

  /** @returns whether there may be more to do at once. */
  private async releaseType(agentType: string, now: number): Promise<boolean> {
    if ((await this.expireOld(agentType, now)) === 'full') return false;
    const stream = this.store.keys.ctrlStream(agentType);
    // Batch after batch, best first: each is out of the queue before the next is looked at, whoever else does the same.
    for (let batches = 0; batches < MAX_BATCHES; batches++) {
      if (!(await routableMembers(this.store, agentType)).online) return false;
      const batch = await nextPending(this.store, agentType, RELEASE_BATCH);
      for (const held of batch) {
        if (this.stopping.signal.aborted) return false;
        const delivery = await this.readHeld(agentType, held);
        if (delivery === 'full') return false;
        if (delivery === 'put aside') continue;
        const outcome = await releasePending(this.store, {
          ...targetOf(agentType, held, delivery),
          // The stream comes from the agent type, never from the entry (G10).
          write: {stream, document: JSON.stringify(delivery.commandPayload)},
          patch: {stream_name: stream, updated_at: this.now()},
        });
        if (outcome === 'released') {
          this.log.info('delivered', {agent_type: agentType, execution_id: delivery.executionId});
          this.options.onDelivery?.(delivery, 'released');
        }
      }
      if (batch.length < RELEASE_BATCH) return false;
    }
    return true;
  }

  /** @returns 'put aside' for one that is no delivery, 'full' if there is no room for it among the dead letters. */
  private async readHeld(
    agentType: string,
    {entryId, document}: HeldDelivery,
  ): Promise<PendingDelivery | 'put aside' | 'full'> {
    if (document === null) {
      await releasePending(this.store, {agentType, entryId, sessionId: '_', executionId: ''});
      return 'put aside';
    }
    const delivery = readTaken(document);
    if (delivery !== 'unreadable') return delivery;
    return (await this.dropUnreadable(agentType, entryId, document)) === 'full' ? 'full' : 'put aside';
  }

  /** Whatever goes first: those of small priority would never have their turn to be looked at. */
  private async expireOld(agentType: string, now: number): Promise<'done' | 'full'> {
    const before = now - (this.options.pendingDeadlineMs ?? 86_400_000);
    for (;;) {
      const batch = await expiredPending(this.store, agentType, before, RELEASE_BATCH);
      for (const held of batch) {
        if (this.stopping.signal.aborted) return 'done';
        const delivery = await this.readHeld(agentType, held);
        if (delivery === 'put aside') continue;
        // While there is no room for one, there is none for the others.
        if (delivery === 'full') return 'full';
        if ((await this.expire(targetOf(agentType, held, delivery), delivery)) === 'full') return 'full';
      }
      if (batch.length < RELEASE_BATCH) return 'done';
    }
  }

  private async lookThroughNowAndThen(
    types: readonly string[],
    now: number,
  ): Promise<PromiseSettledResult<void>[]> {
    if (performance.now() - this.lookedAt < ENDED_EVERY_MS) return [];
    this.lookedAt = performance.now();
    return Promise.allSettled(types.map(agentType => this.lookThrough(agentType, now)));
  }

  /**
   * Take out what was cancelled or has ended otherwise, for whoever counts what is held back; and ask for a worker for what
   * waited for one to recover who did not.
   */
  private async lookThrough(agentType: string, now: number): Promise<void> {
    const from = this.lookedThrough.get(agentType) ?? 0;
    const batch = await nextPending(this.store, agentType, ENDED_BATCH, from);
    let dropped = 0;
    const due: {readonly entryId: string; readonly delivery: PendingDelivery}[] = [];
    await Promise.all(
      batch.map(async held => {
        const delivery = held.document === null ? 'unreadable' : readTaken(held.document);
        if (delivery === 'unreadable' || delivery.executionId === '') return;
        const record = await findExecution(this.store, delivery.sessionId, delivery.executionId);
        if (record === undefined || !isTerminal(record.status)) {
          const {notBefore = Infinity, wakeMs} = timesOf(delivery);
          if (wakeMs !== undefined && notBefore <= now && !this.askedFor.has(held.entryId))
            due.push({entryId: held.entryId, delivery});
          return;
        }
        await releasePending(this.store, targetOf(agentType, held, delivery));
        dropped++;
      }),
    );
    if (batch.length < ENDED_BATCH) this.lookedThrough.delete(agentType);
    else this.lookedThrough.set(agentType, from + batch.length - dropped);
    await this.askFor(agentType, due);
  }

  /** Once for each, whoever else looks; not where those who are there only have to recover, later than was said. */
  private async askFor(
    agentType: string,
    due: readonly {readonly entryId: string; readonly delivery: PendingDelivery}[],
  ): Promise<void> {
    if (due.length === 0) return;
    const {online, exhausted} = await routableMembers(this.store, agentType);
    if (online || exhausted?.offline === 0) return;
    if (this.askedFor.size > MAX_ASKED) this.askedFor.clear();
    for (const {entryId, delivery} of due) {
      const document = encodeWakeupRequest(wakeupFor(agentType, delivery));
      await appendOnce(this.store, {stream: this.store.keys.wakeup(), document}, `not-before:${entryId}`);
      this.askedFor.add(entryId);
    }
  }

  private async dropUnreadable(agentType: string, entryId: string, document: string) {
    const {keys} = this.store;
    const entry = {stream: keys.pendingQueue(agentType), id: entryId, data: Buffer.from(document)};
    const reason = 'undeliverable: its document was changed';
    const letter = unreadableLetter(entry, {
      ...{source: 'pending' as const, reason, now: this.now(), workerId: this.managerId, agentType},
    });
    const write = {stream: keys.deadletter(), document: letter};
    const outcome = await releasePending(this.store, {
      ...{agentType, entryId, write, sessionId: '_', executionId: ''},
    });
    if (outcome === 'full') alarmFull(this.store, this.log);
    return outcome;
  }

  private async expire(
    target: {agentType: string; entryId: string; sessionId: string; executionId: string},
    delivery: PendingDelivery,
  ): Promise<'done' | 'full'> {
    const reason = 'nobody came online before the deadline';
    const {sessionId, executionId, entryId} = target;
    const record = isValidId(sessionId) ? await findExecution(this.store, sessionId, executionId) : undefined;
    const letter = newDeadLetter({
      source: 'pending',
      reason,
      executionId: delivery.executionId,
      targetAgentType: target.agentType,
      region: delivery.region,
      commandPayload: delivery.commandPayload,
      deliveryStream: this.store.keys.ctrlStream(target.agentType),
      attempts: [{workerId: this.managerId, error: reason, at: this.now()}],
      firstFailedAt: this.now(),
      firstAcceptedAt: firstAcceptedAt(record, entryTimeMs(entryId)),
      xStream: this.store.keys.deliveryPending(),
      xEntryId: entryId,
    });
    const reply = record && (await replyFor(this.store, record, noAnswer('FAILED', {error: reason})));
    const outcome = await releasePending(this.store, {
      ...target,
      ...(reply ? {reply} : {}),
      write: {stream: this.store.keys.deadletter(), document: encodeDeadLetter(letter)},
      patch: {
        status: 'FAILED',
        error_code: 'DELIVERY_EXPIRED',
        error_message: reason,
        failed_stage: 'availability',
        finished_at: this.now(),
        updated_at: this.now(),
      },
    });
    if (outcome === 'full') alarmFull(this.store, this.log);
    if (outcome === 'released') this.options.onDelivery?.(delivery, 'expired');
    return outcome === 'full' ? 'full' : 'done';
  }
}

/** @throws for what can not be delivered, with the reason. */
function readDelivery(document: string | Uint8Array): PendingDelivery {
  const delivery = readPendingDelivery(document);
  if (!isValidId(delivery.targetAgentType)) throw new TypeError('it names no agent type');
  if (!isValidId(delivery.sessionId)) throw new TypeError('it names no session');
  if (delivery.executionId !== '' && !isValidId(delivery.executionId))
    throw new TypeError('its execution id can not be an id');
  if (!isDeliverable(delivery)) throw new TypeError('it holds no command');
  return delivery;
}

/** What was taken into the queue could be read then; what has become of it since must not hold up the others. */
function readTaken(document: string): PendingDelivery | 'unreadable' {
  try {
    return readDelivery(document);
  } catch {
    return 'unreadable';
  }
}

/** As its sender would have asked, had there been nobody to wait for. */
const wakeupFor = (agentType: string, delivery: PendingDelivery): WakeupRequest => ({
  ...{executionId: delivery.executionId, messageId: delivery.messageId, targetAgentType: agentType},
  ...{sessionId: delivery.sessionId, traceId: delivery.traceId, source: 'client', policy: 'WAKE_AND_QUEUE'},
  timeoutMs: timesOf(delivery).wakeMs ?? 0,
  ...{userCode: delivery.userCode, region: delivery.region, priority: delivery.priority},
  ...{metadata: {}, commandPayload: delivery.commandPayload},
});

const nameOf = ({stream, id}: ControlEntry): string => `${stream}/${id}`;

const targetOf = (agentType: string, {entryId}: HeldDelivery, delivery: PendingDelivery) => ({
  agentType,
  entryId,
  sessionId: delivery.sessionId,
  executionId: delivery.executionId,
});

/**
 * Who waits does so from the moment it asked. A command in the pending queue waits for somebody however long ago it was
 * put there, and a caller that gives no time leaves it to us: for these, the time begins now.
 */
function patienceOf(
  {policy, timeoutMs}: WakeupRequest,
  {id}: ControlEntry,
): {readonly sinceMs?: number; readonly timeoutMs?: number} {
  if (timeoutMs <= 0) return {};
  return policy === 'WAKE_AND_QUEUE' ? {timeoutMs} : {sinceMs: entryTimeMs(id), timeoutMs};
}
