/** Messages as they are read back: what a program saved that is not ours is not trusted. */
import type {Content} from '../protocol/commands.js';
import {objectOf, textOf} from '../protocol/fields.js';
import {isObject} from '../protocol/limits.js';
import {HISTORY_ROLES, type HistoryMessage} from './backend.js';

/** What can not be read is empty; a role nobody knows is the system's. */
export function toMessage(doc: Readonly<Record<string, unknown>>, at: number): HistoryMessage {
  return {
    role: HISTORY_ROLES.find(role => role === doc['role']) ?? 'system',
    content: contentOf(doc['content']),
    metadata: objectOf(doc['metadata']),
    at,
  };
}

function contentOf(value: unknown): Content {
  return Array.isArray(value) && value.every(isObject) ? value : textOf(value);
}
