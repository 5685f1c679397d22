/** A server that leads is lost, and another takes its place: G18. Callers notice latency. */
import {spawn} from 'node:child_process';
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Redis} from 'ioredis';
import {afterEach, describe, expect, test} from 'vitest';
import {createClient, type GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {eventKind} from '../../src/protocol/events.js';
import {followSession} from '../../src/store/data-streams.js';
import type {StoreOptions} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {addReplica, startRedisCluster} from '../support/redis-cluster.js';
import {freePort, startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';

const acts: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of acts.splice(0).reverse()) await act();
});

/** A client and a worker whose agent says a word, waits until it is let go, and ends. */
async function deployment(options: StoreOptions) {
  let release: () => void = () => undefined;
  const released = new Promise<void>(resolve => (release = resolve));
  const agent = defineAgent({
    type: 'writer',
    async run(ctx, ask) {
      await ctx.emitChunk('begun ');
      if (ask.text === 'slow') await released;
      return {content: ask.text};
    },
  });
  const worker = await startWorker(options, {agents: [agent], log: silentLogger});
  acts.push(() => worker.stop({drainMs: 0}));
  const client = createClient(options);
  acts.push(() => client.close());
  return {client, release};
}

const send = (client: GatewayClient, content: string, sessionId: string) =>
  client.send({agentType: 'writer', content, sessionId, messageId: `m-${content}`});

/** As callers do: the same message id until it is accepted, so that it is accepted once. */
const sendUntilAccepted = (client: GatewayClient, content: string, sessionId: string) =>
  until(() => send(client, content, sessionId).catch(() => undefined));

const ended = (client: GatewayClient, sent: {sessionId: string; messageId: string}) =>
  until(async () => {
    const record = await client.find(sent.sessionId, sent.messageId).catch(() => undefined);
    return record?.status === 'COMPLETED' && record;
  });

async function kinds(client: GatewayClient, sessionId: string): Promise<string[]> {
  const found: string[] = [];
  for await (const item of followSession(client.store, sessionId, {untilCaughtUp: true}))
    found.push(item.kind === 'event' ? eventKind(item.event) : item.kind);
  return found;
}

/** What was written so far is on the replica too. @param key one that lives on this server. */
async function replicated(url: string, key: string): Promise<void> {
  const admin = new Redis(url);
  try {
    await admin.set(key, '1');
    await admin.del(key);
    expect(await admin.wait(1, 10_000)).toBe(1);
  } finally {
    admin.disconnect();
  }
}

async function startSentinel(port: number): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'by-sentinel-'));
  const own = await freePort();
  const settings = [
    ...[`port ${own}`, 'bind 127.0.0.1', `dir ${dir}`],
    ...[`sentinel monitor mymaster 127.0.0.1 ${port} 1`, 'sentinel down-after-milliseconds mymaster 1000'],
    ...['sentinel failover-timeout mymaster 5000', 'sentinel parallel-syncs mymaster 1'],
  ];
  const file = join(dir, 'sentinel.conf');
  await writeFile(file, settings.join('\n'));
  const child = spawn('redis-server', [file, '--sentinel'], {stdio: 'ignore'});
  acts.push(async () => {
    const gone = new Promise(resolve => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    await rm(dir, {recursive: true, force: true});
  });
  const admin = new Redis({port: own, retryStrategy: () => 50, maxRetriesPerRequest: null});
  admin.on('error', () => undefined);
  acts.push(() => admin.disconnect());
  await until(async () => {
    const replicas: unknown = await admin.call('SENTINEL', 'REPLICAS', 'mymaster').catch(() => []);
    return Array.isArray(replicas) && replicas.length === 1;
  });
  return `127.0.0.1:${own}`;
}

describe('the leader is killed', () => {
  test(
    'and Sentinel names another: what ran ends once, what is sent next arrives',
    {timeout: 120_000},
    async () => {
      const leader = await startRedisServer();
      acts.push(() => leader.stop());
      const replica = await startRedisServer(['--replicaof', `127.0.0.1 ${leader.port}`]);
      acts.push(() => replica.stop());
      const sentinel = await startSentinel(leader.port);
      const {client, release} = await deployment({
        // The host is not used: nothing listens there.
        url: 'redis://127.0.0.1:1/0',
        sentinel: {nodes: ['127.0.0.1:2', sentinel], master: 'mymaster'},
      });
      const slow = await send(client, 'slow', 's-1');
      await until(async () => (await kinds(client, 's-1')).length === 1);
      await replicated(leader.url, 'x');
      await leader.stop();
      const next = await sendUntilAccepted(client, 'next', 's-2');
      release();
      await ended(client, next);
      await ended(client, slow);
      expect(await kinds(client, 's-1')).toEqual(['answer', 'final', 'end']);
      expect(await kinds(client, 's-2')).toEqual(['answer', 'final', 'end']);
    },
  );

  test('and a node of a Cluster takes over its slots: the same', {timeout: 120_000}, async () => {
    const cluster = await startRedisCluster(startRedisServer, {nodeTimeoutMs: 2000});
    acts.push(() => cluster.stop());
    const [first] = cluster.nodes;
    if (first === undefined) throw new Error('no node');
    const replica = await addReplica(cluster);
    acts.push(() => replica.stop());
    const {client, release} = await deployment({url: cluster.nodes[1]?.url ?? '', keySchema: 'v2'});
    // Some of them live on the node that goes.
    const sessions = Array.from({length: 8}, (_, i) => `s-${i}`);
    const slow = await Promise.all(sessions.map(id => send(client, 'slow', id)));
    for (const id of sessions) await until(async () => (await kinds(client, id)).length === 1);
    // The first third of the slots.
    await replicated(first.url, '{s-0}x');
    await first.stop();
    const next = await Promise.all(sessions.map(id => sendUntilAccepted(client, 'next', id)));
    release();
    for (const one of [...slow, ...next]) await ended(client, one);
    for (const id of sessions) {
      const seen = await kinds(client, id);
      expect(seen.filter(kind => kind === 'end')).toHaveLength(2);
      expect(seen.filter(kind => kind === 'answer')).toHaveLength(2);
    }
  });
});

test('without a Sentinel that knows the name the error says so, and names no password', async () => {
  const server = await startRedisServer();
  acts.push(() => server.stop());
  const client = createClient({
    url: 'redis://:secret-password@127.0.0.1:1/0',
    sentinel: {
      nodes: [`127.0.0.1:${server.port}`, '127.0.0.1:2'],
      master: 'mymaster',
      password: 'another-secret',
    },
  });
  acts.push(() => client.close());
  const error: unknown = await client.find('s', 'm').catch((reason: unknown) => reason);
  expect(error).toMatchObject({code: 'REDIS_UNREACHABLE'});
  expect(JSON.stringify(error) + String(error)).not.toMatch(/secret/);
});
