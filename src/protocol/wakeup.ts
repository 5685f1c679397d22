/** Wakeup messages: a router asks for a worker of some agent type, a controller answers. Spec §7.3 and §7.5. */
import {z} from 'zod';
import {isObject, parseEnvelope, parseUntrustedObject, ProtocolError} from './limits.js';
import {document, integer, integerOrNull, text, textList, textOr, wire} from './wire.js';

export const WakeupRequest = wire(
  z.object({
    executionId: text(),
    targetAgentType: text(),
    sessionId: text(),
    traceId: text(),
    messageId: text(),
    /** `client`, or the calling agent type. */
    source: text(),
    /** A route policy; other SDKs may write other texts. */
    policy: textOr('FAIL_FAST'),
    /** How long the caller will wait, in milliseconds; 0 means it does not wait. */
    timeoutMs: integer(30_000),
    userCode: text(),
    region: text(),
    priority: integer(),
    metadata: document(),
    /** The complete command document of §3. */
    commandPayload: document(),
  }),
);
export type WakeupRequest = z.output<typeof WakeupRequest>;

/** STARTING and QUEUED ask the caller to keep waiting; everything else ends the wait. */
export const WAKEUP_STATUSES = ['READY', 'STARTING', 'QUEUED', 'REJECTED', 'FAILED', 'FALLBACK'] as const;
export type WakeupStatus = (typeof WAKEUP_STATUSES)[number];

export const WakeupDecision = wire(
  z.object({
    /** Empty: meant for whoever reads it. */
    executionId: text(),
    targetAgentType: text(),
    /** One of {@link WAKEUP_STATUSES}; a reader takes an unknown one as a refusal (A1). */
    status: textOr('FAILED'),
    selectedAgentType: text(),
    workerIds: textList(),
    region: text(),
    retryAfterMs: integerOrNull(),
    reason: text(),
  }),
);
export type WakeupDecision = z.output<typeof WakeupDecision>;

export const encodeWakeupRequest = (request: WakeupRequest): string =>
  JSON.stringify(z.encode(WakeupRequest, request));

/** @throws {ProtocolError} NOT_AN_OBJECT. */
export function decodeWakeupRequest(doc: unknown): WakeupRequest {
  return z.decode(WakeupRequest, withUserCode(objectDoc(doc)));
}

/** @throws {ProtocolError} as {@link decodeWakeupRequest} and parseEnvelope. */
export const readWakeupRequest = (data: string | Uint8Array): WakeupRequest =>
  decodeWakeupRequest(parseEnvelope(data, {unicode: true}));

export const encodeWakeupDecision = (decision: WakeupDecision): string =>
  JSON.stringify(z.encode(WakeupDecision, decision));

/** @throws {ProtocolError} NOT_AN_OBJECT. */
export const decodeWakeupDecision = (doc: unknown): WakeupDecision =>
  z.decode(WakeupDecision, objectDoc(doc));

/** @throws {ProtocolError} as {@link decodeWakeupDecision} and parseUntrusted. */
export const readWakeupDecision = (data: string | Uint8Array): WakeupDecision =>
  decodeWakeupDecision(parseUntrustedObject(data));

/** Whether the caller goes on waiting after this decision. */
export const keepsWaiting = (decision: WakeupDecision): boolean =>
  decision.status === 'STARTING' || decision.status === 'QUEUED';

/** `user_code`, or the older `tenant_id` if the former is absent (S3). Shared with pending deliveries. */
export function withUserCode(doc: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return doc['user_code'] === undefined ? {...doc, user_code: doc['tenant_id']} : doc;
}

function objectDoc(doc: unknown): Record<string, unknown> {
  if (!isObject(doc)) throw new ProtocolError('NOT_AN_OBJECT', 'The document is not a JSON object.');
  return doc;
}
