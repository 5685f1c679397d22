import {describe, expect, test} from 'vitest';
import {formatDuration, parseDuration} from '../../src/cli/duration.js';
import {errorCodesFor, exitCodes} from '../../src/cli/exit-codes.js';
import {toSnakeCase, opaque} from '../../src/cli/json.js';
import {hasPassword, redact, redactFacts, rememberSecret} from '../../src/redact.js';
import {snakeCase} from '../../src/snake-case.js';
import {suggest} from '../../src/cli/suggest.js';
import {parseTimePoint, relativeTime} from '../../src/cli/time.js';
import {ByError, errorCodes} from '../../src/errors.js';

describe('durations', () => {
  test.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['3d', 259_200_000],
    ['1.5s', 1500],
    ['0', 0],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '30', 's', '-5s', '5 m', '1h30m', '1e9s', 'soon', '9'.repeat(20) + 's'])(
    '%j is none',
    text => {
      expect(() => parseDuration(text)).toThrow(ByError);
    },
  );

  test.each([
    [0, '0ms'],
    [412, '412ms'],
    [1302, '1.3s'],
    [9999, '9.9s'],
    [59_999, '59s'],
    [130_000, '2m10s'],
    [300_000, '5m'],
    [10_980_000, '3h3m'],
    [273_600_000, '3d4h'],
  ])('%d ms is shown as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('points in time', () => {
  test.each([
    ['10m', {kind: 'time', ms: 400_000}],
    ['1716123456789-0', {kind: 'id', id: '1716123456789-0'}],
    ['1716123456789', {kind: 'time', ms: 1716123456789}],
    ['2026-05-01T10:00:00Z', {kind: 'time', ms: Date.UTC(2026, 4, 1, 10)}],
  ])('%s', (text, point) => {
    expect(parseTimePoint(text, 1_000_000)).toEqual(point);
  });

  test('anything else is refused', () => {
    expect(() => parseTimePoint('yesterday', 0)).toThrow('"yesterday" is not a point in time.');
  });

  test('are shown by their largest unit', () => {
    expect(relativeTime(0, 3000)).toBe('3s ago');
    expect(relativeTime(0, 60_000 * 62)).toBe('1h ago');
    expect(relativeTime(60_000, 0)).toBe('in 1m');
    expect(relativeTime(0, 10)).toBe('now');
  });
});

describe('secrets', () => {
  test.each([
    ['redis://:hunter2@h:6379/0', 'redis://:***@h:6379/0'],
    ['at rediss://user:p@ss/w:rd@h failed', 'at rediss://user:***@h failed'],
    ['a user only: redis://user@h:6379 here', 'a user only: redis://user@h:6379 here'],
    ['password=hunter2 host=h', 'password=*** host=h'],
    ['{"redis_password":"hunter2","n":1}', '{"redis_password":"***","n":1}'],
    ['OPENAI_API_KEY=sk-123', 'OPENAI_API_KEY=***'],
    ['Authorization: Bearer abcdefgh12345', 'Authorization: Bearer ***'],
    ['lease token abc expired', 'lease token abc expired'],
    ['mail a@b.example', 'mail a@b.example'],
  ])('%s', (text, clean) => {
    expect(redact(text)).toBe(clean);
  });

  test('that were remembered are hidden wherever they are, also encoded', () => {
    rememberSecret('s3cr3t/canary');
    expect(redact('AUTH s3cr3t/canary and s3cr3t%2Fcanary')).toBe('AUTH *** and ***');
  });

  test('are hidden in facts by their names', () => {
    expect(
      redactFacts({url: 'redis://:x@h', apiKey: 'k', nested: [{password: 'p', token: 't', passCount: 3}]}),
    ).toEqual({
      url: 'redis://:***@h',
      apiKey: '***',
      nested: [{password: '***', token: 't', passCount: 3}],
    });
  });

  test('hasPassword', () => {
    expect(hasPassword('redis://:x@h')).toBe(true);
    expect(hasPassword('redis://u:@h')).toBe(true);
    expect(hasPassword('redis://u@h:6379')).toBe(false);
    expect(hasPassword('h:6379')).toBe(false);
  });
});

test('suggestions are near, or there are none', () => {
  expect(suggest('sned', ['send', 'session list'])).toBe('send');
  expect(suggest('deadleter lst', ['deadletter list', 'worker list'])).toBe('deadletter list');
  expect(suggest('qqqqqq', ['send', 'tail'])).toBeNull();
});

describe('JSON names', () => {
  test('are in snake_case', () => {
    expect(['messageId', 'redisURL', 'p50Ms', 'already_snake', 'HTTPServer'].map(snakeCase)).toEqual([
      'message_id',
      'redis_url',
      'p50_ms',
      'already_snake',
      'http_server',
    ]);
  });

  test('of user data stay as they are: what is opaque, and the keys of maps', () => {
    const value = {
      theirData: opaque({camelKey: 1}),
      byType: new Map([['echoBot', {onlineCount: 1}]]),
      big: 12n,
      bytes: Buffer.from('hi'),
      gone: undefined,
      set: new Set([1]),
    };
    expect(JSON.parse(JSON.stringify(toSnakeCase(value)))).toEqual({
      their_data: {camelKey: 1},
      by_type: {echoBot: {online_count: 1}},
      big: '12',
      bytes: 'aGk=',
      set: [1],
    });
  });

  test('can not reach the prototype', () => {
    const data = toSnakeCase(JSON.parse('{"__proto__": {"polluted": true}}')) as object;
    expect(Object.keys(data)).toEqual(['__proto__']);
    expect(({} as {polluted?: boolean}).polluted).toBeUndefined();
  });
});

test('every error code ends with an exit code that is explained', () => {
  const explained = new Set(exitCodes.map(({code}) => code));
  for (const code of errorCodes)
    expect(explained.has(new ByError(code, '', {hint: ''}).exitCode), code).toBe(true);
  expect(errorCodesFor(4)).toContain('NOT_FOUND');
});
