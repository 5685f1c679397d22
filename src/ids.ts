/**
 * Identifiers: spec/wire-protocol.md §0.1. Nothing parses their length, so ours carry 64 random bits where the
 * SDKs carry 32: a message id is also the key of idempotency, and must not collide inside a long session.
 */
import {createHash, randomBytes, randomUUID} from 'node:crypto';

/** Asking the system for eight bytes costs as much as for four thousand. */
const POOL_BYTES = 4096;
let pool = Buffer.alloc(0);
let used = 0;

/** 64 random bits as 16 hex digits. */
function random(): string {
  if (used + 8 > pool.length) {
    pool = randomBytes(POOL_BYTES);
    used = 0;
  }
  used += 8;
  return pool.toString('hex', used - 8, used);
}

export const newMessageId = () => `msg-${random()}`;
export const newCancelMessageId = () => `msg-cancel-${random()}`;
export const newExecutionId = () => `exec-${random()}`;
export const newSessionId = () => `sess-${random()}`;
export const newTaskGroupId = () => `tg-${random()}`;
export const newReloadId = () => `reload-${random()}`;
export const newReplayId = () => `rpl-${random()}`;

/** UUIDv4 as 32 lower-case hex digits: trace ids, lease tokens, admin message ids. */
export const newHexUuid = () => randomUUID().replaceAll('-', '');

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
