/** The fleet in numbers, its history, and what a process counts. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {fleetSnapshot, fleetText} from '../../src/observe/fleet-metrics.js';
import {FrameworkMetrics} from '../../src/observe/framework-metrics.js';
import {HISTORY_WINDOW_MS} from '../../src/protocol/metrics.js';
import {
  dropCollectorLock,
  holdCollectorLock,
  readHistory,
  writeHistoryPoint,
} from '../../src/store/metrics-history.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until} from '../support/stores.js';

describeEachStore('metrics of the fleet', at => {
  test('who is online and what waits, without a walk over the keys', async () => {
    const store = at.open();
    const worker = await startWorker(store, {
      ...{agents: [defineAgent({type: 'writer', run: () => 'done'})], log: silentLogger},
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    const client = new GatewayClient(store);
    for (let i = 0; i < 3; i++) await client.send({agentType: 'nobody', content: 'x', policy: 'QUEUE_ONLY'});
    const snapshot = await fleetSnapshot(store);
    expect(snapshot.totals).toMatchObject({workersOnline: 1, activeExecutions: 0, deadLetters: 0});
    expect(snapshot.totals.queuedExecutions).toBe(3);
    const text = fleetText(snapshot, store.keys);
    expect(text).toContain('by_framework_workers_online 1\n');
    expect(text).toContain('by_framework_agent_workers{agent_type="writer"} 1\n');
    expect(text).toContain(
      'by_framework_stream_depth{queue_type="control_plane",name="delivery_pending"} 3\n',
    );
  });

  test('one worker of several writes the history, and another goes on when it leaves', async () => {
    const store = at.open();
    const start = (workerId: string) =>
      startWorker(store, {
        ...{agents: [defineAgent({type: workerId, run: () => 'done'})], log: silentLogger, workerId},
        metricsHistory: {intervalMs: 1000},
      });
    const holder = () => store.commands.run(redis => redis.get(store.keys.metricsLock()));
    const workers = [await start('w-1')];
    await until(async () => (await holder()) === 'w-1');
    workers.push(await start('w-2'));
    at.cleanup(() => workers[1]?.stop({drainMs: 0}));
    await until(async () => (await readHistory(store, 0)).at(-1)?.workersOnline === 2);
    await workers[0]?.stop({drainMs: 0});
    await until(async () => (await holder()) === 'w-2');
    await until(async () => (await readHistory(store, 0)).at(-1)?.workersOnline === 1);
    expect((await readHistory(store, 0)).every(({generatedAt}) => generatedAt > 0)).toBe(true);
  });

  test('the lock is one worker’s; points older than two hours go, what others wrote is read', async () => {
    const store = at.open();
    expect(await holdCollectorLock(store, 'w-1', 5)).toBe(true);
    expect(await holdCollectorLock(store, 'w-2', 5)).toBe(false);
    expect(await holdCollectorLock(store, 'w-1', 5)).toBe(true);
    await dropCollectorLock(store, 'w-2');
    expect(await holdCollectorLock(store, 'w-2', 5)).toBe(false);
    await writeHistoryPoint(store, {generatedAt: 1000, workersOnline: 7});
    await writeHistoryPoint(store, {generatedAt: 1001 + HISTORY_WINDOW_MS});
    await store.commands.run(redis =>
      redis.zadd(store.keys.metricsHistory(), 2 * HISTORY_WINDOW_MS, 'not json'),
    );
    expect(await readHistory(store, 0)).toMatchObject([
      {generatedAt: 1001 + HISTORY_WINDOW_MS, alertCount: 0},
    ]);
  });

  test('a worker counts its executions, a client how its commands are routed', async () => {
    const store = at.open();
    const metrics = new FrameworkMetrics();
    const agent = defineAgent({
      type: 'writer',
      run: (_ctx, ask) => {
        if (ask.text === 'fail') throw new RangeError('no');
        return 'done';
      },
    });
    const worker = await startWorker(store, {agents: [agent], log: silentLogger, metrics});
    at.cleanup(() => worker.stop({drainMs: 0}));
    const client = new GatewayClient(store, {metrics});
    await client.send({agentType: 'writer', content: 'go'});
    await client.send({agentType: 'writer', content: 'fail'});
    await expect(client.send({agentType: 'nobody', content: 'go'})).rejects.toThrow();
    const text = await until(() => {
      const now = metrics.text();
      return /completed_total\{status="FAILED"/.test(now) && /status="COMPLETED"/.test(now) && now;
    });
    for (const line of [
      'by_framework_executions_started_total{agent_type="writer"} 2',
      'by_framework_executions_completed_total{status="COMPLETED",agent_type="writer"} 1',
      'by_framework_executions_failed_total{agent_type="writer",error_type="RangeError"} 1',
      'by_framework_execution_run_duration_seconds_count{status="FAILED",agent_type="writer"} 1',
      'by_framework_execution_queue_duration_seconds_count{agent_type="writer"} 2',
      'by_framework_availability_routing_ms_count{agent_type="nobody",policy="FAIL_FAST",status="AGENT_TYPE_UNAVAILABLE"} 1',
    ])
      expect(text).toContain(`${line}\n`);
  });
});
