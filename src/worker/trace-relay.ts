/** A tracer of a process that runs one execution: what it is told goes to the worker, whose tracer tells it on. */
import {spanIdHex} from '../ids.js';
import {traceIdHex} from '../protocol/trace.js';
import type {SpanEnd, SpanStart, Tracer} from '../protocol/tracer.js';

export interface RelayedSpan {
  readonly start: SpanStart;
  readonly end: SpanEnd;
}

/** @param takesContent of the worker's tracer. Which traces are kept is the worker's to say. */
export function relayTracer(takesContent: boolean, tell: (span: RelayedSpan) => void): Tracer {
  return {
    takesContent,
    keeps: () => true,
    active: () => undefined,
    start: start => ({
      traceId: traceIdHex(start.traceId),
      hex: spanIdHex(start.spanId),
      isStable: true,
      end: end => tell({start, end}),
      leave: () => undefined,
      within: code => code(),
    }),
    flush: () => Promise.resolve(),
  };
}
