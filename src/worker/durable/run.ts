/**
 * Runs the code of a durable agent as if nothing could fail: what it asked for before, it is given from the journal; what
 * it asks for now is noted there first. When all of it waits for answers that are not there, the turn ends and the code is
 * forgotten; the next answer runs it again from the top. docs/decisions/0012.
 *
 * Outcomes are handed to the code in the order in which they came, one at a time: so code that runs several things at once
 * makes the same choices each time.
 */
import {AsyncLocalStorage} from 'node:async_hooks';
import {ByError, messageOf} from '../../errors.js';
import {
  digestOf,
  entryMessageId,
  type Answer,
  type Journal,
  type JournalEntry,
  type JournalKind,
  type Outcome,
  type SuspendedAt,
} from '../../protocol/journal.js';
import type {QuestionText} from '../../protocol/question.js';
import type {JournalWrite, Written} from '../../store/journal.js';
import type {Heard} from '../running.js';
import {describe, inStep, journalFull, mismatch, notAskedAgain, turnOver} from './failures.js';
import type {JournalTrace} from './journal-trace.js';
import {DurablePromise} from './promise.js';

/** Everything the run does to the world. */
export interface DurableHost {
  readonly executionId: string;
  readonly attempt: number;
  /** Why the code is to stop; undefined while it is not. */
  readonly stopReason: Error | undefined;
  /** Be told when it is to stop, at once if it is already. */
  onStop(listener: (reason: Error) => void): void;
  readonly trace?: Pick<JournalTrace, 'askedAt' | 'given'>;
  write(writes: readonly JournalWrite[]): Promise<Written>;
  read(): Promise<Journal>;
  /** Be told of answers that are kept while the turn runs: those need not be read. Some are told nobody. */
  listen(listener: (heard: Heard) => void): void;
  /** Whether this process may well do what is asked of an agent type, and tell of it. */
  isNear(agentType: string): boolean;
  /** @param at Unix milliseconds by Redis's clock. */
  setTimer(timerId: string, at: number): Promise<void>;
  /** End the turn, if there is no outcome beyond those the code has seen. */
  suspend(waiting: Waiting): Promise<'ok' | 'more' | 'terminal' | 'fenced' | 'cancelling'>;
}

/** What the code waits for when its turn ends. */
export interface Waiting {
  readonly status: 'WAITING_USER' | 'WAITING_AGENT' | 'SLEEPING';
  readonly end: Omit<SuspendedAt, 'at'>;
  /** Milliseconds until the first timer goes off that this turn knows of; Infinity if there is none. */
  readonly nextTimerInMs: number;
}

export type RunEnd =
  | {readonly kind: 'value'; readonly value: unknown}
  | {readonly kind: 'error'; readonly error: unknown}
  | {readonly kind: 'suspended'; readonly waiting: Waiting}
  /** The turn is not ours to end, or must end otherwise. */
  | {readonly kind: 'refused'; readonly verdict: 'terminal' | 'fenced' | 'cancelling'};

export interface Asked {
  readonly kind: JournalKind;
  readonly target: string;
  /** All of what is asked, for the digest. */
  readonly what: unknown;
  /** The beginning of it, for people. */
  readonly note: string;
  /** Milliseconds until its timer goes off. */
  readonly inMs?: number;
  /** Of a question to a person: what whoever answers has to know. */
  readonly question?: QuestionText;
}

/**
 * Carries out what was asked, once it is noted; with `isNoted`, which only what is {@link AskHooks.isAhead} is given, it must
 * not have an effect before that resolves with true. Called again by a later turn if nobody knows whether it was carried out
 * before; not at all once there is an outcome.
 * @returns an outcome that is there at once, or undefined if it comes as an answer.
 */
export type CarryOut = (
  entry: JournalEntry,
  index: number,
  isNoted?: Promise<boolean>,
) => Promise<Answer | undefined>;

/** What an operation may ask for beside. */
export interface AskHooks {
  /** Called at once, in every turn, with the id an answer has to name, and the index of the entry. */
  readonly announce?: (messageId: string, index: number) => void;
  /** Called when the entry is noted, in the turn that notes it. @param at Redis's clock in Unix milliseconds. */
  readonly noted?: (at: number) => void;
  /** It need not wait for the note: what carries it out looks for that itself, in the step that has the effect. */
  readonly isAhead?: boolean;
  /** What it waits for does not answer by itself: carry it out again whenever answers came. */
  readonly looksAgain?: boolean;
  /** Fetch what belongs to an outcome before the code gets it. What it throws ends the execution. */
  readonly prepare?: (answer: Answer) => Promise<void>;
}

interface Waiter {
  readonly asked: Asked;
  readonly entry: JournalEntry;
  /** An attempt that was cut off had carried it out, and there is an outcome. */
  readonly wasCutOff: boolean;
  readonly prepare: AskHooks['prepare'];
  /** Carry it out again. */
  again?: () => void;
  isAwaited: boolean;
  settle(answer: Answer): void;
  reject(error: Error): void;
}

/** A write, or none, and what follows once it is made. */
interface Queued {
  readonly write: JournalWrite | undefined;
  /** What follows the write, but need not wait for its answer. */
  readonly ahead: ((isNoted: Promise<boolean>) => Promise<Answer | undefined>) | undefined;
  /** @param begun what came of {@link ahead}. */
  readonly then: (
    written: Written & {kind: 'ok'},
    begun: Promise<Answer | undefined> | undefined,
  ) => Promise<void>;
}

/** The step whose effect runs now. */
const steps = new AsyncLocalStorage<number>();

/** How long an outcome may wait for the code to ask for it again, in milliseconds, while nothing else happens. */
const STUCK_MS = 10_000;
const NOTE_LENGTH = 120;
/** How long a turn waits for the answer of an agent near by, in milliseconds: ending a turn and beginning another costs more. */
const LINGER_MS = 5;
/** Rounds of the event loop without a sign of the code, after which it waits. */
const CALM_LOOKS = 3;

export class DurableRun {
  private journal: Journal;
  /** Outcomes by their order, from 1. */
  private readonly ordered = new Map<number, {readonly index: number; readonly outcome: Outcome}>();
  /** Entries whose answers came while this turn runs, and are not in {@link journal}. */
  private readonly heard = new Set<number>();
  private readonly waiters = new Map<number, Waiter>();
  /** Timers that are set and have not gone off. */
  private readonly timers = new Map<number, number>();
  private nextIndex = 0;
  private given = 0;
  private isPumping = false;
  private queue: Queued[] = [];
  private isFlushing = false;
  /** Writes, dispatches and steps under way. */
  private busy = 0;
  /** Counts what the code does, so that a moment without can be told. */
  private activity = 0;
  private idleLook: NodeJS.Immediate | undefined;
  private stuck: NodeJS.Timeout | undefined;
  /** Runs out when the turn has waited long enough for agents near by. Answers that come begin it anew. */
  private linger: NodeJS.Timeout | undefined;
  private hasLingered = false;
  private isOver = false;
  /** Its turn has ended though its code has not. */
  private isParked = false;
  private failure: Error | undefined;
  private whenDone: () => void = () => undefined;
  private finish: (end: RunEnd) => void = () => undefined;
  private readonly finished = new Promise<RunEnd>(resolve => (this.finish = resolve));
  private emitted = 0;
  /** Events on their way whose emitter waits for room. */
  private emitting = 0;
  private chances = 0;
  /** How often answers came while this turn runs. */
  private reads = 0;
  /** The clocks of Redis and of this process at the last write. */
  private written = {at: 0, here: 0};

  /**
   * @param emittedBefore events the turns before this one have written: the code emits them again, and they are passed over.
   * @param startedAt what {@link now} says before anything has come back, in Unix milliseconds.
   */
  constructor(
    private readonly host: DurableHost,
    journal: Journal,
    private readonly emittedBefore: number,
    startedAt: number,
  ) {
    this.journal = journal;
    this.time = startedAt;
    this.order(journal);
  }

  /** The time of the last outcome the code was given, in Unix milliseconds: the same each time. */
  time: number;

  async run(code: () => unknown): Promise<RunEnd> {
    this.host.onStop(reason => this.abort(reason));
    this.host.listen(heard => this.hear(heard));
    const work = (async (): Promise<RunEnd> => {
      try {
        return {kind: 'value', value: await code()};
      } catch (error) {
        return {kind: 'error', error};
      }
    })();
    try {
      const end = await Promise.race([work, this.finished]);
      // What it asked for without waiting is asked for all the same.
      if (!this.isOver && this.busy > 0) await Promise.race([this.finished, this.untilCalm()]);
      return this.failure === undefined ? end : {kind: 'error', error: this.failure};
    } finally {
      this.isOver = true;
      clearTimeout(this.stuck);
      clearTimeout(this.linger);
    }
  }

  /** Whether an event the code emits now is new. An event of a step is: a step that is done does not emit again. */
  takesEvent(): {readonly isNew: boolean; readonly step: number | undefined} {
    // Code that goes on after its turn says it again in the next.
    if (this.isParked) return {isNew: false, step: undefined};
    this.activity++;
    const step = steps.getStore();
    if (step !== undefined) return {isNew: true, step};
    this.emitted++;
    return {isNew: this.emitted > this.emittedBefore, step: undefined};
  }

  /** Take part in an event's way to where there is room for it: the code goes on after it. */
  async whileEmitting(emit: Promise<void>): Promise<void> {
    this.emitting++;
    try {
      await emit;
    } finally {
      this.emitting--;
      this.activity++;
    }
  }

  /** Whether the code that runs now is the effect of a step. */
  get isInStep(): boolean {
    return steps.getStore() !== undefined;
  }

  /** 0, and one more for each time a person continued the execution after its end. */
  get number(): number {
    return this.journal.run;
  }

  /** A number that no two uses in one execution share, and every turn counts alike. */
  nextChance(): number {
    return this.chances++;
  }

  /**
   * Ask for something. The promise is kept by this turn or a later one.
   * @param read what the code gets of an outcome; may throw what it gets in its place.
   */
  ask<T>(
    asked: Asked,
    carryOut: CarryOut,
    read: (answer: Answer) => T,
    hooks: AskHooks = {},
  ): DurablePromise<T> {
    const index = this.nextIndex;
    const {promise, resolve, reject} = DurablePromise.create<T>(() => {
      const waiter = this.waiters.get(index);
      if (waiter !== undefined) waiter.isAwaited = true;
      this.moved();
    });
    if (steps.getStore() !== undefined) {
      reject(inStep(describe(asked)));
      return promise;
    }
    if (this.isOver) {
      reject(this.host.stopReason ?? turnOver());
      return promise;
    }
    this.nextIndex++;
    const entry = this.entryOf(asked, index);
    const known = this.journal.entries.get(index);
    if (known !== undefined && !fits(known, entry)) {
      this.fail(mismatch(index, describe(known), describe(entry)));
      return promise;
    }
    const settle = (answer: Answer) => {
      try {
        resolve(read(answer));
      } catch (error) {
        reject(asError(error));
      }
    };
    const isCarriedOut = index < (this.journal.end?.dispatched ?? 0);
    const wasCutOff = known !== undefined && !isCarriedOut && this.journal.outcomes.has(index);
    this.waiters.set(index, {
      ...{asked, entry: known ?? entry, wasCutOff, prepare: hooks.prepare, isAwaited: false, settle, reject},
    });
    if (known !== undefined && known.dueAt > 0) this.timers.set(index, known.dueAt);
    if (!this.journal.outcomes.has(index) && !this.heard.has(index))
      this.begin(index, known, entry, asked, carryOut, hooks);
    hooks.announce?.(entry.messageId, index);
    this.moved();
    void this.pump();
    return promise;
  }

  /** Run an effect inside the entry of its step. */
  inStep<T>(index: number, effect: () => T): T {
    return steps.run(index, effect);
  }

  /** Failed tries of a step in turns before this one. */
  failedTries(index: number): number {
    return this.journal.tries.get(index)?.failed ?? 0;
  }

  async noteTries(index: number, failed: number, error: string): Promise<void> {
    await this.enqueue({kind: 'tries', index, tries: {failed, error}}, () => Promise.resolve());
  }

  private entryOf({kind, target, what, note, question}: Asked, index: number): JournalEntry {
    const {executionId, trace} = this.host;
    return {
      ...{kind, target, note: note.slice(0, NOTE_LENGTH), dueAt: 0},
      ...(trace?.askedAt === undefined ? {} : {askedAt: trace.askedAt()}),
      digest: digestOf(what),
      messageId:
        kind === 'step' || kind === 'cancel'
          ? ''
          : entryMessageId(kind, `${executionId}/${this.journal.run}`, index),
      ...(question === undefined ? {} : {question}),
    };
  }

  private begin(
    index: number,
    known: JournalEntry | undefined,
    entry: JournalEntry,
    {kind, inMs}: Asked,
    carryOut: CarryOut,
    hooks: AskHooks,
  ): void {
    // A turn that suspended had carried out everything before.
    if (known !== undefined && kind !== 'step' && index < (this.journal.end?.dispatched ?? 0)) return;
    const write: JournalWrite | undefined =
      known !== undefined
        ? undefined
        : inMs === undefined
          ? {kind: 'entry', index, entry}
          : {kind: 'timed', index, entry, inMs};
    const isAhead = hooks.isAhead === true && write?.kind === 'entry';
    const ahead = isAhead ? (isNoted: Promise<boolean>) => carryOut(entry, index, isNoted) : undefined;
    const follow: Queued['then'] = async ({at}, begun) => {
      const noted = known ?? {...entry, dueAt: inMs === undefined ? 0 : at + inMs};
      if (known === undefined) hooks.noted?.(at);
      if (noted.dueAt > 0) {
        this.timers.set(index, noted.dueAt);
        await this.host.setTimer(noted.messageId, noted.dueAt);
      }
      await this.carryOut(index, () => begun ?? carryOut(noted, index), hooks.looksAgain === true);
    };
    void this.enqueue(write, follow, ahead);
  }

  private async carryOut(
    index: number,
    act: () => Promise<Answer | undefined>,
    looksAgain: boolean,
  ): Promise<void> {
    for (;;) {
      const {reads} = this;
      const value = await act();
      if (value !== undefined) return this.record(index, value);
      if (!looksAgain || this.isOver) return;
      // What came while it gave up would not wake it.
      if (reads === this.reads) break;
    }
    const waiter = this.waiters.get(index);
    if (waiter === undefined) return;
    waiter.again = () => {
      delete waiter.again;
      void this.enqueue(undefined, () => this.carryOut(index, act, looksAgain));
    };
  }

  /** Keep an outcome; it reaches the code when its turn comes. */
  private async record(index: number, value: Answer): Promise<void> {
    await this.enqueue({kind: 'outcome', index, value}, async ({at, orders}) => {
      const order = orders[0] ?? 0;
      if (order > 0) this.know(index, {order, at, value});
      // An answer came first, and stays.
      else await this.readAgain();
    });
  }

  /** Resolves when what follows the write is done; what breaks either ends the run. */
  private async enqueue(
    write: Queued['write'],
    follow: Queued['then'],
    ahead?: Queued['ahead'],
  ): Promise<void> {
    this.busy++;
    try {
      await new Promise<void>((resolve, reject) => {
        const then: Queued['then'] = async (written, begun) => {
          try {
            await follow(written, begun);
            resolve();
          } catch (error) {
            reject(asError(error));
          }
        };
        this.queue.push({write, ahead, then});
        void this.flush();
      });
    } catch (error) {
      this.fail(asError(error));
    } finally {
      this.busy--;
      if (this.busy === 0) this.whenDone();
      this.moved();
    }
  }

  private untilCalm(): Promise<void> {
    return new Promise(resolve => (this.whenDone = resolve));
  }

  /** What was asked for in one go is written in one go. */
  private async flush(): Promise<void> {
    if (this.isFlushing) return;
    this.isFlushing = true;
    try {
      await immediate();
      while (this.queue.length > 0 && !this.isOver) {
        const batch = this.queue;
        this.queue = [];
        // Each outcome is answered by its order; those of one write are told apart by their place.
        const writes = batch.flatMap(({write}) => write ?? []);
        const writing = writes.length === 0 ? Promise.resolve(NOTHING_WRITTEN) : this.host.write(writes);
        const begun = this.beginAhead(batch, writing);
        const written = await writing;
        if (written.kind === 'fenced') {
          this.end({kind: 'refused', verdict: 'fenced'});
          return;
        }
        if (written.kind === 'full') {
          this.fail(journalFull(written.of));
          return;
        }
        if (written.at > 0) this.written = {at: written.at, here: performance.now()};
        let outcome = 0;
        for (const [at, {write, then}] of batch.entries()) {
          const orders = write?.kind === 'outcome' ? [written.orders[outcome++] ?? 0] : [];
          void then({...written, orders}, begun[at]);
        }
      }
    } catch (error) {
      this.fail(asError(error));
    } finally {
      this.isFlushing = false;
    }
  }

  /** What need not wait for the write goes to the server behind it, in the same turn of the event loop. */
  private beginAhead(
    batch: readonly Queued[],
    writing: Promise<Written>,
  ): readonly (Promise<Answer | undefined> | undefined)[] {
    const isNoted = writing.then(
      ({kind}) => kind === 'ok',
      () => false,
    );
    return batch.map(({ahead}) => {
      const begun = ahead?.(isNoted);
      // If the write fails nobody looks at it.
      begun?.catch(() => undefined);
      return begun;
    });
  }

  private order(journal: Journal): void {
    for (const [index, outcome] of journal.outcomes) this.ordered.set(outcome.order, {index, outcome});
  }

  private know(index: number, outcome: Outcome): void {
    this.ordered.set(outcome.order, {index, outcome});
    void this.pump();
  }

  private async readAgain(): Promise<void> {
    const journal = await this.host.read();
    this.journal = {...journal, end: this.journal.end};
    this.order(journal);
    this.cameMore();
  }

  private hear({index, outcome}: Heard): void {
    if (this.isOver || outcome.order <= this.given) return;
    this.heard.add(index);
    this.ordered.set(outcome.order, {index, outcome});
    this.cameMore();
  }

  private cameMore(): void {
    this.reads++;
    this.hasLingered = false;
    void this.pump();
    for (const {again} of this.waiters.values()) again?.();
  }

  /**
   * Hand outcomes to the code, in their order, as far as it has asked for them; each once the code has come as far as it
   * can without. Else what runs side by side would ask in another order where an outcome is known from the start.
   */
  private async pump(): Promise<void> {
    if (this.isPumping) return;
    this.isPumping = true;
    while (this.ordered.has(this.given + 1)) {
      await this.rest();
      const next = this.ordered.get(this.given + 1);
      const waiter = next && this.waiters.get(next.index);
      if (next === undefined || waiter === undefined || this.isOver) break;
      this.given++;
      this.activity++;
      this.waiters.delete(next.index);
      this.timers.delete(next.index);
      this.time = Math.max(this.time, next.outcome.at);
      const isNew = next.outcome.order > (this.journal.end?.seen ?? 0);
      this.host.trace?.given({...next, entry: waiter.entry, wasCutOff: waiter.wasCutOff, isNew});
      if (waiter.prepare !== undefined && !(await this.prepared(waiter.prepare, next.outcome.value))) break;
      waiter.settle(next.outcome.value);
    }
    this.isPumping = false;
    this.moved();
  }

  /** Resolves when the code does nothing any more but wait for outcomes. */
  private async rest(): Promise<void> {
    let calm = 0;
    while (calm < CALM_LOOKS && !this.isOver) {
      const seen = this.activity;
      await immediate();
      calm = seen === this.activity && this.emitting === 0 ? calm + 1 : 0;
    }
  }

  /** @returns false if the run is over. */
  private async prepared(prepare: NonNullable<AskHooks['prepare']>, answer: Answer): Promise<boolean> {
    try {
      await prepare(answer);
    } catch (error) {
      this.fail(asError(error));
    }
    return !this.isOver;
  }

  /** The code did something, or something was done for it: look whether all of it waits once nothing more happens. */
  private moved(): void {
    this.activity++;
    if (this.idleLook !== undefined || this.isOver) return;
    const look = (seen: number, calm: number) => {
      this.idleLook = setImmediate(() => {
        this.idleLook = undefined;
        if (this.isOver) return;
        if (seen !== this.activity) look(this.activity, 0);
        else if (calm + 1 < CALM_LOOKS) look(seen, calm + 1);
        else this.whenCalm();
      });
    };
    look(this.activity, 0);
  }

  private whenCalm(): void {
    if (this.busy > 0 || this.isPumping || this.queue.length > 0) return;
    if (![...this.waiters.values()].some(({isAwaited}) => isAwaited)) return;
    const unasked = this.ordered.get(this.given + 1);
    if (unasked === undefined) {
      if (!this.lingers()) void this.suspend();
      return;
    }
    // The code does something we do not see, or will never ask for it.
    clearTimeout(this.stuck);
    const seen = this.activity;
    this.stuck = setTimeout(() => {
      if (seen !== this.activity || this.isOver) return;
      const entry = this.journal.entries.get(unasked.index);
      this.fail(notAskedAgain(unasked.index, entry === undefined ? 'unreadable' : describe(entry)));
    }, STUCK_MS);
  }

  /** Whether it waits a little before it ends: what it called may be done at once, here. */
  private lingers(): boolean {
    if (this.hasLingered) return false;
    const {host} = this;
    const isNear = [...this.waiters.values()].some(
      ({asked, isAwaited}) => isAwaited && asked.kind === 'call' && host.isNear(asked.target),
    );
    if (!isNear) return false;
    this.hasLingered = true;
    clearTimeout(this.linger);
    this.linger = setTimeout(() => this.moved(), LINGER_MS);
    return true;
  }

  private async suspend(): Promise<void> {
    this.busy++;
    try {
      const waiting = this.waiting();
      const {reads} = this;
      const verdict = await this.host.suspend(waiting);
      if (verdict === 'more') await this.readUnlessTold(reads);
      else if (verdict === 'ok') this.end({kind: 'suspended', waiting});
      else this.end({kind: 'refused', verdict});
    } catch (error) {
      this.fail(asError(error));
    } finally {
      this.busy--;
      // The code may have ended meanwhile.
      if (this.busy === 0) this.whenDone();
      this.moved();
    }
  }

  /** What came may be told in this turn of the event loop; if there is still more, the next try to suspend says so. */
  private async readUnlessTold(reads: number): Promise<void> {
    await immediate();
    if (this.reads === reads && !this.isOver) await this.readAgain();
  }

  private waiting(): Waiting {
    const kinds = new Set([...this.waiters.values()].map(({asked}) => asked.kind));
    return {
      status: kinds.has('ask-user') ? 'WAITING_USER' : kinds.has('call') ? 'WAITING_AGENT' : 'SLEEPING',
      end: {
        attempt: this.host.attempt,
        emitted: Math.max(this.emitted, this.emittedBefore),
        dispatched: this.nextIndex,
        seen: this.given,
      },
      nextTimerInMs: Math.min(...this.timers.values()) - this.redisNow(),
    };
  }

  /** By Redis's clock, as of the last write; never, if nothing was written. */
  private redisNow(): number {
    return this.written.at === 0 ? -Infinity : this.written.at + performance.now() - this.written.here;
  }

  /** Whatever the code does with it, the execution ends with this. */
  private fail(error: Error): void {
    if (this.isOver) return;
    this.failure = error;
    this.end({kind: 'error', error});
  }

  private end(end: RunEnd): void {
    this.isOver = true;
    this.isParked = end.kind === 'suspended' || end.kind === 'refused';
    this.finish(end);
  }

  /** It was cancelled, or is not ours any more: what waits is told, so that the code can clean up. */
  private abort(reason: Error): void {
    if (this.isOver) return;
    this.isOver = true;
    for (const waiter of this.waiters.values()) waiter.reject(reason);
    this.waiters.clear();
  }
}

const NOTHING_WRITTEN: Written & {kind: 'ok'} = {kind: 'ok', at: 0, orders: []};

const fits = (known: JournalEntry, entry: JournalEntry): boolean =>
  known.kind === entry.kind && known.target === entry.target && known.digest === entry.digest;

const immediate = () => new Promise<void>(resolve => setImmediate(resolve));

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(messageOf(error)));

/** The error as a step's outcome keeps it. */
export function failureAnswer(error: unknown): Answer {
  const name = error instanceof Error ? error.name : typeof error;
  const code = error instanceof ByError ? error.code : '';
  return {
    status: 'FAILED',
    content: messageOf(error).slice(0, 4096),
    data: {error_name: name, ...(code === '' ? {} : {error_code: code})},
    metadata: {},
  };
}
