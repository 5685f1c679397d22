/**
 * Ids of spans that follow from ids of the protocol (spec §9.4), for a set-up of OpenTelemetry. What other libraries trace
 * gets chance, as usual.
 */
import {randomBytes} from 'node:crypto';

interface Ids {
  readonly traceId: string;
  readonly spanId: string;
}

/** For the span that is started next. A span is started in one go, so nobody else can take them. */
let wanted: Ids | undefined;

/** Start a span under these ids, where the set-up uses {@link StableSpanIds}. */
export function withIds<T>(ids: Ids, start: () => T): T {
  wanted = ids;
  try {
    return start();
  } finally {
    wanted = undefined;
  }
}

/** The `idGenerator` of a set-up of your own. With it a trace is one tree also over restarts of workers. */
export class StableSpanIds {
  generateTraceId(): string {
    return wanted?.traceId ?? randomId(16);
  }

  generateSpanId(): string {
    return wanted?.spanId ?? randomId(8);
  }
}

function randomId(bytes: number): string {
  const id = randomBytes(bytes).toString('hex');
  // All zeros are no id.
  return /^0+$/.test(id) ? `${id.slice(1)}1` : id;
}
