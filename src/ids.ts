/**
 * Identifiers: spec/wire-protocol.md §0.1. Nothing parses their length, so ours carry 64 random bits where the
 * SDKs carry 32: a message id is also the key of idempotency, and must not collide inside a long session.
 */
import {createHash, randomBytes} from 'node:crypto';

/** Asking the system for eight bytes costs as much as for four thousand. */
const POOL_BYTES = 4096;
let pool = Buffer.alloc(0);
let used = 0;

/** @returns where so many random bytes begin in the pool. They are used once. */
function take(bytes: number): number {
  if (used + bytes > pool.length) {
    pool = randomBytes(POOL_BYTES);
    used = 0;
  }
  used += bytes;
  return used - bytes;
}

/** 64 random bits as 16 hex digits. */
function random(): string {
  const from = take(8);
  return pool.toString('hex', from, from + 8);
}

export const newMessageId = () => `msg-${random()}`;
export const newCancelMessageId = () => `msg-cancel-${random()}`;
export const newExecutionId = () => `exec-${random()}`;
export const newSessionId = () => `sess-${random()}`;
export const newTaskGroupId = () => `tg-${random()}`;
export const newReloadId = () => `reload-${random()}`;
export const newReplyId = () => `reply-${random()}`;
export const newReplayId = () => `rpl-${random()}`;

/** UUIDv4 as 32 lower-case hex digits: trace ids, lease tokens, admin message ids. */
export function newHexUuid(): string {
  const from = take(16);
  pool[from + 6] = ((pool[from + 6] ?? 0) & 0x0f) | 0x40;
  pool[from + 8] = ((pool[from + 8] ?? 0) & 0x3f) | 0x80;
  return pool.toString('hex', from, from + 16);
}

/** Data event id (`data.id`): as {@link newHexUuid}, in upper case. */
export const newEventId = () => newHexUuid().toUpperCase();

/**
 * What may be an id that becomes part of a key, a folder or a line of text: guarantees.md §2. Braces would break
 * Cluster hash tags, white space and control characters would break everything that prints it.
 */
export const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/;

export const isValidId = (id: string): boolean => ID_PATTERN.test(id);

/**
 * A span id as OpenTelemetry wants it: 16 hex digits. An id that already is one passes; anything else is hashed
 * (spec §0.1, so that every SDK derives the same one).
 */
export function spanIdHex(spanId: string): string {
  if (/^[0-9a-fA-F]{16}$/.test(spanId)) return spanId.toLowerCase();
  const digest = createHash('md5').update(spanId).digest('hex').slice(0, 16);
  return /^0+$/.test(digest) ? '0000000000000001' : digest;
}
