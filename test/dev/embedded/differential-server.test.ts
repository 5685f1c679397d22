import fc from 'fast-check';
import {afterAll, beforeAll, describe, test} from 'vitest';
import {anyOf, maybe, one, several, shape, TwoServers} from './support/two-servers.js';

let servers: TwoServers;
beforeAll(async () => {
  servers = await TwoServers.start();
});
afterAll(() => servers.stop());

const key = one('k1', 'k1', 'k2', 'k3');
const farAway = one('100000', '200000', '300000', '-1', '0', 'x', '9223372036854775807');
const farMs = one('100000000', '200000000', '-1', '0', 'x', '9223372036854775807');
const farTime = one('4102444800', '4102444900', '1', '0', '-5', 'x');
const farTimeMs = one('4102444800000', '4102444900000', '1', 'x');
const condition = maybe(shape(several(one('NX', 'XX', 'GT', 'LT', 'ZZ'), 2)));
const someValue = anyOf(
  shape('SET', key, one('1', 'a')),
  shape('RPUSH', key, 'a'),
  shape('SADD', key, 'a'),
  shape('HSET', key, 'f', '1'),
  shape('ZADD', key, '1', 'a'),
  shape('XADD', key, '1-1', 'f', 'v'),
);

const expiry = anyOf(
  someValue,
  shape('EXPIRE', key, farAway, condition),
  shape('PEXPIRE', key, farMs, condition),
  shape('EXPIREAT', key, farTime, condition),
  shape('PEXPIREAT', key, farTimeMs, condition),
  shape(one('TTL', 'PTTL', 'EXPIRETIME', 'PEXPIRETIME', 'PERSIST', 'EXISTS', 'TYPE', 'GET'), key),
  shape('SET', key, 'v', maybe(shape('KEEPTTL'))),
  shape('RENAME', key, key),
  shape('COPY', key, key, maybe(shape('REPLACE'))),
  shape('GETEX', key, one('EX', 'PX'), farAway),
);

const keys = anyOf(
  someValue,
  someValue,
  shape(one('DEL', 'UNLINK', 'EXISTS', 'TOUCH'), several(key)),
  shape('TYPE', key),
  shape(one('RENAME', 'RENAMENX'), key, key),
  shape('COPY', key, key, maybe(shape('DB', one('0', '1', '16', 'x'))), maybe(shape('REPLACE'))),
  shape('MOVE', key, one('0', '1', '16', 'x')),
  shape('SELECT', one('0', '1', '0', '16', '-1', 'x')),
  shape('KEYS', one('*', 'k?', 'k[12]', 'k[^1]', '\\k1', 'nope', 'k*1', '[k-k]1', 'k[2-1]', 'k[1')),
  shape(
    'SCAN',
    '0',
    maybe(shape('MATCH', one('k?', '*1'))),
    'COUNT',
    '1000',
    maybe(shape('TYPE', one('string', 'list', 'STREAM', 'nope'))),
  ),
  shape('SCAN', one('x', '0'), several(one('COUNT', '1000', 'MATCH', 'TYPE', '0'), 3)),
  shape('DBSIZE'),
  shape('FLUSHDB', maybe(shape(one('ASYNC', 'NOW')))),
  shape('ECHO', one('a', '')),
  shape('PING', maybe(shape('hello'))),
  shape('CLIENT', one('GETNAME', 'NOPE', 'SETNAME'), maybe(shape(one('a b', 'name')))),
  shape('OBJECT', one('ENCODING', 'HELPX'), key),
  shape('nosuch', several(one('a', 'b'))),
  shape(one('GET', 'XGROUP', 'CONFIG', 'SCRIPT', 'HSET'), maybe(shape('k1'))),
  shape('WAIT', one('0', 'x'), one('0', '10', '-1')),
  shape('CONFIG', 'GET', one('maxmemory-policy', 'appendonly', 'nosuch', 'maxmemory-pol*')),
);

const transactions = anyOf(
  shape('MULTI'),
  shape('EXEC'),
  shape('EXEC'),
  shape('DISCARD'),
  shape('WATCH', several(key)),
  shape('UNWATCH'),
  someValue,
  someValue,
  shape('GET', key),
  shape('INCR', key),
  shape('DEL', key),
  shape(one('GET', 'NOSUCH', 'SET')),
  shape('SELECT', one('0', '1')),
  shape('FLUSHALL'),
  shape('EXPIRE', key, '100000'),
  shape('PUBLISH', 'nobody', 'x'),
  shape('EVAL', "return redis.call('INCR', KEYS[1])", '1', key),
);

/** Commands that would wait answer at once inside a transaction. */
const wouldWait = anyOf(
  shape('BLPOP', one('k1', 'empty'), '0'),
  shape('BZPOPMIN', one('k1', 'empty'), '0'),
  shape('BLMOVE', one('k1', 'empty'), 'k2', 'LEFT', 'LEFT', '0'),
  shape('BLMPOP', '0', '1', 'empty', 'LEFT'),
  shape('XREAD', 'BLOCK', '0', 'STREAMS', one('k1', 'empty'), one('0', '$')),
  shape('XREADGROUP', 'GROUP', 'g', 'c', 'BLOCK', '0', 'STREAMS', 'k1', '>'),
  shape('WAIT', '1', '0'),
);
const whole = fc
  .array(anyOf(wouldWait, someValue, transactions), {minLength: 1, maxLength: 5})
  .map(commands => [
    ['MULTI'],
    ...commands.filter(([name = '']) => !['EXEC', 'DISCARD', 'UNWATCH', 'FLUSHALL'].includes(name)),
    ['EXEC'],
  ]);

const SCRIPTS = [
  "return redis.call('GET', KEYS[1])",
  "return redis.call('SET', KEYS[1], ARGV[1])",
  "return redis.call('HGETALL', KEYS[1])",
  "redis.setresp(3); return redis.call('HGETALL', KEYS[1])",
  "return redis.pcall('INCR', KEYS[1])",
  "redis.call('INCR', KEYS[1]); redis.call('LPUSH', KEYS[1], 'x')",
  'return {KEYS[1], ARGV[1], #ARGV, #KEYS}',
  "return redis.call('XADD', KEYS[1], '9-*', 'f', ARGV[1])",
  "local t = redis.call('XRANGE', KEYS[1], '-', '+'); return #t",
  "return redis.call('ZADD', KEYS[1], '1.5', ARGV[1])",
  "return redis.call('ZSCORE', KEYS[1], ARGV[1])",
  "local r = redis.call('GET', KEYS[1]); return type(r) .. tostring(r)",
  'return cjson.encode({a = ARGV[1], n = 1.5, l = {1, 2}})',
  'return cjson.decode(\'{"a":[1,2,{"b":null}]}\').a[2]',
  'return cmsgpack.unpack(cmsgpack.pack({ARGV[1], 2}))',
  "return struct.pack('>I4', #ARGV[1])",
  'return bit.bor(5, #ARGV[1])',
  'return {1, 2.9, true, false, "x", nil, 7}',
  'return {ok = ARGV[1]}',
  "return {err = 'MINE ' .. ARGV[1]}",
  "return redis.error_reply('nope')",
  'return redis.sha1hex(ARGV[1])',
  'error(ARGV[1])',
  'return nosuchglobal',
  'x = 1',
  'return 1 +',
  "return redis.call('NOSUCH')",
  "return redis.call('GET')",
  "return redis.call('MULTI')",
  "return redis.call('BLPOP', KEYS[1], 0)",
  "return redis.call('XREAD', 'BLOCK', 0, 'STREAMS', KEYS[1], '$')",
  "return tostring(redis.pcall('GET').err)",
  "local ok, e = pcall(function() return redis.call('INCR', 'str') end); return {ok and 1 or 0, e}",
  "return redis.call('TYPE', KEYS[1])",
  "return redis.call('SMEMBERS', KEYS[1])",
  "return string.format('%d %s %5.2f', 3, ARGV[1], 2.5)",
  "return {tonumber('0x10'), tonumber('z', 36), math.floor(-2.5), #('a'):rep(5)}",
  'return string.byte(ARGV[1], 1, -1)',
  "for i = 1, 5 do redis.call('RPUSH', KEYS[1], i) end; return redis.call('LRANGE', KEYS[1], 0, -1)",
  "return redis.call('SELECT', 1)",
  "return redis.call('PUBLISH', 'c', 'm')",
  'return loadstring("return 1+1")()',
  "return redis.call('EXPIRE', KEYS[1], 100000)",
  "return redis.call('SET', KEYS[1], {})",
  'return redis.call()',
  'local function f() return f2 end return f()',
  "return select('#', unpack({1, 2, 3}))",
  '#!lua flags=no-writes\nreturn redis.call("SET", KEYS[1], "1")',
  '#!lua\nreturn 5',
  '#!python\nreturn 5',
  "return redis.status_reply('FINE')",
  'return redis.REDIS_VERSION',
];
const scripts = anyOf(
  someValue,
  shape(one('EVAL', 'EVAL', 'EVAL_RO'), one(...SCRIPTS), '1', key, one('v', '1', '\xff\x00', '')),
  shape(one('EVAL', 'EVAL', 'EVAL_RO'), one(...SCRIPTS), '1', key, one('v', '1', '\xff\x00', '')),
  shape('EVAL', 'return ARGV', one('0', '1', '3', '-1', 'x'), several(one('a', 'b'), 3)),
  shape('EVALSHA', 'e0e1f9fabfc9d4800c877a703b823ac0578ff8db', '0'),
  shape('SCRIPT', 'LOAD', one('return 1', 'return 1 +', 'x =')),
  shape('SCRIPT', 'EXISTS', 'e0e1f9fabfc9d4800c877a703b823ac0578ff831', 'nosuch'),
  shape('SCRIPT', one('KILL', 'NOPE')),
);

describe('the server, compared with a real redis-server 7.0', () => {
  test('expiry', () => servers.check(4, expiry));
  test('keys and databases', () => servers.check(3, keys, [['SELECT', '0']]));
  test('transactions', () =>
    servers.check(3, fc.oneof(transactions, transactions, whole), [['SELECT', '0']]));
  test('scripts', () => servers.check(2, scripts, [['SET', 'str', 'text']]));
});
