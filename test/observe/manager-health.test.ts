/** What a manager says of itself, on every store. */
import {expect, test} from 'vitest';
import {MAX_AT_ONCE, startManager, type ManagerOptions} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {ManagerWatch, type WatchedManager} from '../../src/observe/manager-health.js';
import {openStore, type Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const BEATS = ['wakeups', 'pending', 'releases', 'sweeps'];

/** A watched manager whose clock is in the test's hands. */
async function watched(at: TestStore, store: Store, options: Partial<ManagerOptions> = {}) {
  let now = 0;
  const watch = new ManagerWatch({store, beats: BEATS, full: MAX_AT_ONCE, clock: () => now});
  const manager = await startManager(store, {
    provider: mockProvider({mode: {kind: 'fail'}}),
    log: silentLogger,
    onBeat: beat => watch.beat(beat),
    onWakeup: (request, decision, elapsedMs, told) => watch.wakeup(request, decision, elapsedMs, told),
    onDelivery: (delivery, outcome) => watch.delivery(delivery.targetAgentType, outcome),
    ...options,
  });
  at.cleanup(() => manager.stop());
  return {watch, manager, pass: (ms: number) => (now += ms)};
}

const idle = (underWay = 0): WatchedManager => ({managerId: 'm', underWay});

describeEachStore('the health of a manager', at => {
  test('it is ready once it has started, and until it drains', async () => {
    const {watch, manager} = await watched(at, at.open());
    expect(await watch.ready()).toMatchObject({ok: false, reason: 'starting'});
    watch.watch(manager);
    expect(await watch.ready()).toMatchObject({
      ok: true,
      reason: 'serving',
      facts: {manager_id: manager.managerId, draining: false, under_way: 0},
    });
    watch.drain();
    expect(await watch.ready()).toMatchObject({ok: false, reason: 'draining'});
    expect(watch.alive().ok).toBe(true);
  });

  test('every loop is heard of, and one that is not is named', async () => {
    const heard = new Set<string>();
    const store = at.open();
    const {manager} = await watched(at, store, {onBeat: beat => void heard.add(beat)});
    await until(() => heard.size === BEATS.length);
    await manager.stop();

    let now = 0;
    const watch = new ManagerWatch({store, beats: BEATS, full: 2, clock: () => now});
    watch.watch(idle());
    now = 10_001;
    for (const beat of BEATS.filter(each => each !== 'pending')) watch.beat(beat);
    expect(await watch.ready()).toMatchObject({ok: false, reason: 'not_heard_of_pending'});
    // As much under way as may be: then it reads nothing, and is well.
    watch.watch(idle(2));
    expect(await watch.ready()).toMatchObject({ok: true});
  });

  test('it is deaf, and not alive, once Redis has not answered any loop for a minute', async () => {
    let now = 0;
    const watch = new ManagerWatch({store: at.open(), beats: BEATS, full: 1, clock: () => now});
    watch.beat('sweeps');
    now = 60_000;
    expect(watch.alive()).toMatchObject({ok: true, facts: {last_heard_ms: 60_000}});
    now = 60_001;
    expect(watch.alive()).toMatchObject({ok: false, reason: 'deaf'});
    watch.beat('releases');
    expect(watch.alive().ok).toBe(true);
  });

  test('it is not ready while Redis does not answer', async () => {
    const gone = openStore({url: 'redis://127.0.0.1:1', commandTimeoutMs: 200});
    at.cleanup(() => gone.close());
    const watch = new ManagerWatch({store: gone, beats: BEATS, full: 1});
    watch.watch(idle());
    await expect(watch.ready()).rejects.toMatchObject({code: 'REDIS_UNREACHABLE'});
  });

  test('metrics count what was decided and released, and tell what waits now', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const {watch, manager} = await watched(at, store);
    watch.watch(manager);
    await expect(
      client.send({agentType: 'ocr', content: 'x', policy: 'WAKE_AND_WAIT'}),
    ).rejects.toMatchObject({code: 'AGENT_TYPE_UNAVAILABLE'});
    await client.send({agentType: 'ocr', content: 'x', policy: 'QUEUE_ONLY'});
    const shown = await until(async () => {
      const text = await watch.metrics();
      return text.includes('by_pending_held{agent_type="ocr"} 1') ? text : undefined;
    });
    expect(shown).toContain('by_wakeups_total{agent_type="ocr",decision="FAILED"} 1');
    expect(shown).toContain('by_wakeup_duration_seconds_count{decision="FAILED"} 1');
    expect(shown).toContain('by_wakeup_waiters_told_total{agent_type="ocr",decision="FAILED"} 1');
    expect(shown).toContain('by_pending_workers_online{agent_type="ocr"} 0');
    expect(shown).toMatch(/^by_redis_round_trip_seconds \d/m);
    await until(async () => (await watch.metrics()).includes('\nby_dead_letters 1\n'));
    await manager.stop();

    // Nobody carries this one out.
    const waiting = client
      .send({agentType: 'ocr', content: 'x', policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 3000})
      .catch(() => undefined);
    await until(async () => (await watch.metrics()).includes('by_wakeup_waiters{agent_type="ocr"} 1'));
    await waiting;
  });
});
