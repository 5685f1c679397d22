/** Commands: what travels on control streams. Spec §3. */
import {ByError, messageOf} from '../errors.js';
import {isValidId} from '../ids.js';
import {flagOf, objectOf, textOf, type Doc} from './fields.js';
import {decodeHeader, encodeHeader, type Header, type MissingIds} from './header.js';
import {
  assertShape,
  encodeJson,
  isObject,
  MAX_DOCUMENT_BYTES,
  MAX_STRING_LENGTH,
  parseUntrusted,
  ProtocolError,
  requireData,
} from './limits.js';

/** What a user or an agent says: text, or a list of objects such as the messages of content.ts. */
export type Content = string | readonly object[];

export interface AskCommand {
  readonly action: 'ASK_AGENT';
  readonly header: Header;
  readonly content: Content;
  /** Informative only: who replies is decided by `header.sourceAgentType`. */
  readonly waitForReply: boolean;
  readonly extraPayload: Readonly<Record<string, unknown>>;
}

export interface ResumeCommand {
  readonly action: 'RESUME';
  readonly header: Header;
  readonly content: Content;
  /** The callee's result status; '' when a user answers. */
  readonly status: string;
  readonly replyData: unknown;
  readonly extraPayload: Readonly<Record<string, unknown>>;
}

export const CANCEL_MODES = ['graceful', 'force'] as const;
export type CancelMode = (typeof CANCEL_MODES)[number];

export interface CancelCommand {
  readonly action: 'CANCEL_TASK';
  readonly header: Header;
  readonly targetMessageId: string;
  readonly targetExecutionId: string;
  readonly targetWorkerId: string;
  readonly reason: string;
  readonly requestedBy: string;
  readonly cancelMode: CancelMode;
}

export interface ReloadCommand {
  readonly action: 'RELOAD_PLUGINS';
  readonly header: Header;
  readonly reloadId: string;
  readonly reason: string;
}

export interface SuspendWorkerCommand {
  readonly action: 'SUSPEND_WORKER';
  readonly header: Header;
  readonly reason: string;
}

export interface ResumeWorkerCommand {
  readonly action: 'RESUME_WORKER';
  readonly header: Header;
}

export interface EvictWorkerCommand {
  readonly action: 'EVICT_WORKER';
  readonly header: Header;
  readonly reason: string;
  readonly force: boolean;
}

/** A command the protocol does not define, known because it was registered. `kind` is its action_type on the wire. */
export interface CustomCommand {
  readonly action: 'CUSTOM';
  readonly kind: string;
  readonly header: Header;
  readonly body: Readonly<Record<string, unknown>>;
}

export type Command =
  | AskCommand
  | ResumeCommand
  | CancelCommand
  | ReloadCommand
  | SuspendWorkerCommand
  | ResumeWorkerCommand
  | EvictWorkerCommand
  | CustomCommand;

/** All action types the SDKs name. ASK_USER has no command in any of them (§3.8). */
export const ACTION_TYPES = [
  'ASK_AGENT',
  'RESUME',
  'ASK_USER',
  'CANCEL_TASK',
  'RELOAD_PLUGINS',
  'SUSPEND_WORKER',
  'RESUME_WORKER',
  'EVICT_WORKER',
] as const;

/** Checks the body of a custom command, and may rewrite it. Throws to refuse. */
export type CustomBodyReader = (body: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;

const customCommands = new Map<string, CustomBodyReader>();

/**
 * Let commands of this kind through {@link decodeCommand}.
 *
 * @throws {RangeError} if the protocol itself defines the kind.
 */
export function registerCommand(kind: string, readBody: CustomBodyReader = body => body): void {
  if (kind === '' || (ACTION_TYPES as readonly string[]).includes(kind)) {
    throw new RangeError(`"${kind}" can not be a custom command`);
  }
  customCommands.set(kind, readBody);
}

/** @returns whether it was registered. */
export function unregisterCommand(kind: string): boolean {
  return customCommands.delete(kind);
}

/** Text that is not blank, or a list that is not empty: what an ASK must have (§3.3). */
export function hasContent(content: Content): boolean {
  return typeof content === 'string' ? content.trim() !== '' : content.length > 0;
}

/** The document of §3.1: three keys, always, and never another. */
export function commandToWire(command: Command) {
  return {
    action_type: command.action === 'CUSTOM' ? command.kind : command.action,
    header: encodeHeader(command.header),
    body: bodyToWire(command),
  };
}

export function encodeCommand(command: Command): string {
  return encodeJson(commandToWire(command));
}

function bodyToWire(command: Command): Readonly<Record<string, unknown>> {
  switch (command.action) {
    case 'ASK_AGENT':
      return withExtra(
        {content: command.content, wait_for_reply: command.waitForReply},
        command.extraPayload,
      );
    case 'RESUME':
      return withExtra(
        {content: command.content, status: command.status, reply_data: command.replyData ?? null},
        command.extraPayload,
      );
    case 'CANCEL_TASK':
      return {
        target_message_id: command.targetMessageId,
        target_execution_id: command.targetExecutionId,
        target_worker_id: command.targetWorkerId,
        reason: command.reason,
        requested_by: command.requestedBy,
        cancel_mode: command.cancelMode,
      };
    case 'RELOAD_PLUGINS':
      return {reload_id: command.reloadId, reason: command.reason};
    case 'SUSPEND_WORKER':
      return {reason: command.reason};
    case 'RESUME_WORKER':
      return {};
    case 'EVICT_WORKER':
      return {reason: command.reason, force: command.force};
    case 'CUSTOM':
      return command.body;
  }
}

/** `extra_payload` is left out when it is empty (C2). */
function withExtra(
  body: Record<string, unknown>,
  extra: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  for (const _key in extra) {
    body['extra_payload'] = extra;
    break;
  }
  return body;
}

/**
 * Read a command any SDK wrote. More is accepted than we write: an ASK without content, which a worker answers with
 * FAILED, and an empty RESUME (C3); an unknown cancel mode is graceful (C7); a bare object as content is a list of one.
 *
 * @throws {ProtocolError} UNSUPPORTED_ACTION, NOT_AN_OBJECT, MISSING_FIELD, INVALID_FIELD or INVALID_ID.
 */
export function decodeCommand(doc: unknown, missing?: MissingIds): Command {
  if (!isObject(doc)) throw new ProtocolError('NOT_AN_OBJECT', 'A command is a JSON object.');
  const action = doc['action_type'];
  const readBody = typeof action === 'string' ? BODIES.get(action) : undefined;
  const readCustom = typeof action === 'string' ? customCommands.get(action) : undefined;
  if (!readBody && !readCustom) {
    throw new ProtocolError(
      'UNSUPPORTED_ACTION',
      'The command has an action_type that nothing here handles.',
    );
  }
  const header = decodeHeader(doc['header'], missing);
  const body = objectOf(doc['body']);
  if (readBody) return readBody(header, body);
  return {action: 'CUSTOM', kind: String(action), header, body: readCustom?.(body) ?? body};
}

/**
 * Read the `data` field of an entry of a control stream.
 *
 * @throws {ProtocolError} as {@link decodeCommand} and parseUntrusted; MISSING_DATA if there is no such field,
 *   or more than one.
 */
export function readCommandEntry(data: string | Uint8Array | undefined, missing?: MissingIds): Command {
  return decodeCommand(parseUntrusted(requireData(data), {unicode: true}), missing);
}

const BODIES: ReadonlyMap<string, (header: Header, body: Doc) => Command> = new Map([
  [
    'ASK_AGENT',
    (header, body): Command => ({
      action: 'ASK_AGENT',
      header,
      content: contentOf(body['content']),
      waitForReply: flagOf(body['wait_for_reply']),
      extraPayload: objectOf(body['extra_payload']),
    }),
  ],
  [
    'RESUME',
    (header, body): Command => ({
      action: 'RESUME',
      header,
      content: contentOf(body['content']),
      status: textOf(body['status']),
      replyData: body['reply_data'] ?? null,
      extraPayload: objectOf(body['extra_payload']),
    }),
  ],
  [
    'CANCEL_TASK',
    (header, body): Command => ({
      action: 'CANCEL_TASK',
      header,
      targetMessageId: requiredId(body, 'target_message_id'),
      targetExecutionId: optionalId(body, 'target_execution_id'),
      targetWorkerId: optionalId(body, 'target_worker_id'),
      reason: textOf(body['reason']),
      requestedBy: textOf(body['requested_by']),
      cancelMode: body['cancel_mode'] === 'force' ? 'force' : 'graceful',
    }),
  ],
  [
    'RELOAD_PLUGINS',
    (header, body): Command => ({
      action: 'RELOAD_PLUGINS',
      header,
      reloadId: requiredId(body, 'reload_id'),
      reason: textOf(body['reason']),
    }),
  ],
  [
    'SUSPEND_WORKER',
    (header, body): Command => ({action: 'SUSPEND_WORKER', header, reason: textOf(body['reason'])}),
  ],
  ['RESUME_WORKER', (header): Command => ({action: 'RESUME_WORKER', header})],
  [
    'EVICT_WORKER',
    (header, body): Command => ({
      action: 'EVICT_WORKER',
      header,
      reason: textOf(body['reason']),
      force: flagOf(body['force']),
    }),
  ],
]);

/** @throws {ProtocolError} INVALID_FIELD for what no SDK takes: numbers, booleans, lists of anything but objects. */
function contentOf(value: unknown): Content {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return '';
  if (Array.isArray(value)) {
    const items = value as unknown[];
    if (items.every(isObject)) return items;
  } else if (isObject(value)) {
    return [value];
  }
  throw new ProtocolError('INVALID_FIELD', 'The content is neither text nor a list of objects.');
}

function optionalId(body: Doc, field: string): string {
  const id = textOf(body[field]);
  if (id !== '' && !isValidId(id))
    throw new ProtocolError('INVALID_ID', `The body's ${field} is not a valid id.`);
  return id;
}

function requiredId(body: Doc, field: string): string {
  const id = optionalId(body, field);
  if (id === '') throw new ProtocolError('MISSING_FIELD', `The body has no ${field}.`);
  return id;
}

/**
 * Refuse to write what §3 forbids: other SDKs raise on it, or never let go of the entry.
 *
 * @throws {ByError} INVALID_INPUT, naming the field.
 */
export function assertSendable(command: Command): void {
  assertHeader(command.header);
  switch (command.action) {
    case 'ASK_AGENT':
      if (!hasContent(command.content)) throw unsendable('content', 'An ASK_AGENT needs content.');
      return;
    case 'RESUME':
      if (command.status === '' && !hasContent(command.content)) {
        throw unsendable('content', 'A RESUME needs a status or content.');
      }
      return;
    case 'CANCEL_TASK':
      if (command.targetMessageId === '')
        throw unsendable('target_message_id', 'A CANCEL_TASK needs a target message.');
      if (!CANCEL_MODES.includes(command.cancelMode)) {
        throw unsendable('cancel_mode', `A cancel mode is one of: ${CANCEL_MODES.join(', ')}.`);
      }
      return;
    case 'RELOAD_PLUGINS':
      if (command.reloadId === '') throw unsendable('reload_id', 'A RELOAD_PLUGINS needs a reload id.');
      return;
    case 'CUSTOM':
      if (command.kind === '' || (ACTION_TYPES as readonly string[]).includes(command.kind)) {
        throw unsendable('action_type', `"${command.kind}" can not be the kind of a custom command.`);
      }
      return;
    case 'SUSPEND_WORKER':
    case 'RESUME_WORKER':
    case 'EVICT_WORKER':
  }
}

/**
 * The document to put on a stream, after every check a reader of ours makes: what we accept for sending must not end
 * among the dead letters for its size or shape.
 *
 * @throws {ByError} INVALID_INPUT, or MESSAGE_TOO_LARGE above the cap of limits.ts.
 */
export function encodeSendable(command: Command): string {
  assertSendable(command);
  const document = commandToWire(command);
  let text: string;
  try {
    text = encodeJson(document);
    // Before the shape: of a document that is too large, that is the one thing worth saying.
    if (Buffer.byteLength(text) > MAX_DOCUMENT_BYTES)
      throw tooLarge(Buffer.byteLength(text), MAX_DOCUMENT_BYTES);
    assertShape(document);
  } catch (error) {
    if (error instanceof ByError) throw error;
    if (error instanceof ProtocolError && error.code === 'STRING_TOO_LONG') {
      throw tooLarge(longestText(command), MAX_STRING_LENGTH);
    }
    throw new ByError('INVALID_INPUT', `The command can not be sent: ${messageOf(error)}`, {
      hint: 'Send plain JSON values, within the limits of depth, keys and length.',
      cause: error,
    });
  }
  return text;
}

const tooLarge = (size: number, limit: number) =>
  new ByError(
    'MESSAGE_TOO_LARGE',
    `The message is too large: ${size} characters, and ${limit} are the most.`,
    {
      hint: 'Put the large part into a file or an object store, and send its address.',
      details: {size, limit},
    },
  );

function longestText(command: Command): number {
  return 'content' in command && typeof command.content === 'string' ? command.content.length : 0;
}

function assertHeader(header: Header): void {
  if (header.traceId === '') throw unsendable('trace_id', 'A command needs a trace id.');
  if (header.messageId === '') throw unsendable('message_id', 'A command needs a message_id.');
  if (header.sessionId === '') throw unsendable('session_id', 'A command needs a session_id.');
  assertId('message_id', header.messageId);
  assertId('session_id', header.sessionId);
  assertId('source_agent_type', header.sourceAgentType);
  assertId('target_agent_type', header.targetAgentType);
  assertId('parent_message_id', header.parentMessageId);
  assertId('task_group_id', header.taskGroupId);
}

function assertId(field: string, id: string): void {
  if (id !== '' && !isValidId(id)) throw unsendable(field, `"${id.slice(0, 80)}" can not be a ${field}.`);
}

const unsendable = (field: string, message: string) =>
  new ByError('INVALID_INPUT', message, {hint: `Correct ${field} before sending.`, details: {field}});
