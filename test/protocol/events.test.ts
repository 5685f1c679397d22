import {describe, expect, test} from 'vitest';
import {
  artifactEvent,
  askUserEvent,
  askUserPrompt,
  chunkEvent,
  decodeEvent,
  encodeEvent,
  endOfStreamEvent,
  eventKind,
  eventText,
  finalAnswerEvent,
  isEndOfStream,
  rawEvent,
  readEventEntry,
  stateEvent,
  type EventContext,
} from '../../src/protocol/events.js';
import {ProtocolError} from '../../src/protocol/limits.js';

const root: EventContext = {
  traceId: 't',
  sessionId: 's',
  sourceAgentType: 'writer',
  messageId: 'm',
  parentMessageId: '',
  subAgent: false,
  now: () => 5000,
  newEventId: () => 'EVENT',
};
const sub: EventContext = {...root, subAgent: true};

describe('data events', () => {
  test('a chunk of a sub-agent is never an answer, nor its final answer, nor the end of the stream', () => {
    const events = [chunkEvent(sub, 'x'), finalAnswerEvent(sub, 'x'), endOfStreamEvent(sub)];
    expect(events.map(event => event.eventType)).toEqual(Array(3).fill('reasoningLogDelta'));
    expect(events.some(isEndOfStream)).toBe(false);
  });

  test('states, artifacts and questions of a sub-agent are those of any agent', () => {
    expect([stateEvent(sub, 'x'), artifactEvent(sub, 'u'), askUserEvent(sub, '?')]).toEqual([
      stateEvent(root, 'x'),
      artifactEvent(root, 'u'),
      askUserEvent(root, '?'),
    ]);
  });

  test('a consumer can tell what each event is', () => {
    const kinds = [
      chunkEvent(root, 'x'),
      chunkEvent(sub, 'x'),
      stateEvent(root, 'x'),
      artifactEvent(root, 'u'),
      askUserEvent(root, '?'),
      askUserEvent(root, '{"questions":[]}'),
      finalAnswerEvent(root, 'x'),
      endOfStreamEvent(root),
      rawEvent(root, {eventType: 'taskCreate'}),
    ].map(eventKind);
    expect(kinds).toEqual([
      'answer',
      'reasoning',
      'state',
      'artifact',
      'ask',
      'ask',
      'final',
      'end',
      'other',
    ]);
  });

  test('an event is read as it was written', () => {
    const event = chunkEvent(root, {content: null, toolCalls: [{id: 'c'}], metadata: {a: 1}});
    expect(readEventEntry(Buffer.from(encodeEvent(event)))).toEqual(event);
  });

  test('the text is that of the delta, and empty for tool events and for layouts we do not know', () => {
    expect(eventText(chunkEvent(root, 'Hello'))).toBe('Hello');
    expect(eventText(chunkEvent(root, {content: null}))).toBe('');
    for (const data of [{}, {choices: 1}, {choices: []}, {choices: [null]}, {choices: [{delta: []}]}]) {
      expect(eventText(rawEvent(root, {eventType: 'answerDelta', data}))).toBe('');
    }
  });

  test('an event of Java, without a time and with null for a parent, is read', () => {
    const doc = {
      trace_id: 't',
      session_id: 's',
      event_type: 'answerDelta',
      parent_message_id: null,
      data: {},
    };
    expect(decodeEvent(doc, () => 9)).toMatchObject({parentMessageId: '', timestamp: 9, metadata: {}});
  });

  test.each([
    {},
    [],
    null,
    'x',
    {trace_id: 't', session_id: 's'},
    {trace_id: 1, session_id: 's', event_type: 'e'},
  ])('what is no event is refused: %j', doc => {
    expect(() => decodeEvent(doc)).toThrow(ProtocolError);
  });
});

describe('questions to the user', () => {
  test('come back as the prompt and the field to fill in', () => {
    expect(askUserPrompt(askUserEvent(root, 'Which env?'))).toEqual({
      prompt: 'Which env?',
      fields: [{code: 'user_input', description: 'Which env?', required: true}],
    });
  });

  test('that are structured keep their structure, and have a text to show', () => {
    const prompt = '{"questions":[{"id":"q1","text":"Which?"},{"id":"q2","question":"When?"}]}';
    const asked = askUserPrompt(askUserEvent(root, prompt));
    expect(asked).toMatchObject({prompt: 'Which?\nWhen?', questions: [{id: 'q1'}, {id: 'q2'}]});
  });

  test('are only those two content types, and a form we can not read is shown as it is', () => {
    expect(askUserPrompt(chunkEvent(root, 'Which env?'))).toBeUndefined();
    expect(askUserPrompt(chunkEvent(root, {content: 'not a form', contentType: '3013'}))).toEqual({
      prompt: 'not a form',
    });
  });
});
