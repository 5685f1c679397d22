/** What a handler returned, as one shape: spec §6.6. */
import {isObject, ProtocolError} from './limits.js';
import {canonicalStatus, isAgentState} from './states.js';
import type {Content} from './commands.js';

export interface TaskResult {
  readonly status: string;
  readonly content: Content;
  readonly replyData: unknown;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly extraPayload: Readonly<Record<string, unknown>>;
}

/** Any of these makes an object a result rather than data; the camelCase spellings are the TypeScript SDK's (R19). */
const MARKS = ['content', 'reply_data', 'replyData', 'finalAnswer', 'final_answer'] as const;
const KNOWN: ReadonlySet<string> = new Set([...MARKS, 'status', 'metadata', 'extra_payload', 'extraPayload']);

/**
 * Nothing is COMPLETED; the name of a state is that status; an object with result fields is mapped field by field;
 * everything else is the reply's data. A status in any case becomes the state of that name (S5), other text passes.
 *
 * @throws {ProtocolError} NOT_SERIALISABLE for what JSON can not hold; INVALID_FIELD if `content` is neither text nor
 * a list of objects.
 */
export function normalizeResult(value: unknown): TaskResult {
  if (value === undefined || value === null) return result({});
  assertSerialisable(value);
  if (typeof value === 'string' && isAgentState(value)) return result({status: value});
  if (!isObject(value)) return result({replyData: value});
  if (!isStructured(value)) {
    return result({status: statusOf(value), replyData: value, metadata: value['metadata']});
  }
  return result({
    status: statusOf(value),
    content:
      value['content'] === undefined ? (value['finalAnswer'] ?? value['final_answer']) : value['content'],
    replyData: value['reply_data'] ?? value['replyData'],
    metadata: value['metadata'],
    extraPayload: value['extra_payload'] ?? value['extraPayload'],
  });
}

/**
 * The text of the `finalAnswer` event: content, else the reply's data. Only for terminal results; a receipt that a
 * suspended turn returned must not be shown as an answer (§6.5).
 */
export function finalAnswerText({content, replyData}: TaskResult): string | undefined {
  if (typeof content === 'string' && content !== '') return content;
  if (typeof replyData === 'string') return replyData === '' ? undefined : replyData;
  return replyData === undefined || replyData === null ? undefined : JSON.stringify(replyData);
}

function isStructured(value: Readonly<Record<string, unknown>>): boolean {
  if (MARKS.some(mark => value[mark] !== undefined)) return true;
  const keys = Object.keys(value);
  return keys.length > 0 && keys.every(key => KNOWN.has(key));
}

function statusOf(value: Readonly<Record<string, unknown>>): string {
  const status = value['status'];
  return typeof status === 'string' ? canonicalStatus(status) : 'COMPLETED';
}

function result(fields: {
  status?: string;
  content?: unknown;
  replyData?: unknown;
  metadata?: unknown;
  extraPayload?: unknown;
}): TaskResult {
  return {
    status: fields.status ?? 'COMPLETED',
    content: contentOf(fields.content),
    replyData: fields.replyData ?? null,
    metadata: isObject(fields.metadata) ? fields.metadata : {},
    extraPayload: isObject(fields.extraPayload) ? fields.extraPayload : {},
  };
}

function contentOf(content: unknown): Content {
  if (content === undefined || content === null) return '';
  if (typeof content === 'string') return content;
  if (Array.isArray(content)) {
    const items = content as unknown[];
    if (items.every(isObject)) return items;
  }
  throw new ProtocolError('INVALID_FIELD', 'The content of a result is neither text nor a list of objects.');
}

/** JSON.stringify leaves functions and Maps out without a word; a handler that returns one should hear about it. */
function assertSerialisable(value: unknown): void {
  if (typeof value === 'string' || typeof value === 'boolean') return;
  try {
    JSON.stringify(value, (_key, item: unknown) => {
      if (typeof item === 'function' || typeof item === 'symbol' || typeof item === 'bigint')
        throw notJson(typeof item);
      if (item instanceof Map || item instanceof Set || item instanceof Promise)
        throw notJson(item.constructor.name);
      return item;
    });
  } catch (error) {
    if (error instanceof ProtocolError) throw error;
    throw new ProtocolError('NOT_SERIALISABLE', 'The result can not be written as JSON.', {cause: error});
  }
}

const notJson = (what: string) =>
  new ProtocolError('NOT_SERIALISABLE', `The result holds a ${what}, which JSON can not hold.`);
