import {afterEach, describe, expect, test} from 'vitest';
import {
  assertSendable,
  decodeCommand,
  encodeCommand,
  encodeSendable,
  readCommandEntry,
  registerCommand,
  unregisterCommand,
  type Command,
} from '../../src/protocol/commands.js';
import {createHeader, encodeHeader, type Header} from '../../src/protocol/header.js';
import {MAX_DOCUMENT_BYTES, ProtocolError} from '../../src/protocol/limits.js';
import fc from '../support/properties.js';

const id = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._:@-]{0,20}$/);
const optionalId = fc.oneof(fc.constant(''), id);
const json = fc
  .jsonValue({maxDepth: 2})
  // These keys are refused wherever they come; the generator likes them.
  .filter(value => !/"(?:__proto__|constructor|prototype)":/.test(JSON.stringify(value)))
  .map(value => JSON.parse(JSON.stringify(value)) as unknown);
const object = fc
  .dictionary(fc.stringMatching(/^[a-z]{1,6}$/), json, {maxKeys: 4})
  .map(doc => JSON.parse(JSON.stringify(doc)) as Record<string, unknown>);

const header: fc.Arbitrary<Header> = fc.record({
  messageId: id,
  sessionId: id,
  traceId: id,
  sourceAgentType: optionalId,
  targetAgentType: optionalId,
  parentMessageId: optionalId,
  taskGroupId: optionalId,
  userCode: fc.string(),
  userName: fc.string(),
  metadata: object,
  traceParentSpanId: fc.string(),
  langfuseParentObservationId: fc.string(),
});

const content = fc.oneof(fc.string(), fc.array(object, {maxLength: 3}));
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    action: fc.constant('ASK_AGENT' as const),
    header,
    content,
    waitForReply: fc.boolean(),
    extraPayload: object,
  }),
  fc.record({
    action: fc.constant('RESUME' as const),
    header,
    content,
    status: fc.string(),
    replyData: json,
    extraPayload: object,
  }),
  fc.record({
    action: fc.constant('CANCEL_TASK' as const),
    header,
    targetMessageId: id,
    targetExecutionId: optionalId,
    targetWorkerId: optionalId,
    reason: fc.string(),
    requestedBy: fc.string(),
    cancelMode: fc.constantFrom('graceful' as const, 'force' as const),
  }),
  fc.record({action: fc.constant('RELOAD_PLUGINS' as const), header, reloadId: id, reason: fc.string()}),
  fc.record({action: fc.constant('SUSPEND_WORKER' as const), header, reason: fc.string()}),
  fc.record({action: fc.constant('RESUME_WORKER' as const), header}),
  fc.record({action: fc.constant('EVICT_WORKER' as const), header, reason: fc.string(), force: fc.boolean()}),
);

const simpleHeader = createHeader({messageId: 'msg-1', sessionId: 's', traceId: 't'});
const ask = (text: string, more: Partial<Header> = {}): Command => ({
  action: 'ASK_AGENT',
  header: {...simpleHeader, ...more},
  content: text,
  waitForReply: false,
  extraPayload: {},
});

describe('commands', () => {
  test('every command is read as it was written', () => {
    fc.assert(
      fc.property(command, sent => {
        // -0 is 0 in JSON.
        expect(readCommandEntry(Buffer.from(encodeCommand(sent)))).toEqual(JSON.parse(JSON.stringify(sent)));
      }),
    );
  });

  test('a written command has three keys, its header twelve, whatever is in it: Java refuses one more', () => {
    fc.assert(
      fc.property(command, sent => {
        const doc = JSON.parse(encodeCommand(sent)) as {header: object};
        expect(Object.keys(doc)).toEqual(['action_type', 'header', 'body']);
        expect(Object.keys(doc.header)).toHaveLength(12);
      }),
    );
  });

  test('any JSON is either a command or a ProtocolError, never another error', () => {
    const almost = fc.record(
      {
        action_type: fc.constantFrom('ASK_AGENT', 'RESUME', 'CANCEL_TASK', 'EVICT_WORKER', 7),
        header: json,
        body: json,
      },
      {requiredKeys: []},
    );
    fc.assert(
      fc.property(fc.oneof(json, almost), doc => {
        try {
          decodeCommand(doc);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });

  test('an action_type that every object inherits is unsupported', () => {
    for (const action of ['toString', 'constructor', '__proto__', 'hasOwnProperty']) {
      const doc = {action_type: action, header: encodeHeader(simpleHeader), body: {}};
      expect(() => decodeCommand(doc)).toThrow(
        expect.objectContaining({code: 'UNSUPPORTED_ACTION'}) as Error,
      );
    }
  });

  test.each(['a b', '{x}', '../etc', 'x\n', '', 'ä'.repeat(3), 'x'.repeat(129)])(
    'a session id that can not be part of a key is refused: %j',
    sessionId => {
      const doc = {
        action_type: 'RESUME_WORKER',
        header: {...encodeHeader(simpleHeader), session_id: sessionId},
      };
      expect(() => decodeCommand(doc)).toThrow(ProtocolError);
    },
  );

  test('the ids a command lacks come from whoever reads it, so that a repeat gets the same', () => {
    const doc = {action_type: 'RESUME_WORKER', header: {session_id: 's', message_id: null}};
    const read = decodeCommand(doc, {messageId: () => 'msg-1-0', traceId: () => 'trace-1-0'});
    expect(read.header).toMatchObject({messageId: 'msg-1-0', traceId: 'trace-1-0'});
  });

  test('an entry without data says so', () => {
    expect(() => readCommandEntry(undefined)).toThrow(
      expect.objectContaining({code: 'MISSING_DATA'}) as Error,
    );
  });
});

describe('custom commands', () => {
  afterEach(() => void unregisterCommand('PING'));

  test('are read while they are registered, and written under their own kind', () => {
    const doc = {action_type: 'PING', header: encodeHeader(simpleHeader), body: {a: 1}};
    expect(() => decodeCommand(doc)).toThrow(ProtocolError);
    registerCommand('PING');
    const read = decodeCommand(doc);
    expect(read).toEqual({action: 'CUSTOM', kind: 'PING', header: simpleHeader, body: {a: 1}});
    expect(JSON.parse(encodeCommand(read))).toEqual(doc);
    expect(unregisterCommand('PING')).toBe(true);
    expect(() => decodeCommand(doc)).toThrow(ProtocolError);
  });

  test('can not take the name of a command of the protocol', () => {
    expect(() => registerCommand('ASK_AGENT')).toThrow(RangeError);
    expect(() => registerCommand('')).toThrow(RangeError);
  });

  test('may refuse a body', () => {
    registerCommand('PING', () => {
      throw new ProtocolError('INVALID_FIELD', 'no');
    });
    expect(() => decodeCommand({action_type: 'PING', header: encodeHeader(simpleHeader)})).toThrow(
      ProtocolError,
    );
  });
});

describe('what we refuse to send', () => {
  test('names the field at fault', () => {
    expect(() => assertSendable(ask('x', {targetAgentType: 'a b'}))).toThrow(
      expect.objectContaining({code: 'INVALID_INPUT', details: {field: 'target_agent_type'}}) as Error,
    );
    expect(() => assertSendable(ask('x', {traceId: ''}))).toThrow(/trace id/);
  });

  test('includes what our own reader would refuse: size, depth and the keys that reach a prototype', () => {
    expect(() => encodeSendable(ask('x'.repeat(250_000)))).not.toThrow();
    const code = (text: string, metadata: Record<string, unknown> = {}) => {
      try {
        encodeSendable(ask(text, {metadata}));
        return 'sent';
      } catch (error) {
        return (error as {code: string}).code;
      }
    };
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const large = Object.fromEntries(
      Array.from({length: 10}, (_, i) => [`k${i}`, 'x'.repeat(MAX_DOCUMENT_BYTES / 8)]),
    );
    expect(code('x', large)).toBe('MESSAGE_TOO_LARGE');
    expect(code('x', JSON.parse('{"a":{"__proto__":1}}') as Record<string, unknown>)).toBe('INVALID_INPUT');
    expect(code('x', circle)).toBe('INVALID_INPUT');
    expect(code('x', {n: 1n})).toBe('INVALID_INPUT');
  });
});
