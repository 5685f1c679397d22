/** How a worker tells how it is, and that it reads nothing while it has used up a quota. */
import {describe, expect, test} from 'vitest';
import type {SendRequest} from '../../src/availability/send.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import type {AgentStatus} from '../../src/protocol/orchestration/status.js';
import {AgentStatusService} from '../../src/registry/agent-status-service.js';
import {serverTimeMs, type Store} from '../../src/store/store.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../src/worker/runner.js';
import {ago} from '../support/status.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'writer';
const HOUR = 3_600_000;

async function open(at: TestStore) {
  const store = at.open();
  const service = new AgentStatusService(store);
  const client = new GatewayClient(store);
  const work = async (agent: Agent, options: Partial<WorkerOptions> = {}): Promise<WorkerHandle> => {
    const worker = await startWorker(store, {
      ...{agents: [agent], log: silentLogger, leaseMs: 1500, workerId: 'w-1', history: false},
      ...options,
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    return worker;
  };
  // Also while a lease has lapsed because the machine stood still; `client.send` is for what routing makes of a worker.
  const send = (content: string, over: Partial<SendRequest> = {}) =>
    client.send({agentType: TYPE, content, policy: 'SEND_ANYWAY', ...over});
  const becomes = (status: AgentStatus, workerId = 'w-1') =>
    until(async () => {
      const record = await service.get(workerId);
      return record?.status === status && record;
    });
  const ended = (sent: {sessionId: string; messageId: string}) =>
    until(async () => {
      const record = await client.find(sent.sessionId, sent.messageId);
      return record !== undefined && ['COMPLETED', 'FAILED'].includes(record.status) && record;
    });
  return {store, service, client, work, send, becomes, ended};
}

/** Ends when it is told to. */
function gated() {
  let open: () => void = () => undefined;
  const gate = new Promise<void>(resolve => (open = resolve));
  const agent = defineAgent({
    type: TYPE,
    run: async () => {
      await gate;
      return {content: 'done'};
    },
  });
  return {agent, open};
}

/** Says once that the quota is used up, and fails; what it is asked after that it answers. */
const spent = (forMs: number, over: {scope?: string; reason?: 'billing'} = {}) => {
  let isSpent = false;
  return defineAgent({
    type: TYPE,
    run: async (ctx, ask) => {
      if (!isSpent) {
        isSpent = true;
        await ctx.reportExhausted({
          ...{reason: 'rate_limit', headers: {'retry-after-ms': String(forMs)}},
          ...over,
        });
      }
      return {content: ask.text};
    },
  });
};

const unread = (store: Store) => store.commands.run(redis => redis.xlen(store.keys.ctrlStream(TYPE)));

describeEachStore('the status of a worker', at => {
  test('is idle, busy while it works, and offline once it has left', async () => {
    const {work, send, becomes, ended} = await open(at);
    const {agent, open: finish} = gated();
    const worker = await work(agent, {concurrency: 7});
    expect(await becomes('idle')).toMatchObject({slotsUsed: 0, slotsMax: 7, agentTypes: [TYPE]});
    const sent = await send('x');
    expect(await becomes('busy')).toMatchObject({slotsUsed: 1, origin: 'native'});
    finish();
    await ended(sent);
    await becomes('idle');
    await worker.stop();
    expect(await becomes('offline')).toMatchObject({slotsUsed: 0});
  });

  test('is on call while it does on-call work', async () => {
    const {work, send, becomes, ended} = await open(at);
    const {agent, open: finish} = gated();
    await work(agent);
    const sent = await send('x', {metadata: {slot_type: 'on_call'}});
    expect(await becomes('on_call')).toMatchObject({firstSlotType: 'on_call'});
    finish();
    await ended(sent);
  });

  test('costs no write for each task', async () => {
    const {work, send, service, ended} = await open(at);
    await work(defineAgent({type: TYPE, run: (_, ask) => ({content: ask.text})}), {leaseMs: HOUR});
    const before = (await service.get('w-1'))!.version;
    const startedAt = performance.now();
    for (let i = 0; i < 40; i++) await ended(await send(String(i)));
    const seconds = (performance.now() - startedAt) / 1000;
    const writes = (await service.get('w-1'))!.version - before;
    // A change that holds is told once a second at most, and no heartbeat comes in this time.
    expect(writes).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
  });
});

describeEachStore('a worker whose quota is used up', at => {
  test('finishes what it runs, and reads nothing more of its agent types', async () => {
    const {store, work, client, send, becomes, ended, service} = await open(at);
    await work(spent(HOUR), {leaseMs: 6000});
    const first = await send('a');
    expect(await ended(first)).toMatchObject({status: 'COMPLETED'});
    expect(await becomes('exhausted')).toMatchObject({exhaustReason: 'rate_limit'});
    expect(await service.ledger('w-1')).toMatchObject({source: 'header', explicit: true});

    await expect(client.send({agentType: TYPE, content: 'b'})).rejects.toMatchObject({
      code: 'AGENT_TYPE_EXHAUSTED',
    });
    const anyway = await send('c');
    // What is addressed to it alone it takes, and that came after the other.
    const alone = await send('d', {workerId: 'w-1'});
    expect(await ended(alone)).toMatchObject({status: 'COMPLETED'});
    expect(await client.find(anyway.sessionId, anyway.messageId)).toMatchObject({status: 'QUEUED'});
    await until(async () => (await unread(store)) === 1);

    await service.recover('w-1', {by: 'maria', note: 'paid'});
    expect(await ended(anyway)).toMatchObject({status: 'COMPLETED'});
  });

  test('goes on by itself when the quota is there again', async () => {
    const {work, send, service, ended, becomes} = await open(at);
    await work(spent(2500));
    await ended(await send('a'));
    // Its status is so for a moment only; that it was stays noted.
    expect((await service.notes()).map(({fields}) => fields['to'])).toContain('exhausted');
    const waiting = await send('b');
    expect(await ended(waiting)).toMatchObject({status: 'COMPLETED'});
    await becomes('idle');
  });

  test('does not forget it by a restart', async () => {
    const {store, work, send, ended, becomes} = await open(at);
    const first = await work(spent(HOUR));
    await ended(await send('a'));
    await becomes('exhausted');
    await first.stop();
    await becomes('offline');

    const answers = defineAgent({type: TYPE, run: () => ({content: 'again'})});
    await work(answers, {claimTimeoutMs: 20_000});
    // From its first moment: nothing was read in between.
    expect(await new AgentStatusService(store).get('w-1')).toMatchObject({status: 'exhausted'});
    const waiting = await send('b');
    const alone = await send('c', {workerId: 'w-1'});
    await ended(alone);
    await until(async () => (await unread(store)) === 1);
    await ago(store, 'w-1', {recovery: 0});
    expect(await ended(waiting)).toMatchObject({status: 'COMPLETED'});
  });

  test('leaves its work to others', async () => {
    const {work, client, send, ended, becomes} = await open(at);
    const tired = defineAgent({
      type: TYPE,
      retry: {baseMs: 10, maxMs: 20},
      run: async ctx => {
        await ctx.reportExhausted({reason: 'billing', recoveryAt: new Date(Date.now() + HOUR)});
        throw Object.assign(new Error('402'), {retryable: true});
      },
    });
    await work(tired);
    const sent = await send('a');
    await becomes('exhausted');
    const mine = defineAgent({type: TYPE, run: () => ({content: 'mine'})});
    await work(mine, {workerId: 'w-2', leaseMs: 6000});
    expect(await ended(sent)).toMatchObject({status: 'COMPLETED', workerId: 'w-2'});
    expect(await client.send({agentType: TYPE, content: 'b'})).toMatchObject({status: 'DELIVER_NOW'});
  });

  test('may be one that an operator says it of', async () => {
    const {store, work, send, service, ended, becomes} = await open(at);
    await work(defineAgent({type: TYPE, run: () => ({content: 'x'})}));
    await service.exhaust('w-1', {reason: 'billing', recoveryInMs: HOUR, by: 'maria'});
    await becomes('exhausted');
    // Two heartbeats from now it has heard of it for certain.
    const beatAt = async () => (await service.get('w-1'))?.lastHeartbeatAt;
    for (let beats = 0; beats < 2; beats++) {
      const before = await beatAt();
      await until(async () => (await beatAt()) !== before);
    }
    const waiting = await send('a');
    await ended(await send('b', {workerId: 'w-1'}));
    await until(async () => (await unread(store)) === 1);
    await service.recover('w-1', {by: 'maria', note: 'x'});
    await ended(waiting);
  });

  test('only in part goes on', async () => {
    const {work, send, service, ended, becomes} = await open(at);
    await work(spent(HOUR, {scope: 'openai/gpt-6', reason: 'billing'}));
    await ended(await send('a'));
    expect(await service.ledger('w-1', 'openai/gpt-6')).toMatchObject({reason: 'billing'});
    await becomes('idle');
    await ended(await send('b'));
  });

  describe('by the clock of Redis', () => {
    test('is so for as long as the response said', async () => {
      const {store, work, send, ended, becomes} = await open(at);
      await work(spent(90_000));
      const before = await serverTimeMs(store);
      await ended(await send('a'));
      const {recoveryAt} = await becomes('exhausted');
      expect(recoveryAt! - before).toBeGreaterThanOrEqual(90_000 - 1);
      expect(recoveryAt! - (await serverTimeMs(store))).toBeLessThanOrEqual(90_000);
    });
  });
});
