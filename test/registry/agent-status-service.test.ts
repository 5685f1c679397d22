import {describe, expect, test} from 'vitest';
import {ByError} from '../../src/errors.js';
import {createStatusKeys} from '../../src/protocol/orchestration/status-keys.js';
import {AgentStatusError} from '../../src/registry/agent-status.js';
import {AgentStatusService, type AgentStatusOptions} from '../../src/registry/agent-status-service.js';
import {exhaustedWorkers} from '../../src/store/routable.js';
import {serverTimeMs, type Store} from '../../src/store/store.js';
import {ago, FOREIGN_RULES, foreignWorker} from '../support/status.js';
import {describeEachStore, type TestStore} from '../support/stores.js';

const HOUR = 3_600_000;
const W = 'res-1';
const agentTypes = ['researcher'];

function open(harness: TestStore, options?: AgentStatusOptions) {
  const store = harness.open();
  const service = new AgentStatusService(store, options);
  const redisNow = async () => Math.floor(await serverTimeMs(store));
  const statusOf = async (workerId = W) => (await service.get(workerId))?.status;
  const marked = async (type = 'researcher') => [...(await exhaustedWorkers(store, type)).keys()].sort();
  return {store, service, redisNow, statusOf, marked, keys: createStatusKeys(store.keys.prefix)};
}

const codeOf = async (act: Promise<unknown>): Promise<string> => {
  try {
    await act;
  } catch (error) {
    if (error instanceof ByError) return error.code;
    throw error;
  }
  return 'nothing was thrown';
};

async function foreignFailure(
  store: Store,
  workerId: string,
  failure: {executionId: string; errorCode: string; finishedAt: number; message?: string},
): Promise<void> {
  const {keys} = store;
  const snapshot = {
    ...{execution_id: failure.executionId, status: 'FAILED', target_agent_type: 'researcher'},
    ...{error_code: failure.errorCode, error_message: failure.message ?? '', finished_at: failure.finishedAt},
  };
  await store.commands.run(async redis => {
    await redis.zadd(keys.workerExecutions(workerId), failure.finishedAt, failure.executionId);
    await redis.hset(keys.workerHistorySnapshots(workerId), failure.executionId, JSON.stringify(snapshot));
  });
}

describeEachStore('AgentStatusService', harness => {
  describe('a worker that says how it is', () => {
    test('is idle with its first heartbeat, and busy while it has work', async () => {
      const {service, statusOf, redisNow} = open(harness);
      expect(await statusOf()).toBeUndefined();
      const before = await redisNow();
      await service.heartbeat(W, {agentTypes, slotsUsed: 0, slotsMax: 50});
      const idle = await service.get(W);
      expect(idle).toMatchObject({status: 'idle', slotsMax: 50, origin: 'native', version: 1, agentTypes});
      expect(idle!.lastHeartbeatAt).toBeGreaterThanOrEqual(before);

      await service.heartbeat(W, {agentTypes, slotsUsed: 3, firstSlotType: 'on_call'});
      expect(await service.get(W)).toMatchObject({status: 'on_call', slotsUsed: 3, version: 2});
      await service.heartbeat(W, {agentTypes, slotsUsed: 0});
      expect(await service.get(W)).toMatchObject({status: 'idle', slotsUsed: 0, firstSlotType: null});
    });

    test('says good-bye, and is offline at once', async () => {
      const {service, statusOf} = open(harness);
      await service.heartbeat(W, {agentTypes, slotsUsed: 1});
      await service.leave(W);
      expect(await service.get(W)).toMatchObject({status: 'offline', slotsUsed: 0});
      await service.heartbeat(W, {agentTypes});
      expect(await statusOf()).toBe('idle');
    });

    test('is decided about only as it was read, where a version is given', async () => {
      const {service} = open(harness);
      const {record} = await service.heartbeat(W, {agentTypes});
      await service.heartbeat(W, {agentTypes});
      const stale = {version: record!.version};
      expect(await codeOf(service.exhaust(W, {reason: 'billing'}, stale))).toBe('VERSION_CONFLICT');
      expect(await service.get(W)).toMatchObject({status: 'idle', version: 2});
      await service.exhaust(W, {reason: 'billing'}, {version: 2});
      expect(await service.get(W)).toMatchObject({status: 'exhausted', version: 3});
    });
  });

  describe('H1: a worker that was away', () => {
    test('is exhausted again, until the same time', async () => {
      const {service, redisNow, marked} = open(harness);
      await service.heartbeat(W, {agentTypes});
      const recoveryAt = (await redisNow()) + HOUR;
      await service.exhaust(W, {reason: 'rate_limit', recoveryAt});
      await ago(service.store, W, {heartbeat: 121_000});
      expect((await service.sweep()).offline).toEqual([W]);
      expect(await service.get(W)).toMatchObject({status: 'offline', recoveryAt});
      expect(await marked()).toEqual([]);

      await service.heartbeat(W, {agentTypes});
      expect(await service.get(W)).toMatchObject({
        ...{status: 'exhausted', exhaustReason: 'rate_limit', recoveryAt},
      });
      expect(await marked()).toEqual([W]);
    });

    test('is idle if its time has come meanwhile', async () => {
      const {service, statusOf} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: HOUR});
      await service.leave(W);
      await ago(service.store, W, {recovery: 1});
      await service.heartbeat(W, {agentTypes});
      expect(await statusOf()).toBe('idle');
    });

    test('forgets it where that is switched off', async () => {
      const {service, statusOf} = open(harness, {reexhaustOnReconnect: false});
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: HOUR});
      await service.leave(W);
      await service.heartbeat(W, {agentTypes});
      expect(await statusOf()).toBe('idle');
    });

    test('is exhausted from its first heartbeat, if its record is lost and the ledger is not', async () => {
      const {service, statusOf, store, keys} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'billing', recoveryInMs: HOUR});
      await store.commands.run(redis => redis.del(keys.agentStatus(W)));
      await service.heartbeat(W, {agentTypes});
      expect(await statusOf()).toBe('exhausted');
    });
  });

  describe('H2: recovery', () => {
    test('by the sweep is no sign of life', async () => {
      const {service, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: HOUR});
      await ago(service.store, W, {heartbeat: 100_000, recovery: 1});
      expect(await service.sweep()).toMatchObject({offline: [], recovered: [W]});
      const record = await service.get(W);
      expect(record).toMatchObject({status: 'idle', recoveryAt: null, exhaustReason: null});
      expect((await redisNow()) - record!.lastHeartbeatAt!).toBeGreaterThanOrEqual(100_000);
    });

    test('comes after the timeout: who is dead does not recover', async () => {
      const {service, statusOf} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: HOUR});
      await ago(service.store, W, {heartbeat: 120_500, recovery: 1});
      expect(await service.sweep()).toMatchObject({offline: [W], recovered: []});
      expect(await statusOf()).toBe('offline');
    });

    test('comes not before its time', async () => {
      const {service, statusOf, marked} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: HOUR});
      expect(await service.sweep()).toMatchObject({offline: [], recovered: []});
      expect(await statusOf()).toBe('exhausted');
      expect(await marked()).toEqual([W]);
    });

    test('comes by the worker itself, with its heartbeat', async () => {
      const {service, marked} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: HOUR});
      await ago(service.store, W, {recovery: 0});
      await service.heartbeat(W, {agentTypes, slotsUsed: 2});
      expect(await service.get(W)).toMatchObject({status: 'busy', recoveryAt: null});
      expect(await marked()).toEqual([]);
    });

    test('by an operator closes the ledger, and says who and why', async () => {
      const {service, statusOf, marked} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'billing', by: 'maria', note: 'card'});
      await service.recover(W, {by: 'maria', note: 'paid'});
      expect(await statusOf()).toBe('idle');
      expect(await marked()).toEqual([]);
      expect(await service.ledger(W)).toBeUndefined();
      const notes = await service.notes();
      expect(notes.find(({kind}) => kind === 'recovered')).toMatchObject({
        ...{workerId: W, fields: {by: 'maria', note: 'paid'}},
      });
      // It stays ended when the worker comes back.
      await service.leave(W);
      await service.heartbeat(W, {agentTypes});
      expect(await statusOf()).toBe('idle');
    });

    test('of what is not exhausted is refused', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes});
      const by = {by: 'maria', note: 'x'};
      await expect(service.recover(W, by)).rejects.toBeInstanceOf(AgentStatusError);
      expect(await codeOf(service.recover('nobody', by))).toBe('NOT_FOUND');
      expect(await codeOf(service.exhaust('nobody', {reason: 'billing'}))).toBe('NOT_FOUND');
    });
  });

  describe('H3: slots', () => {
    test('the first makes it busy, the last lets it rest', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes, slotsMax: 50});
      expect(await service.takeSlot(W)).toMatchObject({status: 'busy', slotsUsed: 1});
      expect(await service.takeSlot(W, {slotType: 'on_call'})).toMatchObject({status: 'busy', slotsUsed: 2});
      expect(await service.releaseSlot(W)).toMatchObject({status: 'busy', slotsUsed: 1});
      expect(await service.releaseSlot(W)).toMatchObject({status: 'idle', slotsUsed: 0});
    });

    test('an on-call one puts it on call', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes});
      expect(await service.takeSlot(W, {slotType: 'on_call'})).toMatchObject({
        ...{status: 'on_call', firstSlotType: 'on_call'},
      });
    });

    test('one too many that is given back is noted, and counts nothing', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes});
      expect(await service.releaseSlot(W)).toMatchObject({status: 'idle', slotsUsed: 0});
      const [note] = await service.notes(1);
      expect(note).toMatchObject({kind: 'anomaly', fields: {what: 'nothing_to_release'}});
    });

    test('twenty that are taken and given back at once are counted right', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await Promise.all(Array.from({length: 20}, () => service.takeSlot(W)));
      expect(await service.get(W)).toMatchObject({status: 'busy', slotsUsed: 20});
      await Promise.all(Array.from({length: 20}, () => service.releaseSlot(W)));
      expect(await service.get(W)).toMatchObject({status: 'idle', slotsUsed: 0});
    });
  });

  describe('H4: work begun by one that may not', () => {
    test('is refused where it is asked for first', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit'});
      await expect(service.takeSlot(W)).rejects.toMatchObject({
        ...{code: 'STATUS_TRANSITION_INVALID', actual: 'exhausted', expected: ['idle', 'busy', 'on_call']},
      });
      expect(await service.get(W)).toMatchObject({status: 'exhausted', slotsUsed: 0});
    });

    test.each(['exhausted', 'offline'])('is counted and noted where it was only seen: %s', async status => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await (status === 'offline' ? service.leave(W) : service.exhaust(W, {reason: 'rate_limit'}));
      await service.takeSlot(W, {observed: true});
      expect(await service.get(W)).toMatchObject({status, slotsUsed: 1});
      const [note] = await service.notes(1);
      expect(note).toMatchObject({kind: 'anomaly', fields: {what: 'work_begun', status, slots_used: '1'}});
    });
  });

  describe('H5: an exhaustion said twice', () => {
    test('lasts as long as the longest that was said', async () => {
      const {service, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      const now = await redisNow();
      await service.exhaust(W, {reason: 'rate_limit', recoveryAt: now + 2 * HOUR});
      await service.exhaust(W, {reason: 'rate_limit', recoveryAt: now + HOUR});
      expect((await service.get(W))!.recoveryAt).toBe(now + 2 * HOUR);
      await service.exhaust(W, {reason: 'billing', recoveryAt: now + 3 * HOUR});
      expect(await service.get(W)).toMatchObject({recoveryAt: now + 3 * HOUR, exhaustReason: 'billing'});
    });

    test('is made neither shorter nor longer by one that says no end', async () => {
      const {service, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      const now = await redisNow();
      for (const recoveryAt of [now + HOUR, now + 9 * HOUR]) {
        await service.exhaust(W, {reason: 'rate_limit', recoveryAt});
        await service.exhaust(W, {reason: 'rate_limit'});
        expect((await service.get(W))!.recoveryAt).toBe(recoveryAt);
        expect(await service.ledger(W)).toMatchObject({recoveryAt, explicit: true});
      }
    });

    test('replaces a default by what is said', async () => {
      const {service, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit'});
      const inFive = (await service.get(W))!.recoveryAt! - (await redisNow());
      expect(inFive).toBeGreaterThan(4.9 * HOUR);
      expect(inFive).toBeLessThanOrEqual(5 * HOUR);
      const recoveryAt = (await redisNow()) + HOUR;
      await service.exhaust(W, {reason: 'rate_limit', recoveryAt});
      expect((await service.get(W))!.recoveryAt).toBe(recoveryAt);
    });

    test('twenty at once end at the longest', async () => {
      const {service, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      const now = await redisNow();
      await Promise.all(
        Array.from({length: 20}, (_, i) =>
          service.exhaust(W, {reason: 'rate_limit', recoveryAt: now + ((i * 7) % 20) * 60_000 + HOUR}),
        ),
      );
      expect((await service.get(W))!.recoveryAt).toBe(now + 19 * 60_000 + HOUR);
    });
  });

  describe('H6: work of an exhausted worker', () => {
    test.each(['due', 'recover'])('is still its own after %s', async how => {
      const {service, statusOf} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.takeSlot(W, {slotType: 'on_call'});
      await service.takeSlot(W);
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: HOUR});
      expect(await service.get(W)).toMatchObject({status: 'exhausted', slotsUsed: 2});
      if (how === 'due') {
        await ago(service.store, W, {recovery: 0});
        await service.sweep();
      } else await service.recover(W, {by: 'maria', note: 'x'});
      expect(await service.get(W)).toMatchObject({status: 'on_call', slotsUsed: 2, recoveryAt: null});
      await service.releaseSlot(W);
      await service.releaseSlot(W);
      expect(await statusOf()).toBe('idle');
    });

    test('that ends meanwhile leaves it exhausted', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.takeSlot(W);
      await service.exhaust(W, {reason: 'rate_limit'});
      expect(await service.releaseSlot(W)).toMatchObject({status: 'exhausted', slotsUsed: 0});
    });
  });

  describe('exhausted', () => {
    test('an offline worker stays offline, so that the outage is seen', async () => {
      const {service, statusOf, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.leave(W);
      await service.exhaust(W, {reason: 'billing', recoveryAt: (await redisNow()) + HOUR});
      expect(await statusOf()).toBe('offline');
      await service.heartbeat(W, {agentTypes});
      expect(await statusOf()).toBe('exhausted');
    });

    test('a part of it leaves the worker as it is', async () => {
      const {service, statusOf, marked} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', scope: 'openai/gpt-6', recoveryInMs: HOUR});
      expect(await statusOf()).toBe('idle');
      expect(await marked()).toEqual([]);
      expect(await service.ledger(W, 'openai/gpt-6')).toMatchObject({reason: 'rate_limit'});
      expect(await service.ledger(W)).toBeUndefined();
      await service.recover(W, {scope: 'openai/gpt-6', by: 'maria', note: 'x'});
      expect(await service.ledger(W, 'openai/gpt-6')).toBeUndefined();
    });

    test('headers say until when, by the clock of Redis', async () => {
      const {service, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      const before = await redisNow();
      await service.exhaust(W, {reason: 'rate_limit', headers: {'retry-after': '90'}});
      const {recoveryAt} = (await service.get(W))!;
      expect(recoveryAt).toBeGreaterThanOrEqual(before + 90_000);
      expect(recoveryAt).toBeLessThanOrEqual((await redisNow()) + 90_000);
      expect(await service.ledger(W)).toMatchObject({source: 'header', explicit: true});
    });

    test('what is too short or too long is not believed, and that is noted', async () => {
      const {service, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: 30 * 24 * HOUR});
      expect((await service.get(W))!.recoveryAt! - (await redisNow())).toBeLessThanOrEqual(7 * 24 * HOUR);
      expect((await service.notes()).map(({kind}) => kind)).toContain('clamped');
    });

    test('routers hear of it under each agent type, as long as it is so', async () => {
      const {service, marked} = open(harness);
      await service.heartbeat(W, {agentTypes: ['researcher', 'writer']});
      await service.heartbeat('res-2', {agentTypes});
      await service.exhaust(W, {reason: 'rate_limit', recoveryInMs: HOUR});
      await service.exhaust('res-2', {reason: 'rate_limit', recoveryInMs: 2 * HOUR});
      expect([await marked(), await marked('writer')]).toEqual([[W, 'res-2'], [W]]);
      // It serves another type now.
      await service.heartbeat(W, {agentTypes: ['writer']});
      expect([await marked(), await marked('writer')]).toEqual([['res-2'], [W]]);
      await service.leave(W);
      expect(await marked('writer')).toEqual([]);
    });
  });

  describe('silence', () => {
    test('of exactly 120 s is none', async () => {
      const {service, statusOf} = open(harness);
      await service.heartbeat(W, {agentTypes});
      // Time passes between the two looks at the clock.
      await ago(service.store, W, {heartbeat: 100_000});
      expect((await service.sweep()).offline).toEqual([]);
      await ago(service.store, W, {heartbeat: 120_001});
      expect((await service.sweep()).offline).toEqual([W]);
      expect(await statusOf()).toBe('offline');
    });

    test('that ended a moment ago is looked at again by the script', async () => {
      const {service, statusOf, store, keys, redisNow} = open(harness);
      await service.heartbeat(W, {agentTypes});
      // What the sweep was told is old: the record knows better.
      const old = (await redisNow()) - 500_000;
      await store.commands.run(redis => redis.zadd(keys.statusHeartbeats(), old, W));
      expect((await service.sweep()).offline).toEqual([]);
      expect(await statusOf()).toBe('idle');
    });

    test('is found once by twenty sweeps at once', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes});
      await ago(service.store, W, {heartbeat: 130_000});
      const reports = await Promise.all(Array.from({length: 20}, () => service.sweep({observe: false})));
      expect(reports.flatMap(({offline}) => offline)).toEqual([W]);
    });
  });

  describe('a foreign worker', () => {
    test('has the status that its lease and its counters say', async () => {
      harness.breaksRules(...FOREIGN_RULES);
      const {service, store, redisNow} = open(harness);
      const lastSeen = (await redisNow()) - 2000;
      await foreignWorker(store, 'py-1', {lastSeen, active: 2});
      expect(await service.sweep()).toMatchObject({observed: 1});
      expect(await service.get('py-1')).toMatchObject({
        ...{status: 'busy', origin: 'derived', slotsUsed: 2, slotsMax: null, lastHeartbeatAt: lastSeen},
      });
    });

    test('whose clock is wrong is alive while it has a lease', async () => {
      harness.breaksRules(...FOREIGN_RULES);
      const {service, store, redisNow, statusOf} = open(harness);
      await foreignWorker(store, 'py-1', {lastSeen: (await redisNow()) - 600_000});
      await foreignWorker(store, 'py-2', {lastSeen: (await redisNow()) + 600_000});
      await service.sweep();
      expect([await statusOf('py-1'), await statusOf('py-2')]).toEqual(['idle', 'idle']);
      expect((await service.get('py-2'))!.lastHeartbeatAt).toBeLessThanOrEqual(await redisNow());
    });

    test('ages once its lease is gone', async () => {
      harness.breaksRules('dead-workers');
      const {service, store, redisNow, statusOf} = open(harness);
      await foreignWorker(store, 'py-1', {lastSeen: await redisNow()});
      await service.sweep();
      await store.commands.run(redis => redis.del(store.keys.workerLease('py-1')));
      await service.sweep();
      expect(await statusOf('py-1')).toBe('idle');
      expect((await service.list())[0]).toMatchObject({status: 'idle', stale: true, routable: false});
      await ago(store, 'py-1', {heartbeat: 121_000});
      await service.sweep();
      expect(await statusOf('py-1')).toBe('offline');
    });

    test('does not speak for one of ours that uses its id', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes, slotsUsed: 1});
      const {verdict} = await service.heartbeat(W, {agentTypes, origin: 'derived', slotsUsed: 0});
      expect(verdict).toBe('kept');
      expect(await service.get(W)).toMatchObject({status: 'busy', origin: 'native'});
    });

    test('is exhausted by the code of a failed execution, once', async () => {
      harness.breaksRules(...FOREIGN_RULES);
      const {service, store, redisNow, statusOf, marked} = open(harness);
      const now = await redisNow();
      await foreignWorker(store, 'py-1', {lastSeen: now});
      await foreignFailure(store, 'py-1', {
        executionId: 'e-1',
        errorCode: 'insufficient_quota',
        finishedAt: now,
      });
      expect((await service.sweep()).exhausted).toEqual(['py-1']);
      expect(await service.get('py-1')).toMatchObject({status: 'exhausted', exhaustReason: 'billing'});
      expect(await service.ledger('py-1')).toMatchObject({source: 'error_code', explicit: false});
      expect(await marked()).toEqual(['py-1']);
      // What an operator ended does not come back by the same failure.
      await service.recover('py-1', {by: 'maria', note: 'paid'});
      expect((await service.sweep()).exhausted).toEqual([]);
      expect(await statusOf('py-1')).toBe('idle');
    });

    test.each([
      {what: 'whose code is none of those', errorCode: 'TIMEOUT', message: 'RATE_LIMIT', ageMs: 0},
      {what: 'that failed long ago', errorCode: 'RATE_LIMIT', message: '', ageMs: HOUR},
    ])('is not exhausted by a failure $what', async ({errorCode, message, ageMs}) => {
      harness.breaksRules(...FOREIGN_RULES);
      const {service, store, redisNow} = open(harness);
      const now = await redisNow();
      await foreignWorker(store, 'py-1', {lastSeen: now});
      const failure = {executionId: 'e-1', errorCode, message, finishedAt: now - ageMs};
      await foreignFailure(store, 'py-1', failure);
      expect((await service.sweep()).exhausted).toEqual([]);
    });

    test('whose failure is seen by twenty at once is exhausted by one of them', async () => {
      const {service} = open(harness);
      await service.heartbeat(W, {agentTypes, origin: 'derived'});
      const failure = {workerId: W, agentType: 'researcher', executionId: 'e-1', errorCode: 429};
      const hits = await Promise.all(Array.from({length: 20}, () => service.observeFailure(failure)));
      expect(hits.filter(Boolean)).toHaveLength(1);
      expect((await service.notes()).filter(({kind}) => kind === 'exhausted')).toHaveLength(1);
    });

    test('of which nothing is known yet has its failure counted later', async () => {
      const {service, statusOf} = open(harness);
      const failure = {workerId: W, agentType: 'researcher', executionId: 'e-1', errorCode: '402'};
      expect(await service.observeFailure(failure)).toBe(false);
      await service.heartbeat(W, {agentTypes, origin: 'derived'});
      expect(await service.observeFailure(failure)).toBe(true);
      expect(await statusOf()).toBe('exhausted');
    });

    test('is not exhausted by any failure where that is switched off', async () => {
      const {service} = open(harness, {deriveExhausted: type => type !== 'researcher'});
      await service.heartbeat(W, {agentTypes, origin: 'derived'});
      const failure = {workerId: W, executionId: 'e-1', errorCode: 'RATE_LIMIT'};
      expect(await service.observeFailure({...failure, agentType: 'researcher'})).toBe(false);
      expect(await service.observeFailure({...failure, agentType: 'writer'})).toBe(true);
    });
  });

  test('an agent type in numbers', async () => {
    harness.breaksRules(...FOREIGN_RULES);
    const {service, store, redisNow} = open(harness);
    const now = await redisNow();
    for (const id of ['a', 'b', 'c', 'd']) await foreignWorker(store, id, {lastSeen: now});
    await service.heartbeat('a', {agentTypes, slotsUsed: 0, slotsMax: 50});
    await service.heartbeat('b', {agentTypes, slotsUsed: 49, slotsMax: 50});
    await service.heartbeat('c', {agentTypes, slotsUsed: 4, slotsMax: 4});
    await service.heartbeat('d', {agentTypes, slotsUsed: 0, slotsMax: 50});
    await service.exhaust('d', {reason: 'billing', recoveryAt: now + HOUR});
    await service.heartbeat('e', {agentTypes, slotsMax: 10});
    expect(await service.aggregate('researcher')).toMatchObject({
      counts: {idle: 2, busy: 2, on_call: 0, exhausted: 1, offline: 0},
      stale: 1,
      freeSlots: 51,
      routable: true,
      earliestRecoveryAt: now + HOUR,
    });
    expect(await service.aggregate('writer')).toMatchObject({routable: false, freeSlots: 0});
  });

  test('whoever watches hears of changes in order', async () => {
    const {service} = open(harness);
    await service.heartbeat(W, {agentTypes});
    const [{id} = {id: ''}] = await service.notes(1);
    const over = new AbortController();
    const heard: string[] = [];
    const watching = (async () => {
      for await (const {from, to} of service.watch(over.signal, id)) {
        heard.push(`${from ?? ''}>${to}`);
        if (heard.length === 3) over.abort();
      }
    })();
    await service.takeSlot(W);
    await service.exhaust(W, {reason: 'rate_limit'});
    await service.recover(W, {by: 'maria', note: 'x'});
    await watching;
    expect(heard).toEqual(['idle>busy', 'busy>exhausted', 'exhausted>busy']);
  });
});
