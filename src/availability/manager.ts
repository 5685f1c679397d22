/**
 * The manager: carries out wakeups and releases pending deliveries. Everything it does is claimed from a consumer
 * group, acknowledged after its effect, and may be repeated, so any number of managers run at once.
 */
import {setMaxListeners} from 'node:events';
import {backoffMs} from '../backoff.js';
import {sleep, systemClock, type Clock} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {isValidId, newHexUuid} from '../ids.js';
import {createLogger, type Logger} from '../log.js';
import {encodeDeadLetter, entryTimeMs, newDeadLetter, type DeadLetterSource} from '../protocol/deadletter.js';
import {isDeliverable, readPendingDelivery, type PendingDelivery} from '../protocol/delivery.js';
import {requireData} from '../protocol/limits.js';
import {unreadableLetter} from '../protocol/unreadable.js';
import {readWakeupRequest, type WakeupDecision, type WakeupRequest} from '../protocol/wakeup.js';
import {
  claimStale,
  decideWakeup,
  holdEntries,
  joinWakeup,
  MANAGER_GROUP,
  nextPending,
  pendingTypes,
  releasePending,
  takePending,
} from '../store/control-plane.js';
import {ensureGroup, readNew, settleMany, type ControlEntry} from '../store/control-streams.js';
import {findExecution} from '../store/executions.js';
import {firstAcceptedAt} from '../protocol/execution.js';
import {moveToDeadLetters} from '../store/dead-letters.js';
import {alarmFull} from './full-letters.js';
import {sweepDeadlines} from '../store/deadlines.js';
import {onlineMembers} from '../store/presence.js';
import {consumersOf, dropConsumer, type ConsumerFacts} from '../store/recovery.js';
import {forgetGoneWorkers, takeSweepTurn} from '../store/gone-workers.js';
import {serverTimeMs, type Store} from '../store/store.js';
import type {Provider, ProviderDecision} from './provider.js';

/**
 * What a manager may do: `wakeups` carries them out, `pending` takes and releases pending deliveries, `sweeps` forgets
 * workers that are gone and ends what is past its deadline. Somewhere in a deployment each must be done.
 */
export const MANAGER_ROLES = ['wakeups', 'pending', 'sweeps'] as const;
export type ManagerRole = (typeof MANAGER_ROLES)[number];

/** Loops that are heard of: who reads the two streams, who releases, who looks at deadlines. Each at least once in a few seconds. */
export type ManagerBeat = 'wakeups' | 'pending' | 'releases' | 'sweeps';

export interface ManagerOptions {
  readonly provider: Provider;
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
  readonly log?: Logger;
  readonly now?: Clock;
  /** Told about every wakeup as it ends; `told` is how many waited for it. */
  readonly onWakeup?: (
    request: WakeupRequest,
    decision: WakeupDecision,
    elapsedMs: number,
    told: number,
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
  /** Wakeups and deliveries that are ours and not settled yet. */
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
/** Wakeups at once: each may wait long for its provider. */
export const MAX_WAKEUPS = 64;
/** No provider gets longer, whatever the caller would wait: wakeups that hang would keep everybody else out. */
const MAX_WAKEUP_MS = 600_000;
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
  /** Entries that are ours and not settled yet. */
  private readonly held = new Set<ControlEntry>();
  private loops: Promise<void>[] = [];
  private holding: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: Store,
    private readonly options: ManagerOptions,
  ) {
    this.managerId = options.managerId ?? `manager-${newHexUuid().slice(0, 8)}`;
    this.log = (options.log ?? createLogger()).child({manager_id: this.managerId});
    this.now = options.now ?? systemClock;
    this.leaseMs = options.leaseMs ?? LEASE_MS;
  }

  async start(): Promise<void> {
    // Each wakeup listens until it ends, and so do the loops.
    setMaxListeners(2 * MAX_WAKEUPS, this.stopping.signal, this.letGo.signal);
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
    return this.work.size;
  }

  async stop({drainMs = 0}: {readonly drainMs?: number} = {}): Promise<void> {
    this.stopping.abort();
    const over = new AbortController();
    await Promise.race([this.idle(), sleep(drainMs, over.signal)]);
    over.abort();
    this.letGo.abort();
    await this.idle();
    await this.holding;
    await this.leaveGroups(() => [this.managerId]);
    await this.options.provider.close?.();
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
    handle: (entry: ControlEntry) => Promise<void>,
  ): Promise<void> {
    const connection = this.store.blocking(name, stream);
    const stop = () => void connection.unblock(this.store.commands).catch(() => connection.close());
    this.stopping.signal.addEventListener('abort', stop, {once: true});
    let failures = 0;
    let reclaimedAt = -Infinity;
    while (!this.stopping.signal.aborted) {
      try {
        if (performance.now() - reclaimedAt > this.leaseMs / 3) {
          reclaimedAt = performance.now();
          for (const entry of await claimStale(this.store, stream, this.managerId, this.leaseMs))
            this.run(entry, handle);
        }
        const entries = await readNew(this.store, connection, {
          streams: [stream],
          group: MANAGER_GROUP,
          consumer: this.managerId,
          count: Math.max(1, MAX_WAKEUPS - this.work.size),
          blockMs: Math.min(READ_BLOCK_MS, this.leaseMs / 3),
        });
        failures = 0;
        this.options.onBeat?.(name);
        for (const entry of entries) this.run(entry, handle);
        if (this.work.size >= MAX_WAKEUPS) await Promise.race(this.work);
      } catch (error) {
        if (this.stopping.signal.aborted as boolean) break;
        failures++;
        this.log.warn(`reading ${name} failed`, {error: messageOf(error), failures});
        await sleep(backoffMs(failures, {baseMs: 100, maxMs: 2000}) + 50, this.stopping.signal);
      }
    }
    connection.close();
  }

  private run(entry: ControlEntry, handle: (entry: ControlEntry) => Promise<void>): void {
    this.held.add(entry);
    const job = handle(entry)
      .catch((error: unknown) => {
        if (error instanceof ByError && error.code === 'DEAD_LETTERS_FULL') alarmFull(this.store, this.log);
        else this.log.error('left for later', {entry: entry.id, error: messageOf(error)});
      })
      .finally(() => {
        this.work.delete(job);
        this.held.delete(entry);
      });
    this.work.add(job);
  }

  /** A provider may take long: the entries it works for are kept from managers that would think us dead. */
  private async holdLoop(): Promise<void> {
    while (!this.letGo.signal.aborted) {
      await sleep(this.leaseMs / 3, this.letGo.signal);
      try {
        await holdEntries(this.store, this.managerId, [...this.held]);
      } catch (error) {
        this.log.warn('holding on to entries failed', {error: messageOf(error)});
      }
    }
  }

  private async handleWakeup(entry: ControlEntry): Promise<void> {
    const held = this.heldLetters.get(entry.id);
    if (held !== undefined) {
      await this.keepFailedWakeup(entry, held);
      return;
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
      return;
    }
    const startedAt = this.now();
    if ((await joinWakeup(this.store, request, startedAt)) === 'lead') {
      const decision = await this.carryOut(request);
      // Our end is no answer: another manager takes it up and asks again.
      if (decision.status === 'FAILED' && this.letGo.signal.aborted) return;
      const told = await decideWakeup(this.store, request, decision, true);
      const elapsedMs = this.now() - startedAt;
      this.log.info('wakeup', {
        agent_type: request.targetAgentType,
        execution_id: request.executionId,
        decision: decision.status,
        reason: decision.reason,
        duration_ms: elapsedMs,
      });
      this.options.onWakeup?.(request, decision, elapsedMs, told);
      // With WAKE_AND_QUEUE the command waits in the pending queue, so nothing is lost with the wakeup.
      if (decision.status === 'FAILED' && request.policy !== 'WAKE_AND_QUEUE') {
        await this.keepFailedWakeup(entry, this.failedWakeup(entry, request, decision));
        return;
      }
    }
    await settleMany(this.store, MANAGER_GROUP, entry.stream, [entry.id], true);
  }

  /** Ask the provider, whatever it does: throw, hang, or answer nonsense. */
  private async carryOut(request: WakeupRequest): Promise<WakeupDecision> {
    const isOnline = async () => (await onlineMembers(this.store, request.targetAgentType)).online;
    if (await isOnline()) return decision(request, {status: 'READY', reason: 'already online'});
    if (this.letGo.signal.aborted) return decision(request, {status: 'FAILED', reason: 'the manager stops'});
    const deadline = new AbortController();
    const stop = () => deadline.abort();
    const timer = setTimeout(stop, Math.max(1, Math.min(request.timeoutMs, MAX_WAKEUP_MS)));
    this.letGo.signal.addEventListener('abort', stop, {once: true});
    try {
      const late = new Promise<ProviderDecision>(resolve => {
        deadline.signal.addEventListener(
          'abort',
          () => resolve({status: 'FAILED', reason: 'the provider did not answer in time'}),
          {once: true},
        );
      });
      const answer = this.options.provider.wakeup(request, {signal: deadline.signal, isOnline});
      return decision(request, await Promise.race([answer, late]));
    } catch (error) {
      return decision(request, {
        status: 'FAILED',
        reason: `the provider threw: ${messageOf(error)}`.slice(0, 1000),
      });
    } finally {
      clearTimeout(timer);
      this.letGo.signal.removeEventListener('abort', stop);
    }
  }

  /** The dead letter of a wakeup, written with its acknowledgement: one without the other is lost or doubled. */
  private async keepFailedWakeup(entry: ControlEntry, letter: string): Promise<void> {
    try {
      await moveToDeadLetters(this.store, MANAGER_GROUP, entry, letter);
      this.heldLetters.delete(entry.id);
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

  private async takeDelivery(entry: ControlEntry): Promise<void> {
    let delivery: PendingDelivery;
    try {
      delivery = readPendingDelivery(requireData(entry.data));
      if (!isValidId(delivery.targetAgentType)) throw new TypeError('it names no agent type');
      if (!isValidId(delivery.sessionId)) throw new TypeError('it names no session');
      if (delivery.executionId !== '' && !isValidId(delivery.executionId))
        throw new TypeError('its execution id can not be an id');
      if (!isDeliverable(delivery)) throw new TypeError('it holds no command');
    } catch (error) {
      await this.quarantine(entry, 'pending', `undeliverable: ${messageOf(error)}`);
      return;
    }
    await takePending(this.store, {
      entryId: entry.id,
      document: entry.data?.toString('utf8') ?? '',
      score: pendingScore(delivery.priority, entry.id),
      agentType: delivery.targetAgentType,
    });
  }

  private async quarantine(entry: ControlEntry, source: DeadLetterSource, reason: string): Promise<void> {
    const letter = unreadableLetter(entry, {source, reason, now: this.now(), workerId: this.managerId});
    const id = await moveToDeadLetters(this.store, MANAGER_GROUP, entry, letter);
    this.log.warn('unreadable entry moved to the dead letters', {entry: entry.id, dead_letter: id, reason});
  }

  private async releaseLoop(): Promise<void> {
    let failures = 0;
    while (!this.stopping.signal.aborted) {
      try {
        const types = await pendingTypes(this.store);
        // Ages are by the clock that gave the entries their ids.
        const now = types.length === 0 ? 0 : await serverTimeMs(this.store);
        // One type that can not be released must not keep the others from it.
        const ends = await Promise.allSettled(types.map(agentType => this.releaseType(agentType, now)));
        for (const end of ends) if (end.status === 'rejected') throw end.reason as Error;
        failures = 0;
        this.options.onBeat?.('releases');
      } catch (error) {
        failures++;
        this.log.warn('releasing pending deliveries failed', {error: messageOf(error), failures});
        await sleep(backoffMs(failures, {baseMs: 100, maxMs: 2000}), this.stopping.signal);
      }
      await sleep(PENDING_POLL_MS, this.stopping.signal);
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
        this.options.onBeat?.('sweeps');
      } catch (error) {
        this.log.warn('looking at deadlines failed', {error: messageOf(error)});
      }
      await sleep(DEADLINE_EVERY_MS, this.stopping.signal);
    }
  }

  private async releaseType(agentType: string, now: number): Promise<void> {
    const {online} = await onlineMembers(this.store, agentType);
    for (const {entryId, document} of await nextPending(this.store, agentType, RELEASE_BATCH)) {
      if (this.stopping.signal.aborted) return;
      const delivery = document === null ? undefined : readTaken(document);
      if (delivery === 'unreadable') {
        await this.dropUnreadable(agentType, entryId, document ?? '');
        continue;
      }
      const expired = now - entryTimeMs(entryId) > (this.options.pendingDeadlineMs ?? 86_400_000);
      if (!online && !expired && delivery !== undefined) continue;
      const target = {
        agentType,
        entryId,
        sessionId: delivery?.sessionId ?? '_',
        executionId: delivery?.executionId ?? '',
      };
      if (delivery === undefined) {
        await releasePending(this.store, target);
      } else if (expired) {
        // While there is no room for one, there is none for the others.
        if ((await this.expire(target, delivery)) === 'full') return;
      } else {
        // The stream comes from the agent type, never from the entry (G10).
        const stream = this.store.keys.ctrlStream(agentType);
        const outcome = await releasePending(this.store, {
          ...target,
          write: {stream, document: JSON.stringify(delivery.commandPayload)},
          patch: {stream_name: stream, updated_at: this.now()},
        });
        if (outcome === 'released') {
          this.log.info('delivered', {agent_type: agentType, execution_id: delivery.executionId});
          this.options.onDelivery?.(delivery, 'released');
        }
      }
    }
  }

  private async dropUnreadable(agentType: string, entryId: string, document: string): Promise<void> {
    const {keys} = this.store;
    const entry = {stream: keys.pendingQueue(agentType), id: entryId, data: Buffer.from(document)};
    const reason = 'undeliverable: its document was changed';
    const letter = unreadableLetter(entry, {
      ...{source: 'pending' as const, reason, now: this.now(), workerId: this.managerId, agentType},
    });
    const write = {stream: keys.deadletter(), document: letter};
    await releasePending(this.store, {agentType, entryId, write, sessionId: '_', executionId: ''});
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
    const outcome = await releasePending(this.store, {
      ...target,
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

/** What was taken into the queue could be read then; what has become of it since must not hold up the others. */
function readTaken(document: string): PendingDelivery | 'unreadable' {
  try {
    return readPendingDelivery(document);
  } catch {
    return 'unreadable';
  }
}

/** Higher priority first, then the older: milliseconds fit thirteen digits, so a priority step outweighs any age. */
export function pendingScore(priority: number, entryId: string): number {
  const clamped = Math.max(-100, Math.min(100, Math.trunc(priority)));
  return -clamped * 1e13 + entryTimeMs(entryId);
}

/** A provider's answer in the form of the wire. */
function decision(request: WakeupRequest, answer: ProviderDecision): WakeupDecision {
  return {
    executionId: request.executionId,
    targetAgentType: request.targetAgentType,
    status: answer.status,
    selectedAgentType: answer.status === 'FALLBACK' ? answer.agentType : '',
    workerIds: answer.status === 'READY' ? [...(answer.workerIds ?? [])] : [],
    region: request.region,
    retryAfterMs: 'retryAfterMs' in answer ? (answer.retryAfterMs ?? null) : null,
    reason: 'reason' in answer ? (answer.reason ?? '') : '',
  };
}
