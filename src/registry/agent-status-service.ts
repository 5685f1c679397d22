/**
 * The status of workers, kept in Redis: what workers say, what is seen of foreign ones, what operators decide, and the
 * sweep that lets time pass.
 */
import {ByError} from '../errors.js';
import {
  exhaustReasonOf,
  WHOLE_WORKER,
  type AgentStatus,
  type AgentStatusRecord,
  type ExhaustReason,
  type LedgerRow,
  type RecoverySource,
  type SlotType,
  type StatusOrigin,
} from '../protocol/orchestration/status.js';
import {createStatusKeys} from '../protocol/orchestration/status-keys.js';
import {
  applyStatus,
  dueStatuses,
  lastStatusNote,
  readLedger,
  readStatuses,
  readStatusNotes,
  statusNotes,
  unknownWorker,
  type Exhaustion,
  type StatusChange,
  type StatusLimits,
  type StatusNote,
  type StatusOutcome,
} from '../store/agent-status.js';
import {foreignWork} from '../store/foreign-workers.js';
import {serverNowMs, type Store} from '../store/store.js';
import {
  AgentStatusError,
  DEFAULT_RECOVERY_MS,
  HEARTBEAT_TIMEOUT_MS,
  MAX_RECOVERY_MS,
  MIN_RECOVERY_MS,
} from './agent-status.js';
import {aggregateOf, listAgentWorkers, type AgentWorker, type TypeAggregate} from './agent-workers.js';
import {listWorkers, type WorkerSummary} from './listing.js';
import {parseRecoveryAt, type HeaderLike} from './recovery-time.js';

export interface AgentStatusOptions {
  /**
   * A worker that comes back is exhausted again if its quota is known to be used up still. Default true; false is the
   * plain rule, by which a restart forgets it.
   */
  readonly reexhaustOnReconnect?: boolean;
  /**
   * Whether the error code of an execution that failed may mean that its worker's quota is used up. Default true; a
   * function is asked for the agent type.
   */
  readonly deriveExhausted?: boolean | ((agentType: string) => boolean);
  /** Milliseconds of silence after which a worker is offline. Default {@link HEARTBEAT_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
}

export interface Heartbeat {
  readonly agentTypes: readonly string[];
  /** Default `native`. */
  readonly origin?: StatusOrigin;
  /** Executions it has now; absent where that is not known. */
  readonly slotsUsed?: number;
  readonly slotsMax?: number;
  readonly firstSlotType?: SlotType;
  /** While it is on call it takes nothing but on-call work. Default false. */
  readonly reserveOnCall?: boolean;
  /** When it was heard, in Unix milliseconds. Default now. */
  readonly at?: number;
}

export interface ExhaustRequest {
  readonly reason: ExhaustReason;
  /** Unix milliseconds. */
  readonly recoveryAt?: number;
  readonly recoveryInMs?: number;
  /** Of the response that said so, looked at where neither of the two is given. */
  readonly headers?: HeaderLike;
  /** What is used up; other than `*` it leaves the worker's status alone. Default `*`: the whole worker. */
  readonly scope?: string;
  readonly source?: RecoverySource;
  readonly by?: string;
  readonly note?: string;
}

export interface SweepReport {
  readonly offline: readonly string[];
  readonly recovered: readonly string[];
  /** Foreign workers whose status was read off; 0 if that was not asked for. */
  readonly observed: number;
  /** Of them, those whose quota a failed execution says is used up. */
  readonly exhausted: readonly string[];
}

export interface StatusEvent {
  readonly workerId: string;
  /** Undefined for a new worker. */
  readonly from: AgentStatus | undefined;
  readonly to: AgentStatus;
  readonly reason: ExhaustReason | undefined;
  /** Unix milliseconds by Redis's clock. */
  readonly at: number;
}

const SWEEP_LIMIT = 500;
/** Foreign workers looked at beside each other. */
const AT_ONCE = 50;
/** The lease of a foreign worker lives no longer, so while it is there its worker was heard within this time. */
const LEASE_MS = 30_000;
/** An execution that ended longer ago says nothing about now. */
const RECENT_MS = 600_000;
const WATCH_BLOCK_MS = 2000;
const EXPECTED: readonly AgentStatus[] = ['idle', 'busy', 'on_call'];

export class AgentStatusService {
  private readonly limits: StatusLimits;

  constructor(
    readonly store: Store,
    private readonly options: AgentStatusOptions = {},
  ) {
    this.limits = {
      timeoutMs: options.timeoutMs ?? HEARTBEAT_TIMEOUT_MS,
      defaultMs: DEFAULT_RECOVERY_MS,
      minMs: MIN_RECOVERY_MS,
      maxMs: MAX_RECOVERY_MS,
    };
  }

  async get(workerId: string): Promise<AgentStatusRecord | undefined> {
    return (await readStatuses(this.store, [workerId]))[0];
  }

  /** Every worker that has a status or a lease. */
  async list(): Promise<readonly AgentWorker[]> {
    return (await listAgentWorkers(this.store)).workers;
  }

  async aggregate(agentType: string): Promise<TypeAggregate> {
    const {now, workers} = await listAgentWorkers(this.store);
    return aggregateOf(agentType, workers, now);
  }

  /** What is known of an exhaustion of a worker, by default of the whole worker; also one that is over. */
  ledger(workerId: string, scope = WHOLE_WORKER): Promise<LedgerRow | undefined> {
    return readLedger(this.store, workerId, scope);
  }

  /** A sign of life, with what the worker has at the moment. Makes the record if there is none. */
  heartbeat(workerId: string, {origin = 'native', ...facts}: Heartbeat): Promise<StatusOutcome> {
    const reexhaust = this.options.reexhaustOnReconnect ?? true;
    return this.apply(workerId, {op: 'heartbeat', ...facts, origin, reexhaust});
  }

  /**
   * It takes up one more piece of work: the first makes it busy, or on call.
   * @param options.observed the work has begun already: it is counted, whatever the status is.
   * @throws {AgentStatusError} if it is offline or exhausted. @throws {ByError} NOT_FOUND
   */
  async takeSlot(
    workerId: string,
    {slotType = 'work', observed = false}: {readonly slotType?: SlotType; readonly observed?: boolean} = {},
  ): Promise<AgentStatusRecord> {
    const outcome = await this.apply(workerId, {op: 'take', slotType, observed});
    if (outcome.verdict === 'illegal')
      throw illegal(workerId, outcome, EXPECTED, slotType === 'on_call' ? 'on_call' : 'busy');
    return recordOf(workerId, outcome);
  }

  /** It is done with one. The last lets it rest. @throws {ByError} NOT_FOUND */
  async releaseSlot(workerId: string): Promise<AgentStatusRecord> {
    return recordOf(workerId, await this.apply(workerId, {op: 'release'}));
  }

  /**
   * A quota is used up. A worker that is offline stays it, and is exhausted when it comes back.
   * @param options.version decide only about the record as it was read.
   * @throws {ByError} NOT_FOUND, VERSION_CONFLICT
   */
  async exhaust(
    workerId: string,
    request: ExhaustRequest,
    {version}: {readonly version?: number} = {},
  ): Promise<StatusOutcome> {
    const {scope = WHOLE_WORKER} = request;
    const exhaustion = await this.exhaustionOf(request);
    const outcome = await this.apply(workerId, {op: 'exhaust', scope, ...exhaustion}, version);
    if (outcome.verdict === 'missing') throw unknownWorker(workerId);
    return outcome;
  }

  private async exhaustionOf(request: ExhaustRequest): Promise<Exhaustion> {
    const {reason, recoveryAt, recoveryInMs, headers, by, note} = request;
    const said = {reason, ...(by === undefined ? {} : {by}), ...(note === undefined ? {} : {note})};
    if (recoveryAt !== undefined || recoveryInMs !== undefined) {
      const end = recoveryAt === undefined ? {recoveryInMs: recoveryInMs ?? 0} : {recoveryAt};
      return {...said, ...end, source: request.source ?? 'explicit'};
    }
    if (headers !== undefined) {
      const now = await serverNowMs(this.store);
      const read = parseRecoveryAt(headers, now);
      if (read !== null)
        return {...said, recoveryAt: read.recoveryAt, clamped: read.clamped, source: 'header'};
    }
    return {...said, source: request.source ?? 'default'};
  }

  /**
   * An operator says that an exhaustion is over. That is no sign of life of the worker.
   * @throws {AgentStatusError} if none is known. @throws {ByError} NOT_FOUND, VERSION_CONFLICT
   */
  async recover(
    workerId: string,
    {scope = WHOLE_WORKER, by, note}: {readonly scope?: string; readonly by: string; readonly note: string},
    {version}: {readonly version?: number} = {},
  ): Promise<StatusOutcome> {
    const outcome = await this.apply(workerId, {op: 'recover', scope, by, note}, version);
    if (outcome.verdict === 'missing') throw unknownWorker(workerId);
    if (outcome.verdict === 'illegal') throw illegal(workerId, outcome, ['exhausted'], 'idle');
    return outcome;
  }

  /** It says good-bye: it is offline at once. */
  leave(workerId: string): Promise<StatusOutcome> {
    return this.apply(workerId, {op: 'leave'});
  }

  /**
   * An execution of this worker failed. Its structured code, never a message, may say that a quota is used up; each
   * execution counts once.
   * @returns whether it did.
   */
  async observeFailure(failure: {
    readonly workerId: string;
    readonly agentType: string;
    readonly executionId: string;
    readonly errorCode: unknown;
  }): Promise<boolean> {
    const reason = exhaustReasonOf(failure.errorCode);
    if (reason === undefined || !this.derives(failure.agentType)) return false;
    const {workerId, executionId} = failure;
    const {verdict} = await this.apply(workerId, {
      ...{op: 'exhaust', scope: WHOLE_WORKER, reason, source: 'error_code'},
      ...{executionId, note: executionId},
    });
    return verdict !== 'missing' && verdict !== 'known';
  }

  private derives(agentType: string): boolean {
    const {deriveExhausted = true} = this.options;
    return typeof deriveExhausted === 'function' ? deriveExhausted(agentType) : deriveExhausted;
  }

  /**
   * Let time pass: foreign workers are looked at, the silent are offline, then those whose time has come recover. In this
   * order, so that nobody recovers who is dead. Any number of sweeps may run beside each other.
   * @param options.observe whether foreign workers are looked at. Default true.
   */
  async sweep({observe = true}: {readonly observe?: boolean} = {}): Promise<SweepReport> {
    const seen = observe ? await this.observeAll(await listWorkers(this.store)) : undefined;
    const {timeoutMs} = this.limits;
    const {silent, recovering} = await dueStatuses(this.store, {timeoutMs, limit: SWEEP_LIMIT});
    const offline = await this.sweepOp('timeout', silent);
    const recovered = await this.sweepOp('due', recovering);
    return {offline, recovered, observed: seen?.observed ?? 0, exhausted: seen?.workerIds ?? []};
  }

  private async sweepOp(op: 'timeout' | 'due', workerIds: readonly string[]): Promise<string[]> {
    const outcomes = await Promise.all(workerIds.map(id => this.apply(id, {op})));
    return workerIds.filter((_, i) => outcomes[i]?.verdict === 'changed');
  }

  private async observeAll(workers: readonly WorkerSummary[]) {
    const records = await readStatuses(
      this.store,
      workers.map(({workerId}) => workerId),
    );
    const foreign = workers.filter((worker, i) => {
      const record = records[i];
      return worker.online && !(record?.origin === 'native' && record.status !== 'offline');
    });
    const workerIds: string[] = [];
    const now = await serverNowMs(this.store);
    for (let from = 0; from < foreign.length; from += AT_ONCE) {
      const some = foreign.slice(from, from + AT_ONCE);
      const hit = await Promise.all(some.map(worker => this.observe(worker, now)));
      workerIds.push(...some.filter((_, i) => hit[i]).map(({workerId}) => workerId));
    }
    return {observed: foreign.length, workerIds};
  }

  /** @returns whether one of its executions says that a quota is used up. */
  private async observe({workerId, agentTypes, lastSeen}: WorkerSummary, now: number): Promise<boolean> {
    const {active, failures} = await foreignWork(this.store, workerId);
    await this.heartbeat(workerId, {
      ...{agentTypes, origin: 'derived'},
      // By its own clock, which may be wrong by more than its lease can be old.
      at: lastSeen === 0 ? now : Math.min(Math.max(lastSeen, now - LEASE_MS), now),
      ...(active === undefined ? {} : {slotsUsed: active}),
    });
    const recent = failures.filter(({finishedAt}) => now - finishedAt <= RECENT_MS);
    const hits = await Promise.all(recent.map(failure => this.observeFailure({...failure, workerId})));
    return hits.includes(true);
  }

  /** The newest notes about workers: changes of status, operators' decisions, what should not be. Newest first. */
  notes(count = 100): Promise<StatusNote[]> {
    return statusNotes(this.store, count);
  }

  /**
   * Changes of status as they happen, until the signal aborts.
   * @param since the id of the last note that is known. Default: those from now on.
   */
  async *watch(signal: AbortSignal, since?: string): AsyncGenerator<StatusEvent> {
    let after = since ?? (await lastStatusNote(this.store));
    const connection = this.store.blocking('status', createStatusKeys(this.store.keys.prefix).statusAudit());
    const stop = () => connection.close();
    signal.addEventListener('abort', stop, {once: true});
    try {
      while (!signal.aborted) {
        const notes = await this.nextNotes(connection, after, signal);
        for (const note of notes) {
          after = note.id;
          if (note.kind === 'change') yield toEvent(note);
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
      connection.close();
    }
  }

  private async nextNotes(
    connection: ReturnType<Store['blocking']>,
    after: string,
    signal: AbortSignal,
  ): Promise<StatusNote[]> {
    try {
      return await readStatusNotes(this.store, connection, after, WATCH_BLOCK_MS);
    } catch (error) {
      // Closing the connection is how the wait ends.
      if (signal.aborted) return [];
      if (error instanceof ByError && error.retryable) return [];
      throw error;
    }
  }

  private async apply(workerId: string, change: StatusChange, version?: number): Promise<StatusOutcome> {
    const outcome = await applyStatus(this.store, workerId, change, this.limits, version);
    if (outcome.verdict !== 'conflict') return outcome;
    throw new ByError('VERSION_CONFLICT', `The status of "${workerId}" was changed by somebody else.`, {
      hint: 'Read it again and decide anew.',
      details: {workerId, expected: version, actual: outcome.record?.version ?? 0},
    });
  }
}

function recordOf(workerId: string, {record, verdict}: StatusOutcome): AgentStatusRecord {
  if (record === undefined || verdict === 'missing') throw unknownWorker(workerId);
  return record;
}

const illegal = (
  workerId: string,
  {before}: StatusOutcome,
  expected: readonly AgentStatus[],
  to: AgentStatus,
): AgentStatusError => new AgentStatusError(workerId, before ?? 'offline', expected, to);

function toEvent({workerId, at, fields}: StatusNote): StatusEvent {
  return {
    workerId,
    at,
    from: (fields['from'] || undefined) as AgentStatus | undefined,
    to: fields['to'] as AgentStatus,
    reason: (fields['reason'] || undefined) as ExhaustReason | undefined,
  };
}
