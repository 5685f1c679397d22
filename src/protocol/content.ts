/** Typed messages inside `content`: the byai codec, spec §8.6. Their keys are camelCase on the wire too. */
import {textOf} from './fields.js';
import {isObject} from './limits.js';

export const MESSAGE_ROLES = [
  'user',
  'assistant',
  'system',
  'tool-call',
  'tool-response',
  'response-to-sub-agent',
] as const;
export type MessageRole = (typeof MESSAGE_ROLES)[number];

export interface MessageFile {
  readonly fileId: string | number;
  readonly fileUrl: string;
  readonly fileType: string;
  readonly fileName: string;
}

export interface MessageResource {
  readonly resourceId: string;
  readonly resourceName: string;
  readonly resourceType: string;
  readonly id: string;
  readonly path: string;
  readonly resourceDesc: string;
  readonly resourceMetaData: Readonly<Record<string, unknown>>;
}

export interface StructuredContent {
  readonly text: string;
  readonly files: readonly MessageFile[];
  readonly resources: readonly MessageResource[];
}

export interface Message {
  /** One of {@link MESSAGE_ROLES}, or whatever another SDK wrote. */
  readonly role: string;
  readonly content: string | StructuredContent;
}

/**
 * A message becomes a list of one, a list goes element by element, everything else stays as it is. Structured content
 * is written whole, and only with the keys above: Python refuses any other.
 */
export function encodeContent(value: unknown): unknown {
  if (isMessage(value)) return [messageToWire(value)];
  if (Array.isArray(value))
    return (value as unknown[]).map(item => (isMessage(item) ? messageToWire(item) : item));
  return value;
}

/**
 * A list whose every element is a message is decoded, one element to a single message; everything else stays as it is.
 */
export function decodeContent(value: unknown): unknown {
  if (!Array.isArray(value) || value.length === 0) return value;
  const items = value as unknown[];
  if (!items.every(isWireMessage)) return value;
  const messages = items.map(messageFromWire);
  return messages.length === 1 ? messages[0] : messages;
}

/** The text of content in any form, for people. */
export function contentText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value))
    return (value as unknown[])
      .map(contentText)
      .filter(text => text !== '')
      .join('\n');
  if (!isObject(value)) return '';
  if (isWireMessage(value)) return contentText(value['content']);
  return textOf(value['text']);
}

function isWireMessage(value: unknown): value is Readonly<Record<string, unknown>> {
  return isObject(value) && value['role'] !== undefined && value['content'] !== undefined;
}

function isMessage(value: unknown): value is Message {
  if (!isWireMessage(value) || typeof value['role'] !== 'string') return false;
  const content = value['content'];
  return typeof content === 'string' || (isObject(content) && typeof content['text'] === 'string');
}

function messageToWire({role, content}: Message) {
  return {role, content: typeof content === 'string' ? content : structured(content)};
}

function messageFromWire(doc: Readonly<Record<string, unknown>>): Message {
  const content = doc['content'];
  return {role: textOf(doc['role']), content: isObject(content) ? structured(content) : textOf(content)};
}

function structured(content: object): StructuredContent {
  const doc = content as Readonly<Record<string, unknown>>;
  return {
    text: textOf(doc['text']),
    files: rows(doc['files']).map(file),
    resources: rows(doc['resources']).map(resource),
  };
}

const rows = (value: unknown): Readonly<Record<string, unknown>>[] =>
  Array.isArray(value) ? (value as unknown[]).filter(isObject) : [];

function file(doc: Readonly<Record<string, unknown>>): MessageFile {
  const fileId = doc['fileId'];
  return {
    fileId: typeof fileId === 'number' ? fileId : textOf(fileId),
    fileUrl: textOf(doc['fileUrl']),
    fileType: textOf(doc['fileType']),
    fileName: textOf(doc['fileName']),
  };
}

function resource(doc: Readonly<Record<string, unknown>>): MessageResource {
  return {
    resourceId: textOf(doc['resourceId']),
    resourceName: textOf(doc['resourceName']),
    resourceType: textOf(doc['resourceType']),
    id: textOf(doc['id']),
    path: textOf(doc['path']),
    resourceDesc: textOf(doc['resourceDesc']),
    resourceMetaData: isObject(doc['resourceMetaData']) ? doc['resourceMetaData'] : {},
  };
}
