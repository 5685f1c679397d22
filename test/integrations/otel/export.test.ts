/** How spans leave: to whom, with what, and that nobody waits for it. */
import {context, trace} from '@opentelemetry/api';
import {InMemorySpanExporter, SimpleSpanProcessor} from '@opentelemetry/sdk-trace-base';
import {NodeTracerProvider} from '@opentelemetry/sdk-trace-node';
import {afterEach, expect, test} from 'vitest';
import {otelTracer} from '../../../src/integrations/otel/otel-tracer.js';
import {startTracing, type TracingOptions} from '../../../src/integrations/otel/start-tracing.js';
import {createLogger} from '../../../src/json-log.js';
import {silentLogger} from '../../../src/log.js';
import {tellSpan, type SpanEnd, type SpanStart, type Tracer} from '../../../src/protocol/tracer.js';
import {createTestStack, type TestStack} from '../../../src/testing/test-stack.js';
import {GatewayClient} from '../../../src/client/client.js';
import {defineAgent} from '../../../src/worker/agent.js';
import {startWorker} from '../../../src/worker/runner.js';
import {startOtlpReceiver} from '../../support/otlp-receiver.js';
import {until} from '../../support/stores.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of cleanups.splice(0).reverse()) await act();
});

const START: SpanStart = {
  ...{
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'msg-1:client.dispatch',
    parent: {spanId: '', hex: ''},
  },
  ...{operation: 'client.dispatch', startTs: 1000},
};
const END: SpanEnd = {status: 'COMPLETED', endTs: 2000};

async function tracing(options: TracingOptions) {
  const one = await startTracing({global: false, log: silentLogger, ...options});
  cleanups.push(() => one.stop(1000));
  return one;
}

async function receiver(answer?: () => number | undefined) {
  const one = await startOtlpReceiver(answer);
  cleanups.push(() => one.close());
  return one;
}

/** An agent and a client that tell the same tracer. */
async function stack(tracer: Tracer, run: () => unknown = () => 'done') {
  const bare: TestStack = await createTestStack({agents: [defineAgent({type: 'idle', run: () => ''})]});
  cleanups.push(() => bare.close());
  const worker = await startWorker(bare.store, {
    ...{agents: [defineAgent({type: 'writer', run})], log: silentLogger, tracer},
  });
  cleanups.push(() => worker.stop({drainMs: 0}));
  const client = new GatewayClient(bare.store, {tracer});
  const ended = (sent: {sessionId: string; messageId: string}) =>
    until(async () => {
      const record = await client.find(sent.sessionId, sent.messageId);
      return record !== undefined && record.finishedAt > 0 && record;
    });
  return {client, ended};
}

test('Langfuse: its path, and its keys as basic authentication', async () => {
  const backend = await receiver();
  const keys = Buffer.from('pk-lf-1:sk-lf-2').toString('base64');
  const {tracer} = await tracing({
    endpoint: `${backend.url}/api/public/otel`,
    headers: {authorization: `Basic ${keys}`, 'x-langfuse-ingestion-version': '4'},
  });
  tellSpan(tracer, START, END);
  await tracer.flush(5000);
  expect(backend.requests).toMatchObject([
    {
      path: '/api/public/otel/v1/traces',
      headers: {
        authorization: 'Basic cGstbGYtMTpzay1sZi0y',
        'x-langfuse-ingestion-version': '4',
        'content-type': 'application/json',
      },
    },
  ]);
});

test('Phoenix: Protocol Buffers, and its key as bearer', async () => {
  const backend = await receiver();
  const {tracer} = await tracing({
    ...{endpoint: `${backend.url}/`, protocol: 'http/protobuf', serviceName: 'letters'},
    headers: {authorization: 'Bearer key-1'},
  });
  tellSpan(tracer, START, END);
  await tracer.flush(5000);
  const [request] = backend.requests;
  expect(request).toMatchObject({
    path: '/v1/traces',
    headers: {authorization: 'Bearer key-1', 'content-type': 'application/x-protobuf'},
  });
  // The trace id is in it as bytes, names as text.
  expect(request?.body.includes(Buffer.from(START.traceId, 'hex'))).toBe(true);
  expect(request?.body.includes('letters')).toBe(true);
});

test('an endpoint that is whole stays as it is, and what is none is refused without being repeated', async () => {
  const backend = await receiver();
  const {tracer} = await tracing({endpoint: `${backend.url}/v1/traces`});
  tellSpan(tracer, START, END);
  await tracer.flush(5000);
  expect(backend.requests[0]?.path).toBe('/v1/traces');
  const refusal = startTracing({endpoint: 'ftp://me:secret-word@host'});
  await expect(refusal).rejects.toMatchObject({code: 'INVALID_CONFIG'});
  await expect(refusal).rejects.not.toThrow(/secret-word/);
});

test.each([
  ['answers with an error', () => 503],
  ['does not answer', () => undefined],
])('a backend that %s holds up nobody', async (_what, answer) => {
  const backend = await receiver(answer);
  const one = await tracing({endpoint: backend.url, exportEveryMs: 1});
  const {client, ended} = await stack(one.tracer);
  for (let i = 0; i < 20; i++)
    expect((await ended(await client.send({agentType: 'writer', content: 'go'}))).status).toBe('COMPLETED');
  await until(() => backend.requests.length > 0);
  await one.stop(50);
});

test('that exports fail is said once, and counted', async () => {
  const lines: string[] = [];
  // What it does not try again: a wrong key.
  const backend = await receiver(() => 401);
  const one = await tracing({
    ...{endpoint: backend.url, exportEveryMs: 1},
    log: createLogger({write: line => void lines.push(line)}),
  });
  for (let i = 1; i <= 3; i++) {
    tellSpan(one.tracer, START, END);
    await one.tracer.flush(5000);
    await until(() => one.failedExports >= i);
  }
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain('traces can not be sent');
});

test('a share of the traces is told, the same everywhere; no share, nothing', async () => {
  const backend = await receiver();
  const [half, none] = [
    (await tracing({endpoint: backend.url, sampleRate: 0.5})).tracer,
    (await tracing({endpoint: backend.url, sampleRate: 0})).tracer,
  ];
  const traces = Array.from({length: 200}, (_, i) => `trace-${i}`);
  const kept = traces.filter(id => half.keeps(id));
  expect(kept.length).toBeGreaterThan(60);
  expect(kept.length).toBeLessThan(140);
  expect(kept).toEqual(traces.filter(id => half.keeps(id)));
  const {client, ended} = await stack(none);
  await ended(await client.send({agentType: 'writer', content: 'go'}));
  await none.flush(1000);
  expect(backend.requests).toEqual([]);
  await expect(startTracing({sampleRate: 2})).rejects.toMatchObject({code: 'INVALID_CONFIG'});
});

test('content is told where it is asked for, without secrets and cut', async () => {
  const backend = await receiver();
  const {tracer} = await tracing({endpoint: backend.url, content: true});
  const {client, ended} = await stack(tracer, () => 'x'.repeat(5000));
  await ended(await client.send({agentType: 'writer', content: 'my password is pw-123'}));
  await until(async () => {
    await tracer.flush(5000);
    return backend.spans().some(({name}) => name === 'worker.execute writer');
  });
  const of = (name: string) => backend.spans().find(span => span.name === name)!.attributes;
  expect(of('client.dispatch writer')).toMatchObject({'input.value': '[REDACTED]'});
  expect(of('worker.execute writer')['output.value']).toMatch(/^x{4096}\.\.\.\[TRUNCATED\]$/);
});

/** A set-up of somebody's own, with ids by chance. */
function ownSetUp() {
  const exporter = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({spanProcessors: [new SimpleSpanProcessor(exporter)]});
  provider.register();
  cleanups.push(async () => {
    trace.disable();
    context.disable();
    await provider.shutdown();
  });
  return {exporter, provider};
}

test('in a set-up with ids by chance, what is sent inside a span belongs to it, and so does everything below', async () => {
  const {exporter, provider} = ownSetUp();
  const {client, ended} = await stack(otelTracer(), () => {
    trace.getTracer('theirs').startSpan('their work').end();
    return 'done';
  });
  const sent = await provider
    .getTracer('theirs')
    .startActiveSpan('http request', async span =>
      client.send({agentType: 'writer', content: 'go'}).finally(() => span.end()),
    );
  await ended(sent);
  await until(() => exporter.getFinishedSpans().some(({name}) => name === 'worker.execute writer'));
  const spans = exporter.getFinishedSpans();
  const parentOf = (name: string) => {
    const parent = spans.find(span => span.name === name)?.parentSpanContext?.spanId;
    return spans.find(span => span.spanContext().spanId === parent)?.name;
  };
  expect(parentOf('client.dispatch writer')).toBe('http request');
  expect(parentOf('worker.execute writer')).toBe('client.dispatch writer');
  expect(parentOf('their work')).toBe('worker.execute writer');
  expect(new Set(spans.map(span => span.spanContext().traceId))).toEqual(new Set([sent.traceId]));
});

test('and a command that is sent alone begins a trace, whose id is the command’s', async () => {
  const {exporter} = ownSetUp();
  const {client, ended} = await stack(otelTracer());
  for (const traceId of [undefined, 'trace-of-mine']) {
    exporter.reset();
    const sent = await client.send({
      ...{agentType: 'writer', content: 'go'},
      ...(traceId === undefined ? {} : {traceId}),
    });
    await ended(sent);
    await until(() => exporter.getFinishedSpans().some(({name}) => name === 'worker.execute writer'));
    const ids = new Set(exporter.getFinishedSpans().map(span => span.spanContext().traceId));
    expect([...ids]).toHaveLength(1);
    if (traceId === undefined) expect([...ids]).toEqual([sent.traceId]);
    else expect(sent.traceId).toBe(traceId);
  }
});

test('startTracing makes the process’s OpenTelemetry: what others trace in a step is below the step', async () => {
  const backend = await receiver();
  const {tracer} = await tracing({endpoint: backend.url, global: true});
  cleanups.push(() => {
    trace.disable();
    context.disable();
  });
  const bare = await createTestStack({agents: [defineAgent({type: 'idle', run: () => ''})]});
  cleanups.push(() => bare.close());
  const agent = defineAgent({
    type: 'writer',
    run: ctx =>
      ctx.step('fetch', () => {
        trace.getTracer('theirs').startSpan('GET /').end();
        return 'done';
      }),
  });
  const worker = await startWorker(bare.store, {agents: [agent], log: silentLogger, tracer});
  cleanups.push(() => worker.stop({drainMs: 0}));
  await new GatewayClient(bare.store, {tracer}).send({agentType: 'writer', content: 'go'});
  await until(async () => {
    await tracer.flush(5000);
    return backend.spans().some(({name}) => name === 'worker.execute writer');
  });
  const spans = backend.spans();
  const [theirs, step] = ['GET /', 'step fetch'].map(wanted => spans.find(({name}) => name === wanted));
  expect(theirs?.parentSpanId).toBe(step?.spanId);
});
