import fc from 'fast-check';
import {afterAll, beforeAll, describe, test} from 'vitest';
import {anyOf, maybe, one, several, severalOf, shape, TwoServers} from './support/two-servers.js';

let servers: TwoServers;
beforeAll(async () => {
  servers = await TwoServers.start();
});
afterAll(() => servers.stop());

const key = one('k1', 'k1', 'k2');
const group = one('g1', 'g1', 'g2');
const consumer = one('c1', 'c2');
const MAX = '18446744073709551615';
const entryId = one('1-1', '1-2', '2-1', '2-2', '3', '3-5', '4-0', '5-1', '6-1', '7-3');
const edgeId = one(
  '0-0',
  '0-1',
  `0-${MAX}`,
  `1-${MAX}`,
  `${MAX}-0`,
  `${MAX}-${MAX}`,
  '9007199254740993-1',
  '9007199254740993-9007199254740993',
  `${MAX}-9007199254740993`,
  '18446744073709551616-0',
  '-1-1',
  'x',
  '1-x',
  '',
  '007-1',
  '1-1-1',
);
const id = anyOf(shape(entryId), shape(entryId), shape(entryId), shape(entryId), shape(edgeId)).map(
  words => words[0]!,
);
const newId = anyOf(shape(id), shape(one('1-*', '2-*', '3-*', `${MAX}-*`, '0-*', 'x-*'))).map(
  words => words[0]!,
);
const bound = anyOf(shape(id), shape(one('-', '+', '(1-1', '(2-2', '(3', `(${MAX}-${MAX}`, '(0-0', '('))).map(
  words => words[0]!,
);
const count = one('0', '1', '2', '3', '10', '-1', 'x');
const minIdle = one('0', '0', '0', '50000', 'x', '-5');
const trim = anyOf(
  shape('MAXLEN', maybe(shape(one('=', '~'))), one('0', '1', '2', '3', '-1', 'x')),
  shape('MINID', maybe(shape(one('=', '~'))), id),
);
const limit = maybe(shape('LIMIT', one('0', '1', '10', '-1')));

const command = anyOf(
  shape('XADD', key, newId, severalOf(shape(one('f', 'g'), one('v1', 'v2', '\xff\x00')), 2)),
  shape('XADD', key, newId, 'f', 'v'),
  shape('XADD', key, newId, 'f', 'v'),
  shape('XADD', key, maybe(shape('NOMKSTREAM')), maybe(trim), limit, newId, 'f', one('v1', 'v2')),
  shape('XADD', key, newId, several(one('f', 'v'), 3)),
  shape('XLEN', key),
  shape('XDEL', key, several(id)),
  shape('XDEL', key, several(entryId)),
  shape('XTRIM', key, trim, limit),
  shape('XRANGE', key, bound, bound, maybe(shape('COUNT', count))),
  shape('XREVRANGE', key, bound, bound, maybe(shape('COUNT', count))),
  shape('XREAD', maybe(shape('COUNT', count)), 'STREAMS', key, id),
  shape(
    'XREAD',
    'STREAMS',
    key,
    key,
    id,
    anyOf(shape(id), shape(one('$', '>'))).map(words => words[0]!),
  ),
  shape(
    'XGROUP',
    'CREATE',
    key,
    group,
    anyOf(shape('$'), shape('0'), shape(id)).map(words => words[0]!),
    maybe(shape('MKSTREAM')),
    maybe(shape('ENTRIESREAD', one('0', '1', '3', '-1', '-2', 'x'))),
  ),
  shape('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM'),
  shape(
    'XGROUP',
    'SETID',
    key,
    group,
    anyOf(shape('$'), shape(id)).map(words => words[0]!),
    maybe(shape('ENTRIESREAD', one('0', '2', '-1'))),
  ),
  shape('XGROUP', 'DESTROY', key, group),
  shape('XGROUP', 'CREATECONSUMER', key, group, consumer),
  shape('XGROUP', 'DELCONSUMER', key, group, consumer),
  shape(
    'XREADGROUP',
    'GROUP',
    group,
    consumer,
    maybe(shape('COUNT', count)),
    maybe(shape('NOACK')),
    'STREAMS',
    key,
    '>',
  ),
  shape('XREADGROUP', 'GROUP', group, consumer, maybe(shape('COUNT', count)), 'STREAMS', key, '>'),
  shape(
    'XREADGROUP',
    'GROUP',
    group,
    consumer,
    maybe(shape('COUNT', count)),
    'STREAMS',
    key,
    anyOf(shape('0'), shape(id), shape('$')).map(words => words[0]!),
  ),
  shape('XREADGROUP', 'GROUP', group, consumer, 'STREAMS', key, key, '>', one('>', '0')),
  shape('XACK', key, group, several(id)),
  shape('XACK', key, group, several(entryId)),
  shape('XPENDING', key, group),
  shape(
    'XPENDING',
    key,
    group,
    maybe(shape('IDLE', one('0', '50000', 'x'))),
    bound,
    bound,
    count,
    maybe(shape(consumer)),
  ),
  shape(
    'XCLAIM',
    key,
    group,
    consumer,
    minIdle,
    several(id),
    maybe(shape(one('IDLE', 'TIME'), one('0', '100000', '-1', 'x'))),
    maybe(shape('RETRYCOUNT', one('0', '5', '-1'))),
    maybe(shape('FORCE')),
    maybe(shape('JUSTID')),
    maybe(shape('LASTID', entryId)),
  ),
  shape('XCLAIM', key, group, consumer, '0', several(entryId), maybe(shape('FORCE'))),
  shape(
    'XAUTOCLAIM',
    key,
    group,
    consumer,
    minIdle,
    bound,
    maybe(shape('COUNT', count)),
    maybe(shape('JUSTID')),
  ),
  shape('XAUTOCLAIM', key, group, consumer, '0', '0', maybe(shape('COUNT', one('1', '2', '3')))),
  shape('XINFO', 'STREAM', key),
  shape('XINFO', 'STREAM', key, 'FULL', maybe(shape('COUNT', one('0', '1', '2', '-1')))),
  shape('XINFO', 'GROUPS', key),
  shape('XINFO', 'CONSUMERS', key, group),
  shape('XSETID', key, id, maybe(shape('ENTRIESADDED', one('0', '3', '100', '-1'), 'MAXDELETEDID', id))),
  shape('DEL', key),
  shape('COPY', 'k1', 'k2', maybe(shape('REPLACE'))),
  shape('TYPE', key),
  shape('SET', key, 'string'),
  shape('XADD', key, several(one('f', 'MAXLEN', '~', 'v', 'LIMIT', '10', '5-1'), 5)),
  shape(
    'XREADGROUP',
    several(one('GROUP', 'g1', 'c1', 'STREAMS', 'k1', '>', 'COUNT', '1', 'NOACK', 'BLOCK'), 8),
  ),
  shape('XREAD', several(one('STREAMS', 'k1', '0', '$', 'COUNT', '1', 'GROUP'), 6)),
  shape('XPENDING', key, group, several(one('-', '+', '1', 'IDLE', 'c1'), 6)),
  shape(
    'XGROUP',
    one('CREATE', 'SETID', 'DESTROY', 'HELPME', 'CREATECONSUMER'),
    several(one('k1', 'g1', '0', 'MKSTREAM', 'c1'), 5),
  ),
  shape(
    'XINFO',
    one('STREAM', 'GROUPS', 'CONSUMERS', 'NONSENSE'),
    several(one('k1', 'g1', 'FULL', 'COUNT', '1'), 4),
  ),
  shape(
    'XCLAIM',
    key,
    group,
    consumer,
    '0',
    '1-1',
    several(one('IDLE', 'FORCE', '1', 'JUSTID', 'NOSUCH', 'LASTID'), 3),
  ),
  shape('XTRIM', key, several(one('MAXLEN', 'MINID', '~', '=', '1', 'LIMIT'), 5)),
);

/** Streams longer than one of Redis's nodes: trimming with `~` removes whole nodes, deleting leaves holes. */
const longId = fc.integer({min: 1, max: 420}).map(ms => `${ms}-0`);
const long = anyOf(
  shape('XDEL', 'long', several(longId, 30)),
  shape(
    'XDEL',
    'long',
    fc.integer({min: 1, max: 300}).map(from => Array.from({length: 70}, (_, i) => `${from + i}-0`)),
  ),
  shape(
    'XTRIM',
    'long',
    'MAXLEN',
    one('~', '='),
    one('0', '50', '99', '100', '150', '199', '200', '250', '300'),
  ),
  shape('XTRIM', 'long', 'MINID', one('~', '='), longId),
  shape('XTRIM', 'long', 'MAXLEN', '~', one('0', '10', '150'), 'LIMIT', one('0', '50', '100', '150', '250')),
  shape('XADD', 'long', 'MAXLEN', '~', one('100', '250'), '500-*', 'f', 'v'),
  shape(one('XRANGE', 'XREVRANGE'), 'long', longId, longId, 'COUNT', one('1', '10', '200')),
  shape('XLEN', 'long'),
  shape('XINFO', 'STREAM', 'long'),
  shape('XREADGROUP', 'GROUP', 'g', consumer, 'COUNT', one('1', '40', '150'), 'STREAMS', 'long', '>'),
  shape('XACK', 'long', 'g', several(longId, 30)),
  shape('XAUTOCLAIM', 'long', 'g', consumer, '0', longId, 'COUNT', one('1', '7', '100')),
  shape('XPENDING', 'long', 'g', longId, '+', one('5', '500')),
  shape('XCLAIM', 'long', 'g', consumer, '0', several(longId, 10), 'FORCE', 'JUSTID'),
  shape('XGROUP', 'SETID', 'long', 'g', longId),
  shape('XINFO', 'GROUPS', 'long'),
);

describe('streams and groups, compared with a real redis-server 7.0', () => {
  test('no random sequence tells them apart', () => servers.check(20, command));
  test('nor does one that starts with a group and pending entries', () =>
    servers.check(15, command, [
      ['XADD', 'k1', '1-1', 'f', 'a'],
      ['XADD', 'k1', '1-2', 'f', 'b'],
      ['XADD', 'k1', '2-1', 'f', 'c'],
      ['XADD', 'k1', '2-2', 'f', 'd'],
      ['XGROUP', 'CREATE', 'k1', 'g1', '0'],
      ['XGROUP', 'CREATE', 'k1', 'g2', '$'],
      ['XREADGROUP', 'GROUP', 'g1', 'c1', 'COUNT', '2', 'STREAMS', 'k1', '>'],
      ['XREADGROUP', 'GROUP', 'g1', 'c2', 'COUNT', '1', 'STREAMS', 'k1', '>'],
    ]));
  test('nor does one on a long stream', () =>
    servers.check(5, long, [
      ...Array.from({length: 420}, (_, i) => ['XADD', 'long', `${i + 1}-0`, 'f', 'v']),
      ['XGROUP', 'CREATE', 'long', 'g', '0'],
    ]));
});
