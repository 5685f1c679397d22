/** What clients and workers notice of a server that restarts, forgets its scripts, or refuses writes: latency. */
import {spawn, type ChildProcess} from 'node:child_process';
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Redis} from 'ioredis';
import {afterEach, describe, expect, test} from 'vitest';
import {createClient, type GatewayClient} from '../../src/client/client.js';
import type {ByError} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import {eventKind} from '../../src/protocol/events.js';
import {followSession} from '../../src/store/data-streams.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {freePort} from '../support/redis-server.js';
import {until} from '../support/stores.js';

const acts: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of acts.splice(0).reverse()) await act();
});

/** A server whose data outlives it. */
async function restartable() {
  const dir = await mkdtemp(join(tmpdir(), 'by-restart-'));
  const port = await freePort();
  let child: ChildProcess | undefined;
  const start = () => {
    const settings = {port, bind: '127.0.0.1', dir, save: '', appendonly: 'yes', appendfsync: 'always'};
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    child = spawn('redis-server', args, {stdio: 'ignore'});
  };
  const kill = async () => {
    const dying = child;
    if (dying === undefined) return;
    const gone = new Promise(resolve => dying.once('exit', resolve));
    dying.kill('SIGKILL');
    await gone;
  };
  start();
  acts.push(async () => {
    await kill();
    await rm(dir, {recursive: true, force: true});
  });
  const admin = new Redis(`redis://127.0.0.1:${port}`, {retryStrategy: () => 50, maxRetriesPerRequest: null});
  admin.on('error', () => undefined);
  acts.push(() => admin.disconnect());
  await admin.ping();
  return {url: `redis://127.0.0.1:${port}/0`, start, kill, admin};
}

async function deployment(url: string) {
  const gate: {open: () => void} = {open: () => undefined};
  const opened = new Promise<void>(resolve => (gate.open = resolve));
  const agent = defineAgent({
    type: 'writer',
    async run(ctx, ask) {
      await ctx.emitChunk('begun ');
      if (ask.text === 'slow') await opened;
      return {content: ask.text};
    },
  });
  const worker = await startWorker({url}, {agents: [agent], log: silentLogger});
  acts.push(() => worker.stop({drainMs: 0}));
  const client = createClient({url});
  acts.push(() => client.close());
  return {client, gate};
}

const send = (client: GatewayClient, content: string) => client.send({agentType: 'writer', content});

const ended = (client: GatewayClient, sent: {sessionId: string; messageId: string}) =>
  until(async () => {
    const record = await client.find(sent.sessionId, sent.messageId);
    return record?.status === 'COMPLETED' && record;
  });

async function kinds(client: GatewayClient, sessionId: string): Promise<string[]> {
  const found: string[] = [];
  for await (const item of followSession(client.store, sessionId, {untilCaughtUp: true}))
    found.push(item.kind === 'event' ? eventKind(item.event) : item.kind);
  return found;
}

describe('a server', () => {
  test('that is killed and started again: what ran ends once, what is sent next arrives', async () => {
    const server = await restartable();
    const {client, gate} = await deployment(server.url);
    const slow = await send(client, 'slow');
    await until(async () => (await kinds(client, slow.sessionId)).length === 1);
    await server.kill();
    server.start();
    gate.open();
    const next = await until(() => send(client, 'next').catch(() => undefined));
    await ended(client, next);
    await ended(client, slow);
    expect(await kinds(client, slow.sessionId)).toEqual(['answer', 'final', 'end']);
    expect(await kinds(client, next.sessionId)).toEqual(['answer', 'final', 'end']);
  });

  test('that is killed and started again: who follows a session misses nothing and reads nothing twice', async () => {
    const server = await restartable();
    const client = createClient({url: server.url});
    acts.push(() => client.close());
    const stream = client.store.keys.sessionDataStream('s');
    const ids: string[] = [];
    const seen: string[] = [];
    const add = async (count: number) => {
      for (let i = 0; i < count; i++)
        ids.push((await server.admin.xadd(stream, '*', 'data', `{"n":${ids.length}}`)) ?? '');
    };
    await add(50);
    const stop = new AbortController();
    const reading = (async () => {
      for await (const item of followSession(client.store, 's', {signal: stop.signal}))
        seen.push(item.kind === 'gap' ? 'gap' : item.id);
    })();
    for (let restart = 0; restart < 2; restart++) {
      await until(() => seen.length === ids.length);
      await server.kill();
      server.start();
      await until(() => server.admin.ping().catch(() => undefined));
      await add(50);
    }
    await until(() => seen.length >= ids.length);
    stop.abort();
    await reading;
    expect(seen).toEqual(ids);
  });

  test('that forgets its scripts again and again is given them anew', async () => {
    const {url, admin} = await restartable();
    const {client} = await deployment(url);
    for (let round = 0; round < 5; round++) {
      await admin.script('FLUSH');
      await Promise.all([1, 2, 3].map(async () => ended(client, await send(client, `round ${round}`))));
    }
  });

  test('that became a replica accepts nothing, and what is sent again when it leads is accepted once', async () => {
    const {url, admin} = await restartable();
    const {client} = await deployment(url);
    await ended(client, await send(client, 'before'));
    await admin.replicaof('127.0.0.1', 1);
    const sent = send(client, 'meanwhile');
    await admin.replicaof('NO', 'ONE');
    await ended(client, await sent);
  });

  test('that is out of memory refuses a send before anything is written, and says so', async () => {
    const {url, admin} = await restartable();
    const {client} = await deployment(url);
    await admin.config('SET', 'maxmemory', '1');
    const request = {agentType: 'writer', content: 'x', sessionId: 's-oom', messageId: 'm-1'};
    await expect(client.send(request)).rejects.toMatchObject({code: 'REDIS_REFUSED', retryable: true});
    // Sends of one moment go to the server as one script: each of them is refused with the same words.
    const together = await Promise.allSettled([1, 2, 3].map(() => send(client, 'x')));
    expect(together.map(one => one.status === 'rejected' && (one.reason as ByError).code)).toEqual([
      ...['REDIS_REFUSED', 'REDIS_REFUSED', 'REDIS_REFUSED'],
    ]);
    expect(await admin.exists(client.store.keys.sessionRegistry('s-oom'))).toBe(0);
    await admin.config('SET', 'maxmemory', '0');
    const sent = await client.send(request);
    expect(sent.duplicate).toBe(false);
    await ended(client, sent);
  });
});
