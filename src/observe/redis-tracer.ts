/**
 * A tracer that writes the SDKs' records into Redis (spec §9.4), for their dashboards and for `by trace`. Spans are
 * gathered and written together; what can not be written is lost, and nobody waits for it.
 */
import {within} from '../clock.js';
import {spanIdHex} from '../ids.js';
import {
  isSampled,
  MAX_SPANS_PER_TRACE,
  spanToWire,
  TRACE_TTL_S,
  traceIdHex,
  traceMetaOfSpan,
  traceRootEnd,
  traceRootStart,
  type Span,
} from '../protocol/trace.js';
import {joinTracers, type LiveSpan, type SpanEnd, type SpanStart, type Tracer} from '../protocol/tracer.js';
import type {Store} from '../store/store.js';
import {knownTraces, writeTraces, type IndexWrite, type TraceWrite} from '../store/traces.js';

export interface RedisTraceOptions {
  /** Seconds a trace is kept after the last write, up to a day. Default 900. */
  readonly ttlS?: number;
  /** The share of traces that is written, from 0 to 1: the same traces in every process and SDK. Default 1. */
  readonly sampleRate?: number;
  /** Write inputs and outputs too, cut and without secrets. Default false. */
  readonly content?: boolean;
}

/** Spans are gathered for so long, in milliseconds. */
const GATHER_MS = 100;
/** Waiting for a Redis that is away, no more than this is kept. */
const MAX_WAITING = 10_000;
/** One write in so many trims the indexes: readers pass over what is gone, and that is not to cost as much as the traces. */
const TRIM_EVERY = 10;
/** Traces whose spans are counted. */
const MAX_COUNTED = 10_000;

/** Told by others already, or nothing that the SDKs know: left out. */
const LEFT_OUT: ReadonlySet<string> = new Set(['client.route', 'queue.wait', 'manager.wakeup']);

/** One thing that is told of a trace, in the order in which it happened. */
type Told =
  | {
      readonly kind: 'root';
      readonly fields: Readonly<Record<string, string>>;
      readonly span: Span;
      /** Nothing was sent under this trace id before, so nothing can be known of it. */
      readonly isNew: boolean;
    }
  | {readonly kind: 'span'; readonly span: Span}
  | {readonly kind: 'end'; readonly fields: Readonly<Record<string, string>>};

export class RedisTracer implements Tracer {
  readonly takesContent: boolean;
  /** Spans that were not written, by why. */
  readonly dropped = {queue: 0, limit: 0, failed: 0};
  private readonly ttlS: number;
  private readonly sampleRate: number;
  private waiting = new Map<string, Told[]>();
  private waitingCount = 0;
  private readonly counts = new Map<string, number>();
  private writes = 0;
  private timer: NodeJS.Timeout | undefined;
  private writing: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: Store,
    {ttlS = TRACE_TTL_S, sampleRate = 1, content = false}: RedisTraceOptions = {},
    private readonly now: () => number = Date.now,
  ) {
    this.ttlS = ttlS;
    this.sampleRate = sampleRate;
    this.takesContent = content;
  }

  keeps(traceId: string): boolean {
    return isSampled(traceId, this.sampleRate);
  }

  active(): undefined {
    return undefined;
  }

  start(told: SpanStart): LiveSpan {
    // Another tracer may have asked for it.
    const start = this.takesContent ? told : {...told, input: undefined};
    if (isRoot(start)) this.tell(start.traceId, {kind: 'root', ...rootOf(start)});
    return {
      traceId: traceIdHex(start.traceId),
      hex: spanIdHex(start.spanId),
      isStable: true,
      end: end => this.end(start, this.takesContent ? end : {...end, output: undefined}),
      leave: () => undefined,
      within: code => code(),
    };
  }

  async flush(timeoutMs: number): Promise<void> {
    await within(timeoutMs, this.write());
  }

  private end(start: SpanStart, end: SpanEnd): void {
    const {traceId, operation} = start;
    if (LEFT_OUT.has(operation)) return;
    const count = (this.counts.get(traceId) ?? 0) + 1;
    if (count > MAX_SPANS_PER_TRACE) {
      this.dropped.limit++;
    } else {
      this.counts.delete(traceId);
      this.counts.set(traceId, count);
      const [oldest] = this.counts.keys();
      if (this.counts.size > MAX_COUNTED && oldest !== undefined) this.counts.delete(oldest);
      this.tell(traceId, {kind: 'span', span: spanOf(start, end)});
    }
    if (isLastWord(start, end)) {
      const {status, endTs, output, errorMessage} = end;
      const fields = traceRootEnd({
        ...{status, endTs, output},
        ...(errorMessage === undefined ? {} : {error: errorMessage}),
      });
      this.tell(traceId, {kind: 'end', fields});
    }
  }

  private tell(traceId: string, told: Told): void {
    if (this.waitingCount >= MAX_WAITING) {
      this.dropped.queue++;
      return;
    }
    this.waitingCount++;
    this.waiting.set(traceId, [...(this.waiting.get(traceId) ?? []), told]);
    this.timer ??= setTimeout(() => void this.write(), GATHER_MS).unref();
  }

  private async knownOf(batch: ReadonlyMap<string, readonly Told[]>) {
    const asked = [...batch].flatMap(([traceId, [first]]) =>
      first?.kind === 'root' && first.isNew ? [] : [traceId],
    );
    const found = asked.length === 0 ? [] : await knownTraces(this.store, asked);
    return new Map(asked.map((traceId, at) => [traceId, found[at] ?? {}]));
  }

  private write(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.writing = this.writing.then(() => this.writeWaiting());
    return this.writing;
  }

  private async writeWaiting(): Promise<void> {
    const batch = this.waiting;
    const count = this.waitingCount;
    if (count === 0) return;
    this.waiting = new Map();
    this.waitingCount = 0;
    try {
      const known = await this.knownOf(batch);
      const traces = [...batch].map(([traceId, told]) => traceWrite(traceId, told, known.get(traceId) ?? {}));
      const indexes = [...batch].flatMap(([traceId, told]) => told.flatMap(one => indexesOf(traceId, one)));
      await writeTraces(this.store, traces, indexes, {
        ...{ttlS: this.ttlS, now: this.now(), trims: this.writes++ % TRIM_EVERY === 0},
      });
    } catch {
      // Nobody works worse for a trace that is lost.
      this.dropped.failed += count;
    }
  }
}

/** The tracer of a process: the one it was given, and one that writes to Redis if that is wanted. */
export function tracerOf(
  store: Store,
  {tracer, redisTraces}: {readonly tracer?: Tracer; readonly redisTraces?: RedisTraceOptions},
): Tracer | undefined {
  return joinTracers([
    ...(tracer === undefined ? [] : [tracer]),
    ...(redisTraces === undefined ? [] : [new RedisTracer(store, redisTraces)]),
  ]);
}

/** A client's own request, that nothing else began. */
const isRoot = ({operation, component, parentMessageId = ''}: SpanStart): boolean =>
  operation === 'client.dispatch' && component === 'client' && parentMessageId === '';

/** The root is over: its execution has ended, or nobody took it. */
const isLastWord = (start: SpanStart, {status}: SpanEnd): boolean =>
  (isRoot(start) && status === 'FAILED') ||
  (start.operation === 'worker.execute' && (start.parentMessageId ?? '') === '');

function rootOf(start: SpanStart) {
  const {traceId, sessionId = '', messageId = '', targetAgentType = '', startTs} = start;
  const root = {traceId, sessionId, rootMessageId: messageId, rootAgentType: targetAgentType};
  return {
    fields: traceRootStart({...root, input: start.input, startTs}),
    span: spanOf(start, {status: 'QUEUED', endTs: startTs}),
    isNew: start.isNewTrace === true,
  };
}

/** As it is written, its keys under the SDKs' names. */
function spanOf(start: SpanStart, end: SpanEnd): Span {
  const {kind, parent, attributes, userCode: _user, isNewTrace: _isNew, ...facts} = start;
  const {attributes: more, ...outcome} = end;
  const metadata = Object.fromEntries(
    Object.entries({...attributes, ...more}).filter(([name, value]) => value !== undefined && !isTold(name)),
  );
  return {
    ...facts,
    ...outcome,
    ...(kind === undefined ? {} : {kind}),
    parentSpanId: parent.spanId || parent.hex,
    metadata,
  };
}

/** In the record's own fields; those of the second kind would be taken for secrets by their names. */
const isTold = (name: string): boolean => /^gen_ai\.(agent|usage)\./.test(name);

/** The earliest start and the latest update win, whoever wrote them; a call never takes the root's place. */
function traceWrite(
  traceId: string,
  told: readonly Told[],
  known: Readonly<Record<string, string>>,
): TraceWrite {
  let seen = {...known};
  let fields: Record<string, string> = {};
  const spans: string[] = [];
  for (const one of told) {
    const written = one.kind === 'span' ? metaOf(one.span, seen) : one.fields;
    fields = {...fields, ...written};
    seen = {...seen, ...written};
    if (one.kind === 'span') spans.push(JSON.stringify(spanToWire(one.span)));
  }
  return {traceId, fields, spans};
}

function metaOf(span: Span, known: Readonly<Record<string, string>>): Record<string, string> {
  const fields = traceMetaOfSpan(span, known);
  if (span.component === 'client') return fields;
  const {name: _name, root_agent_type: _type, root_message_id: _message, ...others} = fields;
  const isRoot = span.operation === 'worker.execute' && (span.parentMessageId ?? '') === '';
  if (!isRoot || known['root_message_id'] !== undefined) return others;
  // Its client told nobody.
  const {targetAgentType = '', messageId = ''} = span;
  return {...others, name: targetAgentType, root_agent_type: targetAgentType, root_message_id: messageId};
}

function indexesOf(traceId: string, told: Told): IndexWrite[] {
  if (told.kind === 'end') return [];
  const {sessionId = '', workerId = '', targetAgentType = '', startTs} = told.span;
  const ids = {session: sessionId, worker: workerId, agent: targetAgentType} as const;
  return (['session', 'worker', 'agent'] as const).flatMap(index =>
    ids[index] === '' ? [] : [{index, id: ids[index], traceId, startTs}],
  );
}
