/** The dispatch table: what each command is called, how many words it takes, where its keys are, and who does it. */
import * as connection from './connection.js';
import * as generic from './generic.js';
import * as hashes from './hashes.js';
import * as info from './info.js';
import * as lists from './lists.js';
import * as pubsub from './pubsub.js';
import {commandCount, commandDocs, commandGetKeys, commandInfo, commandList} from './introspection.js';
import * as scripting from './scripting.js';
import * as sets from './sets.js';
import type {Command, Handler} from './store.js';
import * as groups from './stream-groups.js';
import * as streamInfo from './stream-info.js';
import * as reading from './stream-read.js';
import * as streams from './streams.js';
import * as strings from './strings.js';
import * as transactions from './transactions.js';
import * as zsets from './zsets.js';

/**
 * @param flags w: writes; r: only reads; m: refused when memory is full; s: not from scripts; b: may wait; F: fast;
 *   M: has effects though it writes nothing; p: pub/sub; c: also while subscribed; t: runs at once inside MULTI;
 *   a: administration.
 * @param keys First key, last key (negative: counted from the end) and step; none if left out.
 */
function command(
  name: string,
  arity: number,
  flags: string,
  handler: Handler,
  keys: [number, number, number] = [0, 0, 0],
): Command {
  return {name, arity, flags: new Set(flags), keys, handler};
}

const ONE: [number, number, number] = [1, 1, 1];
const TWO: [number, number, number] = [1, 2, 1];
const ALL: [number, number, number] = [1, -1, 1];
const BUT_LAST: [number, number, number] = [1, -2, 1];
const PAIRS: [number, number, number] = [1, -1, 2];
const SUB: [number, number, number] = [2, 2, 1];

const table: readonly Command[] = [
  command('ping', -1, 'Fc', connection.ping),
  command('echo', 2, 'F', connection.echo),
  command('hello', -1, 'sF', connection.hello),
  command('auth', -2, 'sF', connection.auth),
  command('select', 2, 'F', generic.select),
  command('quit', -1, 'sFtc', connection.quit),
  command('reset', 1, 'sFtc', connection.reset),
  command('client|id', 2, 's', connection.clientId),
  command('client|getname', 2, 's', connection.clientGetName),
  command('client|setname', 3, 's', connection.clientSetName),
  command('client|setinfo', 4, 's', connection.clientSetInfo),
  command('client|list', -2, 's', connection.clientList),
  command('client|info', 2, 's', connection.clientInfo),
  command('client|kill', -3, 's', connection.clientKill),
  command('client|unblock', -3, 's', connection.clientUnblock),
  command('client|reply', 3, 's', connection.clientReply),
  command('client|no-evict', 3, 's', connection.clientNoEvict),

  command('info', -1, '', info.info),
  command('config|get', -3, 'sa', info.configGet),
  command('config|set', -4, 'sa', info.configSet),
  command('config|resetstat', 2, 'sa', info.configResetStat),
  command('time', 1, 'F', info.time),
  command('wait', 3, 's', info.wait),
  command('slowlog', -2, 'sa', info.slowlog),
  command('latency', -2, 'sa', info.latency),
  command('command', -1, '', commandList),
  command('command|count', 2, '', commandCount),
  command('command|info', -2, '', commandInfo),
  command('command|docs', -2, '', commandDocs),
  command('command|list', -2, '', commandList),
  command('command|getkeys', -3, '', commandGetKeys),
  command('memory|usage', -3, 'r', generic.memoryUsage, SUB),
  command('object|encoding', 3, 'r', generic.objectEncoding, SUB),
  command('object|refcount', 3, 'r', generic.objectRefcount, SUB),
  command('object|freq', 3, 'r', generic.objectFreq, SUB),
  command('object|idletime', 3, 'r', generic.objectIdletime, SUB),

  command('dbsize', 1, 'rF', generic.dbsize),
  command('flushdb', -1, 'w', generic.flushdb),
  command('flushall', -1, 'w', generic.flushall),
  command('del', -2, 'w', generic.del, ALL),
  command('unlink', -2, 'wF', generic.del, ALL),
  command('exists', -2, 'rF', generic.exists, ALL),
  command('touch', -2, 'rF', generic.exists, ALL),
  command('type', 2, 'rF', generic.type, ONE),
  command('rename', 3, 'w', generic.renameKey, TWO),
  command('renamenx', 3, 'wF', generic.renamenx, TWO),
  command('copy', -3, 'wm', generic.copy, TWO),
  command('move', 3, 'wF', generic.move, ONE),
  command('keys', 2, 'r', generic.keys),
  command('scan', -2, 'r', generic.scan),
  command('randomkey', 1, 'r', generic.randomkey),
  command('expire', -3, 'wF', generic.expire, ONE),
  command('pexpire', -3, 'wF', generic.pexpire, ONE),
  command('expireat', -3, 'wF', generic.expireat, ONE),
  command('pexpireat', -3, 'wF', generic.pexpireat, ONE),
  command('ttl', 2, 'rF', generic.ttl, ONE),
  command('pttl', 2, 'rF', generic.pttl, ONE),
  command('expiretime', 2, 'rF', generic.expiretime, ONE),
  command('pexpiretime', 2, 'rF', generic.pexpiretime, ONE),
  command('persist', 2, 'wF', generic.persist, ONE),

  command('get', 2, 'rF', strings.get, ONE),
  command('set', -3, 'wm', strings.set, ONE),
  command('setnx', 3, 'wmF', strings.setnx, ONE),
  command('setex', 4, 'wm', strings.setex, ONE),
  command('psetex', 4, 'wm', strings.psetex, ONE),
  command('getset', 3, 'wmF', strings.getset, ONE),
  command('getdel', 2, 'wF', strings.getdel, ONE),
  command('getex', -2, 'wF', strings.getex, ONE),
  command('mget', -2, 'rF', strings.mget, ALL),
  command('mset', -3, 'wm', strings.mset, PAIRS),
  command('msetnx', -3, 'wm', strings.msetnx, PAIRS),
  command('append', 3, 'wmF', strings.append, ONE),
  command('strlen', 2, 'rF', strings.strlen, ONE),
  command('getrange', 4, 'r', strings.getrange, ONE),
  command('substr', 4, 'r', strings.getrange, ONE),
  command('setrange', 4, 'wm', strings.setrange, ONE),
  command('incr', 2, 'wmF', strings.incr, ONE),
  command('decr', 2, 'wmF', strings.decr, ONE),
  command('incrby', 3, 'wmF', strings.incrby, ONE),
  command('decrby', 3, 'wmF', strings.decrby, ONE),
  command('incrbyfloat', 3, 'wmF', strings.incrbyfloat, ONE),

  command('hset', -4, 'wmF', hashes.hset, ONE),
  command('hmset', -4, 'wmF', hashes.hmset, ONE),
  command('hsetnx', 4, 'wmF', hashes.hsetnx, ONE),
  command('hget', 3, 'rF', hashes.hget, ONE),
  command('hmget', -3, 'rF', hashes.hmget, ONE),
  command('hgetall', 2, 'r', hashes.hgetall, ONE),
  command('hdel', -3, 'wF', hashes.hdel, ONE),
  command('hexists', 3, 'rF', hashes.hexists, ONE),
  command('hlen', 2, 'rF', hashes.hlen, ONE),
  command('hstrlen', 3, 'rF', hashes.hstrlen, ONE),
  command('hkeys', 2, 'r', hashes.hkeys, ONE),
  command('hvals', 2, 'r', hashes.hvals, ONE),
  command('hincrby', 4, 'wmF', hashes.hincrby, ONE),
  command('hincrbyfloat', 4, 'wmF', hashes.hincrbyfloat, ONE),
  command('hscan', -3, 'r', hashes.hscan, ONE),
  command('hrandfield', -2, 'r', hashes.hrandfield, ONE),

  command('sadd', -3, 'wmF', sets.sadd, ONE),
  command('srem', -3, 'wF', sets.srem, ONE),
  command('smembers', 2, 'r', sets.smembers, ONE),
  command('sismember', 3, 'rF', sets.sismember, ONE),
  command('smismember', -3, 'rF', sets.smismember, ONE),
  command('scard', 2, 'rF', sets.scard, ONE),
  command('smove', 4, 'wF', sets.smove, TWO),
  command('spop', -2, 'wF', sets.spop, ONE),
  command('srandmember', -2, 'r', sets.srandmember, ONE),
  command('sscan', -3, 'r', sets.sscan, ONE),
  command('sunion', -2, 'r', sets.sunion, ALL),
  command('sinter', -2, 'r', sets.sinter, ALL),
  command('sdiff', -2, 'r', sets.sdiff, ALL),
  command('sintercard', -3, 'r', sets.sintercard),
  command('sunionstore', -3, 'wm', sets.sunionstore, ALL),
  command('sinterstore', -3, 'wm', sets.sinterstore, ALL),
  command('sdiffstore', -3, 'wm', sets.sdiffstore, ALL),

  command('zadd', -4, 'wmF', zsets.zadd, ONE),
  command('zincrby', 4, 'wmF', zsets.zincrby, ONE),
  command('zrem', -3, 'wF', zsets.zrem, ONE),
  command('zscore', 3, 'rF', zsets.zscore, ONE),
  command('zmscore', -3, 'rF', zsets.zmscore, ONE),
  command('zcard', 2, 'rF', zsets.zcard, ONE),
  command('zcount', 4, 'rF', zsets.zcount, ONE),
  command('zlexcount', 4, 'rF', zsets.zlexcount, ONE),
  command('zrank', 3, 'rF', zsets.zrank, ONE),
  command('zrevrank', 3, 'rF', zsets.zrevrank, ONE),
  command('zrange', -4, 'r', zsets.zrange, ONE),
  command('zrevrange', -4, 'r', zsets.zrevrange, ONE),
  command('zrangebyscore', -4, 'r', zsets.zrangebyscore, ONE),
  command('zrevrangebyscore', -4, 'r', zsets.zrevrangebyscore, ONE),
  command('zrangebylex', -4, 'r', zsets.zrangebylex, ONE),
  command('zrevrangebylex', -4, 'r', zsets.zrevrangebylex, ONE),
  command('zrangestore', -5, 'wm', zsets.zrangestore, TWO),
  command('zremrangebyscore', 4, 'w', zsets.zremrangebyscore, ONE),
  command('zremrangebyrank', 4, 'w', zsets.zremrangebyrank, ONE),
  command('zremrangebylex', 4, 'w', zsets.zremrangebylex, ONE),
  command('zpopmin', -2, 'wF', zsets.zpopmin, ONE),
  command('zpopmax', -2, 'wF', zsets.zpopmax, ONE),
  command('zmpop', -4, 'w', zsets.zmpop),
  command('bzpopmin', -3, 'wsb', zsets.bzpopmin, BUT_LAST),
  command('bzpopmax', -3, 'wsb', zsets.bzpopmax, BUT_LAST),
  command('bzmpop', -5, 'wb', zsets.bzmpop),
  command('zscan', -3, 'r', zsets.zscan, ONE),
  command('zrandmember', -2, 'r', zsets.zrandmember, ONE),
  command('zunion', -3, 'r', zsets.zunion),
  command('zinter', -3, 'r', zsets.zinter),
  command('zdiff', -3, 'r', zsets.zdiff),
  command('zunionstore', -4, 'wm', zsets.zunionstore, ONE),
  command('zinterstore', -4, 'wm', zsets.zinterstore, ONE),
  command('zdiffstore', -4, 'wm', zsets.zdiffstore, ONE),

  command('lpush', -3, 'wmF', lists.lpush, ONE),
  command('rpush', -3, 'wmF', lists.rpush, ONE),
  command('lpushx', -3, 'wmF', lists.lpushx, ONE),
  command('rpushx', -3, 'wmF', lists.rpushx, ONE),
  command('lpop', -2, 'wF', lists.lpop, ONE),
  command('rpop', -2, 'wF', lists.rpop, ONE),
  command('llen', 2, 'rF', lists.llen, ONE),
  command('lrange', 4, 'r', lists.lrange, ONE),
  command('lindex', 3, 'r', lists.lindex, ONE),
  command('lset', 4, 'wm', lists.lset, ONE),
  command('linsert', 5, 'wm', lists.linsert, ONE),
  command('lrem', 4, 'w', lists.lrem, ONE),
  command('ltrim', 4, 'w', lists.ltrim, ONE),
  command('lpos', -3, 'r', lists.lpos, ONE),
  command('lmove', 5, 'wm', lists.lmove, TWO),
  command('rpoplpush', 3, 'wm', lists.rpoplpush, TWO),
  command('lmpop', -4, 'w', lists.lmpop),
  command('blpop', -3, 'wsb', lists.blpop, BUT_LAST),
  command('brpop', -3, 'wsb', lists.brpop, BUT_LAST),
  command('blmove', 6, 'wmsb', lists.blmove, TWO),
  command('brpoplpush', 4, 'wmsb', lists.brpoplpush, TWO),
  command('blmpop', -5, 'wb', lists.blmpop),

  command('xadd', -5, 'wmF', streams.xadd, ONE),
  command('xlen', 2, 'rF', streams.xlen, ONE),
  command('xdel', -3, 'wF', streams.xdel, ONE),
  command('xtrim', -4, 'w', streams.xtrim, ONE),
  command('xrange', -4, 'r', streams.xrange, ONE),
  command('xrevrange', -4, 'r', streams.xrevrange, ONE),
  command('xsetid', -3, 'wmF', streams.xsetid, ONE),
  command('xread', -4, 'rb', reading.xread),
  command('xreadgroup', -7, 'wb', reading.xreadgroup),
  command('xgroup|create', -5, 'wm', groups.xgroupCreate, SUB),
  command('xgroup|setid', -5, 'w', groups.xgroupSetId, SUB),
  command('xgroup|destroy', 4, 'w', groups.xgroupDestroy, SUB),
  command('xgroup|createconsumer', 5, 'wm', groups.xgroupCreateConsumer, SUB),
  command('xgroup|delconsumer', 5, 'w', groups.xgroupDelConsumer, SUB),
  command('xack', -4, 'wF', groups.xack, ONE),
  command('xpending', -3, 'r', groups.xpending, ONE),
  command('xclaim', -6, 'wF', groups.xclaim, ONE),
  command('xautoclaim', -6, 'wF', groups.xautoclaim, ONE),
  command('xinfo|stream', -3, 'r', streamInfo.xinfoStream, SUB),
  command('xinfo|groups', 3, 'r', streamInfo.xinfoGroups, SUB),
  command('xinfo|consumers', 4, 'r', streamInfo.xinfoConsumers, SUB),

  command('eval', -3, 's', scripting.evalScript),
  command('eval_ro', -3, 'sr', scripting.evalRo),
  command('evalsha', -3, 's', scripting.evalsha),
  command('evalsha_ro', -3, 'sr', scripting.evalshaRo),
  command('script|load', 3, 's', scripting.scriptLoad),
  command('script|exists', -3, 's', scripting.scriptExists),
  command('script|flush', -2, 's', scripting.scriptFlush),
  command('script|kill', 2, 's', scripting.scriptKill),
  command('function|flush', -2, 'sw', scripting.functionFlush),
  command('function|list', -2, 's', scripting.functionList),

  command('multi', 1, 'sFt', transactions.multi),
  command('exec', 1, 'st', transactions.exec),
  command('discard', 1, 'sFt', transactions.discard),
  command('watch', -2, 'sFt', transactions.watch, ALL),
  command('unwatch', 1, 'sF', transactions.unwatch),

  command('subscribe', -2, 'pscb', pubsub.subscribe),
  command('unsubscribe', -1, 'psc', pubsub.unsubscribe),
  command('psubscribe', -2, 'pscb', pubsub.psubscribe),
  command('punsubscribe', -1, 'psc', pubsub.punsubscribe),
  command('publish', 3, 'pFM', pubsub.publish),
  command('pubsub|channels', -2, 'p', pubsub.pubsubChannels),
  command('pubsub|numsub', -2, 'p', pubsub.pubsubNumSub),
  command('pubsub|numpat', 2, 'p', pubsub.pubsubNumPat),
];

/** Commands of Redis 7.0 that are left out on purpose; a container's name covers its subcommands. */
const LEFT_OUT = new Set(
  (
    'acl asking bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos cluster debug dump failover fcall ' +
    'fcall_ro function geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro ' +
    'geosearch geosearchstore getbit lastsave lcs lolwut migrate module monitor pfadd pfcount pfdebug pfmerge ' +
    'pfselftest psync readonly readwrite replconf replicaof restore restore-asking role save setbit shutdown ' +
    'slaveof sort sort_ro spublish ssubscribe sunsubscribe swapdb sync'
  ).split(' '),
);

const commands = new Map<string, Command>();
const containers = new Set<string>();
for (const entry of table) {
  commands.set(entry.name, entry);
  commands.set(entry.name.toUpperCase(), entry);
  const bar = entry.name.indexOf('|');
  if (bar > 0) containers.add(entry.name.slice(0, bar));
}

export type Lookup =
  | {readonly kind: 'found'; readonly command: Command}
  | {readonly kind: 'left out'}
  | {readonly kind: 'unknown'}
  | {readonly kind: 'unknown subcommand'}
  /** A container without its subcommand. */
  | {readonly kind: 'incomplete'; readonly name: string};

/** Find a command by its words. */
export function lookUp(args: readonly string[]): Lookup {
  const word = args[0] ?? '';
  const direct = commands.get(word);
  const name = direct === undefined ? word.toLowerCase() : direct.name;
  if (containers.has(name) && (args.length > 1 || direct === undefined)) {
    const sub = args[1];
    if (sub === undefined) return {kind: 'incomplete', name};
    const command = commands.get(`${name}|${sub.toLowerCase()}`);
    if (command !== undefined) return {kind: 'found', command};
    return LEFT_OUT.has(name) ? {kind: 'left out'} : {kind: 'unknown subcommand'};
  }
  const command = direct ?? commands.get(name);
  if (command !== undefined) return {kind: 'found', command};
  return LEFT_OUT.has(name) ? {kind: 'left out'} : {kind: 'unknown'};
}

export const allCommands = (): readonly Command[] => table;
