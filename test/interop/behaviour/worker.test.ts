/** Turns, unreadable entries, cancels, recovery and the hazards, against lifecycle.json, control.json, hazards.json and ts_sdk.json. */
import type {Redis} from 'ioredis';
import {expect} from 'vitest';
import {GatewayClient} from '../../../src/client/client.js';
import type {SendRequest} from '../../../src/availability/send.js';
import {encodeCommand} from '../../../src/protocol/commands.js';
import {createHeader} from '../../../src/protocol/header.js';
import {groupsOf} from '../../../src/store/control-streams.js';
import type {Store} from '../../../src/store/store.js';
import {evictWorker} from '../../../src/store/worker-admin.js';
import {contentText} from '../../../src/worker/agent.js';
import {until, type TestStore} from '../../support/stores.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {calls} from './calls.js';
import {
  common,
  contents,
  DATA_STREAM,
  DEADLETTER,
  drained,
  gate,
  idNames,
  named,
  onlyRecord,
  recordsOf,
  recordWith,
  resumeOf,
  runRows,
  SESSION_REGISTRY,
  setLifecycle,
  streamOf,
  summary,
  summaryOf,
  timelineOf,
  timeless,
  work,
  type Handle,
  type RowTest,
} from './support.js';

interface Ran {
  readonly redis: Redis;
  readonly store: Store;
  readonly client: GatewayClient;
}

const openAll = (at: TestStore): Ran => {
  const store = at.open();
  return {store, redis: at.redis(), client: new GatewayClient(store)};
};

const eventsOf = async ({redis, store}: Ran) => streamOf(await contents(redis, store), DATA_STREAM);

// One ask, one answer

/** Let one worker answer one ask. */
async function ask(at: TestStore, handle: Handle, request: Partial<SendRequest> = {}): Promise<Ran> {
  const ran = openAll(at);
  await work(at, ran.store, handle);
  await ran.client.send({agentType: 'writer', content: 'hi', sessionId: 'sess-1', ...request});
  return ran;
}

/** The record, and the events in short, are those of the row. */
async function compareTurn(ran: Ran, row: Row, over: Doc = {}, events: readonly Doc[] = []): Promise<void> {
  const [recorded = {}] = recordsOf(field(row.expected, 'session_registry'));
  const theirs = {...recorded, ...over};
  const ours = await recordWith(ran.redis, ran.store, theirs['status'] as string);
  const normal = (record: Doc) => ({
    ...asDoc(timeless(named(common(record), idNames(record)))),
    timeline: timelineOf(record),
  });
  expect({...normal(ours), worker_id: ''}).toEqual({...normal(theirs), worker_id: ''});
  const found = named(summary(await eventsOf(ran)), idNames(ours)) as Doc[];
  const wanted = named([...summaryOf(row), ...events], idNames(theirs)) as Doc[];
  expect(anonymous(found)).toEqual(anonymous(wanted));
}

/** Ids of steps that only events name. */
const anonymous = (events: readonly Doc[]): unknown =>
  JSON.parse(JSON.stringify(events).replaceAll(/"msg-[0-9a-f]{8,}"/g, '"<step>"'));

const END: Doc = {
  ...{event_type: 'appStreamResponse', contentType: '1002', role: 'assistant', content: ''},
  ...{source_agent_type: 'writer', parent_message_id: ''},
};

const answering = (handle: Handle): RowTest => ({
  run: async (at, row) => compareTurn(await ask(at, handle), row),
});

/** The row's timeline with another end. */
const endingWith = (row: Row, status: string): Doc => {
  const [record = {}] = recordsOf(field(row.expected, 'session_registry'));
  const timeline = record['timeline'] as readonly Doc[];
  return {status, finished_at: 1, timeline: [...timeline.slice(0, -1), {...timeline.at(-1), status}]};
};

/** The TypeScript SDK's records lack the error of a failure, and have cancel fields of no use. */
const typescriptRecord = (over: Doc): Doc => ({
  ...{cancel_requested: undefined, cancel_reason: undefined, redis_message_id: undefined},
  ...{selected_agent_type: '', availability_error: '', availability_error_code: '', ...over},
});

const boom: Handle = () => {
  throw Object.assign(new Error('boom'), {name: 'RuntimeError'});
};

const NOTHING_SAID = {contentType: '1002', choices: [{delta: {role: 'assistant', content: ''}}]};

const CASE = 'S5, a status in any case is that status, and the stream is closed';

const turns: Record<string, RowTest> = {
  'lifecycle/simple_ask': {
    differs: 'settled entries are deleted; neither statistics nor traces are written yet',
    async run(at, row) {
      const ran = await ask(
        at,
        async (_, ctx) => {
          await ctx.emitChunk('Hello ');
          await ctx.emitState('thinking');
          return {status: 'COMPLETED', content: 'Hello world'};
        },
        {userCode: 'u-1', userName: 'Ann', metadata: {priority: 'high'}},
      );
      const ours = await recordWith(ran.redis, ran.store, 'COMPLETED');
      await drained(ran.redis, ran.store.keys.ctrlStream('writer'));
      const wanted = asDoc(field(row.expected, 'redis'));
      const kept = Object.keys(wanted).filter(name => !NOT_WRITTEN.test(name));
      const found = await contents(ran.redis, ran.store);
      expect(Object.keys(found)).toEqual(kept);
      const [theirs = {}] = recordsOf(field(wanted[SESSION_REGISTRY], 'value'));
      const normal = (value: unknown, record: Doc) => timeless(named(common(value), idNames(record)));
      expect(normal(ours, ours)).toEqual(normal(theirs, theirs));
      const events = (field(wanted[DATA_STREAM], 'entries') as Doc[]).map(entry => entry['data']);
      expect(normal(streamOf(found, DATA_STREAM), ours)).toEqual(normal(events, theirs));
      for (const name of kept.filter(each => found[each]?.type === 'set'))
        expect(found[name]?.value, name).toEqual(field(wanted[name], 'value'));
      for (const name of [SESSION_REGISTRY, DATA_STREAM]) expect(found[name]?.ttl).toBeGreaterThan(604_000);
    },
  },
  'lifecycle/simple_ask.after_shutdown': {
    differs: 'neither statistics nor traces are written yet',
    async run(at, row) {
      const ran = openAll(at);
      const worker = await work(at, ran.store, () => ({content: 'Hello world'}));
      await ran.client.send({agentType: 'writer', content: 'hi', sessionId: 'sess-1'});
      await recordWith(ran.redis, ran.store, 'COMPLETED');
      expect(await worker.stop()).toBe('stopped');
      const wanted = field(row.expected, 'all_keys') as string[];
      expect(Object.keys(await contents(ran.redis, ran.store))).toEqual(
        wanted.filter(name => !NOT_WRITTEN.test(name)),
      );
    },
  },
  'lifecycle/return_none': answering(() => null),
  'lifecycle/return_string': answering(() => 'plain'),
  'lifecycle/return_dict_unstructured': answering(() => ({a: 1})),
  'lifecycle/raise': answering(boom),
  'lifecycle/worker_closes_stream_itself': answering(async (_, ctx) => {
    await ctx.emitChunk('bye');
    await ctx.emitEvent({eventType: 'appStreamResponse', data: NOTHING_SAID});
  }),
  'lifecycle/sub_step': answering(async (_, ctx) => {
    const step = await ctx.subStep('step A');
    await step.emitChunk('inside');
  }),
  'lifecycle/return_lowercase_completed': {
    differs: CASE,
    async run(at, row) {
      const ran = await ask(at, () => ({status: 'completed', content: 'x'}));
      const [{message_id = ''} = {}] = summaryOf(row) as Doc[];
      await compareTurn(ran, row, endingWith(row, 'COMPLETED'), [{...END, message_id}]);
    },
  },
  'ts_sdk/simple_ask': {
    differs: 'C11, C13, C15: our events have every field',
    async run(at, row) {
      const ran = await ask(
        at,
        async (_, ctx) => {
          await ctx.emitChunk('Hello ');
          return {content: 'Hello world'};
        },
        {userCode: 'u-1', metadata: {priority: 'high'}},
      );
      const ours = await recordWith(ran.redis, ran.store, 'COMPLETED');
      const [theirs = {}] = recordsOf(field(row.expected, 'redis', SESSION_REGISTRY, 'value'));
      expect(timelineOf(ours)).toEqual(timelineOf(theirs));
      const entries = field(row.expected, 'redis', DATA_STREAM, 'entries') as Doc[];
      const wanted = summary(entries.map(entry => entry['data']));
      const found = summary(await eventsOf(ran));
      expect(named(found, idNames(ours))).toEqual(named(wanted, idNames(theirs)));
    },
  },
  'ts_sdk/raise': {
    differs: 'the record says what was thrown',
    run: async (at, row) =>
      compareTurn(
        await ask(at, boom),
        row,
        typescriptRecord({
          error_type: 'RuntimeError',
          error_message: 'boom',
          failed_stage: 'process_command',
        }),
      ),
  },
  'ts_sdk/return_undefined': {
    differs: 'R19, to return nothing is COMPLETED',
    run: async (at, row) =>
      compareTurn(await ask(at, () => undefined), row, typescriptRecord(endingWith(row, 'COMPLETED'))),
  },
  'ts_sdk/return_lowercase_completed': {
    differs: CASE,
    async run(at, row) {
      const ran = await ask(at, () => ({status: 'completed', content: 'x'}));
      const [{message_id = ''} = {}] = summaryOf(row) as Doc[];
      await compareTurn(ran, row, typescriptRecord(endingWith(row, 'COMPLETED')), [{...END, message_id}]);
    },
  },
};

/** Statistics, traces, and snapshots of agent configs. */
const NOT_WRITTEN = /:worker:(executions|history_snapshots|status):|:trace:/;

// Asking a person

const asker: Handle = (command, ctx) => {
  if (command.action === 'ASK_AGENT') return ctx.askUser('Which env?');
  return ctx.emitChunk(`You said: ${contentText(command.content)}`);
};

async function askPerson(at: TestStore, handle: Handle = asker): Promise<Ran & {record: Doc}> {
  const ran = await ask(at, handle, {content: 'deploy', messageId: 'msg-1', traceId: 'trace-1'});
  const record = await recordWith(ran.redis, ran.store, 'WAITING_USER');
  return {...ran, record};
}

const answer = ({redis, store}: Ran, text: string) =>
  redis.xadd(store.keys.ctrlStream('writer'), '*', 'data', resumeOf({}, text));

const persons: Record<string, RowTest> = {
  'lifecycle/ask_user.1_suspended': {
    run: async (at, row) => compareTurn(await askPerson(at), row),
  },
  'lifecycle/ask_user.2_resumed': {
    async run(at, row) {
      const ran = await askPerson(at);
      await answer(ran, 'prod');
      await compareTurn(ran, row);
    },
  },
  'ts_sdk/ask_user_then_resume': {
    differs: 'A9, the record and its timeline go on; C14, C16: the field’s name, and no state event',
    async run(at, row) {
      const ran = await askPerson(at, (command, ctx) =>
        command.action === 'ASK_AGENT'
          ? ctx.askUser('Which env?')
          : {content: `said ${contentText(command.content)}`},
      );
      await answer(ran, 'prod');
      const record = await recordWith(ran.redis, ran.store, 'COMPLETED');
      const timelines = recordsOf(field(row.expected, 'session_registry')).map(timelineOf);
      expect(timelines).toContainEqual(['QUEUED', 'RUNNING', 'WAITING_USER']);
      expect(timelineOf(record)).toEqual(['QUEUED', 'RUNNING', 'WAITING_USER', 'RUNNING', 'COMPLETED']);
      const plain = (events: readonly unknown[]) =>
        events
          .map(asDoc)
          .filter(event => event['contentType'] !== '3003')
          .map(event => [
            event['event_type'],
            event['contentType'],
            typeof event['content'] === 'object' ? 'a form' : event['content'],
          ]);
      expect(plain(summary(await eventsOf(ran)))).toEqual(plain(summaryOf(row)));
    },
  },
  'lifecycle/resume_with_fresh_message_id (what the TS/Java callees send)': {
    differs: 'R10, it runs as an execution of its own and is settled',
    async run(at, row) {
      const ran = openAll(at);
      await work(at, ran.store, command => ({content: `got ${contentText(command.content)}`}));
      const [wanted] = field(
        row.expected,
        'control_streams',
        'byai_gateway:ctrl:agent_type:writer',
        'entries',
      ) as Doc[];
      await ran.redis.xadd(ran.store.keys.ctrlStream('writer'), '*', 'data', JSON.stringify(wanted));
      await drained(ran.redis, ran.store.keys.ctrlStream('writer'));
      const record = await onlyRecord(ran.redis, ran.store);
      expect(record).toMatchObject({status: 'COMPLETED', message_id: 'msg-cafe0001'});
      expect(summary(await eventsOf(ran))).toMatchObject([
        {event_type: 'finalAnswer', content: 'got reply'},
        {event_type: 'appStreamResponse'},
      ]);
    },
  },
};

// Entries of all kinds

interface Consumed extends Ran {
  readonly calls: readonly (readonly [string, string])[];
}

/** Put entries on a stream, and let a worker take them up. */
async function consume(at: TestStore, row: Row, entries: readonly Doc[]): Promise<Consumed> {
  const ran = openAll(at);
  const calls: [string, string][] = [];
  await work(at, ran.store, command => {
    const kind = command.action === 'ASK_AGENT' ? 'AskAgentCommand' : 'ResumeCommand';
    calls.push([kind, contentText(command.content)]);
  });
  const {keys} = ran.store;
  const own = row.file === 'control' && field(row.input, 'stream') === 'worker';
  const stream = own ? keys.workerCtrlStream('worker-01') : keys.ctrlStream('writer');
  for (const fields of entries) {
    await ran.redis.xadd(stream, '*', ...Object.entries(fields).flat().map(String));
    await drained(ran.redis, stream);
  }
  expect(await ran.redis.xpending(stream, 'agent_engines')).toEqual([0, null, null, null]);
  return {...ran, calls};
}

const fieldsOf = (row: Row): Doc => {
  if (row.file === 'control') return asDoc(field(row.input, 'fields'));
  return {data: typeof row.input === 'string' ? row.input : JSON.stringify(row.input)};
};

const consumed = (differs?: string): RowTest => ({
  ...(differs === undefined ? {} : {differs}),
  async run(at, row) {
    const {calls} = await consume(at, row, [fieldsOf(row)]);
    expect(calls).toEqual(field(row.expected, 'process_command_calls'));
  },
});

const poison: RowTest = {
  differs: '§6.4, it goes to the dead letters whole and is acknowledged',
  async run(at, row) {
    const {redis, store, calls} = await consume(at, row, [fieldsOf(row)]);
    expect(calls).toEqual(field(row.expected, 'process_command_calls'));
    const [letter, ...more] = streamOf(await contents(redis, store), DEADLETTER) as Doc[];
    expect(more).toEqual([]);
    const fields = fieldsOf(row);
    const kept = fields['data'] ?? Object.entries(fields).flat().join('\n');
    expect(letter).toMatchObject({status: 'FAILED', source: 'poison', x_data: kept});
  },
};

const askOf = (messageId: string, content: string): Doc => ({
  data: encodeCommand({
    action: 'ASK_AGENT',
    header: createHeader({
      ...{messageId, sessionId: 'sess-1', traceId: 't', targetAgentType: 'writer'},
    }),
    ...{content, waitForReply: false, extraPayload: {}},
  }),
});

const entries: Record<string, RowTest> = {
  'control/consume.agent_type.invalid_json': poison,
  'control/consume.agent_type.no_data_field': poison,
  'control/consume.agent_type.unknown_action_type': poison,
  'control/consume.worker.invalid_json': poison,
  'control/consume.worker.unknown_action_type': poison,
  'ts_sdk/consume.agent_type.invalid_json': poison,
  'ts_sdk/consume.agent_type.unknown_action': poison,
  'ts_sdk/consume.agent_type.reload_plugins': consumed('C8, it is a command, and acknowledged'),
  'control/consume.agent_type.empty_content': {
    differs: 'C3, it is answered: FAILED, and its stream is closed',
    async run(at, row) {
      const ran = await consume(at, row, [fieldsOf(row)]);
      expect(ran.calls).toEqual(field(row.expected, 'process_command_calls'));
      expect(await onlyRecord(ran.redis, ran.store)).toMatchObject({status: 'FAILED'});
      expect(summary(await eventsOf(ran))).toMatchObject([{event_type: 'appStreamResponse'}]);
    },
  },
  'control/consume.agent_type.cancel_command': consumed(),
  'control/consume.agent_type.ask_ok': consumed(),
  'control/consume.agent_type.same_message_id_after_terminal': {
    async run(at, row) {
      const {calls} = await consume(at, row, [askOf('msg-00000001', 'ok'), fieldsOf(row)]);
      expect(calls.slice(1)).toEqual(field(row.expected, 'process_command_calls'));
    },
  },
  'control/consume.agent_type.empty_message_id': consumed(),
  'control/consume.worker.ask_direct': consumed(),
  'control/consume.worker.cancel_unknown_target': consumed(),
  'ts_sdk/consume.agent_type.resume_on_terminal': {
    differs: 'R11: an agent’s RESUME is skipped, a user’s begins a new turn',
    async run(at, row) {
      const reply = resumeOf({messageId: 'msg-00000001', sourceAgentType: 'reader'}, 'reply');
      const user = resumeOf({messageId: 'msg-00000001'}, 'once more');
      const {calls} = await consume(at, row, [askOf('msg-00000001', 'ok'), {data: reply}, {data: user}]);
      const wanted = field(row.expected, 'process_command_calls') as string[];
      expect(calls.map(([kind]) => kind)).toEqual([...wanted, 'ResumeCommand']);
      expect(calls[1]?.[1]).toBe('once more');
    },
  },
  'ts_sdk/cancel_before_pickup': {
    differs: 'it ends CANCELLED with the cancel, and its stream is closed',
    async run(at, row) {
      const ran = openAll(at);
      await ran.client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1', policy: 'SEND_ANYWAY'});
      const {status, cancelledCount} = await ran.client.cancel({sessionId: 'sess-1', reason: 'early'});
      const {status: theirStatus, cancelled_count: theirs} = asDoc(field(row.expected, 'extra'));
      expect({status, cancelledCount}).toEqual({status: theirStatus, cancelledCount: theirs});
      let began = false;
      await work(at, ran.store, () => void (began = true));
      await drained(ran.redis, ran.store.keys.ctrlStream('writer'));
      expect(began).toBe(false);
      const [wanted = {}] = recordsOf(field(row.expected, 'session_registry'));
      const record = await onlyRecord(ran.redis, ran.store);
      for (const name of ['status', 'started_at', 'cancel_requested', 'cancel_reason'])
        expect(record[name], name).toEqual(wanted[name]);
    },
  },
  'ts_sdk/direct_routed_ask_is_dropped': {
    differs: 'C10, it runs',
    async run(at) {
      const ran = openAll(at);
      await work(at, ran.store, () => 'done');
      await ran.client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1', workerId: 'worker-01'});
      expect(timelineOf(await recordWith(ran.redis, ran.store, 'COMPLETED'))).toEqual([
        'QUEUED',
        'RUNNING',
        'COMPLETED',
      ]);
    },
  },
};

// Recovery, and what goes wrong elsewhere

const eventTypes = async (ran: Ran) => summary(await eventsOf(ran)).map(event => asDoc(event)['event_type']);

/** An agent that works until the test lets it finish. */
function workingUntil() {
  const begins = gate();
  const ends = gate();
  const handle: Handle = async () => {
    begins.open();
    await ends.opened;
    return 'done';
  };
  return {handle, begun: begins.opened, finish: ends.open};
}

const hazards: Record<string, RowTest> = {
  'control/redelivery.same_consumer_name_restarts_with_a_pending_entry': {
    differs: '§6.3, what an earlier life did not finish is run again',
    async run(at, row) {
      expect(field(row.expected, 'pending')).toBe(1);
      const ran = openAll(at);
      const stream = ran.store.keys.ctrlStream('writer');
      await ran.client.send({
        agentType: 'writer',
        content: 'left',
        sessionId: 'sess-1',
        policy: 'SEND_ANYWAY',
      });
      await ran.redis.xgroup('CREATE', stream, 'agent_engines', '0');
      await ran.redis.xreadgroup('GROUP', 'agent_engines', 'worker-01', 'STREAMS', stream, '>');
      const calls: string[] = [];
      await work(at, ran.store, command => void calls.push(contentText(command.content)));
      await drained(ran.redis, stream);
      expect(calls).toEqual(['left']);
    },
  },
  'control/group_start_id.backlog_before_group_creation': {
    async run(at, row) {
      const ran = openAll(at);
      await ran.client.send({
        agentType: 'writer',
        content: 'early',
        sessionId: 'sess-1',
        policy: 'SEND_ANYWAY',
      });
      const calls: string[] = [];
      await work(at, ran.store, command => void calls.push(contentText(command.content)));
      await drained(ran.redis, ran.store.keys.ctrlStream('writer'));
      expect(calls).toEqual(field(row.expected, 'process_command_calls'));
    },
  },
  'hazards/saturated_consumer_exits': {
    differs: '§6.3, saturation is not death',
    async run(at, row) {
      expect(field(row.expected, 'runner_exited')).toBe(true);
      const ran = openAll(at);
      const {handle, begun, finish} = workingUntil();
      let calls = 0;
      const counted: Handle = (command, ctx) => {
        calls++;
        return handle(command, ctx);
      };
      const worker = await work(at, ran.store, counted, {concurrency: 1});
      const send = (sessionId: string) => ran.client.send({agentType: 'writer', content: 'x', sessionId});
      const first = await send('s0');
      await begun;
      const second = await send('s1');
      // It hears its own stream while every slot is taken, so it lives.
      const own = ran.store.keys.workerCtrlStream('worker-01');
      await ran.redis.xadd(own, '*', 'data', 'not json');
      await drained(ran.redis, own);
      await until(() => worker.running === 1);
      expect(calls).toBe(1);
      finish();
      for (const {sessionId, messageId} of [first, second])
        await until(async () => (await ran.client.find(sessionId, messageId))?.status === 'COMPLETED');
    },
  },
  'hazards/evict_with_running_task.graceful': {
    async run(at, row) {
      const ran = openAll(at);
      const {handle, begun, finish} = workingUntil();
      const worker = await work(at, ran.store, handle);
      await ran.client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1'});
      await begun;
      await setLifecycle(ran.redis, ran.store, {workerId: 'worker-01', agentType: 'writer'}, 'evicted');
      await drained(ran.redis, ran.store.keys.workerCtrlStream('worker-01'));
      finish();
      expect(await worker.done).toBe('evicted');
      expect([timelineOf(await onlyRecord(ran.redis, ran.store))]).toEqual(field(row.expected, 'timelines'));
      expect(await eventTypes(ran)).toEqual(field(row.expected, 'event_types'));
    },
  },
  'hazards/evict_with_running_task.force': {
    differs: 'R6, force interrupts: the work is handed back, and goes on elsewhere',
    async run(at, row) {
      expect(field(row.input, 'force')).toBe(true);
      const ran = openAll(at);
      const {handle, begun, finish} = workingUntil();
      const worker = await work(at, ran.store, handle);
      await ran.client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1'});
      await begun;
      await evictWorker(ran.store, 'worker-01', {force: true});
      expect(await worker.done).toBe('evicted');
      await work(at, ran.store, () => 'done', {workerId: 'worker-02'});
      const record = await recordWith(ran.redis, ran.store, 'COMPLETED');
      expect(timelineOf(record)).toEqual(['QUEUED', 'RUNNING', 'QUEUED', 'RUNNING', 'COMPLETED']);
      expect(await eventTypes(ran)).toEqual(field(row.expected, 'event_types'));
      finish();
    },
  },
  'hazards/direct_ask_blocks_cancel': {
    differs: 'a cancel is heard at once, and nothing follows the end',
    async run(at) {
      const ran = openAll(at);
      const {handle, begun} = workingUntil();
      await work(at, ran.store, handle);
      await ran.client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1', workerId: 'worker-01'});
      await begun;
      await ran.client.cancel({sessionId: 'sess-1', force: true});
      const record = await recordWith(ran.redis, ran.store, 'CANCELLED');
      expect(timelineOf(record)).toEqual(['QUEUED', 'RUNNING', 'CANCELLING', 'CANCELLED']);
      expect(await eventTypes(ran)).toEqual(['appStreamResponse']);
    },
  },
  'hazards/two_consumer_groups_duplicate_execution': {
    differs: 'G3, one execution runs once whatever groups read it',
    async run(at, row) {
      const ran = openAll(at);
      const ranOn: string[] = [];
      const groups = field(row.input, 'groups') as string[];
      const stream = ran.store.keys.ctrlStream('writer');
      for (const group of groups) await ran.redis.xgroup('CREATE', stream, group, '0', 'MKSTREAM');
      for (const [i, workerId] of ['worker-a', 'worker-b'].entries())
        await work(at, ran.store, () => void ranOn.push(workerId), {workerId, group: groups[i] ?? ''});
      await ran.client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1'});
      const record = await recordWith(ran.redis, ran.store, 'COMPLETED');
      const settled = async () =>
        (await groupsOf(ran.store, stream)).every(({lag, pending}) => lag === 0 && pending === 0);
      await until(settled);
      expect(ranOn).toHaveLength(1);
      expect(timelineOf(record)).toEqual(['QUEUED', 'RUNNING', 'COMPLETED']);
      expect(await eventTypes(ran)).toEqual(['appStreamResponse']);
    },
  },
  'hazards/stale_evict_command_executed_after_rejoin': {
    differs: '§5.5, the hash is obeyed, not the command',
    async run(at, row) {
      expect(field(row.expected, 'admin_hash_present')).toBe(false);
      const ran = openAll(at);
      const {keys} = ran.store;
      await setLifecycle(ran.redis, ran.store, {workerId: 'worker-01', agentType: 'writer'}, 'evicted');
      await ran.redis.del(keys.workerAdmin('worker-01'));
      await ran.redis.srem(keys.adminWorkers(), 'worker-01');
      await work(at, ran.store, () => 'still here');
      await drained(ran.redis, keys.workerCtrlStream('worker-01'));
      await ran.client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1'});
      expect(await recordWith(ran.redis, ran.store, 'COMPLETED')).toMatchObject({worker_id: 'worker-01'});
    },
  },
  'hazards/cancel_command_for_completed_execution': {
    differs: 'what has ended stays as it ended',
    async run(at, row) {
      expect(field(row.input, 'record_status_before')).toBe('COMPLETED');
      const ran = await ask(at, () => 'done');
      const record = await recordWith(ran.redis, ran.store, 'COMPLETED');
      const {message_id: messageId, execution_id: executionId} = record as Record<string, string>;
      const own = ran.store.keys.workerCtrlStream('worker-01');
      const cancel = encodeCommand({
        action: 'CANCEL_TASK',
        header: createHeader({...{messageId: 'msg-cancel-1', sessionId: 'sess-1', traceId: 't'}}),
        ...{
          targetMessageId: messageId ?? '',
          targetExecutionId: executionId ?? '',
          targetWorkerId: 'worker-01',
        },
        ...{reason: 'late', requestedBy: 'client', cancelMode: 'graceful'},
      });
      await ran.redis.xadd(own, '*', 'data', cancel);
      await drained(ran.redis, own);
      expect(timelineOf(await onlyRecord(ran.redis, ran.store))).toEqual(['QUEUED', 'RUNNING', 'COMPLETED']);
    },
  },
  'hazards/reply_arrives_while_calling_turn_still_runs': {
    differs: '§6.5, turns of one execution follow each other',
    async run(at, row) {
      const ran = openAll(at);
      const begins = gate();
      const ends = gate();
      await work(at, ran.store, async command => {
        if (command.action === 'RESUME') return {content: 'resumed'};
        begins.open();
        await ends.opened;
        return {status: 'WAITING_AGENT'};
      });
      await ran.client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1', messageId: 'msg-1'});
      await begins.opened;
      const stream = ran.store.keys.ctrlStream('writer');
      await ran.redis.xadd(stream, '*', 'data', resumeOf({sourceAgentType: 'reader'}, 'w'));
      await until(async () => (await ran.redis.xpending(stream, 'agent_engines'))[0] === 2);
      ends.open();
      const record = await recordWith(ran.redis, ran.store, 'COMPLETED');
      expect(timelineOf(record)).toEqual(['QUEUED', 'RUNNING', 'WAITING_AGENT', 'RUNNING', 'COMPLETED']);
      const [, ...wanted] = field(row.expected, 'events') as [string, string][];
      const found = summary(await eventsOf(ran)).map(asDoc);
      expect(found.map(event => [event['event_type'], event['content']])).toEqual(wanted);
      await drained(ran.redis, stream);
    },
  },
  'hazards/user_resume_of_completed_execution': {
    differs: 'R11, it is a new turn',
    async run(at, row) {
      const ran = await ask(
        at,
        command => ({content: command.action === 'ASK_AGENT' ? 'first' : contentText(command.content)}),
        {messageId: 'msg-1', traceId: 'trace-1'},
      );
      await recordWith(ran.redis, ran.store, 'COMPLETED');
      await answer(ran, 'second');
      await drained(ran.redis, ran.store.keys.ctrlStream('writer'));
      const record = await onlyRecord(ran.redis, ran.store);
      expect(timelineOf(record)).toEqual(['QUEUED', 'RUNNING', 'COMPLETED', 'RUNNING', 'COMPLETED']);
      const found = summary(await eventsOf(ran)).map(asDoc);
      expect(found.map(event => [event['event_type'], event['content']])).toEqual([
        ...(field(row.expected, 'events') as unknown[]),
        ['finalAnswer', 'second'],
        ['appStreamResponse', ''],
      ]);
    },
  },
};

runRows('worker', {...turns, ...persons, ...entries, ...hazards, ...calls});
