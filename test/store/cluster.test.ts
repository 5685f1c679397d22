/** What only a Cluster does: nodes lose their connections, keys move to other nodes. */
import {Cluster, Redis} from 'ioredis';
import {afterAll, beforeAll, describe, expect, inject, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {followSession} from '../../src/store/data-streams.js';
import {checkServer, openStore, scanKeys, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {startRedisCluster, type RedisCluster} from '../support/redis-cluster.js';
import {describeCluster, until} from '../support/stores.js';

const echo = (type = 'echo') => defineAgent({type, run: (_, ask) => ({content: ask.text})});

async function answered(client: GatewayClient, content: string, agentType = 'echo'): Promise<string> {
  const sent = await client.send({agentType, content});
  await until(async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED');
  return sent.sessionId;
}

async function answers(store: Store, sessionId: string): Promise<string[]> {
  const kinds: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true})) kinds.push(item.kind);
  return kinds;
}

describe('a Cluster', () => {
  test('is refused under key schema v1, with what to do', async () => {
    const store = openStore({url: inject('clusterUrl')});
    await expect(checkServer(store)).rejects.toMatchObject({
      code: 'KEY_SCHEMA',
      hint: expect.stringContaining('--key-schema v2') as string,
    });
    store.close();
  });

  test('is found by any node of a list, also when the first is gone', async () => {
    const {host} = new URL(inject('clusterUrl'));
    const store = openStore({url: 'redis://127.0.0.1:1/0', clusterNodes: ['127.0.0.1:1', host]});
    expect(store.keys.schema).toBe('v2');
    expect(await checkServer(store)).toMatchObject({clusterNodes: 3});
    store.close();
  });
});

describeCluster('a blocked read', at => {
  test('is ended at the node it waits at, also where that is the one the store was opened with', async () => {
    const store = at.open();
    const {host} = new URL(at.url());
    const node = new Redis(at.url());
    at.cleanup(() => node.disconnect());
    let key = '';
    for (let i = 0; key === ''; i++) {
      const name = `${store.keys.prefix}${i}`;
      if ((await store.commands.nodeOf(name)) === host) key = name;
    }
    // Any other node would say that it knows no such client, at once.
    for (let i = 0; i < 8; i++) {
      const reader = store.blocking('unblocked', key);
      const read = reader.run(redis => redis.xread('BLOCK', 0, 'STREAMS', key, '$'), {timeoutMs: 3_600_000});
      await until(async () => /name=test:unblocked .* flags=b /.test(String(await node.client('LIST'))));
      await reader.unblock(store.commands);
      expect(await read).toBeNull();
      reader.close();
    }
  });
});

describeCluster('a worker of many agent types', at => {
  test('serves each, also with fewer slots than agent types', async () => {
    const store = at.open();
    const types = ['one', 'two', 'three', 'four', 'five', 'six', 'seven'];
    const worker = await startWorker(store, {agents: types.map(echo), concurrency: 2, log: silentLogger});
    at.cleanup(() => worker.stop({drainMs: 0}));
    const client = new GatewayClient(store);
    await Promise.all(types.flatMap(type => [1, 2, 3].map(i => answered(client, `${i}`, type))));
    expect(await scanKeys(store, `${store.keys.prefix}*`)).toEqual(
      expect.arrayContaining(types.map(type => store.keys.ctrlStream(type))),
    );
  });
});

describe('a worker in a Cluster', () => {
  let cluster: RedisCluster;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());

  async function open() {
    const store = openStore({url: cluster.url, keySchema: 'v2', name: 'test'});
    const worker = await startWorker(store, {agents: [echo()], log: silentLogger});
    return {
      store,
      client: new GatewayClient(store),
      async [Symbol.asyncDispose]() {
        await worker.stop({drainMs: 0});
        store.close();
      },
    };
  }

  test('goes on after every node closed its connections', async () => {
    await using at = await open();
    for (let round = 0; round < 3; round++) {
      for (const {url} of cluster.nodes) {
        const node = new Redis(url);
        await node.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        node.disconnect();
      }
      const session = await answered(at.client, `round ${round}`);
      expect(await answers(at.store, session)).toEqual(['event', 'event']);
    }
  });

  test('goes on after its stream moved to another node', async () => {
    await using at = await open();
    await answered(at.client, 'before');
    const stream = at.store.keys.ctrlStream('echo');
    await moveSlotOf(cluster, stream);
    await answered(at.client, 'after');
    await moveSlotOf(cluster, stream);
    await answered(at.client, 'and once more');
  });
});

/** Move the slot of a key, with all that is in it, to the node after the one that has it: what a resharding does. */
async function moveSlotOf(cluster: RedisCluster, key: string): Promise<void> {
  const nodes = cluster.nodes.map(({url}) => new Redis(url));
  const client = new Cluster([cluster.url]);
  try {
    const slot = await client.cluster('KEYSLOT', key);
    const ids = await Promise.all(nodes.map(node => node.call('CLUSTER', 'MYID') as Promise<string>));
    const owner = (await client.cluster('SLOTS')).find(([from, to]) => from <= slot && slot <= to)?.[2]?.[1];
    const from = cluster.nodes.findIndex(({port}) => port === owner);
    const to = (from + 1) % nodes.length;
    const [source, target] = [nodes[from]!, nodes[to]!];
    await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from]!);
    await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to]!);
    const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, 1000)) as string[];
    for (const name of keys)
      await source.call('MIGRATE', '127.0.0.1', cluster.nodes[to]!.port, name, 0, 5000);
    for (const node of [target, source, ...nodes])
      await node.call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to]!);
  } finally {
    for (const node of nodes) node.disconnect();
    client.disconnect();
  }
}
