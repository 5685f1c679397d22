/** Pending deliveries: commands that wait until a worker of their agent type is there. Spec §7.4. */
import {z} from 'zod';
import {isObject, parseEnvelope, ProtocolError} from './limits.js';
import {withUserCode} from './wakeup.js';
import {document, integer, text, wire} from './wire.js';

export const PendingDelivery = wire(
  z.object({
    executionId: text(),
    messageId: text(),
    sessionId: text(),
    traceId: text(),
    targetAgentType: text(),
    /** Control stream the command goes to. */
    deliveryStream: text(),
    /** The complete command document of §3. */
    commandPayload: document(),
    userCode: text(),
    region: text(),
    /** Larger goes first. */
    priority: integer(),
    metadata: document(),
  }),
);
export type PendingDelivery = z.output<typeof PendingDelivery>;

export const encodePendingDelivery = (delivery: PendingDelivery): string =>
  JSON.stringify(z.encode(PendingDelivery, delivery));

/** @throws {ProtocolError} NOT_AN_OBJECT. */
export function decodePendingDelivery(doc: unknown): PendingDelivery {
  if (!isObject(doc)) throw new ProtocolError('NOT_AN_OBJECT', 'The document is not a JSON object.');
  return z.decode(PendingDelivery, withUserCode(doc));
}

/** @throws {ProtocolError} as {@link decodePendingDelivery} and parseEnvelope. */
export const readPendingDelivery = (data: string | Uint8Array): PendingDelivery =>
  decodePendingDelivery(parseEnvelope(data, {unicode: true}));

/**
 * What the sender of a delivery knew of when somebody may take it, in its metadata, where SDKs that do not know it pass it on.
 * Undefined where nothing was said.
 */
export interface DeliveryTimes {
  /** When the first exhausted worker was to recover, in Unix milliseconds by Redis's clock: before it nobody is woken for it. */
  readonly notBefore?: number | undefined;
  /** How long, in milliseconds, a wakeup is waited for that is asked for then, if nobody takes it. */
  readonly wakeMs?: number | undefined;
}

const NOT_BEFORE = 'by_not_before';
const WAKE_MS = 'by_wake_ms';

export const deliveryMetadata = ({notBefore, wakeMs}: DeliveryTimes): Record<string, unknown> => ({
  ...(notBefore === undefined ? {} : {[NOT_BEFORE]: notBefore}),
  ...(wakeMs === undefined ? {} : {[WAKE_MS]: wakeMs}),
});

export function timesOf({metadata}: Pick<PendingDelivery, 'metadata'>): DeliveryTimes {
  const time = (name: string) => {
    const value = metadata[name];
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  };
  return {notBefore: time(NOT_BEFORE), wakeMs: time(WAKE_MS)};
}

/** Java's agent calls leave the command out; such a delivery can only go to the dead letters (A5). */
export const isDeliverable = (delivery: PendingDelivery): boolean =>
  Object.keys(delivery.commandPayload).length > 0;
