import {Redis} from 'ioredis';
import {afterAll, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {startEmbeddedStore, type EmbeddedStore} from '../../../src/dev/embedded/start.js';
import {RawClient} from './support/raw-client.js';

let store: EmbeddedStore;
let redis: Redis;
beforeAll(async () => {
  store = await startEmbeddedStore();
  redis = new Redis(store.url);
});
afterAll(async () => {
  redis.disconnect();
  await store.close();
});
beforeEach(() => redis.flushall());

/** Ask until the answer is the one wanted; the test's own time limit ends it otherwise. */
async function until(ask: () => Promise<boolean>): Promise<void> {
  while (!(await ask())) await new Promise(resolve => setTimeout(resolve, 2));
}

describe('through ioredis', () => {
  test('strings, hashes, sets, sorted sets and lists', async () => {
    await redis.set('s', 'text', 'PX', 100_000, 'NX');
    expect(await redis.set('s', 'other', 'NX')).toBeNull();
    expect(await redis.incrby('n', 41)).toBe(41);
    await redis.hset('h', {a: 1, b: 'two'});
    expect(await redis.hgetall('h')).toEqual({a: '1', b: 'two'});
    await redis.sadd('set', 'x', 'y');
    expect((await redis.smembers('set')).sort()).toEqual(['x', 'y']);
    await redis.zadd('z', 2, 'b', 1, 'a');
    expect(await redis.zrange('z', '0', '-1', 'WITHSCORES')).toEqual(['a', '1', 'b', '2']);
    await redis.rpush('l', 1, 2, 3);
    expect(await redis.lrange('l', 0, -1)).toEqual(['1', '2', '3']);
    expect(await redis.mget('s', 'nothing', 'h')).toEqual(['text', null, null]);
  });

  test('a worker reads, claims and acknowledges', async () => {
    await redis.xgroup('CREATE', 'work', 'group', '0', 'MKSTREAM');
    const id = await redis.xadd('work', '*', 'data', '{}');
    const read = await redis.xreadgroup(
      'GROUP',
      'group',
      'one',
      'COUNT',
      10,
      'BLOCK',
      1000,
      'STREAMS',
      'work',
      '>',
    );
    expect(read).toEqual([['work', [[id, ['data', '{}']]]]]);
    expect(await redis.xautoclaim('work', 'group', 'two', 0, '0')).toEqual([
      '0-0',
      [[id, ['data', '{}']]],
      [],
    ]);
    await redis.xdel('work', id!);
    expect(await redis.xautoclaim('work', 'group', 'two', 0, '0')).toEqual(['0-0', [], [id]]);
    expect(await redis.xpending('work', 'group')).toEqual([0, null, null, null]);
  });

  test('ids made by the server rise, also within a millisecond', async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 1000; i++) pipeline.xadd('s', '*', 'i', String(i));
    await pipeline.exec();
    const entries = await redis.xrange('s', '-', '+');
    expect(entries.map(([, fields]) => fields[1])).toEqual(Array.from({length: 1000}, (_, i) => String(i)));
    expect(await redis.xlen('s')).toBe(1000);
  });

  test('defineCommand, with keys and arguments of any bytes', async () => {
    redis.defineCommand('keep', {
      numberOfKeys: 1,
      lua: "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])",
    });
    const bytes = Buffer.from(Array.from({length: 256}, (_, i) => i));
    const keep = redis as unknown as {keepBuffer(key: Buffer, value: Buffer): Promise<Buffer>};
    expect(await keep.keepBuffer(bytes, bytes)).toEqual(bytes);
    expect(await redis.getBuffer(bytes)).toEqual(bytes);
  });

  test('WATCH lets one of two writers through', async () => {
    const other = new Redis(store.url);
    await redis.watch('k');
    await other.set('k', 'theirs');
    expect(await redis.multi().set('k', 'mine').exec()).toBeNull();
    expect(await redis.get('k')).toBe('theirs');
    other.disconnect();
  });

  test('a key that ends counts as changed for WATCH', async () => {
    // In one write: it must not have ended before it is watched.
    await redis.pipeline().set('k', 'v', 'PX', 20).watch('k').exec();
    await until(async () => (await redis.exists('k')) === 0);
    expect(await redis.multi().set('k', 'mine').exec()).toBeNull();
  });

  test('publish and subscribe, by name and by pattern', async () => {
    const listener = new Redis(store.url);
    const heard: string[] = [];
    listener.on('message', (channel, message) => heard.push(`${channel}=${message}`));
    listener.on('pmessage', (pattern, channel, message) => heard.push(`${pattern}:${channel}=${message}`));
    await listener.subscribe('news');
    await listener.psubscribe('n*');
    expect(await redis.publish('news', 'hello')).toBe(2);
    expect(await redis.publish('other', 'hello')).toBe(0);
    await until(async () => heard.length === 2);
    expect(heard).toEqual(['news=hello', 'n*:news=hello']);
    expect(await redis.pubsub('NUMSUB', 'news')).toEqual(['news', 1]);
    listener.disconnect();
  });

  test('SCAN returns every key that is there all the time, while others come and go', async () => {
    const kept = Array.from({length: 2000}, (_, i) => `kept:${i}`);
    await redis.mset(Object.fromEntries(kept.map(key => [key, '1'])));
    const seen = new Set<string>();
    let cursor = '0';
    let round = 0;
    do {
      const [next, keys] = await redis.scan(cursor, 'MATCH', 'kept:*', 'COUNT', 50);
      for (const key of keys) seen.add(key);
      await redis.mset({[`extra:${round}`]: '1', [`extra:${round + 1}`]: '1'});
      await redis.del(`extra:${round - 1}`);
      round += 2;
      cursor = next;
    } while (cursor !== '0');
    expect(seen.size).toBe(2000);
  });

  test('databases are apart', async () => {
    const other = new Redis(store.url.replace(/0$/, '3'));
    await other.set('k', 'in three');
    expect(await redis.get('k')).toBeNull();
    expect(await redis.info('keyspace')).toContain('db3:keys=1');
    other.disconnect();
  });
});

describe('deadlines', () => {
  test('a key ends by itself, without anyone asking for it', async () => {
    await redis.set('k', 'v', 'PX', 10);
    await until(async () => (await redis.dbsize()) === 0);
    expect(await redis.info('stats')).toContain('expired_keys:');
  });

  test('a lease renewed often ends only after the last renewal', async () => {
    // In one write: it must not have ended before the first renewal.
    await redis.pipeline().set('lease', 'me', 'PX', 30).pexpire('lease', 60_000).exec();
    for (let i = 0; i < 500; i++) await redis.pexpire('lease', 60_000);
    expect(await redis.pttl('lease')).toBeGreaterThan(30_000);
    await redis.pexpire('lease', 5);
    await until(async () => (await redis.dbsize()) === 0);
  });
});

describe('counting commands', () => {
  test('commandstats counts what scripts and transactions call, and RESETSTAT starts anew', async () => {
    await redis.config('RESETSTAT');
    await redis.eval("for i = 1, 3 do redis.call('XADD', KEYS[1], '*', 'f', i) end", 1, 's');
    await redis.multi().xadd('s', '*', 'f', '4').exec();
    await redis.call('GET').catch(() => undefined);
    const info = await redis.info('commandstats');
    expect(info).toMatch(/cmdstat_xadd:calls=4,/);
    expect(info).toMatch(/cmdstat_eval:calls=1,/);
    expect(info).toMatch(/cmdstat_get:calls=0,.*rejected_calls=1/);
    await redis.config('RESETSTAT');
    expect(await redis.info('commandstats')).not.toContain('xadd');
  });
});

describe('CLIENT', () => {
  test('KILL ends a connection, UNBLOCK a wait', async () => {
    const victim = await RawClient.connect(store.port);
    const id = (await victim.send('CLIENT', 'ID')) as number;
    const answer = victim.send('BLPOP', 'nothing', '0');
    await until(async () => (await redis.info('clients')).includes('blocked_clients:1'));
    expect(await redis.call('CLIENT', 'UNBLOCK', id, 'ERROR')).toBe(1);
    expect(await answer).toMatchObject({kind: 'error', text: expect.stringMatching(/^UNBLOCKED/) as string});
    expect(await redis.call('CLIENT', 'KILL', 'ID', id)).toBe(1);
    await victim.closed();
  });

  test('a client that goes away while it waits takes nothing with it', async () => {
    const gone = await RawClient.connect(store.port);
    gone.write('BLPOP list 0\r\n');
    await until(async () => (await redis.info('clients')).includes('blocked_clients:1'));
    gone.close();
    await until(async () => (await redis.info('clients')).includes('blocked_clients:0'));
    await redis.rpush('list', 'kept');
    expect(await redis.llen('list')).toBe(1);
  });
});

describe('the wire', () => {
  test('RESP3 has maps, sets, doubles and pushes', async () => {
    const client = await RawClient.connect(store.port);
    expect(await client.send('HELLO', '3')).toMatchObject({kind: 'map'});
    await client.send('HSET', 'h', 'f', 'v');
    expect(await client.send('HGETALL', 'h')).toEqual({kind: 'map', items: ['f', 'v']});
    await client.send('SADD', 's', 'a');
    expect(await client.send('SMEMBERS', 's')).toEqual({kind: 'set', items: ['a']});
    await client.send('ZADD', 'z', '1.5', 'a');
    expect(await client.send('ZSCORE', 'z', 'a')).toEqual({kind: 'double', text: '1.5'});
    expect(await client.send('GET', 'nothing')).toBeNull();
    await client.send('XADD', 'x', '1-1', 'f', 'v');
    expect(await client.send('XREAD', 'STREAMS', 'x', '0')).toEqual({
      kind: 'map',
      items: ['x', [['1-1', ['f', 'v']]]],
    });
    expect(await client.send('SUBSCRIBE', 'c')).toEqual({kind: 'push', items: ['subscribe', 'c', 1]});
    expect(await client.send('GET', 'nothing')).toBeNull();
    client.close();
  });

  test('inline commands, with quotes', async () => {
    const client = await RawClient.connect(store.port);
    client.write('set key "two words\\x00"\r\n\r\nGET key\r\n');
    expect(await client.next()).toMatchObject({text: 'OK'});
    expect(await client.next()).toBe('two words\0');
    client.close();
  });

  test('a request may come in any pieces', async () => {
    const client = await RawClient.connect(store.port);
    const request = `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab\r\nc\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`;
    for (const byte of request) {
      client.write(byte);
      await new Promise(resolve => setImmediate(resolve));
    }
    expect(await client.next()).toMatchObject({text: 'OK'});
    expect(await client.next()).toBe('ab\r\nc');
    client.close();
  });

  test('a large value goes in and out', async () => {
    const large = 'x'.repeat(20 * 1024 * 1024);
    await redis.set('large', large);
    expect(await redis.strlen('large')).toBe(large.length);
    expect((await redis.get('large')) === large).toBe(true);
  });

  test('nonsense ends the connection with a protocol error', async () => {
    const client = await RawClient.connect(store.port);
    client.write('*1\r\n:5\r\n');
    expect(await client.next()).toEqual({kind: 'error', text: "ERR Protocol error: expected '$', got ':'"});
    await client.closed();
  });
});

describe('scripts', () => {
  test('NOSCRIPT until it is loaded, then EVALSHA', async () => {
    const sha = 'e0e1f9fabfc9d4800c877a703b823ac0578ff8db';
    await redis.script('FLUSH');
    await expect(redis.evalsha(sha, 0)).rejects.toThrow(/^NOSCRIPT/);
    expect(await redis.script('LOAD', 'return 1')).toBe(sha);
    expect(await redis.evalsha(sha, 0)).toBe(1);
  });

  test('a script that never ends is killed, and the next one runs', async () => {
    await expect(redis.eval('while true do end', 0)).rejects.toThrow();
    expect(await redis.eval('return 1', 0)).toBe(1);
  });

  test.each([
    ['nests JSON too deep', "return cjson.decode(string.rep('[', 900) .. string.rep(']', 900))"],
    ['takes all memory', "local t = {} for i = 1, 1e8 do t[i] = string.rep('x', 1000000) .. i end"],
    ['recurses for ever', 'local function f() return 1 + f() end return f()'],
  ])('a script that %s does not spoil those after it', async (_name, script) => {
    await redis.eval(script, 0).catch(() => undefined);
    await until(async () => (await redis.eval('return 1', 0).catch(() => 0)) === 1);
    expect(await redis.eval("return cjson.encode({a = redis.call('INCR', KEYS[1])})", 1, 'n')).toBe(
      '{"a":1}',
    );
  });

  test('sees one time from its beginning to its end', async () => {
    await redis.set('k', 'v', 'PX', 5);
    const script =
      "local a = redis.call('EXISTS', 'k') for i = 1, 300000 do end return a == redis.call('EXISTS', 'k')";
    expect(await redis.eval(script, 0)).toBe(1);
  });
});
