/** Reloading: whole or not at all, in the order of the numbers, and no task notices. */
import {expect, test} from 'vitest';
import {awaitReload, reloadPlugins} from '../../src/client/reload.js';
import {GatewayClient} from '../../src/client/client.js';
import {loggerTo, silentLogger} from '../../src/log.js';
import {emptyConfigsSnapshot} from '../../src/protocol/agent-config.js';
import {encodeSendable} from '../../src/protocol/commands.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {createHeader} from '../../src/protocol/header.js';
import {reloadHeader} from '../../src/protocol/reload.js';
import {followSession} from '../../src/store/data-streams.js';
import {findExecution} from '../../src/store/executions.js';
import {findSnapshot, newestReloads, readReports, sendReload} from '../../src/store/plugin-state.js';
import type {Store} from '../../src/store/store.js';
import type {Plugin} from '../../src/plugins/plugin.js';
import {defineAgent, GatewayWorker} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'writer';
const WAIT = {waitMs: 20_000};

/** A plugin whose prompt is told from outside, as if it read a file. */
function writing(prompt: () => string, more: Partial<Plugin> = {}): Plugin {
  return {
    manifest: {name: 'writing', version: '1'},
    registerAgentConfigs: () => [{agentId: TYPE, prompts: {system: prompt()}}],
    ...more,
  };
}

/** Says its prompt; asks first if it is told to. */
const writer = defineAgent({
  type: TYPE,
  async run(ctx, ask) {
    const before = ctx.prompt('system');
    if (ask.text === 'ask') await ctx.askUser(`${before}?`);
    return {content: `${before} ${ctx.prompt('system')} ${ctx.config.isOriginal}`};
  },
});

async function work(
  at: TestStore,
  store: Store,
  plugins: WorkerOptions['plugins'],
  options: Partial<WorkerOptions> = {},
): Promise<WorkerHandle> {
  const worker = await startWorker(store, {agents: [writer], log: silentLogger, plugins, ...options});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

const send = (store: Store, content: string) =>
  new GatewayClient(store).send({agentType: TYPE, content, policy: 'SEND_ANYWAY'});
type Sent = Awaited<ReturnType<typeof send>>;

const withStatus = (store: Store, {sessionId, executionId}: Sent, status: string) =>
  until(async () => {
    const record = await findExecution(store, sessionId, executionId);
    return record?.status === status && record;
  });

async function finals(store: Store, {sessionId}: Sent): Promise<string[]> {
  const found: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event' && eventKind(item.event) === 'final') found.push(eventText(item.event));
  return found;
}

const said = async (store: Store, content: string): Promise<string[]> => {
  const sent = await send(store, content);
  await withStatus(store, sent, 'COMPLETED');
  return finals(store, sent);
};

async function answer(store: Store, sent: Sent): Promise<void> {
  const client = new GatewayClient(store);
  const [question] = await until(async () => {
    const open = await client.questions(sent.sessionId);
    return open.length > 0 && open;
  });
  const {sessionId, executionId} = sent;
  await client.reply({sessionId, executionId, questionId: question?.questionId ?? '', content: 'yes'});
}

async function reload(store: Store, reason = 'new prompts') {
  const sent = await reloadPlugins(store, TYPE, {reason});
  return {sent, ...(await awaitReload(store, sent, WAIT))};
}

describeEachStore('a reload', at => {
  test('reaches every worker of the type and is answered by each; what begins then has the new prompt', async () => {
    const store = at.open();
    let prompt = 'one';
    const workers = [
      await work(at, store, [writing(() => prompt)]),
      await work(at, store, [writing(() => prompt)]),
    ];
    expect(await said(store, 'x')).toEqual(['one one true']);
    prompt = 'two';
    const {sent, acks, missing} = await reload(store);
    expect(sent).toMatchObject({agentType: TYPE, dispatchedCount: 2});
    expect(missing).toEqual([]);
    const ids = workers.map(({workerId}) => workerId).sort();
    expect(acks).toEqual(
      ids.map(workerId => ({
        ...{reloadId: sent.reloadId, workerId, status: 'success', reason: 'new prompts'},
        ...{versionBefore: 1, versionAfter: 2, error: ''},
      })),
    );
    expect(await said(store, 'x')).toEqual(['two two true']);
    const reports = await readReports(store, ids);
    expect(new Set(reports.map(({hash}) => hash)).size).toBe(1);
    expect(reports[0]?.reloads).toEqual({[TYPE]: 1});
  });

  test('fails no task under load, and each task has one configuration', async () => {
    const store = at.open();
    let prompt = 0;
    await work(at, store, [writing(() => String(prompt))]);
    await work(at, store, [writing(() => String(prompt))]);
    const client = new GatewayClient(store);
    const sent: Sent[] = [];
    for (let round = 0; round < 5; round++) {
      prompt = round;
      const outcomes = client.sendMany(Array.from({length: 30}, () => ({agentType: TYPE, content: 'x'})));
      const {acks, missing} = await reload(store);
      expect([acks.map(({status}) => status), missing]).toEqual([['success', 'success'], []]);
      for (const outcome of await outcomes) if (outcome.status === 'fulfilled') sent.push(outcome.value);
    }
    expect(sent).toHaveLength(150);
    for (const one of sent) {
      await withStatus(store, one, 'COMPLETED');
      expect((await finals(store, one))[0]).toMatch(/^(\d) \1 true$/);
    }
  });

  test('that fails leaves everything as it was, says why, and a later one succeeds', async () => {
    const store = at.open();
    let prompt = 'one';
    let problem = '';
    const plugin = writing(() => prompt, {
      reload: () => {
        if (problem === 'reload') throw new Error('no database');
      },
    });
    const other: Plugin = {
      manifest: {name: 'other', version: '1'},
      registerAgentConfigs: () => (problem === 'conflict' ? [{agentId: TYPE}] : []),
    };
    await work(at, store, [plugin, other]);
    for (const [how, error] of [
      ['reload', 'Plugin "writing" can not reload: no database'],
      ['conflict', 'Plugin "other" registers a config for "writer", which plugin "writing" has registered.'],
    ] as const) {
      [prompt, problem] = ['two', how];
      const {acks} = await reload(store);
      expect(acks).toEqual([
        expect.objectContaining({status: 'failure', versionBefore: 1, versionAfter: 1, error}),
      ]);
      expect(await said(store, 'x')).toEqual(['one one true']);
    }
    problem = '';
    expect((await reload(store)).acks).toEqual([
      expect.objectContaining({status: 'success', versionAfter: 2}),
    ]);
    expect(await said(store, 'x')).toEqual(['two two true']);
  });

  test('of the same id is done once and answered twice', async () => {
    const store = at.open();
    let reloads = 0;
    await work(at, store, [writing(() => 'x', {reload: () => ++reloads})]);
    const options = {reloadId: 'reload-1', reason: 'first'};
    for (const reason of ['first', 'same id']) await reloadPlugins(store, TYPE, {...options, reason});
    const acks = await until(async () => {
      const found = await new GatewayClient(store).collectReloadAcks('reload-1');
      return found.acks.length === 2 && found.acks;
    });
    expect(reloads).toBe(1);
    expect(acks[1]).toEqual(acks[0]);
    expect((await newestReloads(store, [TYPE]))[0]).toMatchObject({version: 1, reason: 'first'});
  });

  test('at once with another, and out of order, ends with the newest and answers both', async () => {
    const store = at.open();
    const seen: string[] = [];
    let prompt = 0;
    const worker = await work(at, store, [
      writing(() => String(prompt), {reload: ({reloadId}) => void seen.push(reloadId)}),
    ]);
    prompt = 1;
    const both = await Promise.all([reload(store, 'a'), reload(store, 'b')]);
    for (const {acks} of both) expect(acks).toEqual([expect.objectContaining({status: 'success'})]);
    // The second command, which comes first, has done what the first would have.
    const late = {reloadId: 'late', reason: 'late'};
    const header = {...reloadHeader(TYPE, {by_reload: 1})};
    const before = seen.length;
    await sendReload(store, worker.workerId, encodeSendable({action: 'RELOAD_PLUGINS', header, ...late}));
    const {acks} = await awaitReload(store, {reloadId: 'late', workerIds: [worker.workerId]}, WAIT);
    expect(acks).toEqual([expect.objectContaining({status: 'success'})]);
    expect(seen).toHaveLength(before);
    const [report] = await readReports(store, [worker.workerId]);
    expect(report?.reloads).toEqual({[TYPE]: 2});
  });

  test('that no command told a worker of is made up for; one that starts later has it', async () => {
    const store = at.open();
    let prompt = 'one';
    const reloaded: string[] = [];
    const worker = await work(
      at,
      store,
      [writing(() => prompt, {reload: ({reason}) => void reloaded.push(reason)})],
      {leaseMs: 3000},
    );
    // As if its lease had run out when the others were told.
    prompt = 'two';
    const {nextReload} = await import('../../src/store/plugin-state.js');
    await nextReload(store, TYPE, {reloadId: 'reload-missed', reason: 'missed'});
    const {acks} = await awaitReload(
      store,
      {reloadId: 'reload-missed', workerIds: [worker.workerId]},
      {waitMs: 28_000},
    );
    expect(acks).toEqual([expect.objectContaining({status: 'success', reason: 'missed', versionAfter: 2})]);
    expect(reloaded).toEqual(['missed']);
    const late = await work(at, store, [writing(() => prompt, {reload: () => void reloaded.push('late')})]);
    const [report] = await readReports(store, [late.workerId]);
    expect(report?.reloads).toEqual({[TYPE]: 1});
    expect(reloaded).toEqual(['missed']);
  });

  test('asked for by a client that knows no numbers is done each time', async () => {
    const store = at.open();
    const worker = await work(at, store, [writing(() => 'x')]);
    for (const [reloadId, versionAfter] of [
      ['reload-1', 2],
      ['reload-2', 3],
    ] as const) {
      const header = {...reloadHeader(TYPE)};
      await sendReload(
        store,
        worker.workerId,
        encodeSendable({action: 'RELOAD_PLUGINS', header, reloadId, reason: ''}),
      );
      const {acks} = await awaitReload(store, {reloadId, workerIds: [worker.workerId]}, WAIT);
      expect(acks).toEqual([expect.objectContaining({status: 'success', versionAfter})]);
    }
  });

  test('on the stream of an agent type is not done; a worker without plugins has nothing to do', async () => {
    const store = at.open();
    let reloads = 0;
    const worker = await work(at, store, [writing(() => 'x', {reload: () => ++reloads})]);
    const command = encodeSendable({
      ...{action: 'RELOAD_PLUGINS', header: {...reloadHeader(TYPE)}, reloadId: 'reload-1', reason: ''},
    });
    await store.commands.run(redis => redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', command));
    await until(async () => (await at.redis().xlen(store.keys.ctrlStream(TYPE))) === 0);
    expect(reloads).toBe(0);
    await worker.stop();
    const bare = await work(at, store, []);
    const {acks} = await reload(store);
    expect(acks).toEqual([
      expect.objectContaining({
        workerId: bare.workerId,
        status: 'success',
        versionBefore: 0,
        versionAfter: 0,
      }),
    ]);
  });

  test('tells a plugin that is replaced of its end once no turn uses it, and the new one of its beginning', async () => {
    const store = at.open();
    const lines: string[] = [];
    let made = 0;
    const make = (): Plugin => {
      const id = ++made;
      return writing(() => `p${id}`, {
        reload: ({previous}) =>
          void lines.push(`reload ${id} ${previous === undefined ? 'alone' : 'after another'}`),
        onWorkerStartup: () => void lines.push(`startup ${id}`),
        onWorkerShutdown: () => void lines.push(`shutdown ${id}`),
      });
    };
    let letGo: () => void = () => undefined;
    const held = new Promise<void>(resolve => (letGo = resolve));
    let isHeld = false;
    const holder = defineAgent({
      type: 'holder',
      async run() {
        isHeld = true;
        await held;
        return {content: ''};
      },
    });
    const worker = await work(at, store, [make], {agents: [writer, holder]});
    const sent = await new GatewayClient(store).send({agentType: 'holder', content: 'x'});
    await until(() => isHeld);
    await reload(store);
    expect(lines).toEqual(['startup 1', 'reload 2 after another', 'startup 2']);
    letGo();
    await withStatus(store, sent, 'COMPLETED');
    await until(() => lines.length === 4);
    await worker.stop();
    expect(lines.slice(3)).toEqual(['shutdown 1', 'shutdown 2']);
  });
});

describeEachStore('what an execution began with', at => {
  test('it keeps while it waits: after a reload, and on another worker with other plugins', async () => {
    const store = at.open();
    let prompt = 'one';
    const first = await work(at, store, [writing(() => prompt)]);
    const early = await send(store, 'ask');
    await withStatus(store, early, 'WAITING_USER');
    prompt = 'two';
    await reload(store);
    const later = await send(store, 'ask');
    await withStatus(store, later, 'WAITING_USER');
    await answer(store, early);
    await withStatus(store, early, 'COMPLETED');
    expect(await finals(store, early)).toEqual(['one one true']);
    await first.stop();
    await work(at, store, [writing(() => 'three')]);
    await answer(store, later);
    await withStatus(store, later, 'COMPLETED');
    expect(await finals(store, later)).toEqual(['two two true']);
    expect((await findSnapshot(store, TYPE))?.configs[0]?.prompts).toEqual({system: 'three'});
  });

  test('it says so where that is gone', async () => {
    const store = at.open();
    const first = await work(at, store, [writing(() => 'one')]);
    const sent = await send(store, 'ask');
    await withStatus(store, sent, 'WAITING_USER');
    await first.stop();
    await at.redis().del(store.keys.configSnapshots(TYPE));
    const warned: string[] = [];
    const log = loggerTo((_level, message) => warned.push(message), 'warn');
    await work(at, store, [writing(() => 'two')], {log});
    await answer(store, sent);
    // The question it asked has the old prompt in it: the journal does not fit, and says so too.
    const record = await withStatus(store, sent, 'FAILED');
    expect(record.errorCode).toBe('JOURNAL_MISMATCH');
    expect(warned).toContain('an execution goes on with another configuration than it began with');
  });

  test('a message agent keeps its own too, and of a Python worker’s pickle nothing is read', async () => {
    const store = at.open();
    class Asking extends GatewayWorker {
      getAgentTypes() {
        return [TYPE];
      }
      async processCommand(command: Parameters<GatewayWorker['processCommand']>[0], ctx: AgentContext) {
        if (command.action === 'ASK_AGENT') return ctx.askUser('really?');
        return {content: `${ctx.prompt('system')} ${ctx.config.isOriginal}`};
      }
    }
    let prompt = 'one';
    const told: string[] = [];
    const log = loggerTo((_level, message) => told.push(message), 'info');
    await work(at, store, [writing(() => prompt)], {agents: [new Asking()], log});
    const own = await send(store, 'x');
    await withStatus(store, own, 'WAITING_USER');
    prompt = 'two';
    await reload(store);
    await answer(store, own);
    await withStatus(store, own, 'COMPLETED');
    expect(await finals(store, own)).toEqual(['one true']);

    const theirs = await send(store, 'x');
    const record = await withStatus(store, theirs, 'WAITING_USER');
    // As a Python worker leaves it: no mark of ours, and a pickle that holds configs.
    const registry = store.keys.sessionRegistry(theirs.sessionId);
    const field = `exec:${theirs.executionId}`;
    const redis = at.redis();
    const stored = JSON.parse((await redis.hget(registry, field)) ?? '{}') as Record<string, unknown>;
    delete stored['x_config'];
    await redis.hset(registry, field, JSON.stringify(stored));
    const pickle = emptyConfigsSnapshot(7);
    await redis.set(store.keys.agentConfigsSnapshot(record.agentConfigsSnapshotKey ?? ''), pickle, 'KEEPTTL');
    await answer(store, theirs);
    await withStatus(store, theirs, 'COMPLETED');
    expect(await finals(store, theirs)).toEqual(['two true']);
    expect(told).toContain(
      'an execution began on a Python worker: its configuration is a pickle and is not read',
    );
  });

  test('what continues an execution after its end begins with the configuration of today', async () => {
    const store = at.open();
    let prompt = 'one';
    await work(at, store, [writing(() => prompt)]);
    const sent = await send(store, 'x');
    await withStatus(store, sent, 'COMPLETED');
    prompt = 'two';
    await reload(store);
    const document = encodeSendable({
      action: 'RESUME',
      header: createHeader({...sent, targetAgentType: TYPE}),
      ...{content: 'more', status: '', replyData: null, extraPayload: {}},
    });
    await store.commands.run(redis => redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', document));
    await until(async () => (await finals(store, sent)).length === 2);
    expect((await finals(store, sent))[1]).toBe('two two true');
  });
});
