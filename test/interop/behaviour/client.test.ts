/** Sending and cancelling, against the rows of client.json, control.json and ts_sdk.json. */
import type {Redis} from 'ioredis';
import {expect} from 'vitest';
import type {CancelRequest, CancelResult} from '../../../src/availability/cancel.js';
import {GatewayClient, type ClientOptions} from '../../../src/client/client.js';
import type {SendRequest} from '../../../src/availability/send.js';
import {ByError} from '../../../src/errors.js';
import {encodeCommand} from '../../../src/protocol/commands.js';
import {createHeader} from '../../../src/protocol/header.js';
import type {RoutePolicy} from '../../../src/protocol/routing.js';
import type {Store} from '../../../src/store/store.js';
import {contentText} from '../../../src/worker/agent.js';
import type {AgentContext} from '../../../src/worker/context.js';
import {until, type TestStore} from '../../support/stores.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {reloads} from './reload.js';
import {
  bringOnline,
  common,
  contents,
  DATA_STREAM,
  drained,
  idNames,
  named,
  NOON,
  onlyRecord,
  PENDING,
  recordsOf,
  recordWith,
  runRows,
  SESSION_REGISTRY,
  streamOf,
  streamsIn,
  summary,
  summaryOf,
  timelineOf,
  timeless,
  WAKEUP,
  work,
  WRITER_STREAM,
  type RowTest,
} from './support.js';

// Sending

/** The row's keyword arguments as our request. */
function requestOf(row: Row): SendRequest {
  const kwargs = asDoc(field(row.input, 'kwargs'));
  const given = (ours: keyof SendRequest, theirs: string) =>
    kwargs[theirs] === undefined ? {} : {[ours]: kwargs[theirs]};
  return {
    agentType: 'writer',
    content: (kwargs['content'] ?? 'hi') as SendRequest['content'],
    sessionId: 'sess-1',
    ...given('userCode', 'user_code'),
    ...given('userName', 'user_name'),
    ...given('messageId', 'message_id'),
    ...given('traceId', 'trace_id'),
    ...given('parentMessageId', 'parent_message_id'),
    ...given('extraPayload', 'extra_payload'),
    ...given('metadata', 'metadata'),
    ...given('region', 'region'),
    ...given('priority', 'priority'),
    ...given('policy', 'route_policy'),
    ...given('availabilityTimeoutMs', 'availability_timeout_ms'),
  };
}

/** Our answer as the SDKs spell it. Ids are kept when it is refused (A8), so they are not compared then. */
async function respond(client: GatewayClient, request: SendRequest): Promise<Doc> {
  try {
    await client.send(request);
    return {success: true, status: 'QUEUED', error_code: ''};
  } catch (error) {
    if (!(error instanceof ByError)) throw error;
    expect(error.details).toMatchObject({
      sessionId: 'sess-1',
      messageId: expect.stringMatching(/^msg-/) as string,
    });
    return {success: false, status: 'FAILED', error_code: error.code};
  }
}

interface Sent {
  readonly redis: Redis;
  readonly store: Store;
}

/** Send what the row sends, with its clock, and compare the answer. */
async function sendRow(
  at: TestStore,
  row: Row,
  {request = requestOf(row), options = {}}: {request?: SendRequest; options?: ClientOptions} = {},
): Promise<Sent> {
  const store = at.open();
  const redis = at.redis();
  const {keys} = store;
  if (field(row.input, 'worker_online') === true) await bringOnline(store, 'w1', ['writer']);
  if (row.name === 'send.fallback') {
    await redis.set(keys.fallback('writer'), '{"selected_agent_type":"alt"}');
    await bringOnline(store, 'w2', ['alt']);
  }
  if (row.name === 'send.circuit_open')
    await redis.set(keys.circuit('writer'), '{"state":"OPEN","reason":"maint"}');
  const response = await respond(new GatewayClient(store, {now: () => NOON, ...options}), request);
  const {success, status, error_code} = asDoc(field(row.expected, 'response'));
  expect(response).toEqual({success, status, error_code});
  return {redis, store};
}

/** Texts of refusals are each program's own. */
const TEXTS = {error_message: '', availability_error: ''};
const withoutTexts = (record: Doc): Doc => ({
  ...record,
  ...Object.fromEntries(Object.entries(TEXTS).filter(([name]) => name in record)),
});

/** Record, streams and pending documents are those of the row, with its ids in their places. */
async function compareSent({redis, store}: Sent, row: Row): Promise<void> {
  const {session_registry, control_streams = {}, control_plane = {}} = asDoc(row.expected);
  const [theirs = {}] = recordsOf(session_registry);
  const ours = await onlyRecord(redis, store);
  const found = await contents(redis, store);
  const normal = (value: unknown, record: Doc) => named(common(value), idNames(record));

  expect(normal(withoutTexts(ours), ours)).toEqual(normal(withoutTexts(theirs), theirs));
  expect(ours['error_message'] ?? '').toContain(row.name === 'send.circuit_open' ? 'maint' : '');
  expect(asDoc(found[SESSION_REGISTRY]?.value)).toMatchObject({
    [`msg_map:${ours['message_id'] as string}`]: ours['execution_id'],
  });
  const streams = {
    ...mapValues(asDoc(control_streams), stream => field(stream, 'entries')),
    ...mapValues(onlyStreams(asDoc(control_plane)), stream =>
      (field(stream, 'entries') as Doc[]).map(entry => entry['data']),
    ),
  };
  expect(timeoutOpen(normal(streamsIn(found), ours))).toEqual(timeoutOpen(normal(streams, theirs)));
}

/** Some of the time may have passed before the request was written. */
const timeoutOpen = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value).replace(/"timeout_ms":\d+/g, '"timeout_ms":0')) as unknown;

const mapValues = (doc: Doc, map: (value: unknown) => unknown): Doc =>
  Object.fromEntries(Object.entries(doc).map(([key, value]) => [key, map(value)]));

const onlyStreams = (doc: Doc): Doc =>
  Object.fromEntries(Object.entries(doc).filter(([, value]) => asDoc(value)['type'] === 'stream'));

const asRecorded: RowTest = {run: async (at, row) => compareSent(await sendRow(at, row), row)};

const NO_TRACE = 'trace records are not written yet';

/** Refused before anything is asked: nothing is written. */
const refusedBeforehand =
  (request: Partial<SendRequest>): RowTest['run'] =>
  async (at, row) => {
    const store = at.open();
    const redis = at.redis();
    if (field(row.input, 'worker_online') === true) await bringOnline(store, 'w1', ['writer']);
    const sent = new GatewayClient(store).send({...requestOf(row), ...request});
    await expect(sent).rejects.toMatchObject({code: 'INVALID_INPUT'});
    const found = await contents(redis, store);
    expect(streamsIn(found)).toEqual({});
    expect(found[SESSION_REGISTRY]).toBeUndefined();
  };

/** The row's RESUME, to an execution that waits for it. */
const resumed: RowTest = {
  differs: 'guarantees rule 10, a RESUME goes to an execution that waits, and makes none up',
  async run(at, row) {
    const {messageId = '', content, extraPayload = {}} = requestOf(row);
    const {status, reply_data: data, ...extra} = extraPayload;
    const store = at.open();
    const redis = at.redis();
    const reply = (message: string) =>
      new GatewayClient(store, {now: () => NOON}).reply({
        ...{
          sessionId: 'sess-1',
          messageId: message,
          content,
          status: String(status),
          data,
          extraPayload: extra,
        },
      });
    const worker = await work(at, store, (_command, ctx) => ctx.askUser('?'));
    const client = new GatewayClient(store, {now: () => NOON});
    await client.send({agentType: 'writer', content: 'hi', sessionId: 'sess-1', messageId});
    const record = await recordWith(redis, store, 'WAITING_USER');
    await worker.stop({drainMs: 0});
    await expect(reply('msg-unknown')).rejects.toMatchObject({code: 'NOT_FOUND'});
    await reply(messageId);
    const [theirs] = field(row.expected, 'control_streams', WRITER_STREAM, 'entries') as Doc[];
    const ids = {execution_id: 'exec-none', ...asDoc(theirs?.['header'])};
    const entries = streamOf(await contents(redis, store), WRITER_STREAM);
    expect(named(common(entries), idNames(record))).toEqual(named([theirs], idNames(ids)));
    // Its record is as it was: the status and timeline of the wait stay (A9).
    expect(timelineOf(await onlyRecord(redis, store))).toEqual(timelineOf(record));
  },
};

const emptyResume: RowTest = {
  differs: NO_TRACE,
  async run(at) {
    const store = at.open();
    await work(at, store, (_command, ctx) => ctx.askUser('?'));
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'writer', content: 'hi', sessionId: 'sess-1'});
    await recordWith(at.redis(), store, 'WAITING_USER');
    const {messageId} = sent;
    await expect(client.reply({sessionId: 'sess-1', messageId, content: ''})).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  },
};

const sends: Record<string, RowTest> = {
  'client/send.resume_with_status_and_reply': resumed,
  'client/send.resume_empty_raises': emptyResume,
  'client/send.minimal': asRecorded,
  'client/send.all_params': asRecorded,
  'client/send.list_content': asRecorded,
  'client/send.offline_FAIL_FAST': asRecorded,
  'client/send.offline_SEND_ANYWAY': asRecorded,
  'client/send.offline_WAKE_AND_QUEUE': asRecorded,
  'client/send.offline_QUEUE_ONLY': asRecorded,
  'client/send.offline_WAKE_AND_WAIT': asRecorded,
  'client/send.fallback': asRecorded,
  'client/send.circuit_open': asRecorded,
  'client/send.empty_content_raises': {differs: NO_TRACE, run: refusedBeforehand({content: ''})},
  'client/send.offline_BOGUS': {
    differs: 'A2, an unknown policy is refused before anything is written',
    run: refusedBeforehand({policy: 'BOGUS' as RoutePolicy}),
  },
  'client/send.no_registry': {
    differs: 'our client always has a registry, so there is a record',
    async run(at, row) {
      const {redis, store} = await sendRow(at, row);
      const ours = await onlyRecord(redis, store);
      expect(ours).toMatchObject({status: 'QUEUED', source_agent_type: 'client'});
      const [theirs] = field(row.expected, 'control_streams', WRITER_STREAM, 'entries') as Doc[];
      const ids = {execution_id: 'exec-none', ...asDoc(theirs?.['header'])};
      const entries = streamOf(await contents(redis, store), WRITER_STREAM);
      expect(named(common(entries), idNames(ours))).toEqual(named([theirs], idNames(ids)));
    },
  },
  'client/send.unknown_action_type_becomes_ASK_AGENT': {
    differs: 'our client has no action type: what it sends is an ASK',
    async run(at, row) {
      const request = {...requestOf(row), actionType: field(row.input, 'kwargs', 'action_type')};
      await compareSent(await sendRow(at, row, {request}), row);
    },
  },
  'client/send.interceptor': {
    async run(at, row) {
      const beforeSend = (request: SendRequest): SendRequest => ({
        ...request,
        content: `${contentText(request.content)}!`,
        metadata: {...request.metadata, i: 1},
      });
      await compareSent(await sendRow(at, row, {options: {interceptors: [{beforeSend}]}}), row);
    },
  },
};

/** The TypeScript SDK's records have fields we have not, and lack some of ours; what both have is the same. */
const asTypescript = (request: Partial<SendRequest>, stream?: string): RowTest => ({
  async run(at, row) {
    const store = at.open();
    const redis = at.redis();
    const full = {agentType: 'writer', content: 'x', sessionId: 'sess-1', ...request};
    const response = await respond(new GatewayClient(store), full);
    const {success, status, error_code = ''} = asDoc(field(row.expected, 'response'));
    expect(response).toEqual({success, status, error_code});

    const [theirs = {}] = recordsOf(field(row.expected, 'session_registry'));
    const ours = await onlyRecord(redis, store);
    const normal = (record: Doc) => asDoc(timeless(named(common(withoutTexts(record)), idNames(record))));
    const mine = normal(ours);
    const shared = Object.entries(normal(theirs)).filter(([name]) => Object.hasOwn(mine, name));
    expect(shared.length).toBeGreaterThan(10);
    expect(mine).toMatchObject(Object.fromEntries(shared));
    if (stream === undefined) return;
    const [document] = streamOf(await contents(redis, store), stream) as Doc[];
    const wanted = asDoc(field(row.expected, 'extra', 'entries', 0, 'data'));
    const compared = (value: unknown, record: Doc) =>
      timeoutOpen(withoutSpans(named(common(value), idNames(record))));
    expect(compared(document, ours)).toEqual(compared(wanted, theirs));
  },
});

/** That SDK writes no spans into the command of an offline send. */
function withoutSpans(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return mapValues(
    Object.fromEntries(Object.entries(value).filter(([key]) => !/span_id|observation_id/.test(key))),
    withoutSpans,
  );
}

const typescript: Record<string, RowTest> = {
  'ts_sdk/offline_FAIL_FAST': asTypescript({}),
  'ts_sdk/offline_QUEUE_ONLY': asTypescript(
    {policy: 'QUEUE_ONLY', userCode: 'u-1', region: 'eu', priority: 3},
    PENDING,
  ),
  'ts_sdk/offline_WAKE_AND_WAIT_timeout': asTypescript(
    {policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 300},
    WAKEUP,
  ),
};

// One worker

const direct: Record<string, RowTest> = {
  'control/send.direct_worker': {
    differs: 'the settled entry is deleted',
    async run(at, row) {
      const store = at.open();
      const redis = at.redis();
      await work(at, store, () => 'ok', {workerId: 'worker-w'});
      const sent = await new GatewayClient(store).send({
        ...{agentType: 'writer', content: 'x', sessionId: 'sess-1', workerId: 'worker-w'},
      });
      expect(sent.status).toBe('DIRECT_WORKER');
      const ours = await recordWith(redis, store, 'COMPLETED');
      const [theirs = {}] = recordsOf(field(row.expected, 'session_registry'));
      const normal = (record: Doc) => timeless(named(common(record), idNames(record)));
      expect(normal(ours)).toEqual(normal(theirs));
      const events = summary(streamOf(await contents(redis, store), DATA_STREAM));
      expect(named(events, idNames(ours))).toEqual(named(summaryOf(row), idNames(theirs)));
      await drained(redis, store.keys.workerCtrlStream('worker-w'));
    },
  },
  'control/send.direct_worker_offline': {
    differs: 'A14, the refusal is on record',
    async run(at, row) {
      const store = at.open();
      const redis = at.redis();
      const response = await respond(new GatewayClient(store), {
        ...{agentType: 'writer', content: 'x', sessionId: 'sess-1', workerId: 'ghost'},
      });
      const {success, status, error_code} = asDoc(field(row.expected, 'response'));
      expect(response).toEqual({success, status, error_code});
      expect(await onlyRecord(redis, store)).toMatchObject({status: 'FAILED', error_code, stream_name: ''});
      expect(streamsIn(await contents(redis, store))).toEqual({});
    },
  },
  'control/send.direct_worker_offline_SEND_ANYWAY': {
    async run(at, row) {
      const store = at.open();
      const redis = at.redis();
      await new GatewayClient(store).send({
        ...{agentType: 'writer', content: 'x', sessionId: 'sess-1', workerId: 'ghost', policy: 'SEND_ANYWAY'},
      });
      const ours = await onlyRecord(redis, store);
      const [theirs = {}] = recordsOf(field(row.expected, 'session_registry'));
      const normal = (value: unknown, record: Doc) =>
        JSON.parse(
          JSON.stringify(timeless(named(common(value), idNames(record)))).replaceAll('sess-3', 'sess-1'),
        ) as unknown;
      expect(normal(ours, ours)).toEqual(normal(theirs, theirs));
      const entries = streamOf(await contents(redis, store), 'byai_gateway:ctrl:worker:ghost');
      const wanted = (field(row.expected, 'stream', 'entries') as Doc[]).map(entry => entry['data']);
      expect(normal(entries, ours)).toEqual(normal(wanted, theirs));
    },
  },
};

// Cancelling

const FLAGS = ['success', 'status', 'cancelled_count', 'already_finished_count'];

/** Our answer as the SDKs spell it: `cancel_task` counts no finished ones. */
function compareCancelled(result: CancelResult, row: Row, over: Doc = {}): void {
  const wanted = {...asDoc(field(row.expected, 'cancel_response')), ...over};
  const ours: Doc = {
    success: result.status === 'CANCEL_REQUESTED',
    status: result.status,
    cancelled_count: result.cancelledCount,
    already_finished_count: result.alreadyFinishedCount,
  };
  for (const flag of FLAGS) if (flag in wanted) expect(ours[flag], flag).toBe(wanted[flag]);
}

/** Says something, then runs until it is told to stop. */
async function runUntilCancelled(_: unknown, ctx: AgentContext): Promise<never> {
  await ctx.emitChunk('start');
  return new Promise((_resolve, reject) => {
    ctx.signal.addEventListener('abort', () => reject(new Error('stopped')), {once: true});
  });
}

/** A planner that waits and its child that runs, as in the rows. */
async function family(at: TestStore): Promise<Sent & {client: GatewayClient; root: string}> {
  const store = at.open();
  const redis = at.redis();
  const client = new GatewayClient(store);
  await work(at, store, {planner: () => ({status: 'QUEUED'})}, {workerId: 'worker-p'});
  await work(at, store, runUntilCancelled, {workerId: 'worker-w'});
  const {messageId, traceId} = await client.send({agentType: 'planner', content: 'go', sessionId: 'sess-1'});
  await until(async () => (await plannerTimeline(redis, store)) === 'QUEUED,RUNNING,QUEUED');
  const child = encodeCommand({
    action: 'ASK_AGENT',
    header: createHeader({
      ...{messageId: 'msg-child001', sessionId: 'sess-1', traceId, parentMessageId: messageId},
      ...{sourceAgentType: 'planner', targetAgentType: 'writer'},
    }),
    ...{content: 'long', waitForReply: true, extraPayload: {}},
  });
  await redis.xadd(store.keys.ctrlStream('writer'), '*', 'data', child);
  await until(async () => streamOf(await contents(redis, store), DATA_STREAM).length > 0);
  return {store, redis, client, root: messageId};
}

const plannerTimeline = async (redis: Redis, store: Store) =>
  timelineOf(await recordOf(redis, store, 'planner')).join();

async function recordOf(redis: Redis, store: Store, agentType: string): Promise<Doc> {
  const records = recordsOf((await contents(redis, store))[SESSION_REGISTRY]?.value);
  return asDoc(records.find(record => record['target_agent_type'] === agentType));
}

const cancelRunning = async (at: TestStore, row: Row, request: Partial<CancelRequest>) => {
  const store = at.open();
  const redis = at.redis();
  const client = new GatewayClient(store);
  await work(at, store, runUntilCancelled, {workerId: 'worker-w'});
  await client.send({agentType: 'writer', content: 'go', sessionId: 'sess-1'});
  await until(async () => streamOf(await contents(redis, store), DATA_STREAM).length > 0);
  compareCancelled(await client.cancel({sessionId: 'sess-1', ...request}), row);
  const ours = await recordWith(redis, store, 'CANCELLED');
  return {store, redis, client, ours};
};

const R18 = 'R18, what waits ends CANCELLED at once';

const cancels: Record<string, RowTest> = {
  'control/cancel.cascade_running_child': {
    differs: `${R18}; no CANCEL_TASK for it, nobody runs it`,
    async run(at, row) {
      const {store, redis, client, root} = await family(at);
      const result = await client.cancel({sessionId: 'sess-1', messageId: root, reason: 'user stop'});
      compareCancelled(result, row);
      await until(async () => (await recordOf(redis, store, 'writer'))['status'] === 'CANCELLED');
      expect(await recordOf(redis, store, 'writer')).toMatchObject({
        cancel_requested: true,
        cancel_reason: 'user stop',
        worker_id: 'worker-w',
      });
      expect(await recordOf(redis, store, 'planner')).toMatchObject({
        status: 'CANCELLED',
        cancel_requested: true,
        cancel_reason: 'user stop',
      });
      // The child's reply finds that its caller has ended, and changes nothing.
      await drained(redis, store.keys.ctrlStream('planner'));
      await drained(redis, store.keys.workerCtrlStream('worker-w'));
      expect(timelineOf(await recordOf(redis, store, 'planner'))).toEqual([
        'QUEUED',
        'RUNNING',
        'QUEUED',
        'CANCELLED',
      ]);
      const ends = summary(streamOf(await contents(redis, store), DATA_STREAM)).filter(
        event => asDoc(event)['event_type'] === 'appStreamResponse',
      );
      expect(ends).toMatchObject([{message_id: root}]);
    },
  },
  'control/cancel.second_call': {
    differs: R18,
    async run(at, row) {
      const {store, redis, client, root} = await family(at);
      await client.cancel({sessionId: 'sess-1', messageId: root});
      await until(async () => (await recordOf(redis, store, 'writer'))['status'] === 'CANCELLED');
      const again = await client.cancel({sessionId: 'sess-1', messageId: root});
      compareCancelled(again, row, {success: false, status: 'ALREADY_FINISHED', cancelled_count: 0});
    },
  },
  'control/cancel_session.force': {
    differs: 'the settled entries are deleted; CANCELLING is noted once',
    async run(at, row) {
      const request = {reason: 'stop all', requestedBy: 'ops', force: true};
      const {redis, store, ours} = await cancelRunning(at, row, request);
      const [theirs = {}] = recordsOf(field(row.expected, 'session_registry'));
      const normal = ({timeline: _timeline, ...record}: Doc) =>
        timeless(named(common(record), idNames(record)));
      expect(normal(ours)).toEqual(normal(theirs));
      expect(timelineOf(ours)).toEqual(['QUEUED', 'RUNNING', 'CANCELLING', 'CANCELLED']);
      const events = summary(streamOf(await contents(redis, store), DATA_STREAM));
      expect(named(events, idNames(ours))).toEqual(named(summaryOf(row), idNames(theirs)));
    },
  },
  'control/cancel_session.again': {
    async run(at, row) {
      const store = at.open();
      const client = new GatewayClient(store);
      await client.send({agentType: 'writer', content: 'go', sessionId: 'sess-1', policy: 'SEND_ANYWAY'});
      await client.cancel({sessionId: 'sess-1'});
      compareCancelled(await client.cancel({sessionId: 'sess-1'}), row);
    },
  },
  'control/cancel_session.unknown': {
    async run(at, row) {
      compareCancelled(await new GatewayClient(at.open()).cancel({sessionId: 'nope'}), row);
    },
  },
  'control/cancel_task.unknown': {
    async run(at, row) {
      const client = new GatewayClient(at.open());
      compareCancelled(await client.cancel({sessionId: 'sess-1', messageId: 'msg-x'}), row);
    },
  },
  'control/cancel.queued_before_pickup': {
    differs: 'R17, it ends CANCELLED at once and its stream is closed',
    async run(at, row) {
      const store = at.open();
      const redis = at.redis();
      const client = new GatewayClient(store);
      await client.send({agentType: 'writer', content: 'go', sessionId: 'sess-1', policy: 'SEND_ANYWAY'});
      compareCancelled(await client.cancel({sessionId: 'sess-1', reason: 'early'}), row);
      let ran = false;
      await work(at, store, () => void (ran = true));
      await drained(redis, store.keys.ctrlStream('writer'));
      expect(ran).toBe(field(row.expected, 'process_command_ran'));
      const record = await onlyRecord(redis, store);
      expect(record).toMatchObject({status: 'CANCELLED', cancel_reason: 'early', started_at: 0});
      expect(timelineOf(record)).toEqual(['QUEUED', 'CANCELLED']);
      const events = summary(streamOf(await contents(redis, store), DATA_STREAM));
      expect(events).toMatchObject([{event_type: 'appStreamResponse', message_id: record['message_id']}]);
    },
  },
};

runRows('client', {...sends, ...typescript, ...direct, ...cancels, ...reloads});
