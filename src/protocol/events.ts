/** Data events: what consumers see of a session, in the order it happened. Spec §4. */
import {systemClock, type Clock} from '../clock.js';
import {integerOf, objectOf, textOf} from './fields.js';
import {isObject, parseUntrusted, ProtocolError} from './limits.js';

/** The outer object, §4.1. */
export interface DataEvent {
  readonly traceId: string;
  readonly sessionId: string;
  /** One of {@link EVENT_TYPES}, or another SDK's own. */
  readonly eventType: string;
  readonly sourceAgentType: string;
  readonly messageId: string;
  readonly parentMessageId: string;
  /** Unix milliseconds. */
  readonly timestamp: number;
  /** Usually the layout of §4.2, but a worker may put any object here. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly stateMsg: string;
  readonly artifactUrl: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** §4.3 */
export const EVENT_TYPES = {
  answerDelta: 'answerDelta',
  reasoningLogDelta: 'reasoningLogDelta',
  reasoningLogStart: 'reasoningLogStart',
  reasoningLogEnd: 'reasoningLogEnd',
  finalAnswer: 'finalAnswer',
  appStreamResponse: 'appStreamResponse',
  taskCreate: 'taskCreate',
  stepComplete: 'stepComplete',
  taskStop: 'taskStop',
} as const;
export type EventType = (typeof EVENT_TYPES)[keyof typeof EVENT_TYPES];

/** §4.4. Text and reasoning text share a code: the event type tells them apart. */
export const CONTENT_TYPES = {
  text: '1002',
  echart: '2001',
  form: '2002',
  digit: '2003',
  iframe: '2006',
  task: '2008',
  asyncCard: '2014',
  agentCard: '2015',
  jsonBlock: '2020',
  title: '3003',
  resource: '3004',
  subTitle: '3005',
  code: '3006',
  codeResult: '3007',
  codeAnswer: '3008',
  taskFinished: '3009',
  createdFile: '3010',
  taskTitle: '3011',
  userInput: '3013',
  userQuestions: '3014',
} as const;
export type ContentType = (typeof CONTENT_TYPES)[keyof typeof CONTENT_TYPES];

/** What is the same for every event of one turn. */
export interface EventContext {
  readonly traceId: string;
  readonly sessionId: string;
  readonly sourceAgentType: string;
  readonly messageId: string;
  readonly parentMessageId: string;
  /** A turn that another agent asked for: its chunks never look like answers to the user (§4.8). */
  readonly subAgent: boolean;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Id of one event: 32 upper-case hex digits. */
  readonly newEventId: () => string;
}

interface Overrides {
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly eventType?: string;
  readonly contentType?: string;
}

export interface Chunk extends Overrides {
  /** null for an event that only holds a tool call. */
  readonly content: string | null;
  readonly role?: string;
  readonly functionCall?: unknown;
  readonly toolCalls?: unknown;
  readonly functionResponse?: unknown;
  readonly toolResponses?: unknown;
  readonly objectType?: string;
  readonly status?: string;
}

export interface StateChange extends Overrides {
  readonly state: string;
}

export interface Artifact extends Overrides {
  readonly url: string;
}

export interface Question extends Overrides {
  readonly prompt: string;
}

export interface RawEvent {
  readonly eventType: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly stateMsg?: string;
  readonly artifactUrl?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** A piece of the answer, or of the reasoning when a sub-agent speaks. */
export function chunkEvent(context: EventContext, chunk: Chunk | string): DataEvent {
  const given: Chunk = typeof chunk === 'string' ? {content: chunk} : chunk;
  const eventType = given.eventType ?? EVENT_TYPES.answerDelta;
  return laidOut(context, given, {
    eventType: context.subAgent ? EVENT_TYPES.reasoningLogDelta : eventType,
    contentType: CONTENT_TYPES.text,
    role: given.role ?? 'assistant',
    content: given.content,
  });
}

/** What the agent is doing, for display only. */
export function stateEvent(context: EventContext, change: StateChange | string): DataEvent {
  const given: StateChange = typeof change === 'string' ? {state: change} : change;
  return reasoning(context, given, {contentType: CONTENT_TYPES.title, role: null, content: given.state});
}

/** A file the agent made. */
export function artifactEvent(context: EventContext, artifact: Artifact | string): DataEvent {
  const given: Artifact = typeof artifact === 'string' ? {url: artifact} : artifact;
  const content = JSON.stringify([{fileUrl: given.url}]);
  return reasoning(context, given, {contentType: CONTENT_TYPES.createdFile, role: null, content});
}

/** A question to the user, who answers with a RESUME. A prompt that is a JSON object with `questions` goes as it is. */
export function askUserEvent(context: EventContext, question: Question | string): DataEvent {
  const given: Question = typeof question === 'string' ? {prompt: question} : question;
  if (questionsOf(given.prompt) !== undefined) {
    const contentType = CONTENT_TYPES.userQuestions;
    return reasoning(context, given, {contentType, role: 'assistant', content: given.prompt});
  }
  const field = {
    formType: 'textarea',
    fieldName: 'user_input',
    fieldCode: 'user_input',
    description: given.prompt,
    required: true,
  };
  const content = JSON.stringify({formStatus: 0, pluginMachineFields: [field]});
  return reasoning(context, given, {contentType: CONTENT_TYPES.userInput, role: 'assistant', content});
}

/** An event whose data is the caller's own. */
export function rawEvent(context: EventContext, event: RawEvent): DataEvent {
  return {
    traceId: context.traceId,
    sessionId: context.sessionId,
    eventType: event.eventType,
    sourceAgentType: context.sourceAgentType,
    messageId: context.messageId,
    parentMessageId: context.parentMessageId,
    timestamp: context.now(),
    data: event.data ?? {},
    stateMsg: event.stateMsg ?? '',
    artifactUrl: event.artifactUrl ?? '',
    metadata: event.metadata ?? {},
  };
}

/** The result of the turn, once, at its end. */
export function finalAnswerEvent(context: EventContext, answer: Chunk | string): DataEvent {
  const given: Chunk = typeof answer === 'string' ? {content: answer} : answer;
  return chunkEvent(context, {...given, eventType: EVENT_TYPES.finalAnswer});
}

/** The last event of a root request: consumers stop here (§4.9). */
export function endOfStreamEvent(context: EventContext): DataEvent {
  return chunkEvent(context, {content: '', eventType: EVENT_TYPES.appStreamResponse});
}

interface Delta {
  readonly eventType: string;
  readonly contentType: string;
  readonly role: string | null;
  readonly content: string | null;
}

/** States, artifacts and questions: the sub-agent rule does not touch them. */
function reasoning(context: EventContext, given: Overrides, delta: Omit<Delta, 'eventType'>): DataEvent {
  return laidOut(context, given, {...delta, eventType: given.eventType ?? EVENT_TYPES.reasoningLogDelta});
}

/** The layout of §4.2, all keys always. Written out flat: it runs once for every token. */
function laidOut(context: EventContext, given: Overrides & Partial<Chunk>, delta: Delta): DataEvent {
  const {traceId, sessionId, sourceAgentType, messageId, parentMessageId} = context;
  const timestamp = context.now();
  return {
    traceId,
    sessionId,
    eventType: delta.eventType,
    sourceAgentType,
    messageId,
    parentMessageId,
    timestamp,
    data: {
      id: context.newEventId(),
      created: Math.floor(timestamp / 1000),
      model: '',
      object: '',
      contentType: given.contentType ?? delta.contentType,
      agentId: sourceAgentType === '' ? null : sourceAgentType,
      orderId: messageId,
      parentOrderId: parentMessageId,
      objectType: given.objectType ?? null,
      status: given.status ?? null,
      choices: [
        {
          index: 0,
          finish_reason: '',
          delta: {
            role: delta.role,
            content: delta.content,
            function_call: given.functionCall ?? null,
            function_response: given.functionResponse ?? null,
            tool_calls: given.toolCalls ?? null,
            tool_responses: given.toolResponses ?? null,
          },
        },
      ],
    },
    stateMsg: '',
    artifactUrl: '',
    metadata: given.metadata ?? {},
  };
}

/** All eleven keys, always. */
export function encodeEvent(event: DataEvent): string {
  return JSON.stringify({
    trace_id: event.traceId,
    session_id: event.sessionId,
    event_type: event.eventType,
    source_agent_type: event.sourceAgentType,
    message_id: event.messageId,
    parent_message_id: event.parentMessageId,
    timestamp: event.timestamp,
    data: event.data,
    state_msg: event.stateMsg,
    artifact_url: event.artifactUrl,
    metadata: event.metadata,
  });
}

/**
 * Read an event any SDK wrote: only trace id, session id and event type must be there, null counts as absent.
 *
 * @param now When the event was read, for events without a timestamp (C12).
 * @throws {ProtocolError} NOT_AN_OBJECT or MISSING_FIELD. Consumers skip such an entry with a warning (§8.3).
 */
export function decodeEvent(doc: unknown, now: Clock = systemClock): DataEvent {
  if (!isObject(doc)) throw new ProtocolError('NOT_AN_OBJECT', 'A data event is a JSON object.');
  return {
    traceId: required(doc, 'trace_id'),
    sessionId: required(doc, 'session_id'),
    eventType: required(doc, 'event_type'),
    sourceAgentType: textOf(doc['source_agent_type']),
    messageId: textOf(doc['message_id']),
    parentMessageId: textOf(doc['parent_message_id']),
    timestamp: integerOf(doc['timestamp'], 0) || now(),
    data: objectOf(doc['data']),
    stateMsg: textOf(doc['state_msg']),
    artifactUrl: textOf(doc['artifact_url']),
    metadata: objectOf(doc['metadata']),
  };
}

/**
 * Read the `data` field of an entry of a session's data stream. Other fields of the entry are ignored (§2.1).
 *
 * @throws {ProtocolError} as {@link decodeEvent} and parseUntrusted; MISSING_DATA if there is no such field.
 */
export function readEventEntry(data: string | Uint8Array | undefined, now?: Clock): DataEvent {
  if (data === undefined) throw new ProtocolError('MISSING_DATA', 'The stream entry has no field "data".');
  return decodeEvent(parseUntrusted(data), now);
}

function required(doc: Readonly<Record<string, unknown>>, field: string): string {
  const value = doc[field];
  if (typeof value !== 'string') throw new ProtocolError('MISSING_FIELD', `The data event has no ${field}.`);
  return value;
}

/** What the event adds to the text a user reads: the delta's content, or '' for a layout we do not know. */
export function eventText(event: DataEvent): string {
  return textOf(deltaOf(event)['content']);
}

export function contentTypeOf(event: DataEvent): string {
  return textOf(event.data['contentType']);
}

export function isEndOfStream(event: DataEvent): boolean {
  return event.eventType === EVENT_TYPES.appStreamResponse;
}

export interface AskedField {
  readonly code: string;
  readonly description: string;
  readonly required: boolean;
}

export interface Asked {
  /** The question, for people. */
  readonly prompt: string;
  readonly fields?: readonly AskedField[];
  /** Structured questions (3014), as the agent wrote them. */
  readonly questions?: unknown;
}

/** @returns undefined if the event asks nothing. Field names differ between SDKs; the codes do not (C14). */
export function askUserPrompt(event: DataEvent): Asked | undefined {
  const contentType = contentTypeOf(event);
  const text = eventText(event);
  if (contentType === CONTENT_TYPES.userQuestions) {
    const questions = questionsOf(text);
    return questions === undefined ? {prompt: text} : {prompt: questionText(questions) || text, questions};
  }
  if (contentType !== CONTENT_TYPES.userInput) return undefined;
  const form = parsed(text);
  const rows =
    isObject(form) && Array.isArray(form['pluginMachineFields']) ? form['pluginMachineFields'] : [];
  const fields = (rows as unknown[]).filter(isObject).map(row => ({
    code: textOf(row['fieldCode']),
    description: textOf(row['description']),
    required: row['required'] === true,
  }));
  if (fields.length === 0) return {prompt: text};
  return {prompt: fields.map(field => field.description).join('\n'), fields};
}

export type EventKind = 'answer' | 'reasoning' | 'state' | 'artifact' | 'ask' | 'final' | 'end' | 'other';

/** What a consumer does with the event. The event type decides first, then the code of the content. */
export function eventKind(event: DataEvent): EventKind {
  switch (event.eventType) {
    case EVENT_TYPES.appStreamResponse:
      return 'end';
    case EVENT_TYPES.finalAnswer:
      return 'final';
  }
  switch (contentTypeOf(event)) {
    case CONTENT_TYPES.userInput:
    case CONTENT_TYPES.userQuestions:
      return 'ask';
    case CONTENT_TYPES.createdFile:
      return 'artifact';
    case CONTENT_TYPES.title:
      return 'state';
  }
  switch (event.eventType) {
    case EVENT_TYPES.answerDelta:
      return 'answer';
    case EVENT_TYPES.reasoningLogDelta:
      return 'reasoning';
    default:
      return 'other';
  }
}

function deltaOf(event: DataEvent): Readonly<Record<string, unknown>> {
  const choices = event.data['choices'];
  const first: unknown = Array.isArray(choices) ? choices[0] : undefined;
  return isObject(first) ? objectOf(first['delta']) : {};
}

function questionsOf(text: string): unknown {
  if (!text.includes('questions')) return undefined;
  const doc = parsed(text);
  return isObject(doc) ? doc['questions'] : undefined;
}

function questionText(questions: unknown): string {
  if (!Array.isArray(questions)) return '';
  const texts = (questions as unknown[]).map(question =>
    isObject(question) ? textOf(question['text'] ?? question['question']) : textOf(question),
  );
  return texts.filter(text => text !== '').join('\n');
}

/** Text inside an event is the agent's own: what is not JSON is simply not a form. */
function parsed(text: string): unknown {
  try {
    return parseUntrusted(text);
  } catch {
    return undefined;
  }
}
