import {expect, test} from 'vitest';
import {Connection} from '../../src/store/connection.js';
import {defineScript, integer} from '../../src/store/script.js';
import {startFaultProxy} from '../support/fault-proxy.js';
import {describeEachServer, type TestStore} from '../support/stores.js';

/** For what is to be answered, however slow the machine is. */
const PATIENT = {timeoutMs: 60_000};

async function through(at: TestStore, options = {}) {
  const proxy = await startFaultProxy(at.url());
  const connection = new Connection({url: proxy.url, ...options});
  at.cleanup(() => proxy.close());
  at.cleanup(() => connection.close());
  return {proxy, connection};
}

describeEachServer('a connection', at => {
  test('gives up on a command that is not answered, and takes a new connection for the next', async () => {
    const {proxy, connection} = await through(at, {commandTimeoutMs: 150});
    expect(await connection.run(redis => redis.ping(), PATIENT)).toBe('PONG');
    proxy.silence();
    await expect(connection.run(redis => redis.ping())).rejects.toMatchObject({
      code: 'REDIS_TIMEOUT',
      retryable: true,
    });
    proxy.heal();
    expect(await connection.run(redis => redis.ping(), PATIENT)).toBe('PONG');
    expect(proxy.accepted).toBe(2);
  });

  test('gives up on a blocked read once its block time and a grace have passed', async () => {
    const {proxy, connection} = await through(at);
    await connection.run(redis => redis.ping());
    proxy.silence();
    const blocked = connection.run(redis => redis.call('XREAD', 'BLOCK', '50', 'STREAMS', 'none', '0'), {
      timeoutMs: 150,
    });
    await expect(blocked).rejects.toMatchObject({code: 'REDIS_TIMEOUT'});
  });

  test('repeats a harmless command across a cut, and never another one', async () => {
    const {proxy, connection} = await through(at);
    const key = `cut:${Math.random()}`;
    await connection.run(redis => redis.set(key, '1'));
    proxy.cut();
    expect(await connection.run(redis => redis.get(key), {retryForMs: 5000})).toBe('1');
    proxy.loseReplies();
    const lost = connection.run(redis => redis.incr(key), {timeoutMs: 1000});
    await expect(lost).rejects.toMatchObject({code: 'REDIS_TIMEOUT'});
    proxy.heal();
    // The command ran once: its reply was lost, and nobody sent it again.
    expect(await connection.run(redis => redis.get(key), {retryForMs: 5000})).toBe('2');
  });

  test('an address where nobody answers fails at once, whatever the patience', async () => {
    const connection = new Connection({url: 'redis://127.0.0.1:1'});
    const failed = connection.run(redis => redis.ping(), {retryForMs: 60_000});
    await expect(failed).rejects.toMatchObject({code: 'REDIS_UNREACHABLE', exitCode: 3});
    connection.close();
  });

  test('is not opened again after it was closed', async () => {
    const {connection} = await through(at);
    connection.close();
    await expect(connection.run(redis => redis.ping())).rejects.toMatchObject({code: 'REDIS_UNREACHABLE'});
  });

  test('a script survives SCRIPT FLUSH', async () => {
    const connection = new Connection({url: at.url()});
    at.cleanup(() => connection.close());
    const release = defineScript({
      file: 'release-lease.lua',
      keys: ['lease'],
      args: ['token'],
      reply: integer,
    });
    const call = {keys: {lease: `none:${Math.random()}`}, args: {token: 't'}};
    expect(await release(connection, call)).toBe(0);
    await connection.run(redis => redis.script('FLUSH'));
    expect(await release(connection, call)).toBe(0);
  });
});
