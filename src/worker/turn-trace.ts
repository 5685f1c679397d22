/**
 * What a tracer is told of a turn. An execution has one span, whatever turns and workers it takes: it is told by the turn
 * that ends it, with the start that its record remembers, and everything else names it as its parent before that. A turn
 * is told by itself only where the execution goes on after it.
 */
import {AsyncLocalStorage} from 'node:async_hooks';
import type {AskCommand, ResumeCommand} from '../protocol/commands.js';
import {replyContextOf, type ExecutionRecord} from '../protocol/execution.js';
import {integerOf, textOf} from '../protocol/fields.js';
import {spanIds} from '../protocol/trace.js';
import {
  errorFacts,
  parentOf,
  tellSpan,
  type LiveSpan,
  type SpanEnd,
  type SpanParent,
  type SpanStart,
  type Tracer,
} from '../protocol/tracer.js';
import {turnQuestionId} from '../protocol/question.js';
import {journalTrace, type JournalTrace} from './durable/journal-trace.js';
import {modelSpan, type ModelCall, type ModelUsage} from './model-span.js';

/** How a turn ended that ended its execution. */
export interface TracedEnd {
  readonly status: string;
  /** What the handler threw, or why it was ended. */
  readonly error?: unknown;
  readonly output?: unknown;
  readonly events: number;
  /** Unix milliseconds when writing the end began; the caller was answered in it. */
  readonly repliedFrom?: number | undefined;
}

export interface TurnTrace extends JournalTrace {
  /** The execution's span; undefined if nothing is told. */
  readonly span: SpanParent | undefined;
  /** Fields of the record of an execution that waits: so that later turns find the same parent. */
  noted(): {readonly x_trace_parent?: string};
  /** Run the agent's code. */
  within<T>(code: () => T): T;
  /** The turn is over and the execution is not: it waits, or is tried again. */
  left(status: string, error?: unknown): void;
  ended(end: TracedEnd): void;
  /** Run a call of a model. */
  model<T>(call: ModelCall, run: (usage: (usage: ModelUsage) => void) => Promise<T>): Promise<T>;
  /** Tell a call of a model that is over. */
  usage(call: ModelCall & ModelUsage): void;
}

export const UNTOLD: TurnTrace = {
  span: undefined,
  noted: () => ({}),
  within: code => code(),
  left: () => undefined,
  ended: () => undefined,
  model: (_call, run) => run(() => undefined),
  usage: () => undefined,
  askedAt: undefined,
  step: (_index, _entry, effect) => effect(),
  given: () => undefined,
};

export interface TracedTurn {
  readonly command: AskCommand | ResumeCommand;
  readonly record: ExecutionRecord;
  readonly attempt: number;
  readonly executionId: string;
  readonly agentType: string;
  readonly workerId: string;
  /** The execution's own. */
  readonly messageId: string;
  /** It asks in entries of its journal, not by ending its turn. */
  readonly isDurable: boolean;
}

/** @returns {@link UNTOLD} if nobody is to be told. */
export function traceTurn(
  {tracer, now}: {readonly tracer?: Tracer | undefined; readonly now: () => number},
  turn: TracedTurn,
): TurnTrace {
  // A RESUME of another SDK may carry another trace id: an execution has one.
  const traceId = turn.record.traceId || turn.command.header.traceId;
  return tracer?.keeps(traceId) === true ? new ToldTurn(tracer, now, turn, traceId) : UNTOLD;
}

/** Tell an execution that had ended before this worker came to it, as its record says. */
export function traceEnded(
  env: Parameters<typeof traceTurn>[0],
  turn: TracedTurn,
  hasReplied: boolean,
): void {
  const {status, finishedAt, errorType, errorMessage, errorCode, extra} = turn.record;
  if (finishedAt === 0) return;
  const error = Object.assign(new Error(errorMessage ?? ''), {name: errorType ?? 'Error', code: errorCode});
  const attempt = integerOf(extra['x_attempt'], 1);
  traceTurn({tracer: env.tracer, now: () => finishedAt}, {...turn, attempt, isDurable: true}).ended({
    ...{status, events: 0},
    ...(status === 'FAILED' ? {error} : {}),
    ...(hasReplied ? {repliedFrom: finishedAt} : {}),
  });
}

/** The span that is open around the code that runs now, where it is not the execution's. */
const inner = new AsyncLocalStorage<{readonly span: LiveSpan; readonly spanId: string}>();

class ToldTurn implements TurnTrace {
  readonly span: SpanParent;
  readonly step: JournalTrace['step'];
  readonly given: JournalTrace['given'];
  readonly askedAt: () => number;
  private readonly facts: Omit<SpanStart, 'spanId' | 'parent' | 'operation' | 'startTs'>;
  private readonly execution: LiveSpan;
  private readonly parent: SpanParent;
  private readonly begunAt: number;
  private readonly startedAt: number;
  private models = 0;

  constructor(
    private readonly tracer: Tracer,
    private readonly now: () => number,
    private readonly turn: TracedTurn,
    traceId: string,
  ) {
    const {record, command, executionId, messageId, agentType, workerId} = turn;
    const {sessionId, userCode} = command.header;
    // A RESUME's header names what it answers, not who asked.
    const ask = command.action === 'ASK_AGENT' ? command.header : undefined;
    this.begunAt = now();
    const reopenedAt = integerOf(record.extra['x_reopened_at'], 0);
    this.startedAt = reopenedAt || record.startedAt || this.begunAt;
    this.facts = {
      ...{traceId, sessionId, executionId, messageId, workerId, userCode, component: 'worker'},
      parentMessageId: record.parentMessageId || (ask?.parentMessageId ?? ''),
      sourceAgentType: record.sourceAgentType || (ask?.sourceAgentType ?? ''),
      targetAgentType: agentType,
    };
    this.parent = parentOfExecution(turn);
    // What a person continues after its end is a piece of work of its own.
    const spanId = `${spanIds.execute(executionId)}${reopenedAt === 0 ? '' : `#${reopenedAt}`}`;
    this.execution = tracer.start({
      ...this.facts,
      ...{
        spanId,
        parent: this.parent,
        operation: 'worker.execute',
        kind: 'consumer',
        startTs: this.startedAt,
      },
      ...(tracer.takesContent && command.action === 'ASK_AGENT' ? {input: command.content} : {}),
      attributes: {'gen_ai.operation.name': 'invoke_agent', 'gen_ai.agent.name': agentType},
    });
    this.span = {spanId, hex: this.execution.hex};
    this.askedAt = now;
    const journal = journalTrace(tracer, now, this.facts, this.span, (span, code) =>
      span.live.within(() => inner.run({span: span.live, spanId: span.spanId}, code)),
    );
    this.step = journal.step;
    this.given = journal.given;
    if (!turn.isDurable) this.tellAnswered();
  }

  noted(): {readonly x_trace_parent?: string} {
    const {hex} = this.parent;
    return hex === ruledParent(this.turn).hex ? {} : {x_trace_parent: hex};
  }

  within<T>(code: () => T): T {
    return this.execution.within(code);
  }

  left(status: string, error?: unknown): void {
    const end: SpanEnd = {
      ...{status, endTs: this.now()},
      ...(error === undefined ? {} : errorFacts(error)),
      attributes: {'by.attempt': this.turn.attempt},
    };
    this.execution.leave(end);
    this.tellTurn(end);
  }

  ended({status, error, output, events, repliedFrom}: TracedEnd): void {
    const {record, attempt, executionId} = this.turn;
    const endTs = this.now();
    const queueWaitMs = record.createdAt === 0 ? 0 : Math.max(0, this.startedAt - record.createdAt);
    const end: SpanEnd = {
      ...{status, endTs, queueWaitMs, chunkCount: events},
      ...(error === undefined ? {} : {...errorFacts(error), failedStage: 'process_command'}),
      ...(this.tracer.takesContent && output !== undefined ? {output} : {}),
      attributes: {'by.attempt': attempt},
    };
    if (repliedFrom !== undefined)
      this.tell('agent.return', spanIds.agentReturn(executionId), repliedFrom, {status, endTs});
    if (status === 'CANCELLED')
      this.tell('agent.cancel', spanIds.cancel(executionId), this.begunAt, {status, endTs});
    if (attempt > 1) this.tellTurn(end);
    if (record.createdAt > 0 && (attempt === 1 || this.execution.isStable)) {
      tellSpan(
        this.tracer,
        {
          ...this.facts,
          ...{spanId: `${executionId}:queue.wait`, parent: this.parent, operation: 'queue.wait'},
          startTs: Math.min(record.createdAt, this.startedAt),
        },
        {status: 'COMPLETED', endTs: this.startedAt},
      );
    }
    this.execution.end(end);
  }

  async model<T>(call: ModelCall, run: (usage: (usage: ModelUsage) => void) => Promise<T>): Promise<T> {
    const {start, end} = this.beginModel(call, this.now());
    const span = this.tracer.start(start);
    let used: ModelUsage = {};
    try {
      const value = await span.within(() => run(usage => (used = {...used, ...usage})));
      span.end({...end(used), status: 'COMPLETED', endTs: this.now()});
      return value;
    } catch (error) {
      span.end({...end(used), ...errorFacts(error), status: 'FAILED', endTs: this.now()});
      throw error;
    }
  }

  usage(call: ModelCall & ModelUsage): void {
    const {start, end} = this.beginModel(call, call.startedAt ?? this.now());
    tellSpan(this.tracer, start, {...end(call), status: 'COMPLETED', endTs: this.now()});
  }

  private beginModel(call: ModelCall, startTs: number) {
    const open = inner.getStore();
    const spanId = `${open?.spanId ?? this.span.spanId}:model:${this.turn.attempt}/${++this.models}`;
    const parent = open === undefined ? this.span : {spanId: open.spanId, hex: open.span.hex};
    return modelSpan({...this.facts, spanId, parent, startTs}, call);
  }

  /** The turn before this one asked a person: how long that took. */
  private tellAnswered(): void {
    const {command, record, executionId, attempt} = this.turn;
    if (command.action !== 'RESUME' || command.header.sourceAgentType !== '') return;
    const at = record.timeline.findLastIndex(({status}) => status === 'WAITING_USER');
    const [asked, answered] = record.timeline.slice(at === -1 ? record.timeline.length : at);
    if (asked === undefined || answered === undefined) return;
    this.tell('agent.ask_user', turnQuestionId(executionId, attempt - 1), asked.timestamp, {
      ...{status: 'COMPLETED', endTs: answered.timestamp},
    });
  }

  private tellTurn(end: SpanEnd): void {
    if (!this.execution.isStable) return;
    const {executionId, attempt} = this.turn;
    this.tell('worker.turn', `${executionId}:worker.turn:${attempt}`, this.begunAt, end, `turn ${attempt}`);
  }

  private tell(operation: string, spanId: string, startTs: number, end: SpanEnd, name = operation): void {
    tellSpan(this.tracer, {...this.facts, spanId, operation, name, startTs, parent: this.span}, end);
  }
}

/** The span that sent the execution's ASK, as far as this turn's command or its record says. */
function parentOfExecution(turn: TracedTurn): SpanParent {
  const {command, record} = turn;
  const noted = textOf(record.extra['x_trace_parent']);
  const ruled = ruledParent(turn);
  if (noted !== '') return {spanId: noted === ruled.hex ? ruled.spanId : '', hex: noted};
  const {metadata, traceParentSpanId} =
    command.action === 'ASK_AGENT'
      ? command.header
      : {metadata: replyContextOf(record)?.metadata ?? {}, traceParentSpanId: ''};
  const hex = hexOf(traceParentSpanId) || hexOf(metadata['trace_parent_span_id']) || ruled.hex;
  const framework = textOf(metadata['framework_parent_span_id']);
  return {spanId: framework || (hex === ruled.hex ? '' : hex), hex};
}

/** Whoever follows the rules sent it under this id. */
const ruledParent = ({messageId}: TracedTurn): SpanParent => parentOf(spanIds.dispatch(messageId));

const hexOf = (value: unknown): string =>
  typeof value === 'string' && /^[0-9a-f]{16}$/i.test(value) ? value.toLowerCase() : '';
