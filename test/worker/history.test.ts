/** What workers save of what is said, and what agents read of it: spec §9.2, docs/decisions/0013. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {ByError} from '../../src/errors.js';
import type {HistoryBackend, HistoryMessage} from '../../src/history/backend.js';
import {memoryHistory} from '../../src/history/memory.js';
import {redisHistory} from '../../src/history/redis.js';
import {loggerTo, silentLogger} from '../../src/log.js';
import {findExecution} from '../../src/store/executions.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent, GatewayWorker, type Agent} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import {startWorker, type WorkerOptions} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

async function work(
  at: TestStore,
  store: Store,
  agents: readonly Agent[],
  options: Partial<WorkerOptions> = {},
) {
  const worker = await startWorker(store, {agents, log: silentLogger, ...options});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

const ask = (store: Store, agentType: string, content: string | object[], sessionId?: string) =>
  new GatewayClient(store).send({
    ...{agentType, content, policy: 'SEND_ANYWAY'},
    ...(sessionId === undefined ? {} : {sessionId}),
  });

const withStatus = (store: Store, sent: {sessionId: string; executionId: string}, status: string) =>
  until(async () => {
    const record = await findExecution(store, sent.sessionId, sent.executionId);
    return record?.status === status && record;
  });

/** The history once it has so many messages. */
const saved = (history: HistoryBackend, sessionId: string, count: number) =>
  until(async () => {
    const messages = await history.getHistory(sessionId, 100);
    return messages.length >= count && messages;
  });

const shown = (messages: readonly HistoryMessage[]) => messages.map(({role, content}) => [role, content]);

/** A message agent of one function. */
function messageAgent(type: string, handle: (ctx: AgentContext, text: unknown) => unknown, retry = {}) {
  return new (class extends GatewayWorker {
    override readonly retry = retry;
    getAgentTypes() {
      return [type];
    }
    processCommand(command: {readonly content: unknown}, ctx: AgentContext) {
      return handle(ctx, command.content);
    }
  })();
}

/** A backend that can be told to misbehave. */
function unreliable(inner: HistoryBackend) {
  const state = {mode: 'well' as 'well' | 'throws' | 'hangs' | 'forgets its reply', calls: 0};
  const misbehave = async <T>(act: () => Promise<T>): Promise<T> => {
    state.calls++;
    if (state.mode === 'throws') throw new ByError('HISTORY_UNAVAILABLE', 'gone', {hint: ''});
    if (state.mode === 'hangs') return new Promise(() => undefined);
    const result = await act();
    if (state.mode === 'forgets its reply') throw new Error('connection lost');
    return result;
  };
  const history: HistoryBackend = {
    name: 'unreliable',
    getHistory: (...args) => misbehave(() => inner.getHistory(...args)),
    saveMessage: (...args) => misbehave(() => inner.saveMessage(...args)),
    listSessions: (...args) => misbehave(() => inner.listSessions(...args)),
    close: () => inner.close(),
  };
  return {history, state};
}

describeEachStore('the history of a session', at => {
  test('has what was asked, and what was said piece by piece, once, with who said it', async () => {
    const store = at.open();
    const history = memoryHistory();
    const talker = messageAgent('talker', async ctx => {
      await ctx.emitReasoning('hmm ');
      await ctx.emitState('thinking');
      for (const word of ['one ', 'two ', 'three']) await ctx.emitChunk(word);
      return 'one two three';
    });
    await work(at, store, [talker], {history});
    const sent = await ask(store, 'talker', 'count');
    const [question, answer, ...more] = await saved(history, sent.sessionId, 2);
    expect(more).toEqual([]);
    expect(question).toMatchObject({
      role: 'user',
      content: 'count',
      metadata: {message_id: sent.messageId, trace_id: sent.traceId, agent_id: 'talker'},
    });
    expect(answer).toMatchObject({
      role: 'assistant',
      content: 'one two three',
      metadata: {
        trace_id: sent.traceId,
        agent_id: 'talker',
        parent_message_id: '',
        message_id: sent.messageId,
      },
    });
  });

  test('is read by the next turn, whichever way the agent is written, lists of objects included', async () => {
    const store = at.open();
    const read = async ({history}: Pick<AgentContext, 'history'>) =>
      JSON.stringify(shown(await history.get(20)));
    await work(at, store, [
      messageAgent('message', ctx => read(ctx)),
      defineAgent({type: 'durable', run: ctx => read(ctx)}),
    ]);
    const expected: unknown[] = [];
    for (const agentType of ['message', 'durable', 'message']) {
      const content = [{text: `from ${agentType}`}];
      const sent = await ask(store, agentType, content, 's');
      await withStatus(store, sent, 'COMPLETED');
      expected.push(['user', content]);
      const answer = JSON.stringify(expected);
      expected.push(['assistant', answer]);
    }
    const last = await ask(store, 'message', 'all', 's');
    await withStatus(store, last, 'COMPLETED');
    const events = await at.redis().xrevrange(store.keys.sessionDataStream('s'), '+', '-', 'COUNT', 10);
    expect(JSON.stringify(events)).toContain('from durable');
  });

  test('has the answer of an agent that only returns it, and says how a turn ended that did not complete', async () => {
    const store = at.open();
    const history = memoryHistory();
    await work(
      at,
      store,
      [
        defineAgent({type: 'quiet', run: () => ({content: 'the answer'})}),
        defineAgent({
          type: 'breaks',
          run: async ctx => {
            await ctx.emitChunk('so far');
            throw new Error('broken');
          },
        }),
      ],
      {history},
    );
    const quiet = await ask(store, 'quiet', 'q');
    const broken = await ask(store, 'breaks', 'b');
    expect(shown(await saved(history, quiet.sessionId, 2))).toEqual([
      ['user', 'q'],
      ['assistant', 'the answer'],
    ]);
    const [, partial] = await saved(history, broken.sessionId, 2);
    expect(partial).toMatchObject({content: 'so far', metadata: {status: 'FAILED'}});
  });

  test('has what an attempt that is tried again says once, and of the answer only the last', async () => {
    const store = at.open();
    const history = memoryHistory();
    const flaky = messageAgent(
      'flaky',
      async ctx => {
        await ctx.history.save('tool', 'looked it up', {tool: 'search'});
        await ctx.history.save('tool', 'looked it up', {tool: 'search'});
        await ctx.emitChunk(`attempt ${ctx.attempt}`);
        if (ctx.attempt < 3) throw new Error('not yet');
      },
      {baseMs: 1, maxMs: 2},
    );
    await work(at, store, [flaky], {history});
    const sent = await ask(store, 'flaky', 'go');
    await withStatus(store, sent, 'COMPLETED');
    const messages = await saved(history, sent.sessionId, 4);
    expect(shown(messages)).toEqual([
      ['user', 'go'],
      ['tool', 'looked it up'],
      ['tool', 'looked it up'],
      ['assistant', 'attempt 3'],
    ]);
    expect(messages[1]?.metadata).toMatchObject({tool: 'search'});
  });

  test('has each turn of a durable agent once, and is read alike in every turn', async () => {
    const store = at.open();
    const history = memoryHistory();
    const reads: number[][] = [];
    const agent = defineAgent({
      type: 'planner',
      async run(ctx) {
        const counts = [(await ctx.history.get()).length];
        await ctx.emitChunk('Let me ask. ');
        await ctx.history.save('tool', 'a note');
        const answer = await ctx.step('inner', async () => {
          await ctx.emitChunk('(in a step) ');
          await ctx.history.save('tool', 'a note in a step');
          return (await ctx.history.get()).length;
        });
        counts.push(answer);
        const said = await ctx.askUser('Well?');
        await ctx.emitChunk(`You said ${String(said)}.`);
        counts.push((await ctx.history.get()).length);
        reads.push(counts);
      },
    });
    await work(at, store, [agent], {history});
    const sent = await ask(store, 'planner', 'plan');
    await withStatus(store, sent, 'WAITING_USER');
    await saved(history, sent.sessionId, 4);
    await history.saveMessage(sent.sessionId, 'system', 'from elsewhere');
    const client = new GatewayClient(store);
    const [question] = await client.questions(sent.sessionId);
    await client.reply({
      ...{sessionId: sent.sessionId, executionId: sent.executionId},
      ...{questionId: question?.questionId ?? '', content: 'yes'},
    });
    await withStatus(store, sent, 'COMPLETED');
    expect(shown(await saved(history, sent.sessionId, 6))).toEqual([
      ['user', 'plan'],
      ['tool', 'a note'],
      ['tool', 'a note in a step'],
      ['assistant', 'Let me ask. (in a step) '],
      ['system', 'from elsewhere'],
      ['assistant', 'You said yes.'],
    ]);
    expect(reads).toEqual([[1, 3, 5]]);
  });

  test('has all of what a durable agent said in a turn that was cut off and begun again', async () => {
    const store = at.open();
    const history = memoryHistory();
    let starts = 0;
    let isHanging = false;
    const agent = defineAgent({
      type: 'talker',
      async run(ctx) {
        starts++;
        await ctx.emitChunk('said before, ');
        await ctx.step('one', () => ctx.emitChunk('said in a step, '));
        if (starts === 1) {
          await ctx.step('hang', async ({signal}) => {
            isHanging = true;
            await new Promise(resolve => signal.addEventListener('abort', resolve));
            throw new Error('stopped');
          });
        } else await ctx.step('hang', () => undefined);
        await ctx.emitChunk('said after.');
      },
    });
    const first = await startWorker(store, {agents: [agent], log: silentLogger, history});
    const sent = await ask(store, 'talker', 'go');
    // Not before: what a step says is said again with a step that was cut off.
    await until(() => isHanging);
    await first.stop({drainMs: 0});
    await work(at, store, [agent], {history});
    await withStatus(store, sent, 'COMPLETED');
    expect(shown(await saved(history, sent.sessionId, 2))).toEqual([
      ['user', 'go'],
      ['assistant', 'said before, said in a step, said after.'],
    ]);
  });

  test('has what a sub-agent was asked and answered', async () => {
    const store = at.open();
    const history = memoryHistory();
    await work(
      at,
      store,
      [
        defineAgent({
          type: 'boss',
          run: async ctx => `heard: ${String(await ctx.call('helper', 'help me'))}`,
        }),
        defineAgent({
          type: 'helper',
          async run(ctx) {
            await ctx.emitChunk('helping ');
            return 'helped';
          },
        }),
      ],
      {history},
    );
    const sent = await ask(store, 'boss', 'go');
    const messages = await saved(history, sent.sessionId, 4);
    expect(shown(messages)).toEqual([
      ['user', 'go'],
      ['user', 'help me'],
      ['assistant', 'helping '],
      ['assistant', 'heard: helped'],
    ]);
    expect(messages[1]?.metadata).toMatchObject({agent_id: 'helper', source_agent_type: 'boss'});
  });

  test('is nowhere where it is turned off, and writes nothing to Redis unless it is to', async () => {
    const store = at.open();
    const reader = messageAgent('reader', async ctx => {
      await ctx.history.save('user', 'x');
      return `${(await ctx.history.get()).length} messages`;
    });
    await work(at, store, [reader], {history: false});
    const sent = await ask(store, 'reader', 'go');
    await withStatus(store, sent, 'COMPLETED');
    expect(await redisHistory(store).listSessions()).toEqual([]);
  });

  test('can be in Redis, beside the session', async () => {
    const store = at.open();
    const history = redisHistory(store);
    await work(at, store, [defineAgent({type: 'echo', run: (_ctx, {text}) => text})], {history});
    const sent = await ask(store, 'echo', 'hello');
    expect(shown(await saved(history, sent.sessionId, 2))).toEqual([
      ['user', 'hello'],
      ['assistant', 'hello'],
    ]);
    expect(await history.listSessions()).toMatchObject([{sessionId: sent.sessionId, messageCount: 2}]);
  });

  test('refuses what can not be a message in the agent’s own words', async () => {
    const store = at.open();
    const wrong = messageAgent('wrong', ctx => ctx.history.save('bot' as 'user', 'x'));
    const durable = defineAgent({type: 'durable', run: ctx => ctx.history.get(0)});
    await work(at, store, [wrong, durable]);
    for (const type of ['wrong', 'durable'])
      expect(await withStatus(store, await ask(store, type, 'go'), 'FAILED')).toMatchObject({
        errorCode: 'INVALID_INPUT',
      });
  });

  test('that can not be kept fails no task and holds up none; it is said once, and again when it is back', async () => {
    const store = at.open();
    const {history, state} = unreliable(memoryHistory());
    const lines: string[] = [];
    const log = loggerTo((level, message) => lines.push(`${level} ${message}`));
    const worker = await work(at, store, [defineAgent({type: 'echo', run: (_ctx, {text}) => text})], {
      history,
      log,
    });
    state.mode = 'throws';
    for (let index = 0; index < 5; index++)
      await withStatus(store, await ask(store, 'echo', `m${index}`), 'COMPLETED');
    await until(() => lines.includes('warn history is not kept'));
    state.mode = 'hangs';
    await withStatus(store, await ask(store, 'echo', 'hangs'), 'COMPLETED');
    // It does not wait for what hangs.
    await worker.stop({drainMs: 0});
    expect(lines.filter(line => line.includes('history'))).toEqual(['warn history is not kept']);
  });

  test('is saved again after a reply was lost, and is there once', async () => {
    const store = at.open();
    const inner = memoryHistory();
    const {history, state} = unreliable(inner);
    state.mode = 'forgets its reply';
    await work(at, store, [defineAgent({type: 'echo', run: (_ctx, {text}) => text})], {history});
    const sent = await ask(store, 'echo', 'hello');
    await saved(inner, sent.sessionId, 1);
    await until(() => state.calls >= 3);
    state.mode = 'well';
    await withStatus(store, await ask(store, 'echo', 'again', sent.sessionId), 'COMPLETED');
    const messages = await until(async () => {
      const found = await inner.getHistory(sent.sessionId);
      return found.some(({role, content}) => role === 'assistant' && content === 'again') && found;
    });
    expect(messages.filter(({content, role}) => role === 'user' && content === 'hello')).toHaveLength(1);
  });

  test('that can not be read is an error that may pass: the attempt is made again', async () => {
    const store = at.open();
    const {history, state} = unreliable(memoryHistory());
    const reader = messageAgent('reader', async ctx => {
      if (ctx.attempt === 1) state.mode = 'throws';
      else state.mode = 'well';
      return `${(await ctx.history.get()).length} on attempt ${ctx.attempt}`;
    });
    const durable = defineAgent({
      type: 'durable',
      async run(ctx) {
        state.mode = 'throws';
        const reading = ctx.history.get();
        // Its step is begun, fails, and is tried again.
        const before = state.calls;
        void until(() => state.calls > before).then(() => (state.mode = 'well'));
        return `${(await reading).length} messages`;
      },
    });
    await work(at, store, [reader, durable], {history});
    const first = await withStatus(store, await ask(store, 'reader', 'go'), 'COMPLETED');
    expect(first.extra['x_attempt']).toBe(2);
    await withStatus(store, await ask(store, 'durable', 'go'), 'COMPLETED');
  });
});
