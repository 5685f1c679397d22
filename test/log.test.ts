import prettyFactory from 'pino-pretty';
import {expect, test} from 'vitest';
import {createLogger} from '../src/json-log.js';
import {loggerTo, type LogFields, type LogLevel} from '../src/log.js';
import {rememberSecret} from '../src/redact.js';

function lines(level?: LogLevel) {
  const written: string[] = [];
  const log = createLogger({
    ...(level === undefined ? {} : {level}),
    write: line => void written.push(line),
    now: () => 0,
  });
  return {log, written, taken: () => written.splice(0).map(line => JSON.parse(line) as unknown)};
}

const EVIL = 'a\nb\u001b[2Jc\u009bd\u202ee\u2028f"%s %%';

test('a line is one JSON object, whatever is in it', () => {
  const {log, written} = lines();
  log.child({worker_id: 'w'}).info(EVIL, {evil: EVIL, [EVIL]: true, count: 2, missing: undefined, not: NaN});
  const [line = ''] = written;
  expect(line).toMatch(/^[\x20-\x7e]*$/);
  expect(JSON.parse(line)).toEqual({
    ...{time: '1970-01-01T00:00:00.000Z', level: 'info', msg: EVIL, worker_id: 'w'},
    ...{evil: EVIL, [EVIL]: true, count: 2, not: null},
  });
});

test('no field takes the place of time, level or message', () => {
  const {log, taken} = lines();
  log.warn('true', {level: 'error', msg: 'false', time: 'never'});
  expect(taken()).toEqual([
    {
      ...{time: '1970-01-01T00:00:00.000Z', level: 'warn', msg: 'true'},
      ...{level_: 'error', msg_: 'false', time_: 'never'},
    },
  ]);
});

test('what is below the level is not written, until the level changes for all that are made from it', () => {
  const {log, taken} = lines('warn');
  const child = log.child({turn: 1}).child({part: 2});
  child.info('no');
  child.setLevel?.('debug');
  log.debug('one');
  child.debug('two');
  expect(taken()).toMatchObject([{msg: 'one'}, {msg: 'two', turn: 1, part: 2}]);
  log.setLevel?.(undefined);
  child.info('no');
  child.error('three');
  expect(taken()).toMatchObject([{msg: 'three', level: 'error'}]);
});

test('secrets are hidden, and long values cut without leaving half of one', () => {
  const said: {message: string; fields: LogFields}[] = [];
  const log = loggerTo((_level, message, fields) => void said.push({message, fields}));
  rememberSecret('canary_5a0b');
  const long = `${'x'.repeat(8190)}canary_5a0b`;
  log.child({api_key: 'k-1', tokens: 7}).info('lost redis://:hunter2@host', {
    ...{error: 'password=hunter2 at canary_5a0b', long, attempt: 1, execution_id: 'exec-canary_5a0b'},
  });
  expect(said).toEqual([
    {
      message: 'lost redis://:***@host',
      fields: {
        ...{api_key: '***', tokens: 7, error: 'password=*** at ***', attempt: 1, execution_id: 'exec-***'},
        long: `${'x'.repeat(8190)}**`,
      },
    },
  ]);
});

test('is read by the viewer of the library that writes it', () => {
  const {log, written} = lines();
  log.child({session_id: 's-1'}).error('no answer', {attempt: 2});
  const text = prettyFactory.prettyFactory({colorize: false, singleLine: true})(`${written.join('')}\n`);
  expect(text).toMatch(/ERROR: no answer/);
  expect(text).toContain('"session_id":"s-1"');
  expect(text).toContain('"attempt":2');
});
