/** Routing, the manager's wakeups and its delivery of pending commands, against the rows of availability.json. */
import type {Redis} from 'ioredis';
import {expect} from 'vitest';
import {startManager} from '../../../src/availability/manager.js';
import type {Provider, ProviderDecision} from '../../../src/availability/provider.js';
import {GatewayClient} from '../../../src/client/client.js';
import type {SendProgress, SendRequest, SendResult} from '../../../src/availability/send.js';
import {ByError} from '../../../src/errors.js';
import {silentLogger} from '../../../src/log.js';
import {encodePendingDelivery} from '../../../src/protocol/delivery.js';
import type {RoutePolicy} from '../../../src/protocol/routing.js';
import {requestWakeup} from '../../../src/store/control-plane.js';
import type {Store} from '../../../src/store/store.js';
import {until, type TestStore} from '../../support/stores.js';
import {behavioural} from '../behavioural.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {
  bringOnline,
  common,
  contents,
  DEADLETTER,
  PENDING,
  runRows,
  streamOf,
  streamsIn,
  WAKEUP,
  type RowTest,
  type Stored,
} from './support.js';

// Routing

interface Routed {
  readonly status: string;
  readonly stream_name: string;
  readonly error_code: string;
  readonly selected_agent_type: string;
  readonly error: string;
}

const QUOTA_OF_ALL = '{"available":false}';

/** What the row says was there before, done. */
async function setUp(redis: Redis, store: Store, row: Row): Promise<void> {
  const {keys} = store;
  const setup = (field(row.input, 'setup') ?? '') as string;
  const [, key, value] = /^SET (\S+) (.*?)(?:;|$)/.exec(setup) ?? [];
  if (key !== undefined && value !== undefined) {
    // One row abbreviates its value.
    const stored = row.name === 'route.circuit_open_beats_SEND_ANYWAY' ? '{"state":"OPEN"}' : value;
    await redis.set(keys.prefix + key, stored);
  }
  if (setup.startsWith('quota false') || setup === 'both')
    await redis.set(keys.userQuota('u-1'), QUOTA_OF_ALL);
  if (setup === 'both') await redis.set(keys.circuit('writer'), '{"state":"OPEN"}');
  if (setup.startsWith('fallback alt'))
    await redis.set(keys.fallback('writer'), '{"selected_agent_type":"alt"}');
  if (/w1 online|worker w1 online/.test(setup) || setup === 'both')
    await bringOnline(store, 'w1', ['writer']);
  if (setup.includes('alt online')) await bringOnline(store, 'w2', ['alt']);
}

/** The row's intent as our request. Ours has no metadata of the intent. */
function requestOf(row: Row): SendRequest {
  const intent = asDoc(field(row.input, 'intent'));
  const text = (name: string) => intent[name] as string;
  return {
    agentType: text('target_agent_type'),
    content: 'hi',
    sessionId: text('session_id'),
    messageId: text('message_id'),
    traceId: text('trace_id'),
    userCode: text('user_code'),
    region: text('region'),
    priority: intent['priority'] as number,
    policy: text('policy') as RoutePolicy,
    availabilityTimeoutMs: intent['timeout_ms'] as number,
  };
}

async function route(store: Store, request: SendRequest): Promise<Routed> {
  try {
    const sent: SendResult = await new GatewayClient(store).send(request);
    return {
      status: sent.status,
      stream_name: sent.streamName.slice(store.keys.prefix.length),
      error_code: '',
      selected_agent_type: sent.selectedAgentType === sent.targetAgentType ? '' : sent.selectedAgentType,
      error: '',
    };
  } catch (error) {
    if (!(error instanceof ByError)) throw error;
    const {code, message} = error;
    return {status: 'REJECT', stream_name: '', error_code: code, selected_agent_type: '', error: message};
  }
}

/** Documents the router itself writes: wakeups and pending deliveries, with the row's execution id. */
function routerDocuments(streams: Record<string, unknown>, executionId: string): unknown {
  const own = Object.entries(streams).filter(([name]) => name === PENDING || name === WAKEUP);
  const text = JSON.stringify(Object.fromEntries(own)).replaceAll(executionId, 'exec-12345678');
  return withoutSpans(common(JSON.parse(text)));
}

/** The rows were recorded without spans and with metadata of the intent; some of the time may have passed by then. */
const NOT_COMPARED = new Set([
  'trace_parent_span_id',
  'langfuse_parent_observation_id',
  'metadata',
  'timeout_ms',
]);

function withoutSpans(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSpans);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !NOT_COMPARED.has(key))
      .map(([key, item]) => [key, withoutSpans(item)]),
  );
}

/** Whether the reason is an operator's or a provider's own words, which must reach the caller. */
const isQuoted = (row: Row, reason: string) =>
  reason !== '' && JSON.stringify([row.input, row.name]).includes(JSON.stringify(reason).slice(1, -1));

async function compareRoute(
  at: TestStore,
  row: Row,
  over: Partial<Routed> = {},
  prepare: (store: Store) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const store = at.open();
  const redis = at.redis();
  await setUp(redis, store, row);
  await prepare(store);
  const decisions = field(row.input, 'decisions_already_on_result_stream') as Doc[];
  // Managers of other SDKs give their answers no lifetime.
  at.breaksRules('wakeupResult');
  const writes: Promise<unknown>[] = [];
  const decide = (executionId: string, decision: Doc) => {
    const own =
      decision['execution_id'] === 'exec-12345678' ? {...decision, execution_id: executionId} : decision;
    writes.push(redis.xadd(store.keys.wakeupResult(executionId), '*', 'data', JSON.stringify(own)));
  };
  let executionId = '';
  const onProgress = (progress: SendProgress) => {
    if (progress.kind === 'wakeup-requested') {
      ({executionId} = progress);
      for (const decision of decisions) decide(executionId, decision);
    }
    // Only one row goes on from here: its worker comes online, and then its manager says so.
    if (progress.kind === 'wakeup-decision' && progress.decision.status === 'QUEUED') {
      const ready = {status: 'READY', execution_id: 'exec-12345678', target_agent_type: 'writer'};
      writes.push(bringOnline(store, 'w1', ['writer']).then(() => decide(executionId, ready)));
    }
  };
  const request = requestOf(row);
  // Where a decision ends the wait, the row's 300 ms may be over before ours has looked once.
  const isDecided = decisions.some(({status}) => status !== 'READY');
  const availabilityTimeoutMs = isDecided ? 30_000 : request.availabilityTimeoutMs;
  const routed = await route(store, {...request, availabilityTimeoutMs, onProgress});
  await Promise.all(writes);

  const wanted = {...asDoc(field(row.expected, 'result')), ...over};
  expect(routed).toMatchObject({
    status: wanted['status'],
    stream_name: wanted['stream_name'],
    error_code: wanted['error_code'],
    selected_agent_type: wanted['selected_agent_type'],
  });
  const reason = wanted['error'] as string;
  if (isQuoted(row, reason)) expect(routed.error).toContain(reason);
  await compareTraces(redis, store, row, {...wanted, timeout_ms: availabilityTimeoutMs});
}

/** The record says the same, the router's documents are the row's, and the command is where it was sent, alone. */
async function compareTraces(redis: Redis, store: Store, row: Row, wanted: Doc): Promise<void> {
  const record = await new GatewayClient(store).find('sess-1', 'msg-1');
  expect(record).toMatchObject({
    status: wanted['status'] === 'REJECT' ? 'FAILED' : 'QUEUED',
    routeStatus: wanted['status'],
    availabilityErrorCode: wanted['error_code'],
    selectedAgentType: wanted['selected_agent_type'],
  });
  const streams = streamsIn(await contents(redis, store));
  const documents = Object.entries(asDoc(field(row.expected, 'new_streams'))).map(([name, entries]) => [
    name,
    (entries as Doc[]).map(entry => entry['data']),
  ]);
  expect(routerDocuments(streams, record?.executionId ?? '')).toEqual(
    withoutSpans(Object.fromEntries(documents)),
  );
  for (const request of (streams[WAKEUP] ?? []) as Doc[]) {
    expect(request['timeout_ms']).toBeLessThanOrEqual(wanted['timeout_ms'] as number);
  }
  const sentTo = Object.keys(streams).filter(name => name.includes(':ctrl:'));
  const stream = wanted['stream_name'] as string;
  expect(sentTo).toEqual(stream === '' || stream === PENDING ? [] : [stream]);
}

const refusedBeforehand: RowTest = {
  differs: 'A2, an unknown policy is refused before anything is asked or written',
  async run(at, row) {
    const store = at.open();
    const redis = at.redis();
    await setUp(redis, store, row);
    expect(await route(store, requestOf(row))).toMatchObject({status: 'REJECT', error_code: 'INVALID_INPUT'});
    expect(streamsIn(await contents(redis, store))).toEqual({});
    expect(await new GatewayClient(store).find('sess-1', 'msg-1')).toBeUndefined();
  },
};

const asRecorded: RowTest = {run: (at, row) => compareRoute(at, row)};

const routes: Record<string, RowTest> = Object.fromEntries(
  behavioural.availability.filter(id => id.startsWith('availability/route.')).map(id => [id, asRecorded]),
);

// Wakeups

async function manage(at: TestStore, store: Store, provider: Provider): Promise<void> {
  const manager = await startManager(store, {provider, log: silentLogger});
  at.cleanup(() => manager.stop());
}

/** Send the row's requests to a manager whose provider answers like the row's, and wait for every answer. */
async function wake(at: TestStore, row: Row, outcome: (store: Store) => Promise<ProviderDecision>) {
  const store = at.open();
  const redis = at.redis();
  const count = field(row.input, 'requests') as number;
  let calls = 0;
  const ids = Array.from({length: count}, (_, i) => `exec-${i}`);
  for (const executionId of ids) {
    await requestWakeup(store, {
      executionId,
      targetAgentType: 'writer',
      ...{sessionId: 's', traceId: 't', messageId: 'm', source: 'client', policy: 'WAKE_AND_WAIT'},
      ...{timeoutMs: 20_000, userCode: '', region: '', priority: 0, metadata: {}, commandPayload: {}},
    });
  }
  const isWaiting = async () => (await redis.hlen(store.keys.wakeupWaiters('writer', '', ''))) === count;
  await manage(at, store, {
    name: 'of the row',
    async wakeup() {
      calls++;
      await until(isWaiting);
      return outcome(store);
    },
  });
  for (const id of ids) await until(async () => (await redis.xlen(store.keys.wakeupResult(id))) > 0);
  await until(async () => (await redis.xlen(store.keys.wakeup())) === 0);
  return {calls, found: await contents(redis, store)};
}

const recorded = (row: Row, key: string) => field(row.expected, 'redis', key, 'value');
const resultStream = (id: string) => `byai_gateway:control_plane:mgmt:wakeup:result:${id}`;
const DEDUPE = 'byai_gateway:control_plane:wakeup:dedupe:writer:_:_';

/** What is left of a wakeup that is over: its answer, for as long as a waiter may need, and nothing in the way. */
function expectOver(found: Record<string, Stored>): void {
  expect(found[DEDUPE]).toBeUndefined();
  expect(found[resultStream('exec-0')]?.ttl).toBeGreaterThan(0);
  expect(found[resultStream('exec-0')]?.ttl).toBeLessThanOrEqual(300);
}

/** A provider that tells the truth. */
async function readyWith(store: Store, workerIds: readonly string[]): Promise<ProviderDecision> {
  await bringOnline(store, 'w1', ['writer']);
  return {status: 'READY', workerIds};
}

/** READY names who is online, whatever the provider names, and says why where the worker was there before the answer. */
const asSaid = (answers: unknown, row: unknown) =>
  (answers as Doc[]).map((answer, i) => {
    if (answer['status'] !== 'READY') return answer;
    expect(answer['worker_ids']).toEqual(['w1']);
    const {worker_ids, reason} = (row as Doc[])[i] ?? {};
    return {...answer, worker_ids, reason};
  });

const decided = (outcome: (store: Store) => Promise<ProviderDecision>): RowTest => ({
  differs:
    'the request is settled, its result expires (K6), the next wakeup need not wait 30 s; READY is said when a worker is online',
  async run(at, row) {
    const {calls, found} = await wake(at, row, outcome);
    expect(calls).toBe(field(row.expected, 'provider_calls'));
    const wanted = recorded(row, resultStream('exec-0'));
    expect(asSaid(streamOf(found, resultStream('exec-0')), wanted)).toEqual(wanted);
    expect(found[DEADLETTER]).toBeUndefined();
    expectOver(found);
  },
});

const wakeups: Record<string, RowTest> = {
  'availability/controller.ready_dict': decided(store => readyWith(store, ['w1'])),
  'availability/controller.ready_dataclass': decided(store => readyWith(store, [])),
  'availability/controller.rejected': decided(async () => ({status: 'REJECTED', reason: 'no'})),
  'availability/controller.exception_3_attempts': {
    differs: 'one attempt, the default of the SDKs too; the dead letter keeps the command (G5)',
    async run(at, row) {
      const {calls, found} = await wake(at, row, () => Promise.reject(new Error('boom')));
      expect(calls).toBe(1);
      const [wanted] = recorded(row, resultStream('exec-0')) as Doc[];
      const [answer] = streamOf(found, resultStream('exec-0')) as Doc[];
      expect({...answer, reason: ''}).toEqual({...wanted, reason: ''});
      expect(answer?.['reason']).toContain('boom');
      const [letter, ...more] = streamOf(found, DEADLETTER) as Doc[];
      expect(more).toEqual([]);
      expect(letter).toMatchObject({...wanted, reason: answer?.['reason'], command_payload: {}});
      expectOver(found);
    },
  },
  'availability/controller.deduped_second_request': {
    differs: 'A11, the decision reaches every waiter',
    async run(at, row) {
      const {calls, found} = await wake(at, row, store => readyWith(store, []));
      expect(calls).toBe(field(row.expected, 'provider_calls'));
      const [wanted] = recorded(row, resultStream('exec-0')) as Doc[];
      expect(asSaid(streamOf(found, resultStream('exec-0')), [wanted])).toEqual([wanted]);
      const other = {...wanted, execution_id: 'exec-1'};
      expect(asSaid(streamOf(found, resultStream('exec-1')), [other])).toEqual([other]);
      expectOver(found);
    },
  },
};

// Pending deliveries

const deliveryGate: RowTest = {
  differs:
    'A10, deliveries are released once each, by the manager, for an agent type and not for an execution',
  async run(at) {
    const store = at.open();
    const redis = at.redis();
    const pend = (executionId: string, priority: number) =>
      redis.xadd(
        store.keys.deliveryPending(),
        '*',
        'data',
        encodePendingDelivery({
          ...{
            executionId,
            messageId: `msg-${priority}`,
            sessionId: 's',
            traceId: 't',
            targetAgentType: 'writer',
          },
          deliveryStream: 'somewhere:else',
          commandPayload: {priority},
          ...{userCode: '', region: '', priority, metadata: {}},
        }),
      );
    await pend('exec-1', 0);
    await pend('exec-2', 9);
    await pend('exec-1', 5);
    const provider: Provider = {name: 'none', wakeup: async () => ({status: 'REJECTED', reason: 'none'})};
    await manage(at, store, provider);
    await manage(at, store, provider);
    await until(async () => (await redis.zcard(store.keys.pendingQueue('writer'))) === 3);
    await bringOnline(store, 'w1', ['writer']);
    await until(async () => (await redis.exists(store.keys.pendingTypes())) === 0);
    const found = await contents(redis, store);
    expect(streamsIn(found)).toEqual({
      'byai_gateway:ctrl:agent_type:writer': [{priority: 9}, {priority: 5}, {priority: 0}],
    });
  },
};

runRows('availability', {
  ...routes,
  'availability/route.online.BOGUS': refusedBeforehand,
  'availability/route.offline.BOGUS': refusedBeforehand,
  'availability/route.wait.READY_but_offline': {
    differs: 'a READY is waited for until the caller’s time is over, and then refused in the same words',
    run: (at, row) => compareRoute(at, row),
  },
  'availability/route.wait.FALLBACK': {
    differs: 'a fallback takes the command once somebody of it is online; in the row nobody looks',
    run: (at, row) => compareRoute(at, row, {}, store => bringOnline(store, 'w2', ['alt'])),
  },
  'availability/route.wait.FALLBACK_without_selected': {
    differs: '§7.5, a fallback to nobody is a refusal',
    run: (at, row) =>
      compareRoute(at, row, {status: 'REJECT', stream_name: '', error_code: 'AGENT_TYPE_UNAVAILABLE'}),
  },
  ...wakeups,
  'availability/delivery_gate.dispatch_ready twice': deliveryGate,
});
