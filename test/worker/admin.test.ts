/** What operators decide about workers, and what workers make of it. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {adminHeader} from '../../src/protocol/admin.js';
import {encodeCommand} from '../../src/protocol/commands.js';
import {countedAttempts, pastAttempts} from '../../src/protocol/execution.js';
import {claimLease, heartbeat, onlineMembers, workerFacts, type Lease} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {
  agentTypesWithDenied,
  allowAgentType,
  deniedWorkers,
  denyAgentType,
  evictWorker,
  hasEnded,
  isKnownWorker,
  isSettled,
  managedWorkers,
  rejoinWorker,
  resumeWorker,
  sdkOf,
  suspendWorker,
  type AdminOutcome,
} from '../../src/store/worker-admin.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../src/worker/runner.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

/** Answers when it is let go, and notes what became of it. */
function slow() {
  const seen = {begun: [] as string[], aborted: [] as string[], emitted: [] as string[]};
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>(resolve => (letGo = resolve));
  const agent = defineAgent({
    type: 'slow',
    run: async (ctx, ask) => {
      seen.begun.push(ask.text);
      ctx.signal.addEventListener('abort', () => seen.aborted.push(ask.text));
      await gate;
      await ctx.emitChunk(ask.text).then(
        () => seen.emitted.push('kept'),
        () => seen.emitted.push('refused'),
      );
      return ask.text;
    },
  });
  return {agent, seen, letGo: () => letGo()};
}

async function work(
  at: TestStore,
  store: Store,
  agents: readonly Agent[],
  options: Partial<WorkerOptions> = {},
): Promise<WorkerHandle> {
  const worker = await startWorker(store, {agents, workerId: 'w-1', log: silentLogger, ...options});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

const send = (store: Store, content: string, agentType = 'slow') =>
  new GatewayClient(store).send({agentType, content, policy: 'SEND_ANYWAY'});

const statusOf = async (store: Store, sent: {sessionId: string; messageId: string}) =>
  (await new GatewayClient(store).find(sent.sessionId, sent.messageId))?.status;

const done = (store: Store, {workerId, entryId}: AdminOutcome) =>
  until(() => isSettled(store, store.keys.workerCtrlStream(workerId), entryId));

const lifecycleOf = async (store: Store, workerId = 'w-1') =>
  (await workerFacts(store, [workerId]))[0]?.lifecycle;

describeEachStore('a worker an operator', at => {
  test('suspends takes nothing new, and finishes what it runs; resumed it takes what came meanwhile', async () => {
    const store = at.open();
    const {agent, seen, letGo} = slow();
    await work(at, store, [agent]);
    const first = await send(store, 'first');
    await until(() => seen.begun.length === 1);

    const suspended = await suspendWorker(store, 'w-1', {reason: 'maintenance'});
    expect(suspended).toMatchObject({
      ...{changed: true, before: 'active', lifecycle: 'suspended', online: true},
    });
    expect((await onlineMembers(store, 'slow')).online).toBe(false);
    await done(store, suspended);
    const second = await send(store, 'second');
    const refused = new GatewayClient(store).send({agentType: 'slow', content: 'x'});
    await expect(refused).rejects.toMatchObject({code: 'AGENT_TYPE_UNAVAILABLE'});
    letGo();
    await until(async () => (await statusOf(store, first)) === 'COMPLETED');
    expect(await statusOf(store, second)).toBe('QUEUED');
    expect((await workerFacts(store, ['w-1']))[0]).toMatchObject({online: true, reason: 'maintenance'});

    const resumed = await resumeWorker(store, 'w-1');
    expect(resumed).toMatchObject({changed: true, before: 'suspended', lifecycle: 'active'});
    expect((await onlineMembers(store, 'slow')).workerIds).toEqual(['w-1']);
    await until(async () => (await statusOf(store, second)) === 'COMPLETED');
    expect(seen.aborted).toEqual([]);
  });

  test('evicts finishes what it runs, ends, and can not start again until it is let in', async () => {
    const store = at.open();
    const {agent, seen, letGo} = slow();
    const worker = await work(at, store, [agent]);
    const sent = await send(store, 'last');
    await until(() => seen.begun.length === 1);
    const {token} = await evictWorker(store, 'w-1', {reason: 'bad node'});
    await until(async () => (await onlineMembers(store, 'slow')).workerIds.length === 0);
    expect(await hasEnded(store, 'w-1', token)).toBe(false);
    letGo();
    expect(await worker.done).toBe('evicted');
    expect(await statusOf(store, sent)).toBe('COMPLETED');
    expect(await hasEnded(store, 'w-1', token)).toBe(true);
    expect(await managedWorkers(store)).toEqual(['w-1']);

    await expect(work(at, store, [agent])).rejects.toMatchObject({code: 'CONFLICT'});
    expect(await rejoinWorker(store, 'w-1')).toMatchObject({changed: true, before: 'evicted', entryId: ''});
    await work(at, store, [agent]);
    expect((await onlineMembers(store, 'slow')).workerIds).toEqual(['w-1']);
  });

  test('evicts by force is aborted at once: others take its work, and what it still writes is refused', async () => {
    const store = at.open();
    const {agent, seen, letGo} = slow();
    const worker = await work(at, store, [agent]);
    const sent = await send(store, 'taken');
    await until(() => seen.begun.length === 1);
    await evictWorker(store, 'w-1', {force: true});
    expect(await worker.done).toBe('evicted');
    expect(seen.aborted).toEqual(['taken']);
    await work(at, store, [defineAgent({type: 'slow', run: () => 'by another'})], {workerId: 'w-2'});
    const record = await until(async () => {
      const found = await new GatewayClient(store).find(sent.sessionId, sent.messageId);
      return found?.status === 'COMPLETED' && found;
    });
    expect(record.workerId).toBe('w-2');
    expect(pastAttempts(record).map(({ended}) => ended)).toEqual(['handed_back']);
    expect(countedAttempts(record)).toEqual({crashes: 0, failures: 0});
    letGo();
    await until(() => seen.emitted.length === 1);
    expect(seen.emitted).toEqual(['refused']);
  });

  test('evicts by force while it already ends does not wait any longer', async () => {
    const store = at.open();
    const {agent, seen, letGo} = slow();
    const worker = await work(at, store, [agent], {drainMs: 600_000, leaseMs: 1000});
    await send(store, 'hangs');
    await until(() => seen.begun.length === 1);
    await evictWorker(store, 'w-1');
    // It leaves the agent type first.
    await until(async () => (await onlineMembers(store, 'slow')).workerIds.length === 0);
    await evictWorker(store, 'w-1', {force: true});
    expect(await worker.done).toBe('evicted');
    expect(seen.aborted).toEqual(['hangs']);
    letGo();
  });

  test('of another SDK evicts by force, by a command alone, is aborted too; a forced one of ours is forgotten', async () => {
    const store = at.open();
    const redis = at.redis();
    const {agent, seen, letGo} = slow();
    const admin = store.keys.workerAdmin('w-1');
    await redis.hset(admin, {lifecycle: 'active', reason: '', updated_at: '1', x_force: '1'});
    const worker = await work(at, store, [agent], {drainMs: 600_000, leaseMs: 1000});
    await send(store, 'hangs');
    await until(() => seen.begun.length === 1);
    // What force there was belongs to a decision of another time.
    await redis.hset(admin, {lifecycle: 'evicted', reason: '', updated_at: '2'});
    // It has heard of it: a lease that ran out would not say so.
    await until(async () => (await redis.sismember(store.keys.members('slow'), 'w-1')) === 0);
    expect(seen.aborted).toEqual([]);
    await redis.hset(admin, {lifecycle: 'active'});
    letGo();
    await worker.done;

    const other = slow();
    const next = await work(at, store, [other.agent], {drainMs: 600_000, leaseMs: 60_000});
    await send(store, 'hangs too');
    await until(() => other.seen.begun.length === 1);
    await redis.hset(admin, {lifecycle: 'evicted', reason: '', updated_at: '3'});
    const command = {action: 'EVICT_WORKER', header: adminHeader(), reason: '', force: true} as const;
    await redis.xadd(store.keys.workerCtrlStream('w-1'), '*', 'data', encodeCommand(command));
    expect(await next.done).toBe('evicted');
    expect(other.seen.aborted).toEqual(['hangs too']);
    other.letGo();
  });

  test('bars from an agent type serves its others; allowed, it comes back by itself', async () => {
    const store = at.open();
    const ran: string[] = [];
    const agents = ['one', 'two'].map(type =>
      defineAgent({type, run: (_, {text}) => void ran.push(`${type} ${text}`)}),
    );
    await work(at, store, agents, {leaseMs: 3000});
    expect(await denyAgentType(store, 'one', 'w-1')).toBe(true);
    expect(await denyAgentType(store, 'one', 'w-1')).toBe(false);
    expect(await deniedWorkers(store, 'one')).toEqual(['w-1']);
    expect(await agentTypesWithDenied(store)).toEqual(['one']);
    expect((await onlineMembers(store, 'one')).online).toBe(false);
    expect((await onlineMembers(store, 'two')).online).toBe(true);
    // Two heartbeats from now it has heard of it for certain. Of none it is 0: a lease that ran out.
    const seenAt = async () => (await workerFacts(store, ['w-1']))[0]?.lastSeen ?? 0;
    for (let beats = 0; beats < 2; beats++) {
      const before = await seenAt();
      await until(async () => ![0, before].includes(await seenAt()));
    }
    const barred = await send(store, 'x', 'one');
    const served = await send(store, 'y', 'two');
    await until(async () => (await statusOf(store, served)) === 'COMPLETED');
    expect(await statusOf(store, barred)).toBe('QUEUED');

    expect(await allowAgentType(store, 'one', 'w-1')).toBe(true);
    expect(await allowAgentType(store, 'one', 'w-1')).toBe(false);
    await until(async () => (await onlineMembers(store, 'one')).online);
    await until(async () => (await statusOf(store, barred)) === 'COMPLETED');
    expect(ran).toEqual(['two y', 'one x']);
  });

  test('suspends while something waits for another attempt hands that to others', async () => {
    const store = at.open();
    let failed = 0;
    const failing = defineAgent({
      type: 'slow',
      retry: {maxAttempts: 3, baseMs: 2_000_000_000, maxMs: 2_000_000_000},
      run: () => {
        failed++;
        throw new Error('no luck');
      },
    });
    await work(at, store, [failing]);
    const sent = await send(store, 'again');
    const note = async () => (await new GatewayClient(store).find(sent.sessionId, sent.messageId))!;
    await until(async () => pastAttempts(await note()).length === 1);
    await done(store, await suspendWorker(store, 'w-1'));
    await work(at, store, [defineAgent({type: 'slow', run: () => 'done'})], {workerId: 'w-2'});
    await until(async () => (await note()).status === 'COMPLETED');
    expect(failed).toBe(1);
  });

  test('decides about while it is offline is told nothing, and finds it when it starts', async () => {
    const store = at.open();
    const {agent, seen, letGo} = slow();
    expect(await isKnownWorker(store, 'w-1')).toBe(false);
    expect(await suspendWorker(store, 'w-1')).toMatchObject({online: false, entryId: '', token: null});
    expect(await at.redis().exists(store.keys.workerCtrlStream('w-1'))).toBe(0);
    expect(await isKnownWorker(store, 'w-1')).toBe(true);
    expect(await sdkOf(store, 'w-1')).toBe('none');
    await work(at, store, [agent]);
    expect(await sdkOf(store, 'w-1')).toBe('by');
    const sent = await send(store, 'waits');
    expect(await lifecycleOf(store)).toBe('suspended');
    letGo();
    await resumeWorker(store, 'w-1');
    await until(async () => (await statusOf(store, sent)) === 'COMPLETED');
    expect(seen.begun).toEqual(['waits']);
  });

  test('is asked what can not be: the answer says what to do in its place', async () => {
    const store = at.open();
    expect(await resumeWorker(store, 'w-1')).toMatchObject({changed: false, lifecycle: 'active'});
    expect(await rejoinWorker(store, 'w-1')).toMatchObject({changed: false, lifecycle: 'active'});
    expect(await at.redis().exists(store.keys.workerAdmin('w-1'))).toBe(0);
    await suspendWorker(store, 'w-1', {reason: 'one'});
    await suspendWorker(store, 'w-1', {reason: 'two'});
    expect((await workerFacts(store, ['w-1']))[0]?.reason).toBe('two');
    await expect(rejoinWorker(store, 'w-1')).rejects.toMatchObject({next: ['by worker resume w-1']});
    await evictWorker(store, 'w-1');
    await expect(suspendWorker(store, 'w-1')).rejects.toMatchObject({next: ['by worker rejoin w-1']});
    await expect(resumeWorker(store, 'w-1')).rejects.toMatchObject({code: 'CONFLICT'});
    expect(await lifecycleOf(store)).toBe('evicted');
  });

  const lease: Lease = {workerId: 'w-1', token: 'a'.repeat(32), ipAddress: ''};
  const beat = (store: Store) =>
    heartbeat(store, lease, {agentTypes: ['a', 'b'], join: true, nowMs: Date.now()});

  test.each([
    ['suspends', suspendWorker, 'active'],
    ['evicts', evictWorker, 'active'],
    ['resumes', resumeWorker, 'suspended'],
    ['lets in again', rejoinWorker, 'evicted'],
  ] as const)(
    '%s, and dies half way: with the next heartbeat all of it holds, or nothing',
    async (_, act, from) => {
      at.breaksRules('dead-workers', 'workerCtrlStream');
      const points = await atEveryCrash(
        () => at.open(),
        async store => {
          await claimLease(store, lease);
          await beat(store);
          if (from === 'suspended') await suspendWorker(store, 'w-1');
          if (from === 'evicted') await evictWorker(store, 'w-1');
        },
        store => act(store, 'w-1'),
        async store => {
          await beat(store);
          const isActive = (await lifecycleOf(store)) === 'active';
          for (const type of ['a', 'b']) expect((await onlineMembers(store, type)).online).toBe(isActive);
        },
      );
      expect(points).toBeGreaterThan(1);
    },
  );

  test('bars, and dies half way: with the next heartbeat all of it holds, or nothing', async () => {
    at.breaksRules('dead-workers');
    await atEveryCrash(
      () => at.open(),
      async store => {
        await claimLease(store, lease);
        await beat(store);
        // As another SDK leaves it that adds its worker at each heartbeat.
        await store.commands.run(redis => redis.sadd(store.keys.members('b'), 'w-1'));
      },
      store => denyAgentType(store, 'a', 'w-1'),
      async store => {
        await beat(store);
        const isDenied = (await deniedWorkers(store, 'a')).length === 1;
        expect((await onlineMembers(store, 'a')).online).toBe(!isDenied);
        expect((await onlineMembers(store, 'b')).online).toBe(true);
      },
    );
  });
});
