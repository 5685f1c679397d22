import {expect, test} from 'vitest';
import {AgentAPI} from '../../src/orchestration/api.js';
import {AgentService} from '../../src/orchestration/service.js';
import {lookAt} from '../../src/store/orchestration.js';
import {defineAgent} from '../../src/worker/agent.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';
import {ended, eventTypes, orchestrate, QUICK, times, work, workspaceOf} from './support.js';

const W = 'default';

/** An agent that is at work until it is told, and an API in front of it. */
async function open(at: TestStore, own: Partial<typeof QUICK> = {}) {
  const store = at.open();
  const ws = workspaceOf(store);
  const heard: string[] = [];
  let release: () => void = () => undefined;
  const agent = defineAgent({
    type: 'busy',
    run: async (ctx, ask) => {
      heard.push(ask.text);
      if (ask.text.startsWith('hold'))
        await new Promise<void>(resolve => {
          release = resolve;
          ctx.signal.addEventListener('abort', () => resolve());
        });
      ctx.signal.throwIfAborted();
      return {content: `heard ${ask.text}`};
    },
  });
  await work(at, store, [agent]);
  orchestrate(at, ws);
  const service = new AgentService({store, times: {...QUICK, ...own}});
  const api = new AgentAPI({runtime: service});
  const hold = async (over: object = {}) => {
    const accepted = await api.acceptAgentCommand(W, {
      agentType: 'busy',
      message: 'hold',
      sessionId: 's',
      ...over,
    });
    await until(() => heard.includes('hold'));
    await until(async () => (await api.getRun(W, accepted.runId)).status === 'running');
    return accepted;
  };
  return {ws, api, service, heard, hold, release: () => release()};
}

describeEachStore('input of a run', at => {
  test('that is at work becomes its next turns, one by one, in their order', async () => {
    const {ws, api, service, heard, hold, release} = await open(at);
    const {runId} = await hold();
    for (const message of ['one', 'two'])
      expect(await api.enqueueRunInput(W, runId, {message})).toMatchObject({outcome: 'queued', runId});
    expect(await service.listRunPendingInputs(W, runId)).toMatchObject([{message: 'one'}, {message: 'two'}]);
    expect(await api.getRunInteraction(W, runId)).toMatchObject({state: 'working', pendingCount: 2});
    release();
    expect(await ended(ws, runId)).toMatchObject({
      run: {status: 'ok', result: {text: 'heard two'}, attemptCount: 3},
    });
    expect(heard).toEqual(['hold', 'one', 'two']);
  });

  test('of twenty with one key one is kept, and a steer is openly a followup', async () => {
    const {api, service, hold, release} = await open(at);
    const {runId} = await hold();
    const all = await times(20, () =>
      api.enqueueRunInput(W, runId, {message: 'once', mode: 'steer', idempotencyKey: 'k'}),
    );
    expect(all.filter(({idempotentHit}) => !idempotentHit)).toHaveLength(1);
    expect(new Set(all.map(({inputId}) => inputId)).size).toBe(1);
    expect(all[0]).toMatchObject({outcome: 'queued', downgraded: 'steer_unsupported'});
    expect(await service.listRunPendingInputs(W, runId)).toMatchObject([{mode: 'followup'}]);
    await expect(
      api.enqueueRunInput(W, runId, {message: 'other', idempotencyKey: 'k'}),
    ).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
    release();
  });

  test('that is collected goes as one turn; twenty are kept', async () => {
    const {ws, api, heard, hold, release} = await open(at);
    const {runId} = await hold();
    for (let i = 0; i < 21; i++) await api.enqueueRunInput(W, runId, {message: `m${i}`, mode: 'collect'});
    release();
    await ended(ws, runId);
    expect(heard.slice(1)).toEqual([Array.from({length: 20}, (_, i) => `m${i + 1}`).join('\n\n')]);
  });

  test('that is collected beyond twenty is summed up, refused, or drops the oldest', async () => {
    const {ws, api, service, heard, hold, release} = await open(at);
    const {runId} = await hold();
    const asked: (readonly string[])[] = [];
    const summing = new AgentAPI({
      runtime: new AgentService({
        ...{store: ws.store, times: QUICK},
        summarise: (messages, context) => {
          expect(context).toMatchObject({runId, agentType: 'busy'});
          asked.push(messages);
          return Promise.resolve(`sum of ${messages.length}`);
        },
      }),
    });
    const collect = (message: string, overflow?: 'summarize' | 'drop_new', by = summing) =>
      by.enqueueRunInput(W, runId, {message, mode: 'collect', ...(overflow ? {overflow} : {})});
    const first = Array.from({length: 20}, (_, i) => `m${i}`);
    await collect('m0', 'summarize');
    for (const message of first.slice(1)) await collect(message);
    expect(asked).toEqual([]);
    await expect(collect('no', 'drop_new')).rejects.toMatchObject({code: 'QUEUE_FULL'});
    await expect(collect('no', 'summarize', api)).rejects.toMatchObject({code: 'INVALID_INPUT'});
    expect(await collect('last', 'summarize')).toMatchObject({outcome: 'queued', runId});
    expect(asked).toEqual([first]);
    expect(await service.listRunPendingInputs(W, runId)).toMatchObject([
      {message: 'sum of 20', mode: 'collect'},
      {message: 'last'},
    ]);
    expect(await api.getRunInteraction(W, runId)).toMatchObject({pendingCount: 2});
    release();
    await ended(ws, runId);
    expect(heard.slice(1)).toEqual(['sum of 20\n\nlast']);
    expect(await eventTypes(ws, runId)).toContain('input_summarized');
  });

  test('that is summed up while others speak loses nothing they say, and one that fails accepts nothing', async () => {
    const {ws, api, service, heard, hold, release} = await open(at);
    const {runId} = await hold();
    const collect = (message: string) => api.enqueueRunInput(W, runId, {message, mode: 'collect'});
    for (let i = 0; i < 20; i++) await collect(`m${i}`);
    let sums = 0;
    const summing = (summarise: (messages: readonly string[]) => Promise<string>) =>
      new AgentService({store: ws.store, times: QUICK, summarise}).acceptRunInput(
        ...([W, runId, 'collect', 'last', undefined, {overflow: 'summarize'}] as const),
      );
    await expect(summing(() => Promise.reject(new Error('the model is away')))).rejects.toThrow('away');
    await expect(summing(() => Promise.resolve(' '))).rejects.toMatchObject({code: 'INVALID_INPUT'});
    expect(await service.listRunPendingInputs(W, runId)).toHaveLength(20);
    // It drops m0, so that what was summed up first is not what waits.
    const between = async (messages: readonly string[]) => {
      if (++sums === 1) await collect('between');
      return `${messages.at(0)} to ${messages.at(-1)}`;
    };
    await summing(between);
    expect(sums).toBe(2);
    release();
    await ended(ws, runId);
    expect(heard.slice(1)).toEqual(['m1 to between\n\nlast']);
  });

  test('that interrupts stops what runs and takes its place before what was said earlier', async () => {
    const {ws, api, heard, hold} = await open(at, {stopGraceMs: 60_000});
    const {runId} = await hold();
    await api.enqueueRunInput(W, runId, {message: 'later'});
    const result = await api.enqueueRunInput(W, runId, {message: 'now', mode: 'interrupt'});
    expect(result.outcome).toBe('interrupted');
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', attemptCount: 3}});
    expect(heard).toEqual(['hold', 'now', 'later']);
    expect(await eventTypes(ws, runId)).toEqual(
      expect.arrayContaining(['attempt_superseded', 'interrupted']),
    );
  });

  test('that would interrupt what does not stop is kept for the next turn, unless overlap is accepted', async () => {
    at.breaksRules('dead-workers', 'ctrlStream');
    const {ws, api} = await open(at);
    const store = ws.store;
    const plain = await new PlainWorker(store, at.redis(), 'py-1', 'py').online();
    const {runId} = await api.acceptAgentCommand(W, {agentType: 'py', message: 'hi'});
    const taken = await plain.take();
    await until(async () => (await api.getRun(W, runId)).status === 'running');
    // Whatever is written there meanwhile, it says that it runs.
    const stuckness = {on: true};
    const stuck = (async () => {
      while (stuckness.on) await plain.write(taken, {status: 'RUNNING'});
    })();
    await expect(api.enqueueRunInput(W, runId, {message: 'now', mode: 'interrupt'})).rejects.toMatchObject({
      code: 'INTERRUPT_DRAIN_TIMEOUT',
    });
    const forced = await api.enqueueRunInput(W, runId, {
      message: 'at once',
      mode: 'interrupt',
      forceAfterMs: 50,
    });
    expect(forced.outcome).toBe('interrupted');
    const next = await plain.take();
    expect(next.metadata['by_run']).toMatchObject({attempt_no: 2, fence: 2});
    stuckness.on = false;
    await stuck;
    expect(await eventTypes(ws, runId)).toContain('overlap_accepted');
    await plain.write(next, {status: 'COMPLETED'});
    const last = await plain.take();
    await plain.write(last, {status: 'COMPLETED'});
    expect((await ended(ws, runId)).run?.status).toBe('ok');
  });

  test('that it waits for is its answer; the first of two wins, the other is another turn', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    const answers: string[] = [];
    const asks = defineAgent({
      type: 'asks',
      run: async (ctx, ask) => {
        if (ask.text !== 'begin') return {content: `then ${ask.text}`};
        const answer = String(((await ctx.askUser('which?')) as {text: unknown}).text);
        answers.push(answer);
        return {content: `it is ${answer}`};
      },
    });
    await work(at, store, [asks]);
    orchestrate(at, ws);
    const api = new AgentAPI({runtime: new AgentService({store, times: QUICK})});
    const {runId, task} = await api.acceptAgentCommand(W, {agentType: 'asks', message: 'begin'});
    await until(async () => (await api.getRunInteraction(W, runId)).state === 'waiting_for_input');
    expect((await api.getTask(W, task.taskId)).status).toBe('waiting');
    const both = await times(2, i => api.enqueueRunInput(W, runId, {message: `a${i}`}));
    const other = both.find(({outcome}) => outcome !== 'direct')!;
    expect(both.map(({outcome}) => outcome)).toContain('direct');
    // Where the answer was quick to end the run, the other one takes it up again.
    expect(['queued', 'restarted']).toContain(other.outcome);
    expect((await ended(ws, other.runId)).run?.result?.text).toMatch(/^then a/);
    expect(answers).toHaveLength(1);
  });

  test('that comes after the end takes the task up again; what was archived takes none', async () => {
    const {ws, api, heard} = await open(at);
    const {runId, task} = await api.acceptAgentCommand(W, {agentType: 'busy', message: 'first'});
    await ended(ws, runId);
    const again = await api.enqueueRunInput(W, runId, {message: 'second'});
    expect(again).toMatchObject({outcome: 'restarted', task: {taskId: task.taskId, runCount: 2}});
    expect(again.runId).not.toBe(runId);
    expect(await ended(ws, again.runId)).toMatchObject({
      task: {status: 'done', sessionId: task.sessionId},
      run: {resumeOfRunId: runId, resumeSession: true},
    });
    expect(heard).toEqual(['first', 'second']);
    // By its old name it is found too.
    const third = await api.enqueueRunInput(W, runId, {message: 'third'});
    await ended(ws, third.runId);
    await api.archiveTask(W, task.taskId);
    await expect(api.enqueueRunInput(W, runId, {message: 'x'})).rejects.toMatchObject({
      code: 'TASK_ARCHIVED',
    });
    expect((await lookAt(ws, 'task', task.taskId))?.task.runCount).toBe(3);
  });

  test('a command for a session at work becomes input of its run, unless it asks for a task of its own', async () => {
    const {ws, api, heard, hold, release} = await open(at);
    const {runId, task} = await hold();
    const same = {agentType: 'busy', sessionId: 's'};
    const converted = {...same, message: 'more', idempotencyKey: 'k'};
    for (const isHit of [false, true])
      expect(await api.acceptAgentCommand(W, converted)).toMatchObject({
        idempotentHit: isHit,
        task: {taskId: task.taskId},
      });
    await expect(
      api.acceptAgentCommand(W, {...same, message: 'no', queueMode: 'reject'}),
    ).rejects.toMatchObject({
      code: 'SESSION_BUSY',
    });
    const own = await api.enqueueRunInput(W, runId, {message: 'own', mode: 'queue'});
    expect(own).toMatchObject({outcome: 'queued'});
    expect(own.task.taskId).not.toBe(task.taskId);
    const hook = await api.acceptAgentCommand(W, {...same, message: 'hook', hookId: 'h'});
    expect(hook).not.toHaveProperty('convertedToInput');
    release();
    await ended(ws, hook.runId);
    expect(heard).toEqual(['hold', 'more', 'own', 'hook']);
  });
});
