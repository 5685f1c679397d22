/** A tracer that tells OpenTelemetry, whatever its set-up sends spans to. */
import {
  context,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Context,
  type Span,
  type TracerProvider,
} from '@opentelemetry/api';
import {spanIdHex} from '../../ids.js';
import {isSampled, traceIdHex} from '../../protocol/trace.js';
import type {LiveSpan, SpanEnd, SpanStart, Tracer} from '../../protocol/tracer.js';
import {endAttributes, errorText, startAttributes} from './attributes.js';
import {withIds} from './span-ids.js';

export interface OtelTracerOptions {
  /** Default: the one that is registered with the API. */
  readonly provider?: TracerProvider;
  /** The share of traces that is told, from 0 to 1: the same traces in every process and SDK. Default 1. */
  readonly sampleRate?: number;
  /** Tell inputs and outputs too, cut and without secrets. Default false. */
  readonly content?: boolean;
  /** Sends what is still here. Default: nothing; whoever set OpenTelemetry up flushes it. */
  readonly flush?: (timeoutMs: number) => Promise<void>;
}

const KINDS = {
  internal: SpanKind.INTERNAL,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  client: SpanKind.CLIENT,
} as const;

/** Operations of which there is one for each agent type. */
const OF_AGENTS: ReadonlySet<string> = new Set(['client.dispatch', 'worker.execute', 'agent.return']);

/**
 * For a set-up of your own. Give that {@link StableSpanIds} as its id generator: else spans of an execution that waits or
 * is tried again are told apart, and joined only by what sent them.
 */
export function otelTracer(options: OtelTracerOptions = {}): Tracer {
  const {sampleRate = 1, content = false, flush = () => Promise.resolve()} = options;
  const tracer = (options.provider ?? trace).getTracer('by-toolkit');
  const begin = (span: SpanStart, parent: Context): Span =>
    tracer.startSpan(
      nameOf(span),
      {kind: KINDS[span.kind ?? 'internal'], startTime: span.startTs, attributes: startAttributes(span)},
      parent,
    );
  return {
    takesContent: content,
    keeps: traceId => isSampled(traceId, sampleRate),
    active() {
      const active = trace.getActiveSpan()?.spanContext();
      return active && trace.isSpanContextValid(active)
        ? {traceId: active.traceId, hex: active.spanId}
        : undefined;
    },
    start(told) {
      // Another tracer may have asked for it.
      const span = content ? told : {...told, input: undefined};
      const ids = {traceId: traceIdHex(span.traceId), spanId: spanIdHex(span.spanId)};
      let live = withIds(ids, () => begin(span, under(ids.traceId, span.parent.hex)));
      if (live.spanContext().traceId !== ids.traceId && span.isNewTrace !== true) {
        // A root in a set-up with ids of its own; but others know the trace by this one.
        live = begin(span, under(ids.traceId, spanIdHex(ids.traceId)));
      }
      return liveSpan(live, ids.spanId, span.startTs, content);
    },
    async flush(timeoutMs) {
      try {
        await flush(timeoutMs);
      } catch {
        // Nobody works worse for a trace that is lost.
      }
    },
  };
}

function under(traceId: string, spanId: string): Context {
  if (spanId === '') return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: TraceFlags.SAMPLED,
    isRemote: true,
  });
}

function liveSpan(span: Span, wantedId: string, startTs: number, content: boolean): LiveSpan {
  const {traceId, spanId} = span.spanContext();
  const isStable = spanId === wantedId;
  const end = (end: SpanEnd) => {
    const endTime = Math.max(startTs, end.endTs);
    span.setAttributes(endAttributes(content ? end : {...end, output: undefined}));
    if (end.status === 'FAILED') {
      const message = errorText(end);
      span.setStatus({code: SpanStatusCode.ERROR, message});
      if (message !== '') span.recordException({name: end.errorType ?? 'Error', message}, endTime);
    }
    span.end(endTime);
  };
  return {
    traceId,
    hex: spanId,
    isStable,
    end,
    leave: left => {
      if (!isStable) end(left);
    },
    within: code => context.with(trace.setSpan(context.active(), span), code),
  };
}

function nameOf({operation, name = operation, targetAgentType = ''}: SpanStart): string {
  return OF_AGENTS.has(operation) && targetAgentType !== '' ? `${name} ${targetAgentType}` : name;
}
