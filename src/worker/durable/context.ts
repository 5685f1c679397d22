/** What a durable agent holds: everything it asks for through this is kept, and asked for once. */
import {createHash} from 'node:crypto';
import {ByError, messageOf} from '../../errors.js';
import {backoffMs} from '../../backoff.js';
import {sleep} from '../../clock.js';
import {hasContent, type Content} from '../../protocol/commands.js';
import {askUserEvent, type DataEvent} from '../../protocol/events.js';
import {textOf} from '../../protocol/fields.js';
import type {Header} from '../../protocol/header.js';
import type {Answer} from '../../protocol/journal.js';
import {assertShape, encodeJson, isObject, MAX_DOCUMENT_BYTES} from '../../protocol/limits.js';
import type {RoutePolicy} from '../../protocol/routing.js';
import type {RestPolicy} from '../../protocol/task-group.js';
import {openStorage, type Storage} from '../../store/storage.js';
import type {ToolContext} from '../../plugins/agent-config.js';
import {TurnContext, type ContextFacts, type EventScope} from '../context.js';
import type {Noting} from '../../store/acceptance.js';
import type {EventWriter} from '../event-writer.js';
import type {SessionHistory} from '../turn-history.js';
import {checkRest} from '../rest.js';
import {retryPolicy, type RetryOptions} from '../retry.js';
import {CallFailed, StepFailed, textOfFailure} from './failures.js';
import {CallEvents, type EventBatch, type EventSource, type ReadCall} from './call-events.js';
import {DurableHistory} from './history.js';
import {tracedStep} from './journal-trace.js';
import {cancelMade, Rest, type MadeCall, type OpenCall} from './rest.js';
import type {DurablePromise} from './promise.js';
import {failureAnswer, type DurableRun} from './run.js';

export interface CallOptions {
  /** What to do when nobody is online. Default SEND_ANYWAY: the call waits for a worker as long as it takes. */
  readonly policy?: RoutePolicy;
  /** Milliseconds after which nobody wants the answer: the call fails with DEADLINE_EXCEEDED. Default: the caller's. */
  readonly deadlineMs?: number;
  /** Higher goes first among pending deliveries. Default 0. */
  readonly priority?: number;
  readonly region?: string;
  /** Passed to the agent beside the content. */
  readonly extraPayload?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** One of several calls: the agent type, the content, and how. */
export type Call = readonly [agentType: string, content: Content, options?: CallOptions];

/** When several calls count as answered. `{quorum: n}`: as soon as so many have completed. */
export type JoinPolicy = 'all' | 'allSettled' | 'any' | {readonly quorum: number};

export interface CallAllOptions<P extends JoinPolicy = JoinPolicy> {
  /** Default `all`: one that fails fails them all. */
  readonly policy?: P;
  /** Milliseconds for all of them together. With `allSettled`, what is missing then counts as failed. */
  readonly deadlineMs?: number;
  /**
   * What becomes of calls without an answer when the outcome is decided: enough have completed, too many have failed, or the
   * time is over. `cancel` ends them with all that they started. Default `leave`: they run to their end.
   */
  readonly rest?: RestPolicy;
}

/** Of several calls that may fail: what became of one. */
export type Settled =
  | {readonly status: 'completed'; readonly value: unknown}
  | {readonly status: 'failed'; readonly error: Error};

export interface Question {
  readonly prompt: string;
  /** What may be answered; shown, and checked where the answer is given. */
  readonly choices?: readonly string[];
  /** Milliseconds to wait; then `default` is the answer, or the question fails. Default: as long as it takes. */
  readonly deadlineMs?: number;
  readonly default?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface StepOptions {
  /** Try what the step throws again. Default: once only. */
  readonly retry?: RetryOptions;
  /** Milliseconds one try may take; its `signal` is aborted then. Default: no limit. */
  readonly timeoutMs?: number;
}

/** What a step is given. */
export interface StepTry {
  /** Aborted when the execution is cancelled, and when the step has used up its time. */
  readonly signal: AbortSignal;
  /** 1 for the first try. With the execution id and the step's name a key for its effect. */
  readonly attempt: number;
}

/**
 * Sends a call. The header is that of the command that began the run; with `noting` it is not sent before it is noted.
 * @returns why it was refused, or undefined if it is on its way.
 */
export type SendCall = (
  header: Header,
  call: {readonly agentType: string; readonly content: Content; readonly messageId: string} & CallOptions,
  noting: Noting | undefined,
) => Promise<ByError | undefined>;

export interface EventsOptions {
  /**
   * Milliseconds to wait for the next event while the agent says nothing. Then the turn may end, as it does without
   * reading, and what is said later is given when the answer is there. Default 5,000.
   */
  readonly quietMs?: number;
}

/** The answer of an agent that was called, and what it says until then. */
export type CallAnswer = DurablePromise<unknown> & {
  /**
   * The events of the agent that was called, as it emits them, and after them the end: those of its own message, not those
   * of its sub-steps or of agents it calls. In every turn they come again from the first one, each once. Whether the call
   * fails is told by the answer itself.
   */
  events(options?: EventsOptions): AsyncIterable<DataEvent>;
};

/** What a durable context works with. */
export interface DurableParts {
  readonly run: DurableRun;
  readonly send: SendCall;
  readonly source: EventSource;
}

const QUIET_MS = 5000;
const DONE: Answer = {status: 'COMPLETED', content: '', data: null, metadata: {}};

type Mutable<T> = {-readonly [K in keyof T]: T[K]};

export class DurableContext extends TurnContext {
  private steeringSteps = 0;

  constructor(
    facts: ContextFacts,
    writer: EventWriter,
    private readonly durable: DurableParts,
    scope?: EventScope,
  ) {
    super(facts, writer, scope);
  }

  /**
   * Call another agent and get its answer, however long that takes: its content, or its data if it has none.
   * @throws {CallFailed} if it does not complete.
   */
  call(agentType: string, content: Content, options: CallOptions = {}): CallAnswer {
    const made = this.makeCall(agentType, content, options);
    const events = (reading?: EventsOptions) => this.eventsOf(agentType, made.answer, made.asked, reading);
    return Object.assign(made.answer, {events});
  }

  /** Call several agents at once. @returns their answers in the order of the calls. @throws {CallFailed} */
  callAll(calls: readonly Call[], options?: CallAllOptions<'all'>): Promise<unknown[]>;
  callAll(calls: readonly Call[], options: CallAllOptions<'allSettled'>): Promise<Settled[]>;
  /** @returns the answer that came first. */
  callAll(calls: readonly Call[], options: CallAllOptions<'any'>): Promise<unknown>;
  /** @returns the answers of those that came first, in the order in which they came. */
  callAll(calls: readonly Call[], options: CallAllOptions<{readonly quorum: number}>): Promise<unknown[]>;
  callAll(
    calls: readonly Call[],
    {policy = 'all', deadlineMs, rest = 'leave'}: CallAllOptions = {},
  ): Promise<unknown> {
    checkRest(rest);
    const made = calls.map(([agentType, content, options]) => this.makeCall(agentType, content, options));
    const end = deadlineMs === undefined ? undefined : this.sleep(deadlineMs);
    const joined = join(
      made.map(({answer}) => answer),
      policy,
      end,
    );
    return rest === 'leave' ? joined : this.cancelRest(joined, made, policy);
  }

  /** Call several agents, and take the first answer that completes. @throws {AggregateError} if none does. */
  callAny(
    calls: readonly Call[],
    options: Pick<CallAllOptions, 'deadlineMs' | 'rest'> = {},
  ): Promise<unknown> {
    return this.callAll(calls, {...options, policy: 'any'});
  }

  /**
   * Ask the person, and get the answer, however long that takes: its text, or its data if it has none.
   * @throws {CallFailed} DEADLINE_EXCEEDED after `deadlineMs` without an answer and without a default.
   * @throws {ByError} TOOL_DENIED if the policy of the run says `interactive: false`.
   */
  askUser(question: string | Question): DurablePromise<unknown> {
    this.checkMayAsk();
    const asked: Question = typeof question === 'string' ? {prompt: question} : question;
    const {prompt, choices, deadlineMs} = asked;
    return this.durable.run.ask(
      {
        ...{kind: 'ask-user', target: '', what: asked, note: prompt},
        question: {
          prompt,
          ...(choices === undefined ? {} : {choices}),
          ...(asked.default === undefined ? {} : {default: asked.default}),
        },
        ...(deadlineMs === undefined ? {} : {inMs: deadlineMs}),
      },
      () => Promise.resolve(undefined),
      answer => {
        // The timer that went off is the answer then.
        if (answer.status !== 'EXPIRED') return valueOf('', answer);
        if (asked.default !== undefined) return asked.default;
        throw new CallFailed('', 'EXPIRED', 'Nobody answered in time.', null, 'DEADLINE_EXCEEDED');
      },
      {
        announce: messageId => {
          const metadata = {
            ...asked.metadata,
            by_question: messageId,
            ...(choices === undefined ? {} : {by_choices: choices}),
            ...(deadlineMs === undefined ? {} : {by_answer_within_ms: deadlineMs}),
            ...(asked.default === undefined ? {} : {by_default: asked.default}),
          };
          // What breaks a write ends the turn: nobody has to wait for it here.
          this.emit(askUserEvent(this.emitter, {prompt, metadata})).catch(() => undefined);
        },
      },
    );
  }

  /** Wait, however long; nothing is held meanwhile. @param ms milliseconds from now, or the moment to wait for. */
  sleep(ms: number | Date): DurablePromise<void> {
    const inMs = Math.max(0, Math.ceil(ms instanceof Date ? ms.getTime() - this.now() : ms));
    return this.durable.run.ask(
      {kind: 'sleep', target: '', what: ms instanceof Date ? ms.getTime() : ms, note: `${inMs} ms`, inMs},
      () => Promise.resolve(undefined),
      () => undefined,
    );
  }

  /**
   * Do something once and keep its result: any JSON, `undefined` becomes null. A process that dies before the result is kept
   * does it again.
   * @throws {StepFailed} if it throws as often as its retry policy allows.
   */
  step<T>(
    name: string,
    effect: (attempt: StepTry) => T | Promise<T>,
    options: StepOptions = {},
  ): DurablePromise<T> {
    const policy = retryPolicy(options.retry, `step "${name}"`);
    const most = policy.retriesErrors ? (policy.maxAttempts ?? 5) : 1;
    return this.durable.run.ask(
      {kind: 'step', target: name, what: name, note: ''},
      tracedStep(this.facts.trace, async (_entry, index) => {
        for (let attempt = this.durable.run.failedTries(index) + 1; ; attempt++) {
          try {
            const value = await this.tryStep(index, attempt, effect, options.timeoutMs);
            return await this.told({
              ...{status: 'COMPLETED', content: '', data: asKept(name, value), metadata: {}},
            });
          } catch (error) {
            // What it said could not be written: that is no failure of the step.
            if (error === this.writer.error) throw error;
            if (this.signal.aborted) throw error;
            const isFinal = (error as {retryable?: unknown} | null)?.retryable === false;
            if (attempt >= most || isFinal) return await this.told(failureAnswer(error));
            this.log.warn('a step failed, to be tried again', {
              step: name,
              try: attempt,
              error: messageOf(error),
            });
            await this.durable.run.noteTries(index, attempt, messageOf(error).slice(0, 1024));
            await sleep(backoffMs(attempt, policy), this.signal);
          }
        }
      }),
      answer => {
        if (answer.status === 'COMPLETED') return answer.data as T;
        const errorName = isObject(answer.data) ? textOf(answer.data['error_name']) : '';
        throw new StepFailed(name, textOfFailure(answer), errorName);
      },
    );
  }

  /**
   * What was said in the session. A read is kept like a step, so every turn gets the same; a message is saved once, whatever
   * the code does again. Inside of a step both are a part of it.
   */
  override get history(): SessionHistory {
    const {run} = this.durable;
    return new DurableHistory(this.facts.history, {
      isInStep: () => run.isInStep,
      run: run.number,
      step: (name, effect, options) => this.step(name, effect, options),
    });
  }

  /** The time, the same in every turn: that of the last answer, in Unix milliseconds. */
  now(): number {
    return this.durable.run.time;
  }

  /** A number from 0 to below 1, the same in every turn. */
  random(): number {
    return Number.parseInt(this.chance().slice(0, 13), 16) / 2 ** 52;
  }

  /** A UUID, the same in every turn. */
  uuid(): string {
    const hex = this.chance();
    const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  }

  /** A part of the work with a title of its own: events of the returned context belong to it. */
  async subStep(title: string): Promise<DurableContext> {
    const digest = this.chance().slice(0, 16);
    const scope = {messageId: `msg-${digest}`, parentMessageId: this.messageId};
    const inner = new DurableContext(this.facts, this.writer, this.durable, scope);
    await inner.emitReasoning(title);
    return inner;
  }

  /**
   * What a library keeps beside the journal, as checkpoints of a graph: fields of the session under a name, which every
   * execution of the session finds. Read and write it within a step. Writes are refused once another attempt owns the
   * execution.
   */
  storage(name: string): Storage {
    const {store, turn} = this.durable.source;
    return openStorage(store, {sessionId: turn.sessionId, name, turn});
  }

  protected override async emit(event: DataEvent): Promise<void> {
    const {run} = this.durable;
    const {isNew, step} = run.takesEvent();
    if (!isNew) return;
    if (step === undefined) return run.whileEmitting(super.emit(event));
    return super.emit({...event, metadata: {...event.metadata, by_step: step}});
  }

  /** A tool runs once, like any effect; inside a step it is part of that. */
  protected override runTool(name: string, effect: (ctx: ToolContext) => Promise<unknown>): Promise<unknown> {
    if (this.durable.run.isInStep) return super.runTool(name, effect);
    return this.step(`tool ${name}`, ({signal}) => effect(this.toolContext(signal)));
  }

  /** Its place in the journal says who takes: an attempt that is made anew gets what the last one took and did not keep. */
  override steered(): Promise<string[]> {
    const {run} = this;
    if (run === undefined) return Promise.resolve([]);
    if (this.durable.run.isInStep) return super.steered();
    const by = `${this.executionId}#${this.steeringSteps++}`;
    return this.step('steered', () => this.takeSteered(run, by));
  }

  private makeCall(agentType: string, content: Content, options: CallOptions = {}): MadeCall {
    let asked: Mutable<ReadCall> | undefined;
    let sending: Promise<Answer | undefined> | undefined;
    const send = async (messageId: string, noting: Noting | undefined) => {
      const refusal = hasContent(content)
        ? await this.durable.send(this.facts.header, {...options, agentType, content, messageId}, noting)
        : new ByError('INVALID_INPUT', 'The content is empty.', {hint: 'Send some text.'});
      return refusal && failureAnswer(refusal);
    };
    const answer = this.durable.run.ask(
      {kind: 'call', target: agentType, what: [agentType, content, options], note: noteOf(content)},
      async ({messageId}, index, isNoted) => {
        try {
          return await (sending = send(messageId, isNoted && {index, isNoted}));
        } finally {
          sending = undefined;
        }
      },
      reply => valueOf(agentType, reply),
      {
        isAhead: true,
        announce: (messageId, index) => (asked = {index, messageId, sentAfter: 0}),
        noted: at => {
          if (asked !== undefined) asked.sentAfter = at;
        },
      },
    );
    return {
      ...{agentType, answer},
      get asked() {
        return asked;
      },
      get sending() {
        return sending;
      },
    };
  }

  /**
   * Pass on what came of several calls, and cancel those that have no answer then. Which those are is the same in every
   * turn, because answers are given one at a time; the cancel is an entry of the journal, asked for before the code that
   * waits goes on, so a turn that is cut off before it is carried out is followed by one that does.
   */
  private async cancelRest<T>(joined: Promise<T>, made: readonly MadeCall[], policy: JoinPolicy): Promise<T> {
    const rest = new Rest(made);
    // With that policy nothing else leaves calls without an answer.
    let isLate = policy === 'allSettled';
    try {
      return await joined;
    } catch (error) {
      isLate ||= error instanceof OutOfTime;
      throw error;
    } finally {
      this.askToCancel(rest.calls, rest.why(isLate));
    }
  }

  private askToCancel(calls: readonly OpenCall[], reason: string): void {
    if (calls.length === 0) return;
    const {sessionId, agentType: requestedBy} = this;
    void this.durable.run.ask(
      {kind: 'cancel', target: '', what: calls.map(({asked}) => asked.index), note: reason},
      async () => {
        await cancelMade(this.facts.store, this.facts.now, {sessionId, reason, requestedBy}, calls);
        return DONE;
      },
      () => undefined,
    );
  }

  private async *eventsOf(
    agentType: string,
    answer: Promise<unknown>,
    call: ReadCall | undefined,
    {quietMs = QUIET_MS}: EventsOptions = {},
  ): AsyncGenerator<DataEvent> {
    if (call === undefined) {
      // It was not made at all, and says why.
      await answer;
      return;
    }
    const events = new CallEvents(this.durable.source, call);
    for (let after = ''; ;) {
      let batch: EventBatch = {events: [], to: after, isLast: true};
      await this.durable.run.ask(
        {kind: 'step', target: `events of ${agentType}`, what: ['events', call.index], note: ''},
        () => events.wait(after, quietMs),
        () => undefined,
        {
          looksAgain: true,
          prepare: async found => {
            batch = await events.take(found);
          },
        },
      );
      yield* batch.events;
      if (batch.isLast) return;
      after = batch.to;
    }
  }

  /** What a step said is written before its outcome is: once that is kept, it does not say it again. */
  private async told(answer: Answer): Promise<Answer> {
    await this.writer.flush();
    return answer;
  }

  private async tryStep<T>(
    index: number,
    attempt: number,
    effect: (attempt: StepTry) => T | Promise<T>,
    timeoutMs: number | undefined,
  ): Promise<T> {
    if (timeoutMs === undefined)
      return this.durable.run.inStep(index, () => effect({signal: this.signal, attempt}));
    const late = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([this.signal, late]);
    const ended = new Promise<never>((_resolve, reject) => {
      const end = () =>
        reject(new ByError('TIMEOUT', `It took longer than ${timeoutMs} ms.`, {hint: 'Give it more time.'}));
      late.addEventListener('abort', end, {once: true});
    });
    return Promise.race([this.durable.run.inStep(index, async () => effect({signal, attempt})), ended]);
  }

  private chance(): string {
    return createHash('sha256').update(`${this.executionId}/${this.durable.run.nextChance()}`).digest('hex');
  }
}

const noteOf = (content: Content): string =>
  typeof content === 'string' ? content : JSON.stringify(content).slice(0, 200);

function valueOf(agentType: string, answer: Answer): unknown {
  const {status, content, data} = answer;
  if (status !== 'COMPLETED' && status !== '') {
    const code = isObject(data) ? textOf(data['error_code']) : '';
    throw new CallFailed(
      agentType,
      status,
      textOfFailure(answer),
      data,
      code || textOf(answer.metadata['error_code']),
    );
  }
  return isEmpty(content) ? (data ?? content) : content;
}

const isEmpty = (content: unknown): boolean =>
  content === '' || content === null || (Array.isArray(content) && content.length === 0);

/** A result as every later turn gets it. @throws {ByError} INVALID_INPUT, MESSAGE_TOO_LARGE. */
function asKept(step: string, value: unknown): unknown {
  const text = encodeJson(value ?? null) as string | undefined;
  if (text === undefined)
    throw new ByError('INVALID_INPUT', `The step "${step}" returned what JSON can not hold.`, {
      hint: 'Return plain JSON values.',
    });
  if (Buffer.byteLength(text) > MAX_DOCUMENT_BYTES)
    throw new ByError('MESSAGE_TOO_LARGE', `The result of the step "${step}" is too large to be kept.`, {
      hint: 'Keep it in a file or an object store, and return its address.',
    });
  const kept: unknown = JSON.parse(text);
  assertShape(kept);
  return kept;
}

/** Of calls made together: their time was over. */
class OutOfTime extends CallFailed {}

async function join(
  answers: readonly Promise<unknown>[],
  policy: JoinPolicy,
  end: Promise<void> | undefined,
): Promise<unknown> {
  const late = end?.then((): never => {
    throw new OutOfTime('', 'EXPIRED', 'Not all answered in time.', null, 'DEADLINE_EXCEEDED');
  });
  // It goes off after the others have answered, too.
  late?.catch(() => undefined);
  const within = <T>(work: Promise<T>): Promise<T> =>
    late === undefined ? work : Promise.race([work, late]);
  if (policy === 'all') return within(Promise.all(answers));
  if (policy === 'any') return within(Promise.any(answers));
  if (policy === 'allSettled') return Promise.all(answers.map(answer => settled(within(answer))));
  return within(quorum(answers, policy.quorum));
}

async function settled(answer: Promise<unknown>): Promise<Settled> {
  try {
    return {status: 'completed', value: await answer};
  } catch (error) {
    return {status: 'failed', error: error instanceof Error ? error : new Error(messageOf(error))};
  }
}

function quorum(answers: readonly Promise<unknown>[], needed: number): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const values: unknown[] = [];
    const errors: unknown[] = [];
    const look = () => {
      if (values.length >= needed) resolve(values);
      else if (answers.length - errors.length < needed)
        reject(new AggregateError(errors, `Fewer than ${needed} of ${answers.length} completed.`));
    };
    look();
    for (const answer of answers) {
      answer.then(
        value => {
          if (values.length < needed) values.push(value);
          look();
        },
        (error: unknown) => {
          errors.push(error);
          look();
        },
      );
    }
  });
}
