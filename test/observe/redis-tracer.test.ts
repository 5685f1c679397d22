/** Trace records as the SDKs write them, and how they are read again. */
import {expect, test} from 'vitest';
import {spanIdHex} from '../../src/ids.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {RedisTracer} from '../../src/observe/redis-tracer.js';
import {tellSpan, type SpanStart} from '../../src/protocol/tracer.js';
import type {Store} from '../../src/store/store.js';
import {findTraces, listTraces, readTrace} from '../../src/store/traces.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachServer, describeEachStore, until, type TestStore} from '../support/stores.js';

const NOON = 1_750_000_000_123;

/** The spans of the rows recorded from the Python SDK. */
const DISPATCH: SpanStart = {
  ...{traceId: 'trace-1', spanId: 'msg-1:client.dispatch', parent: {spanId: '', hex: ''}, startTs: NOON},
  ...{operation: 'client.dispatch', component: 'client', sessionId: 'sess-1', messageId: 'msg-1'},
  ...{workerId: 'worker-01', sourceAgentType: 'client', targetAgentType: 'writer'},
};
const EXECUTE: SpanStart = {
  ...{traceId: 'trace-1', spanId: 'exec-1:worker.execute', startTs: NOON, operation: 'worker.execute'},
  ...{parent: {spanId: '', hex: '442e9b642ec95304'}, component: 'worker', sessionId: 'sess-1'},
  ...{executionId: 'exec-1', messageId: 'msg-1', parentMessageId: 'msg-0', workerId: 'worker-01'},
  ...{sourceAgentType: 'client', targetAgentType: 'writer'},
};

async function work(at: TestStore, store: Store, run: (text: string) => unknown = text => `so ${text}`) {
  const worker = await startWorker(store, {
    agents: [defineAgent({type: 'writer', run: (_ctx, ask) => run(ask.text)})],
    ...{log: silentLogger, redisTraces: {}},
  });
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

const ended = (store: Store, traceId: string) =>
  until(async () => {
    const trace = await readTrace(store, traceId, 1000);
    return Number(trace?.fields['end_ts'] ?? 0) > 0 && trace;
  });

describeEachStore('records of traces', at => {
  test('a request: its root, its dispatch and its execution, found by session, agent type and worker', async () => {
    const store = at.open();
    const worker = await work(at, store);
    const client = new GatewayClient(store, {redisTraces: {}});
    const sent = await client.send({agentType: 'writer', content: 'hello'});
    await ended(store, sent.traceId);
    await client.flushTraces();
    const {fields, spans} = (await readTrace(store, sent.traceId, 1000))!;
    expect(fields).toMatchObject({
      ...{trace_id: sent.traceId, session_id: sent.sessionId, status: 'COMPLETED'},
      ...{root_message_id: sent.messageId, root_agent_type: 'writer'},
    });
    expect(Number(fields['start_ts'])).toBeGreaterThan(0);
    expect(fields['input']).toBeUndefined();
    const dispatch = spans.find(({operation}) => operation === 'client.dispatch');
    const execute = spans.find(({operation}) => operation === 'worker.execute');
    expect(dispatch).toMatchObject({
      ...{spanId: `${sent.messageId}:client.dispatch`, component: 'client', status: 'COMPLETED'},
      ...{routePolicy: 'FAIL_FAST', routeStatus: 'DELIVER_NOW', targetAgentType: 'writer'},
    });
    expect(execute).toMatchObject({
      ...{spanId: `${sent.executionId}:worker.execute`, parentSpanId: spanIdHex(dispatch!.spanId)},
      ...{component: 'worker', workerId: worker.workerId, executionId: sent.executionId},
    });
    for (const [index, id] of [
      ['session', sent.sessionId],
      ['agent', 'writer'],
      ['worker', worker.workerId],
    ] as const)
      expect((await listTraces(store, {index, id}, 10)).map(({traceId}) => traceId)).toEqual([sent.traceId]);
    expect((await findTraces(store, 100_000)).map(({traceId}) => traceId)).toEqual([sent.traceId]);
  });

  test('a durable execution of several turns: the trace ends with the last one', async () => {
    const store = at.open();
    const agents = [
      defineAgent({type: 'inner', run: () => 'in'}),
      defineAgent({
        type: 'writer',
        run: async ctx => {
          await ctx.call('inner', 'x');
          ctx.recordTokenUsage({model: 'large', inputTokens: 2, outputTokens: 1});
          return 'out';
        },
      }),
    ];
    const worker = await startWorker(store, {agents, log: silentLogger, redisTraces: {}});
    at.cleanup(() => worker.stop({drainMs: 0}));
    const sent = await new GatewayClient(store, {redisTraces: {}}).send({agentType: 'writer', content: 'x'});
    const {fields, spans} = await ended(store, sent.traceId);
    expect(fields).toMatchObject({status: 'COMPLETED', root_agent_type: 'writer'});
    expect(spans.find(({operation}) => operation === 'model.call')).toMatchObject({
      tokens: {prompt_tokens: 2, completion_tokens: 1, total_tokens: 3},
    });
    expect(JSON.stringify(spans)).not.toContain('REDACTED');
  });

  test('a request whose client tells nobody is named by the agent that was asked, not by whom that calls', async () => {
    const store = at.open();
    await work(at, store);
    const caller = await startWorker(store, {
      agents: [defineAgent({type: 'editor', run: ctx => ctx.call('writer', 'x')})],
      ...{log: silentLogger, redisTraces: {}},
    });
    at.cleanup(() => caller.stop({drainMs: 0}));
    const sent = await new GatewayClient(store).send({agentType: 'editor', content: 'hello'});
    const {fields} = await until(async () => {
      const trace = await readTrace(store, sent.traceId, 1000);
      return trace?.fields['root_agent_type'] !== undefined && trace;
    });
    expect(fields).toMatchObject({root_agent_type: 'editor', root_message_id: sent.messageId});
  });

  test('content where it is asked for, without secrets', async () => {
    const store = at.open();
    const worker = await startWorker(store, {
      agents: [defineAgent({type: 'writer', run: () => 'my password'})],
      ...{log: silentLogger, redisTraces: {content: true}},
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    const client = new GatewayClient(store, {redisTraces: {content: true}});
    const sent = await client.send({agentType: 'writer', content: 'hello'});
    const {fields} = await ended(store, sent.traceId);
    await client.flushTraces();
    expect(fields).toMatchObject({output: '[REDACTED]'});
    const after = await readTrace(store, sent.traceId, 10);
    expect(after?.fields['input']).toBe('hello');
  });

  test('a call does not take the place of the root, and no more spans are kept of a trace than may be', async () => {
    const store = at.open();
    const tracer = new RedisTracer(store);
    const end = {status: 'COMPLETED', endTs: NOON};
    tellSpan(tracer, DISPATCH, end);
    tellSpan(
      tracer,
      {...DISPATCH, spanId: 'msg-2:client.dispatch', messageId: 'msg-2', component: 'agent_context'},
      end,
    );
    for (let i = 0; i < 1100; i++) tellSpan(tracer, {...EXECUTE, spanId: `exec-${i}:worker.execute`}, end);
    await tracer.flush(60_000);
    const trace = await readTrace(store, 'trace-1', 2000);
    expect(trace?.fields['root_message_id']).toBe('msg-1');
    expect(trace?.spanCount).toBe(1000);
    expect(tracer.dropped.limit).toBe(102);
  });

  test('traces whose lifetime is over leave the indexes', async () => {
    const store = at.open();
    const end = {status: 'COMPLETED', endTs: NOON};
    const early = new RedisTracer(store, {}, () => NOON);
    tellSpan(early, DISPATCH, end);
    await early.flush(5000);
    const later = new RedisTracer(store, {}, () => NOON + 901_000);
    tellSpan(later, {...DISPATCH, traceId: 'trace-2', startTs: NOON + 900_000}, end);
    await later.flush(5000);
    const found = await listTraces(store, {index: 'agent', id: 'writer'}, 10);
    expect(found.map(({traceId}) => traceId)).toEqual(['trace-2']);
  });

  test('what the TypeScript SDK wrote under its own names is read too', async () => {
    const store = at.open();
    at.breaksRules('traceMeta', 'traceSpans');
    const {tsTrace} = store.keys;
    const span = JSON.stringify({
      ...{trace_id: 'trace-1', span_id: 's', name: 'x', start_ts: 5, end_ts: 9, status: 'COMPLETED'},
    });
    await store.commands.run(redis =>
      Promise.all([
        redis.hset(tsTrace.meta('trace-1'), {trace_id: 'trace-1', status: 'COMPLETED', start_ts: '5'}),
        redis.expire(tsTrace.meta('trace-1'), 900),
        redis.rpush(tsTrace.spans('trace-1'), span, 'not json'),
        redis.expire(tsTrace.spans('trace-1'), 900),
        redis.zadd(tsTrace.indexSession('sess-1'), 5, 'trace-1'),
        redis.expire(tsTrace.indexSession('sess-1'), 900),
      ]),
    );
    expect(await readTrace(store, 'trace-1', 10)).toMatchObject({
      ...{fields: {status: 'COMPLETED'}, spanCount: 2},
      spans: [{spanId: 's', operation: 'x', startTs: 5, endTs: 9}],
    });
    const listed = await listTraces(store, {index: 'session', id: 'sess-1'}, 10);
    expect(listed.map(({traceId}) => traceId)).toEqual(['trace-1']);
    expect((await findTraces(store, 100_000)).map(({traceId}) => traceId)).toEqual(['trace-1']);
    // Deleted here: no rule of ours knows these names.
    await store.commands.run(redis =>
      Promise.all([
        redis.del(tsTrace.meta('trace-1')),
        redis.del(tsTrace.spans('trace-1')),
        redis.del(tsTrace.indexSession('sess-1')),
      ]),
    );
  });
});

describeEachServer('records of traces, where they can not be written', at => {
  test('are lost, and the work is not', async () => {
    const store = at.open();
    const broken: Store = {
      ...store,
      commands: Object.assign(Object.create(store.commands) as Store['commands'], {
        run: () => Promise.reject(new Error('no room')),
      }),
    };
    const tracer = new RedisTracer(broken);
    const worker = await startWorker(store, {
      agents: [defineAgent({type: 'writer', run: () => 'done'})],
      ...{log: silentLogger, tracer},
    });
    at.cleanup(() => worker.stop({drainMs: 0}));
    const client = new GatewayClient(store, {tracer});
    const sent = await client.send({agentType: 'writer', content: 'hello'});
    await until(
      async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED' || undefined,
    );
    await tracer.flush(5000);
    expect(tracer.dropped.failed).toBeGreaterThan(0);
    expect(await readTrace(store, sent.traceId, 10)).toBeUndefined();
  });
});
