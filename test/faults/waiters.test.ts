/**
 * G9 and G10 in numbers: callers that only read their own result streams, as other SDKs' do, while managers are killed;
 * and thousands of deliveries that wait for one agent type.
 */
import {spawn} from 'node:child_process';
import {resolve} from 'node:path';
import {expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {encodePendingDelivery} from '../../src/protocol/delivery.js';
import {encodeWakeupRequest, readWakeupDecision} from '../../src/protocol/wakeup.js';
import {claimLease, heartbeat} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {TYPE, withStatus, work} from './support.js';

const LEASE_MS = 600;

interface ManagerProcess {
  readonly said: () => readonly string[];
  readonly kill: () => Promise<void>;
}

async function spawnManager(at: TestStore, store: Store): Promise<ManagerProcess> {
  const options = {
    store: {url: at.url('manager'), prefix: store.keys.prefix, keySchema: store.keys.schema},
    manager: {leaseMs: LEASE_MS},
  };
  const child = spawn(
    process.execPath,
    [resolve(import.meta.dirname, 'manager.mjs'), JSON.stringify(options)],
    {stdio: ['ignore', 'pipe', process.env['BY_FAULT_LOG'] === undefined ? 'ignore' : 'inherit']},
  );
  const exit = new Promise<void>(done => child.once('close', () => done()));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  const said = () => text.split('\n').filter(line => line !== '');
  const kill = () => {
    child.kill('SIGKILL');
    return exit;
  };
  at.cleanup(kill);
  await until(() => said().includes('ready') || child.exitCode !== null || child.signalCode !== null);
  return {said, kill};
}

/** What a caller of another SDK does: it asks, and reads nothing but its own result stream. */
async function ask(at: TestStore, store: Store, ids: readonly string[]): Promise<void> {
  const redis = at.redis();
  await Promise.all(
    ids.map(executionId =>
      redis.xadd(
        store.keys.wakeup(),
        '*',
        'data',
        encodeWakeupRequest({
          ...{executionId, targetAgentType: TYPE, sessionId: 's', traceId: 't', messageId: 'm'},
          ...{source: 'client', policy: 'WAKE_AND_WAIT', timeoutMs: 120_000, userCode: '', region: ''},
          ...{priority: 0, metadata: {}, commandPayload: {}},
        }),
      ),
    ),
  );
}

const COUNT = {redis: 1000, embedded: 200, cluster: 300};

describeEachStore('callers that wait for one sleeping agent type', at => {
  test('are all answered, once it is awake, while managers are killed', async () => {
    const store = at.open();
    const redis = at.redis();
    const ids = Array.from({length: COUNT[at.kind]}, (_, i) => `exec-${i}`);
    const managers = await Promise.all([1, 2, 3].map(() => spawnManager(at, store)));
    const client = new GatewayClient(store);
    const request = {agentType: TYPE, content: 'x', policy: 'WAKE_AND_WAIT'} as const;
    const ours = Array.from({length: 20}, () => client.send({...request, availabilityTimeoutMs: 120_000}));
    const wasAsked = () => managers.flatMap(({said}) => said()).some(line => line.startsWith('asked'));
    const killOne = async () => {
      await managers.shift()?.kill();
      managers.push(await spawnManager(at, store));
    };
    // Killed while the requests come in, while one of them leads, and while the decision is given.
    for (let part = 0; part < 4; part++) {
      await ask(
        at,
        store,
        ids.filter((_, i) => i % 4 === part),
      );
      if (part === 1) await until(wasAsked);
      await killOne();
    }
    await killOne();
    await work(at, store, () => 'done');
    await killOne();

    for (const id of ids) {
      const stream = store.keys.wakeupResult(id);
      const last = await until(async () => {
        const [entry] = await redis.xrevrange(stream, '+', '-', 'COUNT', 1);
        const decision = entry && readWakeupDecision(entry[1][1] ?? '');
        return decision !== undefined && decision.status !== 'STARTING' && decision;
      });
      expect(last).toMatchObject({status: 'READY', executionId: id});
      expect(await redis.ttl(stream)).toBeGreaterThan(0);
    }
    for (const sent of await Promise.all(ours)) {
      expect(sent.status).toBe('WAIT_AND_DELIVER');
      await withStatus(store, sent, 'COMPLETED');
    }
    // Everything is settled by whoever is left.
    await until(async () => (await redis.xlen(store.keys.wakeup())) === 0);
  });
});

const PENDING = {redis: 10_000, embedded: 1500, cluster: 1500};

describeEachStore('deliveries that wait for one agent type', at => {
  test('are released in the order of priority and age, none twice and none lost, by two managers', async () => {
    const store = at.open();
    const redis = at.redis();
    const {keys} = store;
    const count = PENDING[at.kind];
    // A sequence that looks random and is the same each time.
    const priorityOf = (i: number) => ((i * 7919) % 11) - 5;
    for (let from = 0; from < count; from += 500) {
      await Promise.all(
        Array.from({length: Math.min(500, count - from)}, (_, at) => {
          const i = from + at;
          const document = encodePendingDelivery({
            ...{executionId: `exec-${i}`, messageId: `m-${i}`, sessionId: `s-${i % 50}`, traceId: 't'},
            ...{targetAgentType: TYPE, deliveryStream: 'somewhere:else', commandPayload: {i}},
            ...{userCode: '', region: '', priority: priorityOf(i), metadata: {}},
          });
          return redis.xadd(keys.deliveryPending(), '*', 'data', document);
        }),
      );
    }
    const provider = {name: 'none', wakeup: () => Promise.reject(new Error('not asked'))};
    for (const managerId of ['manager-1', 'manager-2']) {
      const manager = await startManager(store, {provider, managerId, log: silentLogger});
      at.cleanup(() => manager.stop());
    }
    await until(async () => (await redis.zcard(keys.pendingQueue(TYPE))) === count);
    const lease = {workerId: 'by-hand', token: 'token', ipAddress: '', ttlMs: 25_000};
    await claimLease(store, lease);
    await until(async () => {
      await heartbeat(store, lease, {agentTypes: [TYPE], join: true, nowMs: 1});
      return (await redis.zcard(keys.pendingQueue(TYPE))) === 0;
    });

    const entries = await redis.xrange(keys.ctrlStream(TYPE), '-', '+');
    const order = entries.map(([, fields]) => (JSON.parse(fields[1] ?? '') as {i: number}).i);
    const wanted = Array.from({length: count}, (_, i) => i).sort(
      (a, b) => priorityOf(b) - priorityOf(a) || a - b,
    );
    expect(order).toEqual(wanted);
    expect(await redis.hlen(keys.pendingPayloads(TYPE))).toBe(0);
  });
});
