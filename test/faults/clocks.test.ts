/**
 * T18, G14: clocks that are an hour off, each in its own direction, change nothing: what one process decides about
 * another is decided by Redis's clock. Needs the build.
 */
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {startManager, type ManagerOptions} from '../../src/availability/manager.js';
import {createClient, GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {countedAttempts} from '../../src/protocol/execution.js';
import {listWorkers} from '../../src/registry/listing.js';
import {forgetGoneWorkers} from '../../src/store/gone-workers.js';
import type {Store} from '../../src/store/store.js';
import {runBy} from '../commands/run-by.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {startRedisServer, type RedisServer} from '../support/redis-server.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {deadLetters, eventKinds, recordOf, settled, spawnWorker, TYPE, withStatus, work} from './support.js';

const HOUR = 3_600_000;
const AHEAD = HOUR;
const BEHIND = -HOUR;
const skewed = (skewMs: number) => () => Date.now() + skewMs;
const clientOf = (store: Store, skewMs: number) => new GatewayClient(store, {now: skewed(skewMs)});

async function manage(at: TestStore, store: Store, skewMs: number, options: Partial<ManagerOptions> = {}) {
  const provider = {name: 'none', wakeup: () => Promise.resolve({status: 'STARTING' as const})};
  const manager = await startManager(store, {provider, log: silentLogger, now: skewed(skewMs), ...options});
  at.cleanup(() => manager.stop());
  return manager;
}

/** Whose clock is wrong, and how. */
const skews = [
  {client: AHEAD, first: BEHIND, second: AHEAD},
  {client: BEHIND, first: AHEAD, second: BEHIND},
];
const inWords = (ms: number) => (ms > 0 ? 'ahead' : 'behind');

describeEachStore('clocks an hour off', at => {
  for (const {client, first, second} of skews) {
    const who = `client ${inWords(client)}, workers ${inWords(first)} and ${inWords(second)}`;

    test(`do not keep a dead worker's task from the next one (${who})`, async () => {
      const store = at.open();
      const one = await spawnWorker(at, store, {workerId: 'w-1'}, {skewMs: first});
      const request = {
        ...{agentType: TYPE, content: 'hang-once', messageId: 'msg-1', sessionId: 'sess-1'},
        policy: 'SEND_ANYWAY' as const,
      };
      const sent = await clientOf(store, client).send(request);
      await until(() => one.has('half msg-1'));
      // Whoever repeats the send, whatever the time there: it is the same task.
      const repeated = await clientOf(store, -client).send(request);
      expect([repeated.duplicate, repeated.executionId]).toEqual([true, sent.executionId]);
      one.kill('SIGKILL');
      const two = await spawnWorker(at, store, {workerId: 'w-2'}, {skewMs: second});
      const record = await withStatus(store, sent, 'COMPLETED');
      expect(record.workerId).toBe('w-2');
      expect(countedAttempts(record)).toEqual({crashes: 1, failures: 0});
      expect(two.said.filter(line => line.startsWith('start'))).toEqual(['start msg-1 2']);
      expect((await eventKinds(store, sent.sessionId)).slice(-2)).toEqual(['final', 'end']);
      await settled(at, store);
    });

    test(`do not let one worker rob another that lives (${who})`, async () => {
      const store = at.open();
      const leaseMs = 6000;
      const one = await spawnWorker(at, store, {workerId: 'w-1', leaseMs}, {skewMs: first});
      const sent = await clientOf(store, client).send({agentType: TYPE, content: 'talk-until /nowhere'});
      await until(() => one.has(`start ${sent.messageId} 1`));
      const two = await spawnWorker(at, store, {workerId: 'w-2', leaseMs}, {skewMs: second});
      expect((await listWorkers(store)).map(({state}) => state)).toEqual(['online', 'online']);
      // The first one has said that it lives, and the work was looked at: the lock of the look has come and gone.
      const redis = at.redis();
      const leftMs = () => redis.pttl(store.keys.workerLease('w-1'));
      for (let renewals = 0; renewals < 2; renewals++) {
        let last = Infinity;
        await until(async () => {
          const before = last;
          last = await leftMs();
          return last > before;
        });
      }
      const lock = store.keys.recoveryTurn(store.keys.ctrlStream(TYPE));
      for (let seen = 0; seen < 3; seen++) {
        await until(async () => (await redis.exists(lock)) === 1);
        await until(async () => (await redis.exists(lock)) === 0);
      }
      expect((await recordOf(store, sent)).workerId).toBe('w-1');
      expect(two.said).toEqual(['online']);
      expect(await forgetGoneWorkers(store)).toEqual([]);
    });

    test(`do not make a delivery expire early or late (client ${inWords(client)}, manager ${inWords(first)})`, async () => {
      const store = at.open();
      const sender = clientOf(store, client);
      const manager = await manage(at, store, first, {pendingDeadlineMs: 60_000});
      const sent = await sender.send({agentType: TYPE, content: 'x', policy: 'QUEUE_ONLY'});
      const redis = at.redis();
      await until(async () => (await redis.zcard(store.keys.pendingQueue(TYPE))) === 1);
      const worker = await work(at, store, () => 'done', {now: skewed(second)});
      await withStatus(store, sent, 'COMPLETED');
      await worker.stop();
      await manager.stop();

      await manage(at, store, first, {pendingDeadlineMs: 1});
      const late = await sender.send({agentType: TYPE, content: 'x', policy: 'QUEUE_ONLY'});
      expect((await withStatus(store, late, 'FAILED')).errorCode).toBe('DELIVERY_EXPIRED');
      expect(await deadLetters(at, store)).toHaveLength(1);
    });

    test(`do not cut a wait for a worker short (client ${inWords(client)}, manager ${inWords(first)})`, async () => {
      const store = at.open();
      const provider = {
        name: 'test',
        wakeup: async () => {
          await work(at, store, () => 'done', {now: skewed(second), leaseMs: 10_000});
          return {status: 'READY' as const};
        },
      };
      await manage(at, store, first, {provider});
      const request = {
        agentType: TYPE,
        content: 'x',
        policy: 'WAKE_AND_WAIT' as const,
        availabilityTimeoutMs: 20_000,
      };
      const sent = await clientOf(store, client).send(request);
      await withStatus(store, sent, 'COMPLETED');
    });
  }
});

describe('a machine whose clock is an hour off', () => {
  let server: RedisServer | undefined;
  beforeAll(async () => (server = await startRedisServer()));
  afterAll(() => server?.stop());

  test.each([AHEAD, BEHIND])(
    'shows what is there, and says that the clock is wrong (%d ms)',
    async skewMs => {
      const url = server?.url ?? '';
      const client = createClient({url, now: skewed(-skewMs)});
      const agents = [defineAgent({type: TYPE, run: () => 'done'})];
      const worker = await startWorker({url}, {agents, log: silentLogger, now: skewed(-skewMs)});
      const sent = await client.send({agentType: TYPE, content: 'x'});
      await withStatus(client.store, sent, 'COMPLETED');
      const by = (...args: string[]) => runBy([...args], {env: {BY_REDIS_URL: url}, skewMs});
      const tail = await by('tail', sent.sessionId, '--since', '5m', '--no-follow', '--output', 'jsonl');
      expect(tail.stdout).toMatch(/"final"/);
      const doctor = await by('doctor');
      expect(doctor.stdout).toMatch(/clock.*(35\d\d|36\d\d) s apart/);
      expect(doctor.stdout).toContain('1 online');
      await worker.stop();
      client.close();
    },
  );
});
