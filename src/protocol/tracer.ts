/**
 * Spans on their way to whoever keeps them: an exporter of OpenTelemetry, the records of other SDKs in Redis, or both.
 * What works tells a tracer about it and never waits for it, and without a tracer nothing of this runs.
 *
 * Span ids are made from ids of the protocol (spec §9.4), so that a worker that goes on with an execution names the same
 * spans as the one that began it.
 */
import {spanIdHex} from '../ids.js';
import type {Span} from './trace.js';

/** What a span is the child of. */
export interface SpanParent {
  /** As records in Redis name it; '' if only the hex form is known. */
  readonly spanId: string;
  /** 16 hex digits; '' for a root. */
  readonly hex: string;
}

export type SpanKind = 'internal' | 'producer' | 'consumer' | 'client';

export type SpanValue = string | number | boolean | readonly string[];
/** What is told in the words of OpenTelemetry's conventions. */
export type SpanAttributes = Readonly<Record<string, SpanValue | undefined>>;

type Facts = Pick<
  Span,
  | 'sessionId'
  | 'executionId'
  | 'messageId'
  | 'parentMessageId'
  | 'workerId'
  | 'sourceAgentType'
  | 'targetAgentType'
  | 'component'
>;

export interface SpanStart extends Facts {
  /** The header's. */
  readonly traceId: string;
  /** Nothing was sent under this trace id yet: a tracer may choose another. */
  readonly isNewTrace?: boolean;
  readonly spanId: string;
  readonly parent: SpanParent;
  readonly operation: string;
  /** For people. Default: the operation. */
  readonly name?: string;
  readonly kind?: SpanKind;
  /** Unix milliseconds. */
  readonly startTs: number;
  /** Told only to a tracer that takes content. */
  readonly input?: unknown;
  readonly userCode?: string;
  readonly attributes?: SpanAttributes;
}

type Outcome = Pick<
  Span,
  | 'errorType'
  | 'errorMessage'
  | 'errorCode'
  | 'failedStage'
  | 'retryable'
  | 'routePolicy'
  | 'routeStatus'
  | 'queueWaitMs'
  | 'chunkCount'
  | 'tokens'
>;

export interface SpanEnd extends Outcome {
  /** Unix milliseconds; before its start it counts as the start. */
  readonly endTs: number;
  /** `COMPLETED`, `FAILED`, `CANCELLED`, or what it waits for. */
  readonly status: string;
  /** Told only to a tracer that takes content. */
  readonly output?: unknown;
  readonly attributes?: SpanAttributes;
}

/** A span that was begun and is not told yet. One that is never ended is never told. */
export interface LiveSpan {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits: what a child names as its parent. */
  readonly hex: string;
  /** Its id follows from {@link SpanStart.spanId}: whoever begins the same span elsewhere may end it. */
  readonly isStable: boolean;
  end(end: SpanEnd): void;
  /** Its work goes on elsewhere, which ends it if it is stable; else this is its end. */
  leave(end: SpanEnd): void;
  /** Run code with this as the active span: what other libraries trace in it becomes its child. */
  within<T>(code: () => T): T;
}

export interface Tracer {
  /** Whether inputs and outputs are told. */
  readonly takesContent: boolean;
  /** Whether anything of a trace is kept. */
  keeps(traceId: string): boolean;
  /** The span that is active here, of whatever library: a command sent here becomes its child. */
  active(): {readonly traceId: string; readonly hex: string} | undefined;
  start(span: SpanStart): LiveSpan;
  /** Send what is still here; resolves also if that fails. @param timeoutMs how long it may take. */
  flush(timeoutMs: number): Promise<void>;
}

/** The parent that a span of ours is. */
export const parentOf = (spanId: string): SpanParent => ({spanId, hex: spanIdHex(spanId)});

/** Begun and ended at once. */
export function tellSpan(tracer: Tracer, start: SpanStart, end: SpanEnd): void {
  tracer.start(start).end(end);
}

/** Told to each. What the first says of ids counts. @returns undefined for none. */
export function joinTracers(tracers: readonly Tracer[]): Tracer | undefined {
  const [first, ...others] = tracers;
  if (first === undefined || others.length === 0) return first;
  return {
    takesContent: tracers.some(tracer => tracer.takesContent),
    keeps: traceId => tracers.some(tracer => tracer.keeps(traceId)),
    active: () => tracers.map(tracer => tracer.active()).find(active => active !== undefined),
    start: span =>
      joinSpans(tracers.filter(tracer => tracer.keeps(span.traceId)).map(one => one.start(span))),
    flush: async timeoutMs => {
      await Promise.all(tracers.map(tracer => tracer.flush(timeoutMs)));
    },
  };
}

function joinSpans(spans: readonly LiveSpan[]): LiveSpan {
  const [first, ...others] = spans;
  if (first === undefined) throw new TypeError('a span of a trace that nobody keeps');
  return {
    traceId: first.traceId,
    hex: first.hex,
    isStable: spans.every(span => span.isStable),
    end: end => {
      for (const span of spans) span.end(end);
    },
    leave: end => {
      for (const span of spans) span.leave(end);
    },
    within: code =>
      others.reduce(
        (inner, span) => () => span.within(inner),
        () => first.within(code),
      )(),
  };
}

/** What an error is to a span. Redaction is the tracer's. */
export function errorFacts(error: unknown): Outcome {
  const isError = error instanceof Error;
  const code = (error as {code?: unknown} | null | undefined)?.code;
  return {
    errorType: isError ? error.name : typeof error,
    errorMessage: isError ? error.message : String(error),
    ...(typeof code === 'string' ? {errorCode: code} : {}),
  };
}
