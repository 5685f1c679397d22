import {expect} from 'vitest';
import {ACTION_TYPES} from '../../../src/protocol/commands.js';
import {
  artifactEvent,
  askUserEvent,
  askUserPrompt,
  chunkEvent,
  CONTENT_TYPES,
  encodeEvent,
  endOfStreamEvent,
  EVENT_TYPES,
  eventKind,
  eventText,
  finalAnswerEvent,
  isEndOfStream,
  rawEvent,
  readEventEntry,
  stateEvent,
  type DataEvent,
  type EventContext,
} from '../../../src/protocol/events.js';
import {createKeys} from '../../../src/protocol/keys.js';
import {ProtocolError} from '../../../src/protocol/limits.js';
import {AGENT_STATES} from '../../../src/protocol/states.js';
import {asDoc, at, type Check, type Doc, type Family, type Row} from '../vectors.js';

/** The frozen clock and ids of the vectors. */
const frozen: EventContext = {
  traceId: 'trace-1',
  sessionId: 'sess-1',
  sourceAgentType: 'writer',
  messageId: 'msg-1',
  parentMessageId: 'msg-0',
  subAgent: false,
  now: () => 1_750_000_000_123,
  newEventId: () => '3D5E736B134447E0AE36119FD9AF192B',
};
const nobody: EventContext = {...frozen, sourceAgentType: '', messageId: '', parentMessageId: ''};

/** Text that is JSON counts by what it says, not by its blanks and escapes (§0.2). */
function plain(event: Doc): unknown {
  return JSON.parse(JSON.stringify(event), (key, value: unknown) => {
    if (key !== 'content' || typeof value !== 'string' || !/^[[{]/.test(value)) return value;
    return {json: JSON.parse(value) as unknown};
  });
}

/** Our builder writes what Python's emitter writes. */
const writes =
  (build: (input: Doc) => DataEvent): Check =>
  row => {
    const written = JSON.parse(encodeEvent(build(asDoc(row.input)))) as Doc;
    expect(plain(written)).toEqual(plain(asDoc(at(row.expected, 'entries', 0, 'data'))));
    expect(at(row.expected, 'key')).toBe(createKeys().sessionDataStream('sess-1'));
  };

const text = (input: Doc) => input['event'] as string;

function full(input: Doc): DataEvent {
  const chunk = input['StreamChunkEvent'] as Record<string, unknown>;
  return chunkEvent(frozen, {
    content: chunk['content'] as null,
    role: chunk['role'] as string,
    functionCall: chunk['function_call'],
    toolCalls: chunk['tool_calls'],
    functionResponse: chunk['function_response'],
    toolResponses: chunk['tool_responses'],
    metadata: chunk['metadata'] as Doc,
    objectType: input['object_type'] as string,
    status: input['status'] as string,
    contentType: input['content_type'] as string,
    eventType: input['event_type'] as string,
  });
}

const overridesOf = (input: Doc) => ({
  eventType: input['event_type'] as string,
  contentType: input['content_type'] as string,
});

const decodes: Check = row => {
  const [data] = Object.values(row.input as Record<string, string>);
  const event = readEventEntry(data, () => 1_750_000_000_123);
  expect(JSON.parse(encodeEvent(event))).toEqual(at(row.expected, 'ok', 'message'));
};

const entryIsRefused: Check = row => {
  const {data} = row.input as {data?: string};
  expect(() => readEventEntry(data)).toThrow(ProtocolError);
};

export const eventsFamily: Family = {
  file: 'events',
  checks: [
    [/^chunk\.string$/, writes(input => chunkEvent(frozen, text(input)))],
    [/^chunk\.no_ids$/, writes(input => chunkEvent(nobody, text(input)))],
    [/^chunk\.event_full$/, writes(full)],
    [/^chunk\.final_answer$/, writes(input => finalAnswerEvent(frozen, text(input)))],
    [/^chunk\.stream_end$/, writes(() => endOfStreamEvent(frozen))],
    [/^state\.string$/, writes(input => stateEvent(frozen, text(input)))],
    [
      /^state\.event$/,
      writes(input => {
        const {state, metadata} = input['StateChangeEvent'] as {state: string; metadata: Doc};
        return stateEvent(frozen, {state, metadata, ...overridesOf(input)});
      }),
    ],
    [/^artifact\.string$/, writes(input => artifactEvent(frozen, text(input)))],
    [
      /^artifact\.event$/,
      writes(input => {
        const {url, metadata} = input['ArtifactEvent'] as {url: string; metadata: Doc};
        return artifactEvent(frozen, {url, metadata, ...overridesOf(input)});
      }),
    ],
    [
      /^ask_user\.event$/,
      writes(input => askUserEvent(frozen, input['AskUserEvent'] as {prompt: string; metadata: Doc})),
    ],
    [/^ask_user\./, writes(input => askUserEvent(frozen, text(input)))],
    [
      /^raw_event$/,
      writes(input =>
        rawEvent(frozen, {
          eventType: input['event_type'] as string,
          data: input['data'] as Doc,
          stateMsg: input['state_msg'] as string,
          artifactUrl: input['artifact_url'] as string,
          metadata: input['metadata'] as Doc,
        }),
      ),
    ],
    [
      /^trace_writer\.record_event/,
      row => {
        const {data} = at(row.expected, 'entries', 0, 'fields') as {data: string};
        const event = readEventEntry(data);
        expect(event).toMatchObject({eventType: 'custom', messageId: 'msg-1', data: {p: 1}, metadata: {}});
        expect([eventText(event), eventKind(event)]).toEqual(['', 'other']);
      },
    ],
    [
      /^enum\.event_type$/,
      row => expect(Object.values(EVENT_TYPES)).toEqual(Object.values(asDoc(row.expected))),
    ],
    [
      /^enum\.sse_/,
      row =>
        expect(Object.values(CONTENT_TYPES)).toEqual(
          expect.arrayContaining(Object.values(asDoc(row.expected))),
        ),
    ],
    [/^enum\.agent_state$/, row => expect(AGENT_STATES).toEqual(row.expected)],
    [/^enum\.action_type$/, row => expect(ACTION_TYPES).toEqual(row.expected)],
    [/^client_decode\.missing_/, entryIsRefused],
    [/^client_decode\./, decodes],
  ],
};

/** The TypeScript SDK's events: another layout (C11), the same meaning. */
export function checkTypescriptEvent(row: Row): void {
  const event = readEventEntry(JSON.stringify(at(row.expected, 'entries', 0, 'data')));
  const kinds: Readonly<Record<string, string>> = {
    chunk: 'answer',
    state: 'state',
    artifact: 'artifact',
    ask_user: 'ask',
  };
  const [, kind = ''] = row.name.split('.');
  expect(eventKind(event)).toBe(kinds[kind]);
  expect(isEndOfStream(event)).toBe(false);
  if (kind === 'ask_user') {
    expect(askUserPrompt(event)).toMatchObject({
      prompt: row.input,
      fields: [{code: 'user_input', required: true}],
    });
  } else if (kind === 'artifact') {
    expect(JSON.parse(eventText(event))).toEqual([{fileUrl: row.input}]);
  } else {
    expect(eventText(event)).toBe(row.input);
  }
}
