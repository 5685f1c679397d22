import {readCommandEntry} from '../../src/protocol/commands.js';
import {describe, expect, test} from 'vitest';
import {adminFromHash, adminHeader, adminToHash} from '../../src/protocol/admin.js';
import {
  encodeDeadLetter,
  newDeadLetter,
  preserveBytes,
  readDeadLetter,
} from '../../src/protocol/deadletter.js';
import {isDeliverable, readPendingDelivery} from '../../src/protocol/delivery.js';
import {MAX_DEPTH, MAX_STRING_LENGTH, ProtocolError} from '../../src/protocol/limits.js';
import {
  canonicalErrorCode,
  parseRoutePolicy,
  readCircuit,
  readFallback,
  readQuota,
} from '../../src/protocol/routing.js';
import {sendRefused, sendResponseFromWire, sendResponseToWire} from '../../src/protocol/send-response.js';
import {taskGroupFromHash, taskGroupToHash} from '../../src/protocol/task-group.js';
import {encodeWakeupDecision, readWakeupDecision, readWakeupRequest} from '../../src/protocol/wakeup.js';

describe('route policies', () => {
  test('are read as flags and as constants', () => {
    expect(parseRoutePolicy('wake-and-wait')).toBe('WAKE_AND_WAIT');
    expect(parseRoutePolicy('WAKE_AND_WAIT')).toBe('WAKE_AND_WAIT');
    expect(parseRoutePolicy('bogus')).toBeUndefined();
    expect(parseRoutePolicy('')).toBeUndefined();
  });
});

describe('what operators write by hand', () => {
  test.each([null, '', 'OPEN', '[]', '{', '1', '{"state":1}', '{"__proto__":{"state":"OPEN"}}'])(
    '%j is neither a circuit, nor a quota, nor a fallback',
    text => {
      expect(readCircuit(text)).toEqual({open: false, reason: ''});
      expect(readQuota(text)).toEqual({available: true, reason: ''});
      expect(readFallback(text)).toBe('');
    },
  );
});

describe('error codes', () => {
  test('lose the prefix of Java and the name of TypeScript', () => {
    expect(canonicalErrorCode('ERR_AGENT_CIRCUIT_OPEN')).toBe('AGENT_CIRCUIT_OPEN');
    expect(canonicalErrorCode('AGENT_TYPE_NOT_FOUND')).toBe('AGENT_TYPE_UNAVAILABLE');
  });

  test('a refusal keeps the ids of what was refused', () => {
    const ids = {messageId: 'msg-1', traceId: 't'};
    const refused = sendRefused(ids, {error: 'no', errorCode: 'AGENT_CIRCUIT_OPEN'}, 5);
    const wire = sendResponseToWire(refused);
    expect(wire).toMatchObject({
      success: false,
      status: 'FAILED',
      message_id: 'msg-1',
      error_code: 'AGENT_CIRCUIT_OPEN',
    });
    expect(sendResponseFromWire({...wire, error_code: 'ERR_AGENT_CIRCUIT_OPEN'})).toEqual(refused);
  });
});

describe('wakeups and pending deliveries', () => {
  test('an unknown status passes, for the reader to take as a refusal', () => {
    expect(readWakeupDecision('{"status":"TIMEOUT"}').status).toBe('TIMEOUT');
  });

  test('extra keys of other SDKs are dropped when we write', () => {
    const text = encodeWakeupDecision(readWakeupDecision('{"status":"READY","worker_id":"w","timestamp":1}'));
    expect(Object.keys(JSON.parse(text) as object)).toHaveLength(8);
  });

  test('what is inside a command is nobody else to rename', () => {
    const request = readWakeupRequest(
      '{"command_payload":{"action_type":"X"},"metadata":{"my_key":1,"myKey":2}}',
    );
    expect(request).toMatchObject({commandPayload: {action_type: 'X'}, metadata: {my_key: 1, myKey: 2}});
  });

  test('a delivery without its command can not be delivered', () => {
    expect(isDeliverable(readPendingDelivery('{"command_payload":{}}'))).toBe(false);
    expect(isDeliverable(readPendingDelivery('{"command_payload":{"action_type":"ASK_AGENT"}}'))).toBe(true);
  });

  test.each(['[]', '1', 'null', '{', '{"constructor":1}'])('%s is refused', text => {
    expect(() => readWakeupRequest(text)).toThrow(ProtocolError);
    expect(() => readWakeupDecision(text)).toThrow(ProtocolError);
    expect(() => readPendingDelivery(text)).toThrow(ProtocolError);
  });
});

describe('dead letters', () => {
  const letter = newDeadLetter({
    source: 'poison',
    reason: 'not JSON',
    commandPayload: {},
    firstFailedAt: 7,
    attempts: [{attempt: 2, workerId: 'w-1', ended: 'failed', error: 'not JSON', at: 7}],
    xStream: 'stream',
    xEntryId: '1-0',
    xData: '{',
  });

  test('are read as they were written', () => {
    expect(readDeadLetter(encodeDeadLetter(letter))).toEqual({...letter, replayable: 'no-payload'});
  });

  test('with a command can be replayed', () => {
    const text = encodeDeadLetter({...letter, commandPayload: {action_type: 'ASK_AGENT'}});
    expect(readDeadLetter(text).replayable).toBe('yes');
  });

  test('hold the eight keys older readers look for', () => {
    expect(JSON.parse(encodeDeadLetter(letter))).toMatchObject({
      execution_id: '',
      target_agent_type: '',
      status: 'FAILED',
      selected_agent_type: '',
      worker_ids: [],
      region: '',
      retry_after_ms: null,
      reason: 'not JSON',
    });
  });

  test('of other programs are read as far as they go', () => {
    expect(readDeadLetter('{"attempts":7,"source":"elsewhere","worker_ids":"w"}')).toMatchObject({
      attempts: [],
      source: '',
      workerIds: [],
      schema: 0,
      replayable: 'no-payload',
    });
  });

  test('keep bytes that are not text', () => {
    expect(preserveBytes(Buffer.from('{世'))).toBe('{世');
    expect(preserveBytes(Uint8Array.from([0xff, 0x00]))).toBe('base64:/wA=');
  });
});

describe('hashes', () => {
  test('an absent admin hash is active, and so is a lifecycle nobody knows', () => {
    expect(adminFromHash({})).toEqual({lifecycle: 'active', reason: '', updatedAt: 0});
    expect(adminFromHash({lifecycle: 'paused'}).lifecycle).toBe('active');
    const suspended = {lifecycle: 'suspended', reason: 'maint', updatedAt: 5} as const;
    expect(adminFromHash(adminToHash(suspended))).toEqual(suspended);
  });

  test('an admin command belongs to the admin session, under ids without a prefix', () => {
    const header = adminHeader();
    expect(header.sessionId).toBe('admin');
    expect(header.messageId).toMatch(/^[0-9a-f]{32}$/);
  });

  test('a group without a total is no group', () => {
    const group = {total: 2, completed: 0, sourceAgentType: 'planner'};
    expect(taskGroupFromHash(taskGroupToHash(group))).toEqual(group);
    expect(taskGroupFromHash({completed: '1'})).toBeUndefined();
  });
});

describe('a command at the limits', () => {
  const deep = (levels: number): unknown => (levels === 0 ? 1 : {a: deep(levels - 1)});
  const header = {message_id: 'm', session_id: 's', trace_id: 't'};
  // Two levels of the command, and as many below as may be.
  const deepest = {
    action_type: 'ASK_AGENT',
    header,
    body: {content: 'x', extra_payload: deep(MAX_DEPTH - 2)},
  };
  const texts = Object.fromEntries([1, 2, 3].map(n => [`t${n}`, 'x'.repeat(MAX_STRING_LENGTH)]));
  const largest = {
    action_type: 'ASK_AGENT',
    header,
    body: {content: 'x'.repeat(MAX_STRING_LENGTH - 2000), extra_payload: texts},
  };

  test.each([
    ['deepest', deepest],
    ['largest', largest],
  ])('is still readable inside of another document: the %s', (_, command) => {
    readCommandEntry(JSON.stringify(command));
    const letter = newDeadLetter({
      source: 'execution',
      reason: 'x',
      commandPayload: command,
      firstFailedAt: 1,
    });
    expect(readDeadLetter(encodeDeadLetter(letter)).commandPayload).toEqual(command);
    const inside = JSON.stringify({
      execution_id: 'e',
      metadata: {big: 'y'.repeat(5000)},
      command_payload: command,
    });
    expect(readPendingDelivery(inside).commandPayload).toEqual(command);
    expect(readWakeupRequest(inside).commandPayload).toEqual(command);
  });
});
