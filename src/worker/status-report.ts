/**
 * How a worker tells how it is: with each heartbeat, and soon after it got busy or idle. And what follows for it: while it
 * has used up a quota it reads nothing of its agent types.
 */
import {messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import {objectOf} from '../protocol/fields.js';
import {
  slotTypeOf,
  WHOLE_WORKER,
  type ExhaustReason,
  type SlotType,
} from '../protocol/orchestration/status.js';
import {DEFAULT_RECOVERY_MS} from '../registry/agent-status.js';
import {AgentStatusService} from '../registry/agent-status-service.js';
import type {HeaderLike} from '../registry/recovery-time.js';
import type {StatusOutcome} from '../store/agent-status.js';
import type {Store} from '../store/store.js';

/** A quota that agent code found used up. */
export interface ExhaustReport {
  /** `rate_limit`: too many requests; `billing`: no money left, which waiting may not mend. */
  readonly reason: ExhaustReason;
  /** Of the response that said so: they may tell when the quota is there again. */
  readonly headers?: HeaderLike;
  /** When it is there again, as a date or in Unix milliseconds; beats the headers. Default: in five hours. */
  readonly recoveryAt?: number | Date;
  /**
   * What is used up, where that is not all the worker can do: a provider, a model, an account. It is noted, and the worker
   * goes on. Default `*`: the whole worker.
   */
  readonly scope?: string;
}

/** @throws {ByError} what Redis answers, NOT_FOUND for a worker without a status. */
export function exhaust(
  service: AgentStatusService,
  workerId: string,
  {reason, headers, recoveryAt, scope}: ExhaustReport,
): Promise<StatusOutcome> {
  return service.exhaust(workerId, {
    reason,
    ...(headers === undefined ? {} : {headers}),
    ...(recoveryAt === undefined ? {} : {recoveryAt: Math.ceil(Number(recoveryAt))}),
    ...(scope === undefined ? {} : {scope}),
  });
}

export interface StatusReportOptions {
  readonly workerId: string;
  readonly agentTypes: readonly string[];
  readonly slotsMax: number;
  readonly slotsUsed: () => number;
  /** While it is on call it takes nothing but on-call work. */
  readonly reserveOnCall: boolean;
  readonly log: Logger;
  /** Told when the worker may not read its agent types any more, and when it may again. */
  readonly onChange: (isExhausted: boolean) => void;
}

/** What lasts shorter is not told by itself: work that comes and goes must not cost a write each. */
const SETTLED_MS = 1000;
/** The longest a timer can be set for. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class StatusReport {
  private readonly service: AgentStatusService;
  /** Types of the work there is, oldest first. */
  private readonly work = new Set<{readonly type: SlotType}>();
  private toldBusy = false;
  private telling: NodeJS.Timeout | undefined;
  private recovering: NodeJS.Timeout | undefined;
  /** By this process's own clock; undefined while it is not exhausted. */
  private exhaustedUntil: number | undefined;
  private wasRefused = false;
  private isClosed = false;

  constructor(
    store: Store,
    private readonly options: StatusReportOptions,
  ) {
    this.service = new AgentStatusService(store);
  }

  /** Over by itself when its time has come, also while Redis is away. */
  get isExhausted(): boolean {
    return this.exhaustedUntil !== undefined && performance.now() < this.exhaustedUntil;
  }

  /** What it has worked on longest is on-call work. */
  get isOnCall(): boolean {
    const [first] = this.work;
    return first?.type === 'on_call';
  }

  /** A command is being worked on, until the returned function is called. */
  began(metadata: Readonly<Record<string, unknown>>): () => void {
    const run = objectOf(metadata['by_run']);
    const one = {type: slotTypeOf(metadata['slot_type'] ?? run['slot_type'])};
    this.work.add(one);
    this.tellSoon();
    return () => {
      this.work.delete(one);
      this.tellSoon();
    };
  }

  private tellSoon(): void {
    if (this.work.size > 0 === this.toldBusy || this.telling !== undefined || this.isClosed) return;
    this.telling = setTimeout(() => {
      this.telling = undefined;
      if (this.work.size > 0 !== this.toldBusy) void this.beat();
    }, SETTLED_MS).unref();
  }

  /** A sign of life, with what there is to do. Never rejects: a worker works though nobody knows how it is. */
  async beat(): Promise<void> {
    const {workerId, agentTypes, slotsMax, slotsUsed, reserveOnCall} = this.options;
    const [first] = this.work;
    this.toldBusy = this.work.size > 0;
    await this.tell(() =>
      this.service.heartbeat(workerId, {
        ...{agentTypes, slotsMax, slotsUsed: slotsUsed(), reserveOnCall},
        ...(first === undefined ? {} : {firstSlotType: first.type}),
      }),
    );
  }

  /** Agent code found a quota used up. Never rejects: if Redis can not be told, this worker stops reading all the same. */
  async exhaust(report: ExhaustReport): Promise<void> {
    const isTold = await this.tell(() => exhaust(this.service, this.options.workerId, report));
    if (isTold || (report.scope ?? WHOLE_WORKER) !== WHOLE_WORKER) return;
    const atMs = report.recoveryAt === undefined ? undefined : Number(report.recoveryAt) - Date.now();
    this.stop(Math.max(0, atMs ?? DEFAULT_RECOVERY_MS));
  }

  /** It is offline from now on. */
  async leave(): Promise<void> {
    this.close();
    await this.tell(() => this.service.leave(this.options.workerId));
  }

  /** Nothing is told by itself any more. */
  close(): void {
    this.isClosed = true;
    clearTimeout(this.telling);
    clearTimeout(this.recovering);
  }

  private async tell(act: () => Promise<StatusOutcome>): Promise<boolean> {
    try {
      this.obey(await act());
      this.wasRefused = false;
      return true;
    } catch (error) {
      // A Redis user of an older `by acl worker` may not: said once, not with every heartbeat.
      if (!this.wasRefused) this.options.log.warn('telling the status failed', {error: messageOf(error)});
      this.wasRefused = true;
      return false;
    }
  }

  /** What holds is what Redis says: an operator may have decided it, or an earlier life of this worker. */
  private obey({record, now}: StatusOutcome): void {
    if (record === undefined) return;
    if (record.status === 'exhausted') this.stop((record.recoveryAt ?? Infinity) - now, record.exhaustReason);
    else if (this.exhaustedUntil !== undefined) this.goOn();
  }

  private stop(forMs: number, reason: ExhaustReason | null = null): void {
    const wasExhausted = this.isExhausted;
    this.exhaustedUntil = performance.now() + forMs;
    this.recoverIn(forMs);
    if (wasExhausted) return;
    this.options.log.warn('a quota is used up: reading nothing until it is there again', {
      ...(reason === null ? {} : {reason}),
      for_ms: Math.round(forMs),
    });
    this.options.onChange(true);
  }

  private recoverIn(ms: number): void {
    clearTimeout(this.recovering);
    if (this.isClosed) return;
    this.recovering = setTimeout(() => void this.recover(), Math.min(ms, MAX_TIMER_MS)).unref();
  }

  /** Redis decides whether it is over; if it can not be asked, the time does. */
  private async recover(): Promise<void> {
    await this.beat();
    if (this.exhaustedUntil === undefined) return;
    const leftMs = this.exhaustedUntil - performance.now();
    // Timers are early by a part of a millisecond at times, and by as much as the time is longer than a timer can be.
    if (leftMs > 0) this.recoverIn(leftMs);
    else this.goOn();
  }

  private goOn(): void {
    this.exhaustedUntil = undefined;
    clearTimeout(this.recovering);
    this.options.log.info('the quota is there again: reading');
    this.options.onChange(false);
  }
}
