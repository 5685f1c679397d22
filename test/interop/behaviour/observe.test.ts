/** What the SDKs keep for those who watch: records of traces. */
import {expect} from 'vitest';
import {RedisTracer} from '../../../src/observe/redis-tracer.js';
import {parentOf, tellSpan, type SpanEnd, type SpanStart} from '../../../src/protocol/tracer.js';
import type {TestStore} from '../../support/stores.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {contents, NOON, runRows, type Stored} from './support.js';

const ROOT = {spanId: '', hex: ''};

/** A recorded span as our code tells it. */
function told(doc: Doc): {start: SpanStart; end: SpanEnd} {
  const text = (name: string) => (typeof doc[name] === 'string' ? doc[name] : '');
  const parent = text('parent_span_id');
  return {
    start: {
      ...{traceId: text('trace_id'), spanId: text('span_id'), operation: text('operation')},
      ...{parent: parent === '' ? ROOT : {...parentOf(parent), spanId: parent}},
      ...{component: text('component'), sessionId: text('session_id'), workerId: text('worker_id')},
      ...{executionId: text('execution_id'), messageId: text('message_id')},
      ...{sourceAgentType: text('source_agent_type'), targetAgentType: text('target_agent_type')},
      // Not a root of ours: only the spans are told here.
      ...{parentMessageId: 'caller', startTs: Number(doc['start_ts'])},
      attributes: (doc['metadata'] ?? {}) as NonNullable<SpanStart['attributes']>,
    },
    end: {
      ...{endTs: Number(doc['end_ts']), status: text('status')},
      ...{routePolicy: text('route_policy'), routeStatus: text('route_status')},
      ...{errorType: text('error_type'), errorMessage: text('error_message')},
      retryable: doc['retryable'] === true,
      chunkCount: Number(doc['chunk_count'] ?? 0),
      tokens: asDoc(doc['tokens'] ?? {}),
    },
  };
}

/** Spans without the caller that made them no roots; scores as the recording has them. */
function normal(found: Record<string, Stored>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    names.map(name => {
      const {type = '', ttl = 0, value} = found[name] ?? {};
      const rows = value as unknown[];
      const shown =
        type === 'list'
          ? rows.map(row => {
              const {parent_message_id: _ours, ...span} = asDoc(row);
              return span;
            })
          : type === 'zset'
            ? rows.flatMap((member, i) => (i % 2 === 0 ? [[member, Number(rows[i + 1])]] : []))
            : value;
      return [name, {type, ttl_seconds: ttl > 890 ? 900 : ttl, value: shown}];
    }),
  );
}

async function tellAll(at: TestStore, spans: readonly Doc[]) {
  const store = at.open();
  const tracer = new RedisTracer(store, {}, () => NOON);
  for (const doc of spans) {
    const {start, end} = told(doc);
    tellSpan(tracer, start, end);
    // One after the other, as the SDK writes them.
    await tracer.flush(5000);
  }
  return contents(at.redis(), store);
}

async function compare(at: TestStore, row: Row): Promise<void> {
  const found = await tellAll(at, field(row.input, 'spans') as Doc[]);
  const wanted = asDoc(field(row.expected, 'redis'));
  const names = Object.keys(wanted).sort();
  expect(Object.keys(found).sort()).toEqual(names);
  const theirs = Object.fromEntries(names.map(name => [name, wanted[name]]));
  // A caller stands in for what makes a root; an execution that is called ends no trace.
  expect(normal(found, names)).toEqual(theirs);
}

const ASK: SpanStart = {
  ...{traceId: 'trace-1', spanId: 'msg-1:client.dispatch', parent: ROOT, operation: 'client.dispatch'},
  ...{component: 'client', sessionId: 'sess-1', messageId: 'msg-1', targetAgentType: 'writer'},
  ...{startTs: NOON, input: 'hi'},
};

runRows('observe', {
  'trace/span.redis.dispatch_then_execute': {run: compare},
  'trace/span.redis.no_optional': {
    differs: 'an empty session id is left out',
    async run(at, row) {
      const found = await tellAll(at, field(row.input, 'spans') as Doc[]);
      const wanted = asDoc(field(row.expected, 'redis'));
      const names = Object.keys(wanted).sort();
      expect(Object.keys(found).sort()).toEqual(names);
      expect(normal(found, names)).toEqual(wanted);
    },
  },
  'trace/trace_root.start': {
    async run(at, row) {
      const store = at.open();
      const tracer = new RedisTracer(store, {content: true}, () => NOON);
      tracer.start(ASK);
      await tracer.flush(5000);
      const wanted = asDoc(field(row.expected, 'redis'));
      const found = normal(await contents(at.redis(), store), Object.keys(wanted));
      // Our reader parses what is JSON.
      const plain = (doc: unknown) =>
        JSON.parse(JSON.stringify(doc).replaceAll('"metadata":"{}"', '"metadata":{}')) as unknown;
      expect(plain(found)).toEqual(plain(wanted));
    },
  },
  'trace/trace_root.end (overwrites start_ts with 0)': {
    differs: 'the start stays; a trace ends with the span of its execution',
    async run(at, row) {
      const store = at.open();
      const tracer = new RedisTracer(store, {content: true}, () => NOON);
      tracer.start(ASK);
      tellSpan(
        tracer,
        {
          ...{...ASK, spanId: 'exec-1:worker.execute', operation: 'worker.execute', component: 'worker'},
          parentMessageId: '',
        },
        {status: 'COMPLETED', endTs: 1_750_000_005_000, output: {a: 1}},
      );
      await tracer.flush(5000);
      const key = 'by_framework:trace:trace-1';
      const wanted = asDoc(field(row.expected, 'redis', key, 'value'));
      const found = asDoc((await contents(at.redis(), store))[key]?.value);
      expect({...found, output: JSON.stringify(found['output']), metadata: '{}'}).toEqual({
        ...wanted,
        start_ts: String(NOON),
      });
    },
  },
});
