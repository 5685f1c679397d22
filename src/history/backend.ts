/** What a session's participants said, kept for the agents that go on with it. Spec §9.2; docs/decisions/0013. */
import {ByError, messageOf} from '../errors.js';
import {isValidId} from '../ids.js';
import {hasContent, type Content} from '../protocol/commands.js';
import {
  assertShape,
  encodeJson,
  isObject,
  MAX_DOCUMENT_BYTES,
  MAX_STRING_LENGTH,
} from '../protocol/limits.js';

export const HISTORY_ROLES = ['user', 'assistant', 'system', 'tool'] as const;
export type HistoryRole = (typeof HISTORY_ROLES)[number];

export interface HistoryMessage {
  readonly role: HistoryRole;
  /** As it was saved; what another SDK saved is text. */
  readonly content: Content;
  /** Whatever was saved beside it. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** When it was saved, in Unix milliseconds by the clock of the backend. */
  readonly at: number;
}

export interface HistorySession {
  readonly sessionId: string;
  /** Unix milliseconds by the clock of the backend. */
  readonly lastActiveAt: number;
  readonly messageCount: number;
}

/**
 * Where messages are kept. Each function checks what it is given ({@link checkedMessage}) and throws {ByError}
 * INVALID_INPUT or MESSAGE_TOO_LARGE; HISTORY_UNAVAILABLE if the place can not be reached, HISTORY_SCHEMA if it is not made for this.
 */
export interface HistoryBackend {
  /** For people: `memory`, `redis`, `postgres`. */
  readonly name: string;
  /** The newest messages of a session, oldest first. @param limit from 1 to 10,000. Default 10. */
  getHistory(sessionId: string, limit?: number): Promise<HistoryMessage[]>;
  /**
   * Add a message. Nothing happens for empty content, or if the session has one with the same {@link HISTORY_KEY} in its
   * metadata: so whoever does not know whether a message was saved saves it again.
   */
  saveMessage(
    sessionId: string,
    role: HistoryRole,
    content: Content,
    metadata?: Readonly<Record<string, unknown>>,
  ): Promise<void>;
  /** The sessions that were active last, newest first. @param limit from 1 to 10,000. Default 100. */
  listSessions(limit?: number): Promise<HistorySession[]>;
  close(): Promise<void>;
}

/** In the metadata: what makes a message the same as another of its session. Up to 200 printable characters. */
export const HISTORY_KEY = 'by_key';
/** In the metadata: the content was cut. */
export const HISTORY_CUT = 'by_cut';

/** Longest text, in UTF-16 code units. As of a command, like the bytes of content that is no text. */
export const MAX_TEXT_LENGTH = MAX_STRING_LENGTH;
const MAX_METADATA_BYTES = 64 * 1024;
const MAX_LIMIT = 10_000;
const DEFAULT_LIMIT = 10;
const DEFAULT_SESSIONS = 100;
const KEY = /^[\x21-\x7e]{1,200}$/;

/** A message as every backend can keep it: no NUL, no halves of characters, plain JSON. */
export interface NewMessage {
  readonly sessionId: string;
  readonly role: HistoryRole;
  readonly content: Content;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** '' for a message that is like no other. */
  readonly key: string;
}

/** @returns undefined for empty content. @throws {ByError} INVALID_INPUT, MESSAGE_TOO_LARGE. */
export function checkedMessage(
  sessionId: string,
  role: HistoryRole,
  content: Content,
  metadata: Readonly<Record<string, unknown>> = {},
): NewMessage | undefined {
  checkSession(sessionId);
  // Callers may be JavaScript.
  if (!HISTORY_ROLES.includes(role))
    throw invalid(`"${role as string}" is no role`, HISTORY_ROLES.join(', '));
  if (typeof content !== 'string' && !(Array.isArray(content) && content.every(isObject)))
    throw invalid('The content is neither text nor a list of objects', 'text, or a list of objects');
  if (!isObject(metadata)) throw invalid('The metadata is no object', 'a plain object');
  const key = metadata[HISTORY_KEY] ?? '';
  if (typeof key !== 'string' || (key !== '' && !KEY.test(key)))
    throw invalid(`${HISTORY_KEY} can not be a key`, 'up to 200 printable ASCII characters');
  if (!hasContent(content)) return undefined;
  return {
    sessionId,
    role,
    content: plain(content, MAX_DOCUMENT_BYTES, 'content') as Content,
    metadata: plain(metadata, MAX_METADATA_BYTES, 'metadata') as Record<string, unknown>,
    key,
  };
}

/** @throws {ByError} INVALID_INPUT. */
export function checkSession(sessionId: string): void {
  if (typeof sessionId !== 'string' || !isValidId(sessionId))
    throw invalid('That can not be a session id', 'letters, digits and . _ : @ - (at most 128)');
}

/** @throws {ByError} INVALID_INPUT. */
export const checkedLimit = (limit = DEFAULT_LIMIT): number => inRange(limit);
export const checkedSessionLimit = (limit = DEFAULT_SESSIONS): number => inRange(limit);

function inRange(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw invalid(`The limit is ${String(limit).slice(0, 20)}`, `a whole number from 1 to ${MAX_LIMIT}`);
}

/** A copy that holds nothing the caller can change later. */
function plain(value: unknown, maxBytes: number, what: string): unknown {
  if (typeof value === 'string') {
    if (value.length > MAX_TEXT_LENGTH) throw tooLarge(what, MAX_TEXT_LENGTH);
    return storable(value);
  }
  try {
    const text = storableJson(value);
    if (Buffer.byteLength(text) > maxBytes) throw tooLarge(what, maxBytes);
    const copy: unknown = JSON.parse(text);
    assertShape(copy);
    return copy;
  } catch (cause) {
    if (cause instanceof ByError) throw cause;
    throw new ByError('INVALID_INPUT', `The ${what} of a message can not be kept: ${messageOf(cause)}`, {
      hint: 'Save plain JSON values, within the limits of depth, keys and length.',
      cause,
    });
  }
}

/** Neither PostgreSQL's text nor its JSON can hold a NUL, and UTF-8 no half of a surrogate pair. */
function storable(text: string): string {
  if (!/[\0\ud800-\udfff]/.test(text)) return text;
  return Buffer.from(text).toString().replaceAll('\0', '\ufffd');
}

const storableJson = (value: unknown): string =>
  encodeJson(value).replace(/\\(?:u0000|.)/g, escape => (escape === '\\u0000' ? '\\ufffd' : escape));

const tooLarge = (what: string, most: number) =>
  new ByError('MESSAGE_TOO_LARGE', `The ${what} of a message is larger than ${most}.`, {
    hint: 'Keep it in a file, and save where that is.',
  });

const invalid = (message: string, expected: string) =>
  new ByError('INVALID_INPUT', `${message}.`, {hint: `Give ${expected}.`});
