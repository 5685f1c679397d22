import {afterAll, beforeAll, describe, test} from 'vitest';
import {anyOf, maybe, one, several, severalOf, shape, TwoServers} from './support/two-servers.js';

let servers: TwoServers;
beforeAll(async () => {
  servers = await TwoServers.start();
});
afterAll(() => servers.stop());

const key = one('k1', 'k1', 'k1', 'k2', 'other');
const value = one('a', 'b', '', '\xff\x00\r\n', '10', '-3', '3.5', '9223372036854775807', 'x'.repeat(70));
const field = one('f1', 'f2', 'f3', '\xc3\xa9', '');
const integer = one(
  '0',
  '1',
  '2',
  '-1',
  '-2',
  '5',
  '100',
  '-100',
  'x',
  '',
  '9223372036854775807',
  '-9223372036854775808',
  '9223372036854775808',
  '01',
  '1.5',
);
const float = one(
  '0',
  '1',
  '-1',
  '0.1',
  '2.5',
  '-0.25',
  '1e3',
  '3.0',
  'x',
  'inf',
  '-inf',
  'nan',
  '',
  ' 1',
  '1e400',
  '100000000000',
);
const index = one('0', '1', '2', '3', '-1', '-2', '-100', '100', 'x');
/** A key of the wrong type for every family but one. */
const OTHER = {
  string: [['RPUSH', 'other', 'x']],
  rest: [['SET', 'other', 'text']],
};

const strings = anyOf(
  shape('SET', key, value),
  shape(
    'SET',
    key,
    value,
    several(
      anyOf(
        shape(one('NX', 'XX', 'GET', 'KEEPTTL')),
        shape(one('EX', 'PX', 'EXAT', 'PXAT'), one('100000', '99999999999999', '0', '-1', 'x')),
        shape(one('EX', 'NX', 'NOSUCH')),
      ).map(words => words.join(' ')),
    ).map(words => words.flatMap(word => word.split(' '))),
  ),
  shape('GET', key),
  shape('GETSET', key, value),
  shape('GETDEL', key),
  shape(
    'GETEX',
    key,
    maybe(shape(one('EX', 'PX', 'EXAT', 'PXAT'), one('100000', '99999999999999', '0', '-1', 'x'))),
    maybe(shape(one('PERSIST', 'NX'))),
  ),
  shape('SETNX', key, value),
  shape('SETEX', key, one('100000', '0', '-1', 'x', '9223372036854775807'), value),
  shape('PSETEX', key, one('100000000', '0', '-1', 'x'), value),
  shape('MGET', several(key)),
  shape(
    'MSET',
    several(
      anyOf(shape(key), shape(value)).map(words => words[0]!),
      4,
    ),
  ),
  shape('MSETNX', severalOf(shape(key, value))),
  shape('APPEND', key, value),
  shape('STRLEN', key),
  shape('GETRANGE', key, index, index),
  shape('SETRANGE', key, one('0', '1', '5', '-1', 'x', '536870912'), value),
  shape(one('INCR', 'DECR'), key),
  shape(one('INCRBY', 'DECRBY'), key, integer),
  shape('INCRBYFLOAT', key, float),
  shape('DEL', several(key)),
  shape('TTL', key),
  shape('PERSIST', key),
  shape('OBJECT', 'ENCODING', one('k1', 'k2')),
  shape('RPUSH', 'other', 'x'),
);

const hashes = anyOf(
  shape(one('HSET', 'HMSET'), key, severalOf(shape(field, value))),
  shape('HSET', key, several(field, 4)),
  shape('HSETNX', key, field, value),
  shape(one('HGET', 'HEXISTS', 'HSTRLEN'), key, field),
  shape('HMGET', key, several(field)),
  shape(one('HGETALL', 'HKEYS', 'HVALS', 'HLEN'), key),
  shape('HDEL', key, several(field)),
  shape('HINCRBY', key, field, integer),
  shape('HINCRBYFLOAT', key, field, float),
  shape(
    'HSCAN',
    key,
    one('0', 'x'),
    maybe(shape('MATCH', one('f*', 'f[12]', '?1', '*'))),
    maybe(shape('COUNT', one('1000', '0', 'x'))),
  ),
  shape('HRANDFIELD', key, one('100', '0', 'x'), maybe(shape(one('NOSUCH')))),
  shape('DEL', key),
  shape('COPY', 'k1', 'k2', maybe(shape('REPLACE'))),
);

const member = one('a', 'b', 'c', 'd', '1', '2', '10', '-5', '01', '\xff');
const sets = anyOf(
  shape(one('SADD', 'SREM'), key, several(member)),
  shape(one('SMEMBERS', 'SCARD'), key),
  shape('SISMEMBER', key, member),
  shape('SMISMEMBER', key, several(member)),
  shape('SMOVE', key, key, member),
  shape('SPOP', key, one('100', '0', '-1', 'x')),
  shape('SRANDMEMBER', key, one('100', '0', 'x')),
  shape('SSCAN', key, '0', maybe(shape('MATCH', one('*', '[a-c]', '1*', '[^a]')))),
  shape(one('SUNION', 'SINTER', 'SDIFF'), several(key)),
  shape(one('SUNIONSTORE', 'SINTERSTORE', 'SDIFFSTORE'), key, several(key)),
  shape(
    'SINTERCARD',
    one('1', '2', '0', 'x', '9'),
    several(key),
    maybe(shape('LIMIT', one('0', '1', '-1', 'x'))),
  ),
  shape(one('DEL', 'TYPE'), key),
);

const score = one(
  '0',
  '1',
  '2',
  '3',
  '-1',
  '1.5',
  '0.1',
  '0.30000000000000004',
  '1e20',
  '1e-7',
  '-inf',
  '+inf',
  'nan',
  'x',
  '123456789012345678',
  '3.0',
  '-0',
);
const scoreBound = anyOf(shape(score), shape(one('(1', '(2', '-inf', '+inf', '(x', '-inf'))).map(
  words => words[0]!,
);
const lexBound = one('-', '+', '[a', '(a', '[b', '(c', '[', '(', 'a', '[\xff');
const limit = maybe(shape('LIMIT', one('0', '1', '-1', 'x'), one('0', '1', '-1', '2')));
const withScores = maybe(shape(one('WITHSCORES', 'WITHSCORES', 'WITHSCORE')));
const zsets = anyOf(
  shape('ZADD', key, severalOf(shape(score, member))),
  shape('ZADD', key, severalOf(shape(one('1', '2', '3'), member))),
  shape(
    'ZADD',
    key,
    several(one('NX', 'XX', 'GT', 'LT', 'CH', 'INCR'), 3),
    severalOf(shape(score, member), 2),
  ),
  shape('ZADD', key, maybe(shape(one('GT', 'LT', 'INCR', 'CH'))), several(one('1', 'a', 'x'), 4)),
  shape('ZINCRBY', key, score, member),
  shape('ZREM', key, several(member)),
  shape(one('ZSCORE', 'ZRANK', 'ZREVRANK'), key, member),
  shape('ZMSCORE', key, several(member)),
  shape('ZCARD', key),
  shape('ZCOUNT', key, scoreBound, scoreBound),
  shape('ZRANGE', key, index, index, maybe(shape('REV')), withScores),
  shape('ZRANGE', key, scoreBound, scoreBound, 'BYSCORE', maybe(shape('REV')), limit, withScores),
  shape(
    'ZRANGE',
    key,
    index,
    index,
    several(one('REV', 'LIMIT', '0', '1', 'WITHSCORES', 'BYLEX', 'BYSCORE'), 4),
  ),
  shape('ZREVRANGE', key, index, index, withScores),
  shape(one('ZRANGEBYSCORE', 'ZREVRANGEBYSCORE'), key, scoreBound, scoreBound, withScores, limit),
  shape('ZRANGESTORE', key, key, index, index, maybe(shape('REV')), limit),
  shape('ZRANGESTORE', key, key, scoreBound, scoreBound, 'BYSCORE', maybe(shape('REV')), limit),
  shape('ZREMRANGEBYSCORE', key, scoreBound, scoreBound),
  shape('ZREMRANGEBYRANK', key, index, index),
  shape(one('ZPOPMIN', 'ZPOPMAX'), key, maybe(shape(one('0', '1', '2', '-1', 'x')))),
  shape(
    'ZMPOP',
    one('1', '2', '0', 'x'),
    several(key, 2),
    one('MIN', 'MAX', 'MID'),
    maybe(shape('COUNT', one('1', '2', '0'))),
  ),
  shape('ZSCAN', key, '0', maybe(shape('MATCH', one('*', '[ab]')))),
  shape(
    one('ZUNION', 'ZINTER'),
    one('1', '2', '0', 'x'),
    several(key, 2),
    maybe(shape('WEIGHTS', several(one('1', '2', 'x', '-inf', '0'), 2))),
    maybe(shape('AGGREGATE', one('SUM', 'MIN', 'MAX', 'AVG'))),
    withScores,
  ),
  shape('ZDIFF', one('1', '2'), several(key, 2), withScores),
  shape(
    one('ZUNIONSTORE', 'ZINTERSTORE', 'ZDIFFSTORE'),
    key,
    one('1', '2'),
    several(key, 2),
    maybe(shape('WEIGHTS', several(one('1', '2'), 2))),
  ),
  shape(one('DEL', 'TYPE'), key),
  shape('SADD', 'k2', 'a', 'z'),
);

/** Order by bytes is only defined among equal scores. */
const lexical = anyOf(
  shape('ZADD', key, severalOf(shape('0', member))),
  shape('ZREM', key, several(member)),
  shape('ZLEXCOUNT', key, lexBound, lexBound),
  shape('ZREMRANGEBYLEX', key, lexBound, lexBound),
  shape('ZRANGE', key, lexBound, lexBound, 'BYLEX', maybe(shape('REV')), limit, withScores),
  shape('ZRANGE', key, index, index, several(one('REV', 'LIMIT', '0', '1', 'WITHSCORES', 'BYLEX'), 4)),
  shape(one('ZRANGEBYLEX', 'ZREVRANGEBYLEX'), key, lexBound, lexBound, limit),
);

const side = one('LEFT', 'RIGHT', 'left', 'UP');
const lists = anyOf(
  shape(one('LPUSH', 'RPUSH', 'LPUSHX', 'RPUSHX'), key, several(member)),
  shape(one('LPOP', 'RPOP'), key, maybe(shape(one('0', '1', '2', '-1', 'x')))),
  shape('LLEN', key),
  shape(one('LRANGE', 'LTRIM'), key, index, index),
  shape('LINDEX', key, index),
  shape('LSET', key, index, member),
  shape('LINSERT', key, one('BEFORE', 'AFTER', 'NEAR'), member, member),
  shape('LREM', key, one('0', '1', '-1', '2', '-2', 'x'), member),
  shape(
    'LPOS',
    key,
    member,
    maybe(shape('RANK', one('1', '2', '-1', '-2', '0', 'x'))),
    maybe(shape('COUNT', one('0', '1', '2', '-1'))),
    maybe(shape('MAXLEN', one('0', '1', '3', '-1'))),
  ),
  shape('LMOVE', key, key, side, side),
  shape('RPOPLPUSH', key, key),
  shape('LMPOP', one('1', '2', '0', 'x'), several(key, 2), side, maybe(shape('COUNT', one('1', '2', '0')))),
  shape(one('BLPOP', 'BRPOP'), several(key, 2), one('x', '-1')),
  shape('BLMOVE', key, key, side, side, one('-1')),
  shape(one('DEL', 'TYPE'), key),
);

describe('values, compared with a real redis-server 7.0', () => {
  test('strings and counters', () => servers.check(12, strings, OTHER.string));
  test('hashes', () => servers.check(8, hashes, OTHER.rest));
  test('sets', () => servers.check(8, sets, OTHER.rest));
  test('sorted sets', () => servers.check(9, zsets, OTHER.rest));
  test('sorted sets by bytes', () => servers.check(3, lexical, OTHER.rest));
  test('lists', () => servers.check(8, lists, OTHER.rest));
});
