/** Foreign workers that are suspended while they are exhausted, and circuits that are opened meanwhile. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {statusSweeperRole, type StatusSweeperOptions} from '../../src/orchestration/status-role.js';
import {AgentStatusService} from '../../src/registry/agent-status-service.js';
import {listAgentWorkers} from '../../src/registry/agent-workers.js';
import {enforceExhausted} from '../../src/registry/enforce-exhausted.js';
import {readCircuit, setCircuit} from '../../src/store/admission.js';
import {onlineMembers} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {suspendWorker} from '../../src/store/worker-admin.js';
import {ago, FOREIGN_RULES} from '../support/status.js';
import {atEveryCrash} from '../support/crash.js';
import type {Exception} from '../support/keyspace.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';

const TYPE = 'writer';
const HOUR = 3_600_000;
/** Foreign workers take nothing out of their streams by themselves. */
const RULES = [
  ...[...FOREIGN_RULES, 'workerCtrlStream', 'ctrlStream'],
  ...['workerAdmin', 'adminWorkers', 'circuit'],
] as readonly Exception[];

async function open(at: TestStore, ids: readonly string[] = ['py-1']) {
  at.breaksRules(
    ...FOREIGN_RULES,
    'workerAdmin',
    'adminWorkers',
    'circuit',
    'workerCtrlStream',
    'ctrlStream',
  );
  const store = at.open();
  const redis = at.redis();
  const service = new AgentStatusService(store);
  const client = new GatewayClient(store);
  const workers = await Promise.all(ids.map(id => new PlainWorker(store, redis, id, TYPE).beat()));
  const [worker] = workers;
  if (worker === undefined) throw new Error('at least one');
  await service.sweep();
  const spend = async (recoveryInMs = HOUR, of = ids) => {
    for (const id of of) await service.exhaust(id, {reason: 'rate_limit', recoveryInMs});
  };
  /** One look of the sweeper. */
  const pass = async (options: {suspends?: boolean; opensCircuits?: boolean} = {}) => {
    await service.sweep();
    return enforceExhausted(store, {suspends: true, opensCircuits: false, ...options});
  };
  const send = () => client.send({agentType: TYPE, content: 'hi'});
  const shown = async (id = 'py-1') =>
    (await listAgentWorkers(store)).workers.find(({workerId}) => workerId === id);
  const admin = (id = 'py-1') => redis.hgetall(store.keys.workerAdmin(id));
  return {store, redis, service, worker, spend, pass, send, shown, admin};
}

describeEachStore('a foreign worker that is exhausted', at => {
  test('is suspended until it recovers, and then takes work again', async () => {
    const {store, worker, spend, pass, send, shown, admin, redis} = await open(at);
    expect(await pass()).toMatchObject({suspended: [], resumed: []});
    await spend();
    expect(await pass()).toMatchObject({suspended: ['py-1'], resumed: [], ignoring: []});
    expect(await worker.obey()).toEqual(['SUSPEND_WORKER']);
    expect(worker.isSuspended).toBe(true);
    expect(await admin()).toMatchObject({
      lifecycle: 'suspended',
      reason: expect.stringMatching(/^exhausted: rate_limit until 20/) as string,
    });
    expect(await shown()).toMatchObject({
      status: 'exhausted',
      state: 'suspended',
      untilRecovery: 'suspended',
    });
    expect(await onlineMembers(store, TYPE)).toMatchObject({online: false});
    await worker.beat();
    expect(worker.isSuspended).toBe(true);
    // Senders are told what they would be told of ours.
    await expect(send()).rejects.toMatchObject({
      code: 'AGENT_TYPE_EXHAUSTED',
      details: {exhausted: 1, offline: 0},
    });

    expect(await pass()).toMatchObject({suspended: [], resumed: []});
    await ago(store, 'py-1', {recovery: 1});
    expect(await pass()).toMatchObject({suspended: [], resumed: ['py-1']});
    expect(await worker.obey()).toEqual(['RESUME_WORKER']);
    expect(worker.isSuspended).toBe(false);
    expect(await admin()).toEqual({});
    expect(await redis.sismember(store.keys.adminWorkers(), 'py-1')).toBe(0);
    await send();
    await worker.done(await worker.take());
  });

  test('takes work again when an operator says that it has recovered', async () => {
    const {service, spend, pass} = await open(at);
    await spend();
    await pass();
    await service.recover('py-1', {by: 'maria', note: 'paid'});
    expect(await pass()).toMatchObject({resumed: ['py-1']});
  });

  test('is left alone where that is not asked for, and let go where somebody else asked for it', async () => {
    const {spend, pass, shown, store} = await open(at);
    await spend();
    expect(await pass({suspends: false})).toMatchObject({suspended: []});
    expect(await shown()).toMatchObject({state: 'online', untilRecovery: null});
    await pass();
    await ago(store, 'py-1', {recovery: 1});
    expect(await pass({suspends: false})).toMatchObject({resumed: ['py-1']});
  });

  test('stays as an operator left it, whoever came first, and whatever tool it was', async () => {
    const {store, redis, spend, pass, admin} = await open(at, ['before', 'after', 'sdk']);
    await suspendWorker(store, 'before', {reason: 'deploy'});
    await spend();
    expect((await pass()).suspended).toEqual(['after', 'sdk']);
    await suspendWorker(store, 'after', {reason: 'broken'});
    // Another SDK's tool writes the three fields it knows.
    await redis.hset(store.keys.workerAdmin('sdk'), {
      lifecycle: 'suspended',
      reason: 'by hand',
      updated_at: '7',
    });
    for (const id of ['before', 'after', 'sdk']) await ago(store, id, {recovery: 1});
    expect(await pass()).toMatchObject({resumed: []});
    for (const id of ['before', 'after', 'sdk'])
      expect(await admin(id)).toMatchObject({lifecycle: 'suspended'});
  });

  test('that is away when it recovers finds itself let go', async () => {
    const {store, worker, spend, pass, admin} = await open(at);
    await spend();
    await pass();
    await worker.die();
    await ago(store, 'py-1', {heartbeat: 130_000, recovery: 1});
    expect(await pass()).toMatchObject({resumed: ['py-1']});
    expect(await admin()).toEqual({});
    await worker.beat();
    expect(worker.isSuspended).toBe(false);
    expect((await onlineMembers(store, TYPE)).workerIds).toEqual(['py-1']);
  });

  test('that does not obey is taken out a few times, and then shown as what it is', async () => {
    const {worker, spend, pass, shown, store} = await open(at);
    await spend();
    await pass();
    const looks: (readonly string[])[] = [];
    for (let i = 0; i < 4; i++) {
      await worker.beat({obeys: false});
      looks.push((await pass()).ignoring);
    }
    expect(looks).toEqual([[], [], ['py-1'], []]);
    expect(await shown()).toMatchObject({untilRecovery: 'ignored'});
    expect((await onlineMembers(store, TYPE)).online).toBe(true);
    await ago(store, 'py-1', {recovery: 1});
    expect(await pass()).toMatchObject({resumed: ['py-1']});
    expect(await shown()).toMatchObject({untilRecovery: null});
  });

  test('is told once, however many replicas look', async () => {
    const {store, worker, spend, shown} = await open(at);
    await spend();
    const over = new AbortController();
    const options: StatusSweeperOptions = {log: silentLogger, everyMs: 30, enforceExhausted: true};
    const running = [1, 2, 3].map(() => statusSweeperRole(store, options).run(over.signal));
    await until(async () => (await shown())?.untilRecovery === 'suspended');
    await ago(store, 'py-1', {recovery: 1});
    await until(async () => (await shown())?.state === 'online');
    over.abort();
    await Promise.all(running);
    expect(await worker.obey()).toEqual(['SUSPEND_WORKER', 'RESUME_WORKER']);
  });
});

describeEachStore('the circuit of an agent type', at => {
  const circuits = {suspends: false, opensCircuits: true};

  test('is open until the first of its workers recovers', async () => {
    const {store, spend, pass, send, service} = await open(at, ['py-1', 'py-2']);
    await spend(HOUR, ['py-1']);
    expect(await pass(circuits)).toMatchObject({opened: []});
    await spend(HOUR / 2, ['py-2']);
    expect(await pass(circuits)).toMatchObject({opened: [TYPE], closed: []});
    const circuit = await readCircuit(store, TYPE);
    expect(circuit).toMatchObject({
      open: true,
      source: 'auto',
      reason: expect.stringMatching(/^all 2 workers are exhausted until 20/) as string,
    });
    expect(circuit?.expiresInMs).toBeLessThanOrEqual(HOUR / 2);
    expect(circuit?.expiresInMs).toBeGreaterThan(HOUR / 2 - 60_000);
    await expect(send()).rejects.toMatchObject({code: 'AGENT_CIRCUIT_OPEN'});
    expect(await pass(circuits)).toMatchObject({opened: [], closed: []});

    await service.recover('py-2', {by: 'maria', note: 'paid'});
    expect(await pass({...circuits, opensCircuits: false})).toMatchObject({closed: [TYPE]});
    await send();
  });

  test('goes with the recovery it waits for when that comes earlier than was said', async () => {
    const {store, spend, pass, service} = await open(at);
    await spend(2 * HOUR);
    await pass(circuits);
    await service.recover('py-1', {by: 'maria', note: 'x'});
    await spend(HOUR);
    expect(await pass(circuits)).toMatchObject({opened: [TYPE], closed: []});
    expect((await readCircuit(store, TYPE))?.expiresInMs).toBeLessThanOrEqual(HOUR);
  });

  test('is opened for workers that are suspended too, and by nobody who was not asked to', async () => {
    const {spend, pass} = await open(at);
    await spend();
    expect(await pass({suspends: true, opensCircuits: false})).toMatchObject({opened: []});
    expect(await pass({suspends: true, opensCircuits: true})).toMatchObject({opened: [TYPE]});
  });

  test('that an operator set stays as it is', async () => {
    const {store, spend, pass} = await open(at);
    await setCircuit(store, TYPE, {reason: 'mine'});
    await spend();
    expect(await pass(circuits)).toMatchObject({opened: [], closed: []});
    await ago(store, 'py-1', {recovery: 1});
    expect(await pass(circuits)).toMatchObject({closed: []});
    expect(await readCircuit(store, TYPE)).toMatchObject({open: true, reason: 'mine'});
  });

  test('is not opened where all workers are ours, which do not read', async () => {
    const {store, pass, service} = await open(at, ['w-1']);
    await service.heartbeat('w-1', {agentTypes: [TYPE]});
    await service.exhaust('w-1', {reason: 'billing', recoveryInMs: HOUR});
    expect(await pass({suspends: true, opensCircuits: true})).toMatchObject({suspended: [], opened: []});
    expect(await readCircuit(store, TYPE)).toBeUndefined();
  });
});

describeEachStore('a sweeper that dies while it', at => {
  const both = {suspends: true, opensCircuits: true};

  test('suspends leaves nobody suspended for ever', async () => {
    const points = await atEveryCrash(
      () => at.open(),
      store => spent(at, store),
      store => enforceExhausted(store, both),
      async (store, {worker, redis}) => {
        await enforceExhausted(store, both);
        await worker.beat();
        expect(worker.isSuspended).toBe(true);
        await ago(store, 'py-1', {recovery: 1});
        await enforceExhausted(store, both);
        expect(await redis.exists(store.keys.workerAdmin('py-1'))).toBe(0);
        expect(await redis.exists(store.keys.circuit(TYPE))).toBe(0);
        await worker.beat();
        expect(worker.isSuspended).toBe(false);
        expect((await onlineMembers(store, TYPE)).workerIds).toEqual(['py-1']);
      },
    );
    expect(points).toBeGreaterThan(5);
  });

  test('lets go leaves nobody suspended either', async () => {
    await atEveryCrash(
      () => at.open(),
      async store => {
        const prepared = await spent(at, store);
        await enforceExhausted(store, both);
        await ago(store, 'py-1', {recovery: 1});
        return prepared;
      },
      store => enforceExhausted(store, both),
      async (store, {worker, redis}) => {
        await enforceExhausted(store, both);
        expect(await redis.hlen(store.keys.workerAdmin('py-1'))).toBe(0);
        await worker.beat();
        expect((await onlineMembers(store, TYPE)).workerIds).toEqual(['py-1']);
      },
    );
  });
});

/** A foreign worker that is exhausted, in a store of its own. */
async function spent(at: TestStore, store: Store) {
  at.breaksRules(...RULES);
  const redis = at.redis();
  const worker = await new PlainWorker(store, redis, 'py-1', TYPE).beat();
  const service = new AgentStatusService(store);
  await service.sweep();
  await service.exhaust('py-1', {reason: 'rate_limit', recoveryInMs: HOUR});
  return {redis, worker};
}
