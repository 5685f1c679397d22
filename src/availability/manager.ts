/**
 * The manager: carries out wakeups and releases pending deliveries. Everything it does is claimed from a consumer
 * group, acknowledged after its effect, and may be repeated, so any number of managers run at once.
 */
import {backoffMs} from '../backoff.js';
import {sleep, systemClock, type Clock} from '../clock.js';
import {messageOf} from '../errors.js';
import {isValidId, newHexUuid} from '../ids.js';
import {createLogger, type Logger} from '../log.js';
import {
  encodeDeadLetter,
  newDeadLetter,
  preserveBytes,
  type DeadLetterSource,
} from '../protocol/deadletter.js';
import {isDeliverable, readPendingDelivery, type PendingDelivery} from '../protocol/delivery.js';
import {readWakeupRequest, type WakeupDecision, type WakeupRequest} from '../protocol/wakeup.js';
import {
  claimStale,
  decideWakeup,
  joinWakeup,
  MANAGER_GROUP,
  nextPending,
  pendingTypes,
  releasePending,
  takePending,
} from '../store/control-plane.js';
import {ensureGroup, readNew, settleMany, type ControlEntry} from '../store/control-streams.js';
import {addDeadLetter, moveToDeadLetters} from '../store/dead-letters.js';
import {sweepDeadlines} from '../store/deadlines.js';
import {onlineMembers} from '../store/presence.js';
import {forgetGoneWorkers, takeSweepTurn} from '../store/gone-workers.js';
import {serverTimeMs, type Store} from '../store/store.js';
import type {Provider, ProviderDecision} from './provider.js';

export interface ManagerOptions {
  readonly provider: Provider;
  /** Default: `manager-` and eight random hex digits. */
  readonly managerId?: string;
  /** Milliseconds a pending delivery may wait before it becomes a dead letter. Default 24 hours. */
  readonly pendingDeadlineMs?: number;
  readonly log?: Logger;
  readonly now?: Clock;
  /** Told about every wakeup as it ends. */
  readonly onWakeup?: (request: WakeupRequest, decision: WakeupDecision, elapsedMs: number) => void;
  readonly onDelivery?: (
    delivery: PendingDelivery,
    outcome: 'released' | 'expired' | 'undeliverable',
  ) => void;
}

export interface ManagerHandle {
  readonly managerId: string;
  stop(): Promise<void>;
}

const READ_BLOCK_MS = 1000;
/** How often agent types with pending deliveries are looked at. */
const SWEEP_EVERY_MS = 60_000;
const PENDING_POLL_MS = 200;
/** How often what nobody runs is looked at for its deadline; workers do so with their heartbeats. */
const DEADLINE_EVERY_MS = 1000;
const RELEASE_BATCH = 100;
/** Wakeups at once: each may wait long for its provider. */
const MAX_WAKEUPS = 64;
/** An entry another manager has held this long without settling it was left by a dead one. */
const STALE_MS = 60_000;
const RECLAIM_EVERY_MS = 10_000;

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
  private readonly work = new Set<Promise<void>>();
  private loops: Promise<void>[] = [];

  constructor(
    private readonly store: Store,
    private readonly options: ManagerOptions,
  ) {
    this.managerId = options.managerId ?? `manager-${newHexUuid().slice(0, 8)}`;
    this.log = (options.log ?? createLogger()).child({manager_id: this.managerId});
    this.now = options.now ?? systemClock;
  }

  async start(): Promise<void> {
    const {keys} = this.store;
    await ensureGroup(this.store, keys.wakeup(), MANAGER_GROUP);
    await ensureGroup(this.store, keys.deliveryPending(), MANAGER_GROUP);
    this.loops = [
      this.readLoop('wakeups', keys.wakeup(), entry => this.handleWakeup(entry)),
      this.readLoop('pending', keys.deliveryPending(), entry => this.takeDelivery(entry)),
      this.releaseLoop(),
      this.sweepLoop(),
      this.deadlineLoop(),
    ];
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.allSettled(this.loops);
    await Promise.allSettled([...this.work]);
    await this.options.provider.close?.();
  }

  /** Entries are handled beside each other: a slow provider must not hold up an unrelated agent type. */
  private async readLoop(
    name: string,
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
        if (performance.now() - reclaimedAt > RECLAIM_EVERY_MS) {
          reclaimedAt = performance.now();
          for (const entry of await claimStale(this.store, stream, this.managerId, STALE_MS))
            this.run(entry, handle);
        }
        const entries = await readNew(this.store, connection, {
          streams: [stream],
          group: MANAGER_GROUP,
          consumer: this.managerId,
          count: Math.max(1, MAX_WAKEUPS - this.work.size),
          blockMs: READ_BLOCK_MS,
        });
        failures = 0;
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
    const job = handle(entry)
      .catch((error: unknown) => this.log.error('left for later', {entry: entry.id, error: messageOf(error)}))
      .finally(() => this.work.delete(job));
    this.work.add(job);
  }

  private async handleWakeup(entry: ControlEntry): Promise<void> {
    let request: WakeupRequest;
    try {
      request = readWakeupRequest(entry.data ?? '');
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
      await decideWakeup(this.store, request, decision, true);
      // With WAKE_AND_QUEUE the command waits in the pending queue, so nothing is lost with the wakeup.
      if (decision.status === 'FAILED' && request.policy !== 'WAKE_AND_QUEUE')
        await this.keepFailedWakeup(request, decision);
      const elapsedMs = this.now() - startedAt;
      this.log.info('wakeup', {
        agent_type: request.targetAgentType,
        execution_id: request.executionId,
        decision: decision.status,
        reason: decision.reason,
        duration_ms: elapsedMs,
      });
      this.options.onWakeup?.(request, decision, elapsedMs);
    }
    await settleMany(this.store, MANAGER_GROUP, entry.stream, [entry.id], true);
  }

  /** Ask the provider, whatever it does: throw, hang, or answer nonsense. */
  private async carryOut(request: WakeupRequest): Promise<WakeupDecision> {
    const isOnline = async () => (await onlineMembers(this.store, request.targetAgentType)).online;
    if (await isOnline()) return decision(request, {status: 'READY', reason: 'already online'});
    const deadline = new AbortController();
    const stop = () => deadline.abort();
    const timer = setTimeout(stop, Math.max(1, request.timeoutMs));
    this.stopping.signal.addEventListener('abort', stop, {once: true});
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
      this.stopping.signal.removeEventListener('abort', stop);
    }
  }

  private async keepFailedWakeup(request: WakeupRequest, failed: WakeupDecision): Promise<void> {
    await addDeadLetter(
      this.store,
      encodeDeadLetter(
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
        }),
      ),
    );
  }

  private async takeDelivery(entry: ControlEntry): Promise<void> {
    let delivery: PendingDelivery;
    try {
      delivery = readPendingDelivery(entry.data ?? '');
      if (!isValidId(delivery.targetAgentType)) throw new TypeError('it names no agent type');
      if (!isValidId(delivery.sessionId)) throw new TypeError('it names no session');
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
    const letter = newDeadLetter({
      source,
      reason,
      commandPayload: {},
      firstFailedAt: this.now(),
      xStream: entry.stream,
      xEntryId: entry.id,
      xData: preserveBytes((entry.data ?? Buffer.alloc(0)).subarray(0, 65_536)),
    });
    const id = await moveToDeadLetters(this.store, MANAGER_GROUP, entry, encodeDeadLetter(letter));
    this.log.warn('unreadable entry moved to the dead letters', {entry: entry.id, dead_letter: id, reason});
  }

  private async releaseLoop(): Promise<void> {
    let failures = 0;
    while (!this.stopping.signal.aborted) {
      try {
        const types = await pendingTypes(this.store);
        // Ages are by the clock that gave the entries their ids.
        const now = types.length === 0 ? 0 : await serverTimeMs(this.store);
        for (const agentType of types) await this.releaseType(agentType, now);
        failures = 0;
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
      const delivery = document === null ? undefined : readPendingDelivery(document);
      const expired = now - entryMs(entryId) > (this.options.pendingDeadlineMs ?? 86_400_000);
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
        await this.expire(target, delivery);
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

  private async expire(
    target: {agentType: string; entryId: string; sessionId: string; executionId: string},
    delivery: PendingDelivery,
  ): Promise<void> {
    const reason = 'nobody came online before the deadline';
    const letter = newDeadLetter({
      source: 'pending',
      reason,
      executionId: delivery.executionId,
      targetAgentType: target.agentType,
      region: delivery.region,
      commandPayload: delivery.commandPayload,
      deliveryStream: this.store.keys.ctrlStream(target.agentType),
      firstFailedAt: this.now(),
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
    if (outcome === 'released') this.options.onDelivery?.(delivery, 'expired');
  }
}

/** Milliseconds of a stream id: when Redis took the entry. */
const entryMs = (entryId: string): number => Number(entryId.split('-')[0]);

/** Higher priority first, then the older: milliseconds fit thirteen digits, so a priority step outweighs any age. */
export function pendingScore(priority: number, entryId: string): number {
  const clamped = Math.max(-100, Math.min(100, Math.trunc(priority)));
  return -clamped * 1e13 + entryMs(entryId);
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
