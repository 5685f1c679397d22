/** LangGraph's graphs as durable agents: interrupts become questions and calls, and a killed worker is replaced. */
import {AIMessage, type BaseMessage} from '@langchain/core/messages';
import {Annotation, END, interrupt, MessagesAnnotation, START, StateGraph} from '@langchain/langgraph';
import {ToolNode} from '@langchain/langgraph/prebuilt';
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {agentTool, callAgent, checkpointer, langGraphAgent} from '../../src/integrations/langgraph/index.js';
import {silentLogger} from '../../src/log.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {followSession} from '../../src/store/data-streams.js';
import {sweepOutboxes} from '../../src/store/outbox.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {MortalWorker} from '../support/mortal-worker.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'graph';

async function work(at: TestStore, store: Store, ...agents: Agent[]): Promise<void> {
  const worker = await startWorker(store, {agents, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
}

const send = (store: Store, content: string, sessionId?: string) =>
  new GatewayClient(store).send({
    ...{agentType: TYPE, content, policy: 'SEND_ANYWAY'},
    ...(sessionId === undefined ? {} : {sessionId}),
  });
type Sent = Awaited<ReturnType<typeof send>>;

const ended = (store: Store, {sessionId, messageId}: Sent) =>
  until(async () => {
    const record = await new GatewayClient(store).find(sessionId, messageId);
    return record !== undefined && ['COMPLETED', 'FAILED'].includes(record.status) && record;
  });

async function told(store: Store, {sessionId, messageId}: Sent): Promise<string[]> {
  const lines: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event' && item.event.messageId === messageId)
      lines.push(`${eventKind(item.event)} ${eventText(item.event)}`.trim());
  return lines;
}

const answer = async (store: Store, sent: Sent, content: string) => {
  const [question] = await until(async () => {
    const open = await new GatewayClient(store).questions(sent.sessionId);
    return open.length > 0 && open;
  });
  await new GatewayClient(store).reply({
    ...{sessionId: sent.sessionId, executionId: sent.executionId, content},
    questionId: question!.questionId,
  });
  return question!;
};

const Draft = Annotation.Root({
  topic: Annotation<string>,
  drafts: Annotation<string[]>({reducer: (all, more) => [...all, ...more], default: () => []}),
  verdict: Annotation<string>,
});

/** Writes, asks a person, and writes again until they say yes. @param log every run of a node. */
const reviewed = (log: string[] = []) =>
  new StateGraph(Draft)
    .addNode('write', ({topic, drafts}) => {
      log.push(`write ${drafts.length}`);
      return {drafts: [`${topic} v${drafts.length + 1}`]};
    })
    .addNode('review', ({drafts}) => {
      log.push('review');
      return {verdict: interrupt<unknown, string>({prompt: `${drafts.at(-1)}?`, choices: ['yes', 'no']})};
    })
    .addEdge(START, 'write')
    .addEdge('write', 'review')
    .addConditionalEdges('review', ({verdict}) => (verdict === 'yes' ? END : 'write'));

const reviewing = (log?: string[]): Agent => {
  const builder = reviewed(log);
  return langGraphAgent({
    type: TYPE,
    graph: options => builder.compile(options),
    input: ask => ({topic: ask.text}),
    output: ({drafts}) => (drafts as string[]).join(', '),
  });
};

describeEachStore('a LangGraph graph as an agent', at => {
  test('asks by its interrupts, and each node that has ended runs once', async () => {
    const store = at.open();
    const log: string[] = [];
    await work(at, store, reviewing(log));
    const sent = await send(store, 'essay');
    expect(await answer(store, sent, 'no')).toMatchObject({prompt: 'essay v1?', choices: ['yes', 'no']});
    await until(
      async () => (await new GatewayClient(store).questions(sent.sessionId))[0]?.prompt === 'essay v2?',
    );
    await answer(store, sent, 'yes');
    expect(await ended(store, sent)).toMatchObject({status: 'COMPLETED'});
    const lines = await told(store, sent);
    expect(lines.slice(-2)).toEqual(['final essay v1, essay v2', 'end']);
    expect(lines.filter(line => line === 'state write')).toHaveLength(2);
    // A node with an interrupt runs again from its top: that is LangGraph's rule.
    expect(log).toEqual(['write 0', 'review', 'review', 'write 1', 'review', 'review']);
  });

  test('goes on with the state of its session, where it is told to', async () => {
    const store = at.open();
    const builder = new StateGraph(MessagesAnnotation)
      .addNode('reply', ({messages}: {messages: BaseMessage[]}) => ({
        messages: [
          new AIMessage(
            `you said ${messages
              .filter(each => each.type === 'human')
              .map(each => each.text)
              .join('+')}`,
          ),
        ],
      }))
      .addEdge(START, 'reply');
    await work(
      at,
      store,
      langGraphAgent({type: TYPE, memory: 'session', graph: options => builder.compile(options)}),
    );
    const first = await send(store, 'one');
    await ended(store, first);
    expect(await told(store, first)).toContain('final you said one');
    const second = await send(store, 'two', first.sessionId);
    await ended(store, second);
    expect(await told(store, second)).toContain('final you said one+two');
    const other = await send(store, 'three');
    await ended(store, other);
    expect(await told(store, other)).toContain('final you said three');
  });

  test('has other agents as tools, also those that fail', async () => {
    const store = at.open();
    const tools = [
      agentTool({agentType: 'weather', description: 'The weather of a town.'}),
      agentTool({agentType: 'broken', description: 'Never works.'}),
    ];
    const builder = new StateGraph(MessagesAnnotation)
      .addNode('model', ({messages}: {messages: BaseMessage[]}) => {
        const heard = messages.filter(each => each.type === 'tool');
        if (heard.length > 0) return {messages: [new AIMessage(heard.map(each => each.text).join(' | '))]};
        const call = (name: string, id: string) => ({
          name,
          id,
          args: {message: id},
          type: 'tool_call' as const,
        });
        return {
          messages: [
            new AIMessage({
              content: '',
              tool_calls: [call('weather', 'Oslo'), call('weather', 'Rome'), call('broken', 'x')],
            }),
          ],
        };
      })
      .addNode('tools', new ToolNode(tools))
      .addEdge(START, 'model')
      .addConditionalEdges('model', ({messages}: {messages: BaseMessage[]}) =>
        (messages.at(-1) as AIMessage).tool_calls?.length ? 'tools' : END,
      )
      .addEdge('tools', 'model');
    await work(
      at,
      store,
      langGraphAgent({type: TYPE, graph: options => builder.compile(options)}),
      defineAgent({type: 'weather', run: (_ctx, ask) => ({content: `${ask.text}: sun`})}),
      defineAgent({type: 'broken', run: () => ({status: 'FAILED', content: 'no', retryable: false})}),
    );
    const sent = await send(store, 'x');
    expect(await ended(store, sent)).toMatchObject({status: 'COMPLETED'});
    const final = (await told(store, sent)).find(line => line.startsWith('final'));
    expect(final).toMatch(/^final Oslo: sun \| Rome: sun \| .*"broken" failed/);
  });

  test('calls several agents at once from nodes that run side by side', async () => {
    const store = at.open();
    const State = Annotation.Root({
      parts: Annotation<string[]>({reducer: (all, more) => [...all, ...more].sort(), default: () => []}),
    });
    const ask = (what: string) => () => ({parts: [String(callAgent('echo', what))]});
    const builder = new StateGraph(State)
      .addNode('a', ask('a'))
      .addNode('b', ask('b'))
      .addEdge(START, 'a')
      .addEdge(START, 'b');
    await work(
      at,
      store,
      langGraphAgent({
        ...{type: TYPE, graph: options => builder.compile(options), input: () => ({})},
        output: ({parts}) => (parts as string[]).join(),
      }),
      defineAgent({type: 'echo', run: (_ctx, {text}) => ({content: `${text}!`})}),
    );
    const sent = await send(store, 'x');
    await ended(store, sent);
    expect(await told(store, sent)).toContain('final a!,b!');
  });

  test('that throws fails its execution with the reason', async () => {
    const store = at.open();
    const builder = new StateGraph(Draft)
      .addNode('write', () => {
        throw new Error('out of ink');
      })
      .addEdge(START, 'write');
    await work(
      at,
      store,
      langGraphAgent({type: TYPE, graph: options => builder.compile(options), input: () => ({topic: 'x'})}),
    );
    const record = await ended(store, await send(store, 'x'));
    expect(record).toMatchObject({
      status: 'FAILED',
      errorMessage: expect.stringContaining('out of ink') as string,
    });
  });

  test('goes on behind its last checkpoint wherever its worker dies', async () => {
    for (let commands = 1; commands < 40; commands += 2) {
      const store = at.open();
      const log: string[] = [];
      const worker = new MortalWorker(store, [reviewing(log)]);
      const client = new GatewayClient(store);
      const sent = await send(store, 'essay');
      let lives = 0;
      let answered = 0;
      await worker.work(
        async () => {
          const [question] = await client.questions(sent.sessionId).catch(() => []);
          if (question !== undefined && answered < 2) {
            const content = question.prompt.startsWith('essay v1') ? 'no' : 'yes';
            const {sessionId, executionId} = sent;
            const {questionId} = question;
            await client.reply({sessionId, executionId, questionId, content}).then(
              () => answered++,
              // Its turn has not ended, or has died.
              () => undefined,
            );
          }
          return (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED';
        },
        () => (lives++ < 3 ? commands : Infinity),
      );
      expect(await told(store, sent), `died after ${commands} commands`).toContain(
        'final essay v1, essay v2',
      );
      if (at.kind === 'cluster') await sweepOutboxes(store, 0);
    }
  });
});

describeEachStore('checkpoints of graphs in Redis', at => {
  test('serve a graph outside of agents, with its history, and keep the newest only', async () => {
    const store = at.open();
    const saver = checkpointer(store);
    const State = Annotation.Root({n: Annotation<number>({reducer: (a, b) => a + b, default: () => 0})});
    const graph = new StateGraph(State)
      .addNode('add', () => ({n: 1}))
      .addEdge(START, 'add')
      .compile({checkpointer: saver});
    const config = {configurable: {thread_id: 'thread-1'}};
    for (let at = 0; at < 12; at++) await graph.invoke({n: 10}, config);
    expect((await graph.getState(config)).values).toEqual({n: 132});
    const history = [];
    for await (const state of graph.getStateHistory(config)) history.push(state);
    expect(history).toHaveLength(20);
    expect(history.map(({values}) => (values as {n: number}).n)[0]).toBe(132);
    const [, , earlier] = history;
    expect((await graph.getState(earlier!.config)).values).toEqual(earlier!.values);
    const two = [];
    for await (const tuple of saver.list(config, {limit: 2, before: earlier!.config})) two.push(tuple);
    expect(two).toHaveLength(2);
    await saver.deleteThread('thread-1');
    expect((await graph.getState(config)).values).toEqual({});
  });
});
