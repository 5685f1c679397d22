/** One request is one trace, from the client to the last step, whatever happens on the way. */
import {expect, test} from 'vitest';
import {startManager} from '../../../src/availability/manager.js';
import {GatewayClient} from '../../../src/client/client.js';
import type {OpenQuestion} from '../../../src/availability/questions.js';
import {startTracing, type Tracing} from '../../../src/integrations/otel/start-tracing.js';
import {silentLogger} from '../../../src/log.js';
import {findExecution} from '../../../src/store/executions.js';
import {sweepOutboxes} from '../../../src/store/outbox.js';
import type {Store} from '../../../src/store/store.js';
import {contentText, defineAgent, GatewayWorker, type Agent} from '../../../src/worker/agent.js';
import type {AgentContext} from '../../../src/worker/context.js';
import {startWorker, type WorkerOptions} from '../../../src/worker/runner.js';
import type {Tracer} from '../../../src/protocol/tracer.js';
import {MortalWorker} from '../../support/mortal-worker.js';
import {drawTree, startOtlpReceiver, type OtlpReceiver} from '../../support/otlp-receiver.js';
import {describeEachStore, until, type TestStore} from '../../support/stores.js';

interface Stage {
  readonly store: Store;
  readonly receiver: OtlpReceiver;
  readonly client: GatewayClient;
  readonly tracings: Tracing[];
  tracer(serviceName: string): Promise<Tracer>;
  work(agents: readonly Agent[], options?: Partial<WorkerOptions>): ReturnType<typeof startWorker>;
  answer(question: OpenQuestion, content: string): Promise<unknown>;
  /** Everything is sent. */
  flush(): Promise<void>;
}

async function stage(at: TestStore): Promise<Stage> {
  const store = at.open();
  const receiver = await startOtlpReceiver();
  at.cleanup(() => receiver.close());
  const tracings: Tracing[] = [];
  const tracing = async (serviceName: string) => {
    const one = await startTracing({
      ...{endpoint: receiver.url, serviceName, global: false, log: silentLogger},
    });
    tracings.push(one);
    at.cleanup(() => one.stop());
    return one.tracer;
  };
  const client = new GatewayClient(store, {tracer: await tracing('client')});
  return {
    ...{store, receiver, client, tracings, tracer: tracing},
    async work(agents, options = {}) {
      const worker = await startWorker(store, {
        ...{agents, log: silentLogger, tracer: await tracing('worker')},
        ...options,
      });
      at.cleanup(() => worker.stop({drainMs: 0}));
      return worker;
    },
    answer: ({sessionId, executionId, questionId}, content) =>
      client.reply({sessionId, executionId, questionId, content}),
    flush: async () => {
      await Promise.all(tracings.map(({tracer}) => tracer.flush(5000)));
    },
  };
}

const withStatus = (
  store: Store,
  {sessionId, executionId}: {sessionId: string; executionId: string},
  status: string,
) =>
  until(async () => {
    const record = await findExecution(store, sessionId, executionId);
    return record?.status === status && record;
  });

/** What is received, once a span of each of these names is there. */
const received = async (on: Stage, names: readonly string[]) => {
  const {receiver} = on;
  await until(async () => {
    await on.flush();
    const found = receiver.spans().map(({name}) => name);
    return names.every(name => take(found, name));
  });
  return receiver.spans();
};

function take(from: string[], name: string): boolean {
  const at = from.indexOf(name);
  if (at !== -1) from.splice(at, 1);
  return at !== -1;
}

class Checker extends GatewayWorker {
  getAgentTypes() {
    return ['checker'];
  }
  processCommand() {
    return {content: 'fine'};
  }
}

const writer = defineAgent({
  type: 'writer',
  async run(ctx) {
    const who = await ctx.askUser('For whom?');
    await ctx.sleep(1);
    return ctx.step('compose', () =>
      ctx.modelCall({model: 'large', system: 'acme'}, async usage => {
        usage({inputTokens: 12, outputTokens: 3, responseModel: 'large-2'});
        return Promise.resolve(`Dear ${String(who)}`);
      }),
    );
  },
});

const planner = defineAgent({
  type: 'planner',
  async run(ctx) {
    await ctx.step('plan', () => 'a plan');
    const letter = await ctx.call('writer', 'a letter');
    const answers = await ctx.callAll([
      ['checker', 'spelling'],
      ['checker', 'tone'],
    ]);
    return `${String(letter)}: ${answers.join(', ')}`;
  },
});

const CALL_OF_CHECKER = [
  '    client.dispatch checker',
  '      client.route',
  '      queue.wait',
  '      worker.execute checker',
  '        agent.return checker',
];

const WHOLE_TREE = [
  'client.dispatch planner',
  '  client.route',
  '  queue.wait',
  '  worker.execute planner',
  ...CALL_OF_CHECKER,
  ...CALL_OF_CHECKER,
  '    client.dispatch writer',
  '      client.route',
  '      queue.wait',
  '      worker.execute writer',
  '        agent.ask_user',
  '        agent.return writer',
  '        agent.sleep',
  '        step compose',
  '          chat large',
  '    step plan',
];

/** Turns that did not end their execution are told too, as many as it took. */
const withoutTurns = (lines: readonly string[]) => lines.filter(line => !/^ *turn \d+$/.test(line));

/** The same chances each time. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

async function isIdle({keys, commands}: Store): Promise<boolean> {
  const lengths = await commands.run(redis =>
    Promise.all(['planner', 'writer', 'checker'].map(type => redis.xlen(keys.ctrlStream(type)))),
  );
  return lengths.every(length => length === 0);
}

const namesIn = (tree: readonly string[]) => tree.map(line => line.trim());

async function askedExecution(store: Store, sessionId: string, client: GatewayClient) {
  const [question] = await until(async () => {
    const open = await client.questions(sessionId);
    return open.length > 0 && open;
  });
  await withStatus(store, {sessionId, executionId: question!.executionId}, 'WAITING_USER');
  return question!;
}

describeEachStore('traces of OpenTelemetry', at => {
  test('a call in which a person is asked is one tree, from the client to the last step', async () => {
    const on = await stage(at);
    await on.work([planner, writer, new Checker()]);
    const sent = await on.client.send({agentType: 'planner', content: 'go'});
    const question = await askedExecution(on.store, sent.sessionId, on.client);
    await on.answer(question, 'Ann');
    await withStatus(on.store, sent, 'COMPLETED');
    const spans = await received(on, namesIn(WHOLE_TREE));
    expect(withoutTurns(drawTree(spans))).toEqual(WHOLE_TREE);
    expect(new Set(spans.map(({traceId}) => traceId))).toEqual(new Set([sent.traceId]));
    expect(spans.every(({startMs, endMs}) => endMs >= startMs)).toBe(true);
    const of = (name: string) => spans.find(span => span.name === name)!;
    expect(of('client.dispatch planner')).toMatchObject({serviceName: 'client', kind: 4});
    expect(of('worker.execute planner')).toMatchObject({
      ...{serviceName: 'worker', kind: 5, error: undefined},
      attributes: {
        ...{'session.id': sent.sessionId, 'by.execution_id': sent.executionId, 'by.status': 'COMPLETED'},
        ...{'gen_ai.operation.name': 'invoke_agent', 'gen_ai.agent.name': 'planner'},
      },
    });
    expect(of('chat large').attributes).toMatchObject({
      ...{'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'acme', 'gen_ai.request.model': 'large'},
      ...{'gen_ai.usage.input_tokens': 12, 'gen_ai.usage.output_tokens': 3},
      'gen_ai.response.model': 'large-2',
    });
    // Nobody asked for what was said.
    expect(JSON.stringify(spans)).not.toContain('Dear Ann');
  });

  test('so it is when other workers go on with it', async () => {
    at.breaksRules('dead-workers');
    const on = await stage(at);
    const first = await on.work([planner, writer, new Checker()]);
    const sent = await on.client.send({agentType: 'planner', content: 'go'});
    const question = await askedExecution(on.store, sent.sessionId, on.client);
    await first.stop({drainMs: 0});
    await on.work([planner, writer, new Checker()]);
    await on.answer(question, 'Ann');
    await withStatus(on.store, sent, 'COMPLETED');
    expect(withoutTurns(drawTree(await received(on, namesIn(WHOLE_TREE))))).toEqual(WHOLE_TREE);
  });

  test('so it is wherever workers are killed', async () => {
    at.breaksRules('dead-workers');
    for (let round = 0; round < 8; round++) {
      const on = await stage(at);
      const sent = await on.client.send({agentType: 'planner', content: 'go', policy: 'SEND_ANYWAY'});
      let isAnswered = false;
      const isDone = async () => {
        const [question] = isAnswered ? [] : await on.client.questions(sent.sessionId);
        if (question !== undefined) {
          isAnswered = true;
          await on.answer(question, 'Ann');
        }
        const record = await findExecution(on.store, sent.sessionId, sent.executionId);
        if (at.kind === 'cluster') await sweepOutboxes(on.store, 0);
        // Whoever takes up the entry of one that has ended tells what nobody told.
        return record?.status === 'COMPLETED' && (await isIdle(on.store));
      };
      const tracer = await on.tracer('worker');
      const worker = new MortalWorker(on.store, [planner, writer, new Checker()], undefined, tracer);
      const dice = generator(round + 1);
      await worker.work(isDone, () => 1 + Math.floor(300 * dice() ** 2));
      expect(worker.deaths).toBeGreaterThan(0);
      await on.flush();
      // A step that was cut off calls its model again: both calls were made.
      const tree = withoutTurns(drawTree(on.receiver.spans()));
      const once = tree.filter((line, index) => line !== tree[index - 1]);
      expect(once.join('\n')).toBe(WHOLE_TREE.join('\n'));
      // What was told twice is the same span.
      for (const span of on.receiver.all()) {
        const kept = on.receiver.spans().find(({spanId}) => spanId === span.spanId);
        expect(kept).toMatchObject({name: span.name, parentSpanId: span.parentSpanId});
      }
    }
  });

  test('an attempt that fails and is tried again is a turn of the same execution, with its error', async () => {
    const on = await stage(at);
    let tries = 0;
    await on.work([
      defineAgent({
        type: 'planner',
        retry: {maxAttempts: 3, baseMs: 1},
        async run(ctx) {
          await ctx.step('plan', () => 'a plan');
          if (++tries < 3) throw new TypeError('not yet');
          return 'done';
        },
      }),
    ]);
    const sent = await on.client.send({agentType: 'planner', content: 'go'});
    await withStatus(on.store, sent, 'COMPLETED');
    const spans = await received(on, ['worker.execute planner', 'queue.wait']);
    expect(drawTree(spans)).toEqual([
      'client.dispatch planner',
      '  client.route',
      '  queue.wait',
      '  worker.execute planner',
      '    step plan',
      '    turn 1',
      '    turn 2',
      '    turn 3',
    ]);
    expect(spans.find(({name}) => name === 'turn 1')).toMatchObject({
      ...{error: 'not yet', exceptions: ['TypeError'], attributes: {'by.attempt': 1, 'by.status': 'FAILED'}},
    });
    expect(spans.find(({name}) => name === 'worker.execute planner')?.error).toBeUndefined();
  });

  test('a message agent that calls a group and asks a person is one tree', async () => {
    const on = await stage(at);
    class Lead extends GatewayWorker {
      getAgentTypes() {
        return ['lead'];
      }
      processCommand(command: Parameters<GatewayWorker['processCommand']>[0], ctx: AgentContext): unknown {
        if (command.action === 'ASK_AGENT')
          return ctx.dispatchGroup([
            {agentType: 'checker', content: 'a'},
            {agentType: 'checker', content: 'b'},
          ]);
        if (command.header.taskGroupId !== '') return ctx.askUser('All fine. Shall I?');
        return {content: `You said ${contentText(command.content)}`};
      }
    }
    await on.work([new Lead(), new Checker()]);
    const sent = await on.client.send({agentType: 'lead', content: 'go'});
    const question = await askedExecution(on.store, sent.sessionId, on.client);
    await on.answer(question, 'yes');
    await withStatus(on.store, sent, 'COMPLETED');
    const called = [
      '    client.dispatch checker',
      '      queue.wait',
      '      worker.execute checker',
      '        agent.return checker',
    ];
    const tree = [
      'client.dispatch lead',
      '  client.route',
      '  queue.wait',
      '  worker.execute lead',
      '    agent.ask_user',
      '    agent.dispatch_group',
      ...called,
      ...called,
    ];
    expect(withoutTurns(drawTree(await received(on, namesIn(tree))))).toEqual(tree);
  });

  test('what fails says why, without secrets; a refused send is told too', async () => {
    const on = await stage(at);
    await on.work([
      defineAgent({
        type: 'planner',
        run: () => {
          throw new RangeError('the api_key was sk-12345');
        },
      }),
    ]);
    const sent = await on.client.send({agentType: 'planner', content: 'go'});
    await withStatus(on.store, sent, 'FAILED');
    await expect(on.client.send({agentType: 'nobody', content: 'go'})).rejects.toThrow('No worker');
    const spans = await received(on, ['worker.execute planner', 'client.dispatch nobody']);
    expect(spans.find(({name}) => name === 'worker.execute planner')).toMatchObject({
      ...{error: '[REDACTED]', exceptions: ['RangeError']},
      attributes: {'error.type': 'RangeError', 'by.failed_stage': 'process_command'},
    });
    expect(JSON.stringify(spans)).not.toContain('sk-12345');
    expect(spans.find(({name}) => name === 'client.dispatch nobody')).toMatchObject({
      attributes: {'error.type': 'AGENT_TYPE_UNAVAILABLE', 'by.route_policy': 'FAIL_FAST'},
    });
  });
});

describeEachStore('the trace of a wakeup', at => {
  test('says what the manager did, under the command that asked', async () => {
    const on = await stage(at);
    const agent = defineAgent({type: 'sleeper', run: () => 'awake'});
    const manager = await startManager(on.store, {
      ...{log: silentLogger, tracer: await on.tracer('manager'), managerId: 'manager-1'},
      provider: {
        name: 'test',
        wakeup: async () => {
          await on.work([agent]);
          return {status: 'READY', reason: 'started'};
        },
      },
    });
    at.cleanup(() => manager.stop());
    const sent = await on.client.send({agentType: 'sleeper', content: 'go', policy: 'WAKE_AND_WAIT'});
    await withStatus(on.store, sent, 'COMPLETED');
    const spans = await received(on, ['manager.wakeup', 'client.dispatch sleeper', 'worker.execute sleeper']);
    const tree = drawTree(spans);
    expect(tree.slice(0, 1)).toEqual(['client.dispatch sleeper']);
    expect(tree).toContain('  manager.wakeup');
    const wakeup = spans.find(({name}) => name === 'manager.wakeup');
    expect(wakeup?.attributes).toMatchObject({
      'by.wakeup_decision': 'READY',
      'by.manager_id': 'manager-1',
      'by.wakeup_told': 1,
    });
  });
});
