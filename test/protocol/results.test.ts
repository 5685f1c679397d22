import {describe, expect, test} from 'vitest';
import {ProtocolError} from '../../src/protocol/limits.js';
import {finalAnswerText, normalizeResult} from '../../src/protocol/results.js';
import {canonicalStatus, isTerminal, isTerminalTolerant} from '../../src/protocol/states.js';
import fc from '../support/properties.js';

describe('results of handlers', () => {
  test('nothing is success', () => {
    expect(normalizeResult(undefined)).toEqual(normalizeResult(null));
    expect(normalizeResult(undefined)).toMatchObject({status: 'COMPLETED', content: '', replyData: null});
  });

  test('normalising twice is the same as once', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const once = normalizeResult({replyData: value, status: 'failed', metadata: {a: 1}});
        expect(normalizeResult(once)).toEqual(once);
      }),
    );
  });

  test.each(['completed', 'Completed', ' COMPLETED '])('the status %j ends the execution', status => {
    expect(normalizeResult({status, content: 'x'}).status).toBe('COMPLETED');
  });

  test('a status nobody knows passes as it is', () => {
    expect(normalizeResult({status: 'Reviewing', content: 'x'}).status).toBe('Reviewing');
  });

  test('a text that only looks like a state is an answer', () => {
    expect(normalizeResult('completed')).toMatchObject({status: 'COMPLETED', replyData: 'completed'});
  });

  test.each([
    ['a function', {replyData: () => 1}],
    ['a Map', new Map()],
    ['a Set inside', {a: [new Set()]}],
    ['a promise', {replyData: Promise.resolve(1)}],
    ['a big integer', 1n],
    ['a symbol', Symbol('x')],
  ])('%s is refused: JSON can not hold it', (_what, value) => {
    expect(() => normalizeResult(value)).toThrow(
      expect.objectContaining({code: 'NOT_SERIALISABLE'}) as Error,
    );
  });

  test('a circle is refused', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect(() => normalizeResult(circle)).toThrow(ProtocolError);
  });

  test('a member that is undefined is as good as absent', () => {
    expect(normalizeResult({content: undefined, status: 'WAITING_USER'})).toMatchObject({
      status: 'WAITING_USER',
      content: '',
    });
  });
});

describe('the final answer', () => {
  test.each([
    [{content: 'c', reply_data: 'r'}, 'c'],
    [{content: '', reply_data: 'r'}, 'r'],
    [{reply_data: {a: 1}}, '{"a":1}'],
    [{reply_data: 0}, '0'],
    [{reply_data: ''}, undefined],
    [null, undefined],
    [{content: [{role: 'assistant', content: 'x'}]}, undefined],
  ])('of %j is %j', (value, answer) => {
    expect(finalAnswerText(normalizeResult(value))).toBe(answer);
  });
});

describe('states', () => {
  test('end an execution only in their exact spelling, unless a person wrote them', () => {
    expect([isTerminal('COMPLETED'), isTerminal('completed'), isTerminal('SUCCESS')]).toEqual([
      true,
      false,
      false,
    ]);
    expect(['completed', 'Success', 'NOT_FOUND', 'queued'].map(isTerminalTolerant)).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  test('keep the one spelling that is not upper case', () => {
    expect(canonicalStatus('Queued: Waiting_For_Group')).toBe('QUEUED: waiting_for_group');
  });
});
