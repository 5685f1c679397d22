import {describe, expect, test} from 'vitest';
import {
  canTransition,
  decodeRecord,
  encodeRecord,
  executionSnapshot,
  fenceOf,
  newExecutionRecord,
  recordFromWire,
  recordToWire,
  replyContextOf,
  statusKind,
  TRANSITIONS,
  type NewRecord,
} from '../../src/protocol/execution.js';
import {RECORD_STATES, TERMINAL_STATES} from '../../src/protocol/states.js';
import fc from '../support/properties.js';

const fields: NewRecord = {
  executionId: 'exec-1',
  messageId: 'msg-1',
  sessionId: 's',
  traceId: 't',
  sourceAgentType: 'client',
  targetAgentType: 'writer',
  streamName: 'stream',
  now: 1000,
};
const record = newExecutionRecord(fields);

describe('execution records', () => {
  test('a new record is queued, and was never started', () => {
    expect(record).toMatchObject({status: 'QUEUED', startedAt: 0, finishedAt: 0, workerId: ''});
    expect(record.timeline).toEqual([{status: 'QUEUED', timestamp: 1000}]);
  });

  test('a refused one failed for a reason', () => {
    const refusal = {errorCode: 'AGENT_CIRCUIT_OPEN', errorMessage: 'maintenance'};
    const refused = newExecutionRecord({
      ...fields,
      refusal,
      route: {policy: 'FAIL_FAST', status: 'REJECT'},
    });
    expect(refused).toMatchObject({
      status: 'FAILED',
      errorCode: 'AGENT_CIRCUIT_OPEN',
      failedStage: 'availability',
    });
  });

  test('fields nobody here knows survive, ours too', () => {
    const doc = {...recordToWire(record), x_attempt: 2, x_fence: fenceOf(2, 'w-1#a'), someones: {deep: [1]}};
    const read = decodeRecord(JSON.stringify(doc));
    expect(read?.extra).toEqual({x_attempt: 2, x_fence: '2@w-1#a', someones: {deep: [1]}});
    expect(JSON.parse(encodeRecord(read!))).toEqual(doc);
  });

  test('a field survives whatever its name means to JavaScript', () => {
    const text = '{"toString":null,"valueOf":1}';
    expect(JSON.parse(encodeRecord(decodeRecord(text)!))).toMatchObject({toString: null, valueOf: 1});
  });

  test('a field that was null stays null, until it gets a value', () => {
    const read = recordFromWire({...recordToWire(record), error_code: null});
    expect(recordToWire(read)).toHaveProperty('error_code', null);
    expect(recordToWire({...read, errorCode: 'X'})).toHaveProperty('error_code', 'X');
  });

  test('any JSON object is some record, any other text is none, and nothing throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), text => {
        const read = decodeRecord(text);
        if (read) expect(decodeRecord(encodeRecord(read))).toEqual(read);
      }),
    );
    expect(decodeRecord('[]')).toBeUndefined();
    expect(decodeRecord('{')).toBeUndefined();
    expect(decodeRecord('{}')).toMatchObject({status: '', timeline: [], createdAt: 0});
  });

  test('the empty timeline that Lua wrote as an object is a list again', () => {
    expect(decodeRecord('{"timeline":{}}')?.timeline).toEqual([]);
  });

  test('a snapshot has thirty keys', () => {
    expect(Object.keys(executionSnapshot(record))).toHaveLength(30);
  });

  test('who must be answered is known only if somebody waits', () => {
    const waiting = {...record, extra: {x_reply: {source_agent_type: 'planner', parent_message_id: 'msg-0'}}};
    expect(replyContextOf(waiting)).toMatchObject({
      source_agent_type: 'planner',
      metadata: {},
      user_code: '',
    });
    expect(replyContextOf({...record, extra: {x_reply: {source_agent_type: ''}}})).toBeUndefined();
    expect(replyContextOf(record)).toBeUndefined();
  });
});

describe('transitions', () => {
  const status = fc.oneof(fc.constantFrom(...RECORD_STATES), fc.string());

  test('nothing leaves a terminal state, except a turn that a user asks for', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TERMINAL_STATES), status, (from, to) => {
        expect(canTransition(from, to)).toBe(false);
        expect(canTransition(from, to, 'user-resume')).toBe(statusKind(to) === 'running');
      }),
    );
  });

  test('every state that is not terminal can be cancelled and can end', () => {
    fc.assert(
      fc.property(status, from => {
        fc.pre(statusKind(from) !== 'terminal');
        expect(canTransition(from, 'CANCELLING')).toBe(true);
        for (const end of TERMINAL_STATES) expect(canTransition(from, end)).toBe(true);
      }),
    );
  });

  test('a cancelled execution does not run again', () => {
    expect(canTransition('CANCELLING', 'RUNNING')).toBe(false);
    expect(canTransition('CANCELLING', 'WAITING_USER')).toBe(false);
  });

  test('a status of another SDK that we do not know counts as suspended', () => {
    expect(statusKind('completed')).toBe('suspended');
    expect(statusKind('QUEUED: waiting_for_group')).toBe('suspended');
    expect(canTransition('completed', 'RUNNING')).toBe(true);
  });

  test('the table names only kinds it defines', () => {
    expect(
      Object.values(TRANSITIONS)
        .flat()
        .filter(kind => !(kind in TRANSITIONS)),
    ).toEqual([]);
  });
});
