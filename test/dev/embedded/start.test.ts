import {connect} from 'node:net';
import {spawnSync} from 'node:child_process';
import {once} from 'node:events';
import os from 'node:os';
import {Redis} from 'ioredis';
import {afterEach, describe, expect, test} from 'vitest';
import {startEmbeddedStore, type EmbeddedStore} from '../../../src/dev/embedded/start.js';
import {RawClient} from './support/raw-client.js';

const open: {close(): Promise<void>}[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map(store => store.close()));
});

async function start(options?: Parameters<typeof startEmbeddedStore>[0]): Promise<EmbeddedStore> {
  const store = await startEmbeddedStore(options);
  open.push(store);
  return store;
}

describe('startEmbeddedStore', () => {
  test('says where it listens', async () => {
    const store = await start();
    expect(store.url).toBe(`redis://127.0.0.1:${store.port}/0`);
    const redis = new Redis(store.url);
    expect(await redis.ping()).toBe('PONG');
    redis.disconnect();
  });

  test('takes the port it is given, and refuses one that is taken', async () => {
    const {port} = await start();
    await expect(startEmbeddedStore({port})).rejects.toMatchObject({code: 'EADDRINUSE'});
    await open.pop()!.close();
    expect((await start({port})).port).toBe(port);
  });

  test('listens on loopback only', async () => {
    const {port} = await start();
    const others = Object.values(os.networkInterfaces()).flatMap(
      addresses => addresses?.filter(({internal, family}) => !internal && family === 'IPv4') ?? [],
    );
    for (const {address} of others) await expect(RawClient.connect(port, address)).rejects.toThrow();
    await expect(RawClient.connect(port, '::1')).rejects.toThrow();
  });

  test('close ends every connection, also those that wait', async () => {
    const store = await startEmbeddedStore();
    const idle = await RawClient.connect(store.port);
    const waiting = await RawClient.connect(store.port);
    const answer = waiting.send('BLPOP', 'nothing', '0');
    await idle.send('PING');
    await Promise.all([store.close(), idle.closed(), expect(answer).rejects.toThrow()]);
    await expect(RawClient.connect(store.port)).rejects.toThrow();
  });

  test('answers others while the thread that started it computes', async () => {
    const {port} = await start();
    // spawnSync blocks this thread until the other process has its answer.
    const script = `const s=require('net').connect(${port},'127.0.0.1',()=>s.write('PING\\r\\n'));s.once('data',d=>{process.stdout.write(d);s.destroy()})`;
    const {stdout} = spawnSync(process.execPath, ['-e', script], {encoding: 'utf8', timeout: 20_000});
    expect(stdout).toBe('+PONG\r\n');
  });

  test.each([
    'POST / HTTP/1.1\r\n',
    'GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET stolen 1\r\n',
    'post x\r\n',
  ])('hangs up on HTTP: %j', async request => {
    const {port} = await start();
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(request);
    socket.resume();
    await once(socket, 'close');
    const client = await RawClient.connect(port);
    expect(await client.send('EXISTS', 'stolen')).toBe(0);
    client.close();
  });

  test('refuses writes at its cap, and takes them again when there is room', async () => {
    const {port} = await start({maxMemoryBytes: 100_000});
    const client = await RawClient.connect(port);
    for (let i = 0; i < 10; i++) await client.send('SET', `key${i}`, 'x'.repeat(20_000));
    const refused = {kind: 'error', text: "OOM command not allowed when used memory > 'maxmemory'."};
    expect(await client.send('SET', 'more', 'x')).toEqual(refused);
    expect(await client.send('EVAL', "return redis.pcall('XADD', 's', '*', 'f', 'v')", '0')).toEqual(refused);
    expect(await client.send('GET', 'key0')).toHaveLength(20_000);
    expect(await client.send('FLUSHALL')).toMatchObject({text: 'OK'});
    expect(await client.send('INFO', 'memory')).toMatch(/used_memory:0\r\n/);
    expect(await client.send('SET', 'more', 'x')).toMatchObject({text: 'OK'});
    client.close();
  });

  test('says that it is embedded, and which version it stands for', async () => {
    const {url} = await start();
    const redis = new Redis(url);
    const info = await redis.info();
    for (const line of [
      'redis_version:7.0.15',
      'by_embedded:1',
      'redis_mode:standalone',
      'loading:0',
      'maxmemory_policy:noeviction',
    ]) {
      expect(info).toContain(`${line}\r\n`);
    }
    expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
    redis.disconnect();
  });

  test('names --redis-url where it has less than a real server', async () => {
    const {port} = await start();
    const client = await RawClient.connect(port);
    for (const command of [
      ['SETBIT', 'k', '1', '1'],
      ['GEOADD', 'g'],
      ['CLUSTER', 'INFO'],
      ['FCALL', 'f', '0'],
      ['FUNCTION', 'LOAD', 'x'],
      ['MONITOR'],
      ['DUMP', 'k'],
      ['ACL', 'LIST'],
    ]) {
      expect(await client.send(...command), command.join(' ')).toMatchObject({
        kind: 'error',
        text: expect.stringContaining('--redis-url') as string,
      });
    }
    expect(await client.send('FUNCTION', 'FLUSH')).toMatchObject({text: 'OK'});
    client.close();
  });
});
