/** The header every command carries: spec §3.2. */
import {isValidId, newHexUuid, newMessageId} from '../ids.js';
import {textOf, objectOf} from './fields.js';
import {isObject, ProtocolError} from './limits.js';

export interface Header {
  /** Id of this command; for RESUME, of the suspended ASK it continues. */
  readonly messageId: string;
  readonly sessionId: string;
  readonly traceId: string;
  /** Agent type that must receive the reply; '' if nobody waits for one. */
  readonly sourceAgentType: string;
  readonly targetAgentType: string;
  /** ASK: message of the caller. RESUME: the ASK being answered. CANCEL: the message to cancel. */
  readonly parentMessageId: string;
  readonly taskGroupId: string;
  readonly userCode: string;
  readonly userName: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** 16 hex digits, or ''. */
  readonly traceParentSpanId: string;
  readonly langfuseParentObservationId: string;
}

/** Makes the ids a document lacks. A worker hands in one that gives the same id for the same stream entry. */
export interface MissingIds {
  readonly messageId: () => string;
  readonly traceId: () => string;
}

const RANDOM_IDS: MissingIds = {messageId: newMessageId, traceId: newHexUuid};

/** A header of our own; what is not given is empty, ids included, except message and trace id, which are made. */
export function createHeader(partial: Partial<Header> & Pick<Header, 'sessionId'>): Header {
  return {
    messageId: partial.messageId ?? newMessageId(),
    sessionId: partial.sessionId,
    traceId: partial.traceId ?? newHexUuid(),
    sourceAgentType: partial.sourceAgentType ?? '',
    targetAgentType: partial.targetAgentType ?? '',
    parentMessageId: partial.parentMessageId ?? '',
    taskGroupId: partial.taskGroupId ?? '',
    userCode: partial.userCode ?? '',
    userName: partial.userName ?? '',
    metadata: partial.metadata ?? {},
    traceParentSpanId: partial.traceParentSpanId ?? '',
    langfuseParentObservationId: partial.langfuseParentObservationId ?? '',
  };
}

/** All twelve keys and no other: a Java worker refuses a header with one more, and never lets go of it (§3.1). */
export function encodeHeader(header: Header) {
  return {
    message_id: header.messageId,
    session_id: header.sessionId,
    trace_id: header.traceId,
    source_agent_type: header.sourceAgentType,
    target_agent_type: header.targetAgentType,
    parent_message_id: header.parentMessageId,
    task_group_id: header.taskGroupId,
    user_code: header.userCode,
    user_name: header.userName,
    metadata: header.metadata,
    trace_parent_span_id: header.traceParentSpanId,
    langfuse_parent_observation_id: header.langfuseParentObservationId,
  };
}

/**
 * Read a header any SDK wrote. Missing message and trace ids are made up, `source_agent_id` stands in for
 * `source_agent_type`, null counts as absent.
 *
 * @throws {ProtocolError} MISSING_FIELD without a session id, INVALID_ID if an id can not be part of a key.
 */
export function decodeHeader(doc: unknown, missing: MissingIds = RANDOM_IDS): Header {
  if (!isObject(doc)) throw new ProtocolError('MISSING_FIELD', 'The command has no header.');
  const sessionId = idOf(doc, 'session_id');
  if (sessionId === '') throw new ProtocolError('MISSING_FIELD', 'The header has no session_id.');
  return {
    messageId: idOf(doc, 'message_id') || missing.messageId(),
    sessionId,
    // Any text will do (§0.1): a trace that can not be stored must not cost the command its life.
    traceId: textOf(doc['trace_id']) || missing.traceId(),
    sourceAgentType:
      doc['source_agent_type'] === undefined ? idOf(doc, 'source_agent_id') : idOf(doc, 'source_agent_type'),
    targetAgentType: idOf(doc, 'target_agent_type'),
    parentMessageId: idOf(doc, 'parent_message_id'),
    taskGroupId: idOf(doc, 'task_group_id'),
    userCode: textOf(doc['user_code']),
    userName: textOf(doc['user_name']),
    metadata: objectOf(doc['metadata']),
    traceParentSpanId: textOf(doc['trace_parent_span_id']),
    langfuseParentObservationId: textOf(doc['langfuse_parent_observation_id']),
  };
}

/** Ids that become part of keys and fields: guarantees.md §2. Empty is allowed here. */
function idOf(doc: Readonly<Record<string, unknown>>, field: string): string {
  const value = doc[field];
  const id = textOf(value);
  // A number beyond 2^53 has been rounded: it would name somebody else.
  const isRounded = typeof value === 'number' && !Number.isSafeInteger(value);
  if (id !== '' && (isRounded || !isValidId(id)))
    throw new ProtocolError('INVALID_ID', `The header's ${field} is not a valid id.`);
  return id;
}
