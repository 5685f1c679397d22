/** Models of the AI SDK in durable agents: streamed while they speak, paid for once. */
import {tool, type ModelMessage, type ToolSet} from 'ai';
import {convertArrayToReadableStream, MockLanguageModelV3} from 'ai/test';
import {expect, test} from 'vitest';
import {z} from 'zod';
import {GatewayClient} from '../../src/client/client.js';
import {agentAsTool, modelLoop, type ModelLoop} from '../../src/integrations/ai-sdk/index.js';
import {silentLogger} from '../../src/log.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {followSession} from '../../src/store/data-streams.js';
import {sweepOutboxes} from '../../src/store/outbox.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {MortalWorker} from '../support/mortal-worker.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'assistant';

type Answer =
  {readonly text?: string; readonly calls?: readonly (readonly [name: string, input: object])[]} | Error;

/** A model that answers what it is told to, by how many answers of its own it finds in the talk. */
function model(script: readonly Answer[], asked: unknown[] = []): MockLanguageModelV3 {
  return new MockLanguageModelV3({
    doStream: ({prompt, tools}) => {
      const round = prompt.filter(({role}) => role === 'assistant').length;
      asked.push({round, prompt, tools: tools?.map(({name}) => name)});
      const answer = script[round] ?? {text: 'nothing more'};
      if (answer instanceof Error) throw answer;
      const words = (answer.text ?? '').split(/(?<= )/).filter(word => word !== '');
      const calls = answer.calls ?? [];
      return Promise.resolve({
        stream: convertArrayToReadableStream([
          {type: 'stream-start' as const, warnings: []},
          ...(words.length === 0 ? [] : [{type: 'text-start' as const, id: 't'}]),
          ...words.map(delta => ({type: 'text-delta' as const, id: 't', delta})),
          ...(words.length === 0 ? [] : [{type: 'text-end' as const, id: 't'}]),
          ...calls.map(([toolName, input], at) => ({
            ...{type: 'tool-call' as const, toolCallId: `call-${round}-${at}`, toolName},
            input: JSON.stringify(input),
          })),
          {
            type: 'finish' as const,
            finishReason: {
              unified: calls.length > 0 ? ('tool-calls' as const) : ('stop' as const),
              raw: undefined,
            },
            usage: {
              inputTokens: {total: 10, noCache: 10, cacheRead: 0, cacheWrite: 0},
              outputTokens: {total: 5, text: 5, reasoning: 0},
            },
          },
        ]),
      });
    },
  });
}

const assistant = (loop: Omit<ModelLoop, 'messages'>): Agent =>
  defineAgent({
    type: TYPE,
    run: async (ctx, ask) => {
      const messages: ModelMessage[] = [{role: 'user', content: ask.text}];
      const {text, usage, rounds} = await modelLoop(ctx, {...loop, messages});
      return {content: `${text} [${usage.inputTokens}+${usage.outputTokens} in ${rounds}]`};
    },
  });

async function work(at: TestStore, store: Store, ...agents: Agent[]): Promise<void> {
  const worker = await startWorker(store, {agents, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
}

const send = (store: Store) =>
  new GatewayClient(store).send({agentType: TYPE, content: 'hello', policy: 'SEND_ANYWAY'});
type Sent = Awaited<ReturnType<typeof send>>;

const ended = (store: Store, {sessionId, messageId}: Sent) =>
  until(async () => {
    const record = await new GatewayClient(store).find(sessionId, messageId);
    return record !== undefined && ['COMPLETED', 'FAILED'].includes(record.status) && record;
  });

async function told(store: Store, {sessionId, messageId}: Sent, kind: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event' && item.event.messageId === messageId && eventKind(item.event) === kind)
      lines.push(eventText(item.event));
  return lines;
}

describeEachStore('a model in a durable agent', at => {
  test('is heard while it speaks, and its tools run as steps', async () => {
    const store = at.open();
    const asked: unknown[] = [];
    const ran: unknown[] = [];
    const tools: ToolSet = {
      add: tool({
        description: 'Adds.',
        inputSchema: z.object({a: z.number(), b: z.number()}),
        execute: ({a, b}) => {
          ran.push([a, b]);
          return {sum: a + b};
        },
      }),
      weather: agentAsTool({agentType: 'weather', description: 'The weather of a town.'}),
    };
    const script = [
      {
        text: 'Let me see. ',
        calls: [
          ['add', {a: 1, b: 2}],
          ['weather', {message: 'Oslo'}],
          ['nope', {}],
        ],
      },
      {text: 'It is 3, and sunny.'},
    ] as const;
    await work(
      at,
      store,
      assistant({model: model(script, asked), tools}),
      defineAgent({type: 'weather', run: (_ctx, ask) => ({content: `${ask.text}: sun`})}),
    );
    const sent = await send(store);
    expect(await ended(store, sent)).toMatchObject({status: 'COMPLETED'});
    expect(await told(store, sent, 'answer')).toEqual([
      'Let ',
      'me ',
      'see. ',
      'It ',
      'is ',
      '3, ',
      'and ',
      'sunny.',
    ]);
    expect(await told(store, sent, 'final')).toEqual(['It is 3, and sunny. [20+10 in 2]']);
    expect(ran).toEqual([[1, 2]]);
    expect(asked).toHaveLength(2);
    expect(JSON.stringify(asked[1])).toMatch(/"sum":3.*Oslo: sun.*nope/s);
    expect(asked[0]).toMatchObject({tools: ['add', 'weather']});
  });

  test('asks a person before a tool that needs it, and tells the model of a refusal', async () => {
    const store = at.open();
    const ran: string[] = [];
    const asked: unknown[] = [];
    const tools: ToolSet = {
      pay: tool({
        inputSchema: z.object({to: z.string()}),
        needsApproval: ({to}) => to !== 'petty cash',
        execute: ({to}) => {
          ran.push(to);
          return 'paid';
        },
      }),
    };
    const script = [
      {calls: [['pay', {to: 'petty cash'}]]},
      {calls: [['pay', {to: 'Eve'}]]},
      {calls: [['pay', {to: 'Ada'}]]},
      {text: 'done'},
    ] as const;
    await work(at, store, assistant({model: model(script, asked), tools}));
    const sent = await send(store);
    const client = new GatewayClient(store);
    for (const [to, content] of [
      ['Eve', 'no'],
      ['Ada', 'yes'],
    ]) {
      const question = await until(async () => {
        const [open] = await client.questions(sent.sessionId);
        return open?.prompt.includes(to!) && open;
      });
      expect(question.choices).toEqual(['yes', 'no']);
      const {sessionId, executionId, questionId} = question;
      await client.reply({sessionId, executionId, questionId, content: content!});
    }
    await ended(store, sent);
    expect(ran).toEqual(['petty cash', 'Ada']);
    expect(JSON.stringify(asked[2])).toContain('A person has refused it.');
  });

  test('is asked again when its provider fails, and told what a tool throws', async () => {
    const store = at.open();
    let failures = 0;
    const asked: unknown[] = [];
    const scripted = model([{calls: [['breaks', {}]]}, {text: 'sorry'}], asked);
    const {doStream} = scripted;
    scripted.doStream = options => {
      if (failures++ === 0) throw new Error('overloaded');
      return doStream(options);
    };
    const tools: ToolSet = {
      breaks: tool({
        inputSchema: z.object({}),
        execute: (): string => {
          throw new Error('out of order');
        },
      }),
    };
    await work(at, store, assistant({model: scripted, tools, retry: {maxAttempts: 3, baseMs: 1, maxMs: 1}}));
    const sent = await send(store);
    await ended(store, sent);
    expect(await told(store, sent, 'final')).toEqual(['sorry [20+10 in 2]']);
    expect(failures).toBe(3);
    expect(JSON.stringify(asked[1])).toContain('out of order');
  });

  test('does not talk for ever', async () => {
    const store = at.open();
    const script = Array.from({length: 9}, () => ({calls: [['more', {}]]}) as const);
    const tools: ToolSet = {more: tool({inputSchema: z.object({}), execute: () => 'more'})};
    await work(at, store, assistant({model: model(script), tools, maxRounds: 3}));
    expect(await ended(store, await send(store))).toMatchObject({
      ...{status: 'FAILED', errorCode: 'TASK_FAILED'},
      errorMessage: expect.stringContaining('after 3 rounds') as string,
    });
  });

  test('pays for no answer twice that was kept, wherever its worker dies', async () => {
    for (let commands = 1; commands < 24; commands += 2) {
      const store = at.open();
      const asked: {round: number}[] = [];
      const tools: ToolSet = {add: tool({inputSchema: z.object({}), execute: () => 3})};
      const agent = assistant({model: model([{calls: [['add', {}]]}, {text: 'three'}], asked), tools});
      const worker = new MortalWorker(store, [agent]);
      const client = new GatewayClient(store);
      const sent = await send(store);
      let lives = 0;
      await worker.work(
        async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED',
        () => (lives++ === 0 ? commands : Infinity),
      );
      expect(await told(store, sent, 'final')).toEqual(['three [20+10 in 2]']);
      // One worker died once: at most one call was lost with it, and none that came before.
      expect(asked.length, `died after ${commands} commands`).toBeLessThanOrEqual(3);
      expect(asked.map(({round}) => round)).toEqual([...asked.map(({round}) => round)].sort());
      if (at.kind === 'cluster') await sweepOutboxes(store, 0);
    }
  });
});
