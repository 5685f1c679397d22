import {expect, test} from 'vitest';
import {createLogger, type LogLevel} from '../src/log.js';

function lines(level?: LogLevel) {
  const written: string[] = [];
  const log = createLogger({
    ...(level === undefined ? {} : {level}),
    write: line => void written.push(line),
    now: () => 0,
  });
  return {log, written, taken: () => written.splice(0).map(line => JSON.parse(line) as unknown)};
}

test('a line is one JSON object, whatever is in it', () => {
  const {log, written} = lines();
  const evil = 'a\nb\u001b[2Jc\u009bd\u202ee\u2028f"';
  log.child({worker_id: 'w'}).info(evil, {evil, count: 2, missing: undefined});
  const [line = ''] = written;
  expect(line).toMatch(/^[\x20-\x7e]*$/);
  expect(JSON.parse(line)).toEqual({
    ...{time: '1970-01-01T00:00:00.000Z', level: 'info', msg: evil, worker_id: 'w', evil, count: 2},
  });
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
