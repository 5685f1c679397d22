/**
 * What we read from Redis is not trusted: guarantees.md §2, row "payloads". The cap on bytes comes before the
 * parser, the other limits before anything looks at the document.
 */
import {isUtf8} from 'node:buffer';

export const MAX_DOCUMENT_BYTES = 1024 * 1024;
export const MAX_DEPTH = 64;
/** Of a document that holds a whole command: the command may use up its own limits, and the rest comes on top. */
export const MAX_ENVELOPE_BYTES = 2 * MAX_DOCUMENT_BYTES;
const MAX_ENVELOPE_DEPTH = MAX_DEPTH + 1;
export const MAX_KEYS_PER_OBJECT = 1024;
/** In UTF-16 code units, which are never more than the bytes of the same text. */
export const MAX_STRING_LENGTH = 256 * 1024;

export type ProtocolErrorCode =
  | 'MISSING_DATA'
  | 'TOO_LARGE'
  | 'NOT_UTF8'
  | 'NOT_UNICODE'
  | 'NOT_JSON'
  | 'TOO_DEEP'
  | 'TOO_MANY_KEYS'
  | 'STRING_TOO_LONG'
  | 'FORBIDDEN_KEY'
  | 'NOT_AN_OBJECT'
  | 'MISSING_FIELD'
  | 'INVALID_FIELD'
  | 'INVALID_ID'
  | 'UNSUPPORTED_ACTION'
  | 'UNREADABLE_RECORD'
  | 'NOT_SERIALISABLE';

/** A document another program wrote does not follow the protocol. Whoever reads it decides what becomes of it. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';

  constructor(
    readonly code: ProtocolErrorCode,
    message: string,
    options?: {cause?: unknown},
  ) {
    super(message, options);
  }
}

/** @returns undefined if what is read does not follow the protocol: most readers pass over such a document. */
export function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** Assigning these to an object reaches its prototype. */
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** The field `data` of an entry. @throws {ProtocolError} MISSING_DATA if there is none, or more than one. */
export function requireData<T>(data: T | undefined): T {
  if (data !== undefined) return data;
  throw new ProtocolError('MISSING_DATA', 'The stream entry has not one field "data".');
}

export interface ParseOptions {
  /**
   * Refuse halves of surrogate pairs, which JSON can escape and UTF-8 can not hold: our scripts and other languages
   * stumble over them. Kept by default: a chunk of an answer may end within a character that the next one completes.
   */
  readonly unicode?: boolean;
}

/**
 * Parse one JSON document that somebody else wrote.
 *
 * @throws {ProtocolError} TOO_LARGE, NOT_UTF8, NOT_JSON, TOO_DEEP, TOO_MANY_KEYS, STRING_TOO_LONG or FORBIDDEN_KEY;
 *   NOT_UNICODE if asked to look.
 */
export function parseUntrusted(text: string | Uint8Array, {unicode = false}: ParseOptions = {}): unknown {
  return parseWithin(text, {maxBytes: MAX_DOCUMENT_BYTES, maxDepth: MAX_DEPTH, unicode});
}

/**
 * As {@link parseUntrusted}, for a document of the control plane with a command inside.
 *
 * @throws {ProtocolError} also NOT_AN_OBJECT.
 */
export function parseEnvelope(
  text: string | Uint8Array,
  {unicode = false}: ParseOptions = {},
): Readonly<Record<string, unknown>> {
  const limits = {maxBytes: MAX_ENVELOPE_BYTES, maxDepth: MAX_ENVELOPE_DEPTH};
  const value = parseWithin(text, {...limits, unicode});
  if (!isObject(value)) throw new ProtocolError('NOT_AN_OBJECT', 'The document is not a JSON object.');
  return value;
}

interface Within extends Required<ParseOptions> {
  readonly maxBytes: number;
  readonly maxDepth: number;
}

function parseWithin(text: string | Uint8Array, {maxBytes, maxDepth, unicode}: Within): unknown {
  const decoded = typeof text === 'string' ? checkedText(text, maxBytes) : decodeBytes(text, maxBytes);
  let value: unknown;
  try {
    value = JSON.parse(decoded);
  } catch (error) {
    // The parser's own message quotes the document, which may hold secrets.
    throw new ProtocolError('NOT_JSON', 'The document is not JSON.', {
      cause: error instanceof SyntaxError ? undefined : error,
    });
  }
  assertShape(value, maxDepth);
  // Only an escape can bring one in: the bytes were UTF-8. Written again, each half keeps its escape.
  if (unicode && /\\ud/i.test(decoded) && hasHalfPair(JSON.stringify(value))) {
    throw new ProtocolError('NOT_UNICODE', 'A text holds half a surrogate pair.');
  }
  return value;
}

/**
 * As {@link parseUntrusted}, for documents that must be JSON objects.
 *
 * @throws {ProtocolError} also NOT_AN_OBJECT.
 */
export function parseUntrustedObject(
  text: string | Uint8Array,
  options?: ParseOptions,
): Readonly<Record<string, unknown>> {
  const value = parseUntrusted(text, options);
  if (!isObject(value)) throw new ProtocolError('NOT_AN_OBJECT', 'The document is not a JSON object.');
  return value;
}

/** What JSON.stringify escapes. With four digits from d800 on: a surrogate without its partner. */
const ESCAPE = /\\(?:ud[0-9a-f]{3}|.)/g;

const isHalfPair = (escape: string): boolean => escape.length > 2;

function hasHalfPair(json: string): boolean {
  for (const [escape] of json.matchAll(ESCAPE)) if (isHalfPair(escape)) return true;
  return false;
}

/**
 * A document of ours as JSON. Half a surrogate pair, as cutting a text leaves it, becomes U+FFFD, as wherever text is
 * written as UTF-8: our scripts can not read its escape, and other languages refuse it.
 */
export function encodeJson(value: unknown): string {
  const text = JSON.stringify(value);
  if (!text.includes('\\ud')) return text;
  return text.replace(ESCAPE, escape => (isHalfPair(escape) ? '\\ufffd' : escape));
}

/** A JSON object: neither null nor an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function checkedText(text: string, maxBytes: number): string {
  // A code unit is at most three bytes, so the common short text needs no count.
  if (text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes) throw tooLarge(maxBytes);
  return text;
}

function decodeBytes(bytes: Uint8Array, maxBytes: number): string {
  if (bytes.byteLength > maxBytes) throw tooLarge(maxBytes);
  if (!isUtf8(bytes)) throw new ProtocolError('NOT_UTF8', 'The document is not UTF-8.');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

const tooLarge = (maxBytes: number) =>
  new ProtocolError('TOO_LARGE', `The document is larger than ${maxBytes} bytes.`);

/**
 * Depth, keys and strings within the limits, for a value that is a tree, as every parsed document is. It goes level by
 * level: a document of 200,000 levels must not exhaust the call stack.
 *
 * @throws {ProtocolError} TOO_DEEP, TOO_MANY_KEYS, STRING_TOO_LONG or FORBIDDEN_KEY.
 */
export function assertShape(root: unknown, maxDepth = MAX_DEPTH): void {
  if (typeof root === 'string') checkString(root);
  if (typeof root !== 'object' || root === null) return;
  let level: object[] = [root];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > maxDepth)
      throw new ProtocolError('TOO_DEEP', `The document is nested deeper than ${maxDepth}.`);
    const below: object[] = [];
    for (const container of level) {
      if (Array.isArray(container)) {
        for (const item of container as unknown[]) visit(item, below);
      } else {
        const keys = Object.keys(container);
        if (keys.length > MAX_KEYS_PER_OBJECT) {
          throw new ProtocolError('TOO_MANY_KEYS', `An object has more than ${MAX_KEYS_PER_OBJECT} keys.`);
        }
        for (const key of keys) {
          if (FORBIDDEN_KEYS.has(key))
            throw new ProtocolError('FORBIDDEN_KEY', `The key "${key}" is refused.`);
          checkString(key);
          visit((container as Record<string, unknown>)[key], below);
        }
      }
    }
    level = below;
  }
}

function visit(value: unknown, containers: object[]): void {
  if (typeof value === 'string') checkString(value);
  else if (typeof value === 'object' && value !== null) containers.push(value);
}

function checkString(text: string): void {
  if (text.length > MAX_STRING_LENGTH) {
    throw new ProtocolError('STRING_TOO_LONG', `A string is longer than ${MAX_STRING_LENGTH} characters.`);
  }
}
