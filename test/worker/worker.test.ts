import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {followExecution} from '../../src/client/follow-execution.js';
import {silentLogger} from '../../src/log.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import type {ExecutionRecord} from '../../src/protocol/execution.js';
import type {SessionItem} from '../../src/store/data-streams.js';
import type {Store} from '../../src/store/store.js';
import {contentText, defineAgent, GatewayWorker, type Agent} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const echo = defineAgent({
  type: 'echo',
  async run(ctx, ask) {
    for (const word of ask.text.split(' ')) await ctx.emitChunk(`${word} `);
    return {content: ask.text};
  },
});

async function work(
  at: TestStore,
  store: Store,
  agents: readonly Agent[],
  options = {},
): Promise<WorkerHandle> {
  const worker = await startWorker(store, {agents, log: silentLogger, ...options});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

async function watch(store: Store, sent: {sessionId: string; messageId: string}) {
  const items: SessionItem[] = [];
  const events = followExecution(store, sent);
  for (;;) {
    const next = await events.next();
    if (next.done) return {items, record: next.value as ExecutionRecord};
    items.push(next.value);
  }
}

const shown = (items: readonly SessionItem[]) =>
  items.map(item =>
    item.kind === 'event' ? [eventKind(item.event), eventText(item.event)] : [item.kind, ''],
  );

describeEachStore('a worker', at => {
  test('answers token by token, then the whole answer, then the end of the stream', async () => {
    const store = at.open();
    await work(at, store, [echo]);
    const sent = await new GatewayClient(store).send({agentType: 'echo', content: 'one two three'});
    const {items, record} = await watch(store, sent);
    expect(shown(items)).toEqual([
      ['answer', 'one '],
      ['answer', 'two '],
      ['answer', 'three '],
      ['final', 'one two three'],
      ['end', ''],
    ]);
    expect(record.status).toBe('COMPLETED');
    expect(record.executionId).toBe(sent.executionId);
    expect(record.timeline.map(step => step.status)).toEqual(['QUEUED', 'RUNNING', 'COMPLETED']);
  });

  test('gives a session a folder of its own, and a name that leads out of it ends the execution', async () => {
    const store = at.open();
    const workspaceRoot = await mkdtemp(join(tmpdir(), 'by-ws-'));
    at.cleanup(() => rm(workspaceRoot, {recursive: true, force: true}));
    const keeper = defineAgent({
      type: 'keeper',
      async run({workspace}, {text}) {
        const [name = '', content] = text.split('=');
        if (content !== undefined) await workspace.writeFile(name, content);
        return (await workspace.readFile(name)).toString();
      },
    });
    await work(at, store, [keeper], {workspaceRoot});
    const client = new GatewayClient(store);
    const ask = async (sessionId: string, content: string) =>
      (await watch(store, await client.send({agentType: 'keeper', content, sessionId}))).record;
    expect((await ask('sess-1', 'note=hello')).status).toBe('COMPLETED');
    expect((await ask('sess-1', 'note')).status).toBe('COMPLETED');
    expect((await ask('sess-2', 'note')).errorCode).toBe('NOT_FOUND');
    expect((await ask('sess-1', '../../note=x')).errorCode).toBe('WORKSPACE_ESCAPE');
  });

  test('gives a session its files, the same to the agents after it', async () => {
    const store = at.open();
    const workspaceRoot = await mkdtemp(join(tmpdir(), 'by-files-'));
    at.cleanup(() => rm(workspaceRoot, {recursive: true, force: true}));
    const writer = defineAgent({
      type: 'file-writer',
      run: (ctx, {text}) => ctx.step('write', async () => (await ctx.files.put('out/note.txt', text)).size),
    });
    const reader = defineAgent({
      type: 'file-reader',
      run: async ({files, workspace}) => {
        const {files: found} = await files.list();
        return `${found.map(({name}) => name).join()}: ${(await workspace.readFile('out/note.txt')).toString()}`;
      },
    });
    await work(at, store, [writer, reader], {workspaceRoot});
    const client = new GatewayClient(store);
    for (const [agentType, answer] of [
      ['file-writer', '5'],
      ['file-reader', 'out/note.txt: hello'],
    ] as const) {
      const sent = await client.send({agentType, content: 'hello', sessionId: 's'});
      const {items, record} = await watch(store, sent);
      expect([record.status, shown(items)]).toEqual([
        'COMPLETED',
        expect.arrayContaining([['final', answer]]),
      ]);
    }
  });

  test('leaves nothing behind on the control stream', async () => {
    const store = at.open();
    await work(at, store, [echo]);
    const client = new GatewayClient(store);
    const sent = await Promise.all(
      Array.from({length: 20}, () => client.send({agentType: 'echo', content: 'hi'})),
    );
    for (const one of sent) await watch(store, one);
    const redis = at.redis();
    const stream = store.keys.ctrlStream('echo');
    await until(async () => (await redis.xlen(stream)) === 0);
    expect(await redis.xpending(stream, 'agent_engines')).toEqual([0, null, null, null]);
  });

  test('gives the events a lifetime, also when an earlier turn of the session had none to write', async () => {
    const store = at.open();
    const waiter = defineAgent({type: 'waiter', run: () => ({status: 'WAITING_AGENT'})});
    await work(at, store, [waiter, echo]);
    const client = new GatewayClient(store);
    const silent = await client.send({agentType: 'waiter', content: 'x', sessionId: 's'});
    await until(async () => (await client.find('s', silent.messageId))?.status === 'WAITING_AGENT');
    await watch(store, await client.send({agentType: 'echo', content: 'x', sessionId: 's'}));
    expect(await at.redis().ttl(store.keys.sessionDataStream('s'))).toBeGreaterThan(0);
  });

  test('takes only as many commands as it can start', async () => {
    const store = at.open();
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    let started = 0;
    const slow = defineAgent({
      type: 'slow',
      run: async () => {
        started++;
        await gate;
        return 'done';
      },
    });
    const worker = await work(at, store, [slow], {concurrency: 2});
    const client = new GatewayClient(store);
    const sent = await Promise.all(
      Array.from({length: 6}, () => client.send({agentType: 'slow', content: 'x'})),
    );
    await until(() => started === 2);
    const redis = at.redis();
    const pending = await redis.xpending(store.keys.ctrlStream('slow'), 'agent_engines');
    expect(pending[0]).toBe(2);
    expect(worker.running).toBe(2);
    release();
    for (const one of sent) expect((await watch(store, one)).record.status).toBe('COMPLETED');
    expect(started).toBe(6);
  });

  test('an agent that throws ends FAILED, with the whole command among the dead letters', async () => {
    const store = at.open();
    const broken = defineAgent({
      type: 'broken',
      run: () => {
        throw new TypeError('page is undefined');
      },
    });
    await work(at, store, [broken]);
    const sent = await new GatewayClient(store).send({agentType: 'broken', content: 'keep me'});
    const {items, record} = await watch(store, sent);
    expect(record).toMatchObject({
      status: 'FAILED',
      errorType: 'TypeError',
      errorMessage: 'page is undefined',
    });
    expect(shown(items)).toEqual([['end', '']]);
    const [entry] = await at.redis().xrange(store.keys.deadletter(), '-', '+');
    const letter = JSON.parse(entry![1][1]!) as Record<string, never>;
    expect(letter).toMatchObject({
      source: 'execution',
      reason: 'page is undefined',
      command_payload: {body: {content: 'keep me'}, header: {message_id: sent.messageId}},
    });
  });

  test('hears a cancel while every slot is taken, and the agent sees it', async () => {
    const store = at.open();
    let seen = false;
    let begun = false;
    const endless = defineAgent({
      type: 'endless',
      run: ctx =>
        new Promise((_, reject) => {
          begun = true;
          ctx.signal.addEventListener('abort', () => {
            seen = true;
            reject(new Error('stopped'));
          });
        }),
    });
    await work(at, store, [endless], {concurrency: 1});
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'endless', content: 'x'});
    await until(() => begun);
    expect(await client.cancel({...sent, reason: 'enough'})).toMatchObject({
      status: 'CANCEL_REQUESTED',
      cancelledCount: 1,
    });
    const {items, record} = await watch(store, sent);
    expect(seen).toBe(true);
    expect(record).toMatchObject({status: 'CANCELLED', cancelReason: 'enough'});
    expect(shown(items)).toEqual([['end', '']]);
  });

  test('a forced cancel does not wait for an agent that ignores it', async () => {
    const store = at.open();
    let begun = false;
    const deaf = defineAgent({
      type: 'deaf',
      run: () => {
        begun = true;
        return new Promise(() => undefined);
      },
    });
    await work(at, store, [deaf]);
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'deaf', content: 'x'});
    await until(() => begun);
    await client.cancel({...sent, force: true});
    expect((await watch(store, sent)).record.status).toBe('CANCELLED');
  });

  test('work that was cancelled before anybody began is never begun', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'echo', content: 'x', policy: 'SEND_ANYWAY'});
    expect(await client.cancel(sent)).toMatchObject({cancelledCount: 1});
    const {items, record} = await watch(store, sent);
    expect(record.status).toBe('CANCELLED');
    expect(shown(items)).toEqual([['end', '']]);
    await work(at, store, [echo]);
    const redis = at.redis();
    await until(async () => (await redis.xlen(store.keys.ctrlStream('echo'))) === 0);
    expect((await watch(store, sent)).items).toHaveLength(1);
    expect(await client.cancel(sent)).toMatchObject({status: 'ALREADY_FINISHED'});
  });

  test('a message agent may ask the person, and goes on in the same execution', async () => {
    const store = at.open();
    class Asker extends GatewayWorker {
      getAgentTypes() {
        return ['asker'];
      }
      processCommand(command: Parameters<GatewayWorker['processCommand']>[0], ctx: AgentContext) {
        if (command.action === 'RESUME') return {content: `you said ${contentText(command.content)}`};
        return ctx.askUser('Which one?');
      }
    }
    await work(at, store, [new Asker()]);
    const sent = await new GatewayClient(store).send({agentType: 'asker', content: 'x'});
    const asked = await watch(store, sent);
    expect(asked.record.status).toBe('WAITING_USER');
    expect(shown(asked.items).map(([kind]) => kind)).toEqual(['ask']);
  });

  test('a command that can not be read goes to the dead letters, and its neighbours run', async () => {
    const store = at.open();
    const redis = at.redis();
    const stream = store.keys.ctrlStream('echo');
    await redis.xadd(stream, '*', 'data', 'not json');
    await redis.xadd(stream, '*', 'data', Buffer.from([0x7b, 0xff, 0xfe]));
    await redis.xadd(stream, '*', 'other', 'field');
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'echo', content: 'canary', policy: 'SEND_ANYWAY'});
    await work(at, store, [echo]);
    expect((await watch(store, sent)).record.status).toBe('COMPLETED');
    await until(async () => (await redis.xlen(store.keys.deadletter())) === 3);
    await until(async () => (await redis.xlen(stream)) === 0);
  });

  test('refuses a worker id that lives elsewhere', async () => {
    const store = at.open();
    await work(at, store, [echo], {workerId: 'w-1'});
    await expect(
      startWorker(store, {agents: [echo], workerId: 'w-1', log: silentLogger}),
    ).rejects.toMatchObject({
      code: 'WORKER_ID_TAKEN',
    });
  });

  test('stops by leaving the agent type first, finishing what runs, and giving the id back', async () => {
    const store = at.open();
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    let begun = false;
    const slow = defineAgent({
      type: 'slow',
      run: async () => {
        begun = true;
        await gate;
        return {content: 'done'};
      },
    });
    const worker = await work(at, store, [slow], {workerId: 'w-1'});
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'slow', content: 'x'});
    await until(() => begun);
    const stopped = worker.stop();
    const redis = at.redis();
    await until(async () => (await redis.scard(store.keys.members('slow'))) === 0);
    await expect(client.send({agentType: 'slow', content: 'y'})).rejects.toMatchObject({
      code: 'AGENT_TYPE_UNAVAILABLE',
    });
    release();
    expect(await stopped).toBe('stopped');
    expect((await watch(store, sent)).record.status).toBe('COMPLETED');
    expect(await redis.exists(store.keys.workerLease('w-1'))).toBe(0);
  });

  test('what a stop could not finish is taken up by the next worker of that id', async () => {
    const store = at.open();
    let attempts = 0;
    const once = defineAgent({
      type: 'once',
      run: ctx => {
        attempts++;
        if (ctx.attempt === 1) return new Promise(() => undefined);
        return {content: `attempt ${ctx.attempt}`};
      },
    });
    const first = await work(at, store, [once], {workerId: 'w-1'});
    const sent = await new GatewayClient(store).send({agentType: 'once', content: 'x'});
    await until(() => attempts === 1);
    await first.stop({drainMs: 0});
    // In a hurry it may not have given its id back: then that is free once its lease has run out.
    await work(at, store, [once], {workerId: 'w-1', claimTimeoutMs: 20_000});
    const {record, items} = await watch(store, sent);
    expect(record.status).toBe('COMPLETED');
    expect(shown(items)).toContainEqual(['final', 'attempt 2']);
  });

  test('a burst of ten thousand chunks arrives whole and in order', async () => {
    const store = at.open();
    const bursty = defineAgent({
      type: 'bursty',
      async run(ctx) {
        for (let i = 0; i < 10_000; i++) await ctx.emitChunk(`${i},`);
      },
    });
    await work(at, store, [bursty]);
    const sent = await new GatewayClient(store).send({agentType: 'bursty', content: 'x'});
    const {items} = await watch(store, sent);
    const texts = shown(items)
      .filter(([kind]) => kind === 'answer')
      .map(([, text]) => text);
    expect(texts.join('')).toBe(Array.from({length: 10_000}, (_, i) => `${i},`).join(''));
  });

  test('leaves a stream of its own that goes some day, and keeps it when it comes back', async () => {
    const store = at.open();
    const redis = at.redis();
    const stream = store.keys.workerCtrlStream('w-1');
    const first = await work(at, store, [echo], {workerId: 'w-1'});
    expect(await redis.ttl(stream)).toBe(-1);
    await first.stop();
    expect(await redis.ttl(stream)).toBeGreaterThan(0);
    await work(at, store, [echo], {workerId: 'w-1'});
    expect(await redis.ttl(stream)).toBe(-1);
  });
});
