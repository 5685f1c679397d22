/** What the SDKs keep for those who watch: records of traces. */
import {expect} from 'vitest';
import {GatewayClient} from '../../../src/client/client.js';
import {fleetSnapshot} from '../../../src/observe/fleet-metrics.js';
import {RedisTracer} from '../../../src/observe/redis-tracer.js';
import {parentOf, tellSpan, type SpanEnd, type SpanStart} from '../../../src/protocol/tracer.js';
import {listWorkers} from '../../../src/registry/listing.js';
import {workerMetrics} from '../../../src/store/worker-metrics.js';
import {until, type TestStore} from '../../support/stores.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {contents, NOON, recordWith, runRows, work, type Stored} from './support.js';

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

/** What the recorded fleet did: one worker, one execution that completed. */
async function oneExecution(at: TestStore, metricsHistory?: {readonly intervalMs: number}) {
  const store = at.open();
  await work(at, store, () => ({content: 'done', status: 'COMPLETED'}), {
    leaseMs: 3000,
    ...(metricsHistory === undefined ? {} : {metricsHistory}),
  });
  const client = new GatewayClient(store);
  await client.send({agentType: 'writer', content: 'go', sessionId: 'sess-1'});
  await recordWith(at.redis(), store, 'COMPLETED');
  // It tells of that with a heartbeat.
  const [told] = await until(async () => {
    const all = await workerMetrics(store, ['worker-01']);
    return all[0]?.ended.completed === 1 && all;
  });
  return {store, told: told!};
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
  'metrics/snapshot': {
    differs: 'a worker tells of its executions itself: no records are walked, and settled entries are gone',
    async run(at, row) {
      const {store} = await oneExecution(at);
      const snapshot = await until(async () => {
        const now = await fleetSnapshot(store);
        return now.totals.activeExecutions === 0 && now;
      });
      const wanted = asDoc(row.expected);
      const {totals, latency, controlPlane, queues} = snapshot;
      expect({
        workers_online: totals.workersOnline,
        agent_types: totals.agentTypes,
        active_executions: totals.activeExecutions,
        tracked_executions: totals.completed + totals.failed + totals.cancelled,
      }).toEqual(wanted['totals']);
      expect({COMPLETED: totals.completed}).toEqual(wanted['status_counts']);
      for (const what of ['queue', 'run', 'total'] as const) {
        const {count, avgMs, p50Ms, p95Ms, maxMs} = latency[what];
        expect(count).toBe(field(wanted, 'latency', what, 'completed_count'));
        // One execution: whatever it took, it is all of them.
        expect([avgMs, p50Ms, p95Ms]).toEqual([maxMs, maxMs, maxMs]);
      }
      expect(latency.total.maxMs).toBeGreaterThanOrEqual(latency.queue.maxMs);
      const [queue] = field(wanted, 'queues', 'agent_type_streams') as Doc[];
      expect(queues.map(({agentType, pending, waiting}) => ({agentType, pending, waiting}))).toEqual([
        {
          agentType: queue?.['agent_type'],
          pending: field(queue, 'consumer_groups', 0, 'pending'),
          waiting: field(queue, 'consumer_groups', 0, 'lag'),
        },
      ]);
      const control = asDoc(field(wanted, 'queues', 'control_plane'));
      expect(controlPlane).toEqual({
        wakeup: field(control, 'wakeup', 'length'),
        deliveryPending: field(control, 'delivery_pending', 'length'),
        deadletter: field(control, 'deadletter', 'length'),
      });
      expect(snapshot.alerts).toEqual([]);
    },
  },
  'metrics/worker_snapshot': {
    differs: 'what a worker does now is in its slots; how its executions ended it tells itself',
    async run(at, row) {
      const {store, told} = await oneExecution(at);
      const [wanted] = field(row.expected, 'workers') as Doc[];
      const [worker, ...more] = await listWorkers(store);
      expect(more).toEqual([]);
      expect({
        ...{worker_id: worker?.workerId, online: worker?.online, agent_types: worker?.agentTypes},
        ...{lifecycle: worker?.lifecycle, lifecycle_reason: worker?.reason},
      }).toEqual(
        Object.fromEntries(
          ['worker_id', 'online', 'agent_types', 'lifecycle', 'lifecycle_reason'].map(name => [
            name,
            wanted?.[name],
          ]),
        ),
      );
      const counts = asDoc(wanted?.['counts']);
      expect(told.started).toBe(counts['total']);
      expect(told.ended).toEqual({
        ...{completed: counts['completed'], failed: counts['failed'], cancelled: counts['cancelled']},
      });
    },
  },
  'metrics/collector_keys': {
    differs: 'settled entries are gone from their stream: nothing is in the queue',
    async run(at, row) {
      const {store} = await oneExecution(at, {intervalMs: 1000});
      const lock = 'by_framework:obs:collector_lock';
      const history = 'by_framework:obs:history';
      const {value: wantedHistory, ...wantedAs} = asDoc(field(row.expected, history));
      const [[wantedText]] = wantedHistory as [[string]];
      const wanted = JSON.parse(wantedText) as Doc;
      const point = await until(async () => {
        const found = await contents(at.redis(), store);
        const rows = (found[history]?.value ?? []) as unknown[];
        const last = asDoc(rows.at(-2));
        return last['completed_executions'] === 1 && {last, score: Number(rows.at(-1)), found};
      });
      expect({type: point.found[history]?.type, ttl_seconds: point.found[history]?.ttl}).toEqual(wantedAs);
      expect(point.score).toBe(point.last['generated_at']);
      expect(point.found[lock]).toMatchObject({type: 'string', value: 'worker-01'});
      expect(point.found[lock]?.ttl).toBeGreaterThan(10);
      expect(Object.keys(point.last)).toEqual(Object.keys(wanted));
      const timed = /^generated_at$|_ms$|^queue_depth_total$/;
      const counts = (doc: Doc) =>
        Object.fromEntries(Object.entries(doc).filter(([name]) => !timed.test(name)));
      expect(counts(point.last)).toEqual(counts(wanted));
      expect(point.last['queue_depth_total']).toBe(0);
    },
  },
});
