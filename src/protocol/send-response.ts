/** What the client's calls answer, as the SDKs spell it: spec §8.1, §8.4 and §8.5. */
import {z} from 'zod';
import {canonicalErrorCode} from './routing.js';
import {flag, integer, text, textList, wire} from './wire.js';

export const SendResponse = wire(
  z.object({
    success: flag(),
    /** Kept on failure too (A8); Python empties it. */
    messageId: text(),
    traceId: text(),
    targetWorkerId: text(),
    /** Unix milliseconds. */
    timestamp: integer(),
    /** `QUEUED` or `FAILED`; Java also answers with the route's status (A6). */
    status: text(),
    error: text(),
    errorCode: text(),
  }),
);
export type SendResponse = z.output<typeof SendResponse>;

/** One command was sent, or waits in the pending deliveries. */
export function sendAccepted(
  ids: {messageId: string; traceId: string; targetWorkerId?: string},
  now: number,
): SendResponse {
  return {
    success: true,
    messageId: ids.messageId,
    traceId: ids.traceId,
    targetWorkerId: ids.targetWorkerId ?? '',
    timestamp: now,
    status: 'QUEUED',
    error: '',
    errorCode: '',
  };
}

export function sendRefused(
  ids: {messageId: string; traceId: string; targetWorkerId?: string},
  refusal: {error: string; errorCode: string},
  now: number,
): SendResponse {
  return {...sendAccepted(ids, now), success: false, status: 'FAILED', ...refusal};
}

export const CANCEL_STATUSES = ['CANCEL_REQUESTED', 'ALREADY_FINISHED', 'NOT_FOUND'] as const;
export type CancelStatus = (typeof CANCEL_STATUSES)[number];

export const CancelTaskResponse = wire(
  z.object({
    success: flag(),
    messageId: text(),
    executionId: text(),
    workerId: text(),
    /** One of {@link CANCEL_STATUSES}. */
    status: text(),
    timestamp: integer(),
    error: text(),
    cancelledCount: integer(),
  }),
);
export type CancelTaskResponse = z.output<typeof CancelTaskResponse>;

export const CancelSessionResponse = wire(
  z.object({
    success: flag(),
    sessionId: text(),
    status: text(),
    timestamp: integer(),
    cancelledCount: integer(),
    alreadyFinishedCount: integer(),
    error: text(),
  }),
);
export type CancelSessionResponse = z.output<typeof CancelSessionResponse>;

export const ReloadResponse = wire(
  z.object({
    reloadId: text(),
    agentType: text(),
    workerIds: textList(),
    dispatchedCount: integer(),
  }),
);
export type ReloadResponse = z.output<typeof ReloadResponse>;

export const sendResponseToWire = (response: SendResponse) => z.encode(SendResponse, response);

/** Reads the answers of all SDKs; error codes lose Java's prefix. */
export function sendResponseFromWire(doc: Record<string, unknown>): SendResponse {
  const response = z.decode(SendResponse, doc);
  return {...response, errorCode: canonicalErrorCode(response.errorCode)};
}
