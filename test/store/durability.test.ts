import {afterEach, describe, expect, test} from 'vitest';
import {Redis} from 'ioredis';
import {createClient} from '../../src/client/client.js';
import type {Durability} from '../../src/config/connection.js';
import {ByError} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import {durabilityOf} from '../../src/store/durability.js';
import {checkServer, openStore, type StoreOptions} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {startRedisServer, type RedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';

const acts: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of acts.splice(0).reverse()) await act();
});

async function server(...extra: string[]): Promise<RedisServer> {
  const started = await startRedisServer(extra);
  acts.push(() => started.stop());
  return started;
}

function client(options: StoreOptions) {
  const opened = createClient(options);
  acts.push(() => opened.close());
  return opened;
}

async function levelOf(url: string): Promise<string> {
  const store = openStore({url});
  const facts = await checkServer(store);
  store.close();
  return durabilityOf(facts).level;
}

describe('durability', () => {
  test.each<[string[], string]>([
    [[], 'none'],
    [['--appendonly', 'yes', '--appendfsync', 'no'], 'none'],
    [['--appendonly', 'yes', '--appendfsync', 'everysec'], 'D0'],
    [['--appendonly', 'yes', '--appendfsync', 'always'], 'D1'],
  ])('a server with %j gives %s, and less than required is refused', async (settings, level) => {
    const {url} = await server(...settings);
    expect(await levelOf(url)).toBe(level);
    for (const required of ['D0', 'D1', 'D2'] satisfies Durability[]) {
      const sent = client({url, durability: required}).send({
        agentType: 'a',
        content: 'x',
        policy: 'SEND_ANYWAY',
      });
      if (required <= level && level !== 'none') await sent;
      else await expect(sent).rejects.toMatchObject({code: 'NOT_DURABLE', details: {inForce: level}});
    }
  });

  test('D2 counts a send as accepted when a replica has it, and says so when none has in time', async () => {
    const primary = await server('--appendonly', 'yes', '--appendfsync', 'always');
    const replica = await server('--replicaof', '127.0.0.1', String(primary.port));
    await until(async () => (await levelOf(primary.url)) === 'D2');
    const sender = client({url: primary.url, durability: 'D2'});
    const request = {agentType: 'a', content: 'x', policy: 'SEND_ANYWAY', sessionId: 's'} as const;
    // A replica that is there may take longer on a busy machine than a send waits for it: sent again it is the same.
    const sendDurably = (messageId: string) =>
      until(() =>
        sender.send({...request, messageId}).catch((error: unknown) => {
          if (error instanceof ByError && error.code === 'NOT_DURABLE') return undefined;
          throw error;
        }),
      );
    const sent = await sendDurably('m-1');
    const copy = new Redis(replica.url);
    acts.push(() => copy.disconnect());
    expect(await copy.hexists(sender.store.keys.sessionRegistry('s'), `exec:${sent.executionId}`)).toBe(1);

    const primaryClient = new Redis(primary.url);
    acts.push(() => primaryClient.disconnect());
    await copy.replicaof('NO', 'ONE');
    await until(async () => /connected_slaves:0/.test(await primaryClient.info('replication')));
    await expect(sender.send({...request, messageId: 'm-2'})).rejects.toMatchObject({
      code: 'NOT_DURABLE',
      retryable: true,
    });
    await copy.replicaof('127.0.0.1', primary.port);
    await until(async () => /connected_slaves:1/.test(await primaryClient.info('replication')));
    await until(async () => (await levelOf(primary.url)) === 'D2');
    expect(await sendDurably('m-2')).toMatchObject({duplicate: true});
    expect(await primaryClient.xlen(sender.store.keys.ctrlStream('a'))).toBe(2);
  });

  test('a worker does not start on a server that may delete work', async () => {
    const {url} = await server('--maxmemory-policy', 'allkeys-lru');
    const agent = defineAgent({type: 'a', run: () => undefined});
    await expect(startWorker({url}, {agents: [agent], log: silentLogger})).rejects.toMatchObject({
      code: 'NOT_DURABLE',
      hint: expect.stringContaining('noeviction') as string,
    });
  });
});
