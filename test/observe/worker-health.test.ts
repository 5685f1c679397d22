/** What a process says of its workers' health, on every store. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {WorkersWatch} from '../../src/observe/worker-health.js';
import {evictWorker, resumeWorker, suspendWorker} from '../../src/store/worker-admin.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachServer, describeEachStore, until, type TestStore} from '../support/stores.js';
import {startFaultProxy} from '../support/fault-proxy.js';
import {openStore, type Store} from '../../src/store/store.js';

const agents = [
  defineAgent({
    type: 'ocr',
    run: (_ctx, {text}) => {
      if (text === 'fail') throw new TypeError('no luck');
      return text;
    },
  }),
];

async function watched(at: TestStore, store: Store, {watch = new WorkersWatch(), leaseMs = 3000} = {}) {
  const options = {workerId: 'w-1', agents, log: silentLogger, leaseMs, concurrency: 3};
  const worker = await startWorker(store, {...options, watch: watch.add()});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return {watch, worker};
}

const reasonOf = async (watch: WorkersWatch) => (await watch.ready()).reason;

describeEachStore('the health of a worker', at => {
  test('it is ready once it is online, while an operator lets it, until it ends', async () => {
    const store = at.open();
    const watch = new WorkersWatch();
    expect(await watch.ready()).toMatchObject({ok: false, reason: 'starting', facts: {ready: false}});
    const {worker} = await watched(at, store, {watch});
    const serving = await watch.ready();
    expect(serving).toMatchObject({ok: true, reason: 'serving'});
    expect(serving.facts).toEqual({
      ...{ready: true, worker_id: 'w-1', admin_lifecycle: 'active', consumer_healthy: true},
      uptime_ms: expect.any(Number) as number,
    });
    await suspendWorker(store, 'w-1');
    await until(async () => (await reasonOf(watch)) === 'suspended');
    expect((await watch.ready()).facts).toMatchObject({ready: false, admin_lifecycle: 'suspended'});
    expect(watch.alive().ok).toBe(true);
    await resumeWorker(store, 'w-1');
    await until(async () => (await reasonOf(watch)) === 'serving');
    await evictWorker(store, 'w-1');
    await worker.done;
    expect(await watch.ready()).toMatchObject({ok: false, reason: 'evicted'});
    expect(watch.alive().ok).toBe(true);
  });

  test('it is not ready while it drains, nor once its lease is lost; then it is not alive either', async () => {
    const {watch, worker} = await watched(at, at.open());
    await worker.stop();
    expect(await watch.ready()).toMatchObject({ok: false, reason: 'draining'});
    expect(watch.alive().ok).toBe(true);
    const store = at.open();
    const lost = await watched(at, store, {leaseMs: 500});
    const lease = store.keys.workerLease('w-1');
    await at.redis().set(lease, '{"version":1,"token":"other","last_seen":1}', 'PX', 30_000);
    expect(await lost.worker.done).toBe('lease-lost');
    expect(await lost.watch.ready()).toMatchObject({ok: false, reason: 'lease_lost'});
    expect(lost.watch.alive()).toMatchObject({ok: false, reason: 'lease_lost'});
    at.breaksRules('dead-workers', 'workerCtrlStream');
  });

  test('it counts what it began, and how that ended', async () => {
    const store = at.open();
    const {watch} = await watched(at, store);
    const client = new GatewayClient(store);
    for (const content of ['a', 'b', 'fail']) {
      const sent = await client.send({agentType: 'ocr', content});
      await until(async () =>
        /COMPLETED|FAILED/.test((await client.find(sent.sessionId, sent.messageId))?.status ?? ''),
      );
    }
    const page = await until(async () => {
      const text = await watch.metrics();
      return text.includes('by_framework_executions_failed_total{') && text;
    });
    const lines = page.split('\n');
    for (const line of [
      'by_framework_executions_started_total{agent_type="ocr"} 3',
      'by_framework_executions_completed_total{status="COMPLETED",agent_type="ocr"} 2',
      'by_framework_executions_completed_total{status="FAILED",agent_type="ocr"} 1',
      'by_framework_executions_failed_total{agent_type="ocr",error_type="TypeError"} 1',
      'by_framework_execution_queue_duration_seconds_count{agent_type="ocr"} 3',
      'by_framework_execution_run_duration_seconds_count{status="COMPLETED",agent_type="ocr"} 2',
      'by_framework_execution_total_duration_seconds_count{status="FAILED",agent_type="ocr"} 1',
      'by_worker_slots{worker_id="w-1"} 3',
      'by_worker_ready{worker_id="w-1"} 1',
    ])
      expect(lines).toContain(line);
  });
});

describeEachServer('the health of a worker', at => {
  test('it is not ready while Redis is away, and again once it is back', async () => {
    const proxy = await startFaultProxy(at.url());
    at.cleanup(() => proxy.close());
    const {prefix} = at.open().keys;
    const store = openStore({url: proxy.url, prefix, commandTimeoutMs: 2500});
    at.cleanup(() => store.close());
    const watch = new WorkersWatch();
    const worker = await startWorker(store, {
      ...{workerId: 'w-1', agents, log: silentLogger, leaseMs: 3000, watch: watch.add()},
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    expect(await reasonOf(watch)).toBe('serving');
    proxy.silence();
    await until(async () => (await reasonOf(watch)) === 'redis_unreachable');
    expect(watch.alive().ok).toBe(true);
    proxy.heal();
    await until(async () => (await reasonOf(watch)) === 'serving');
  });
});

test('of several workers all must be ready, and each is named; one that looks for nothing is stalled', async () => {
  let now = 0;
  const watch = new WorkersWatch(2, undefined, () => now);
  const first = watch.add();
  first.online({workerId: 'a', slots: 1, running: () => 0});
  expect(await reasonOf(watch)).toBe('starting');
  const second = watch.add();
  expect(await reasonOf(watch)).toBe('starting');
  second.online({workerId: 'b', slots: 1, running: () => 1});
  expect(await watch.ready()).toMatchObject({
    facts: {
      workers: [
        {worker_id: 'a', reason: 'serving'},
        {worker_id: 'b', reason: 'serving'},
      ],
    },
  });
  now = 60_001;
  // The second has every slot taken: that is busy.
  expect(await watch.ready()).toMatchObject({
    ...{ok: false, reason: 'consumer_stalled'},
    facts: {worker_id: 'a', consumer_healthy: false},
  });
  first.looked();
  expect(await reasonOf(watch)).toBe('serving');
  second.unheard();
  expect(await watch.ready()).toMatchObject({reason: 'redis_unreachable', facts: {worker_id: 'b'}});
  second.heartbeat('active');
  watch.drain();
  expect(await watch.ready()).toMatchObject({reason: 'draining', facts: {ready: false}});
});
