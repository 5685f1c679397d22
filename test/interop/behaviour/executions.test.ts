/** The record after each operation of an execution's life, against the rows of executions.json. */
import type {Redis} from 'ioredis';
import {expect} from 'vitest';
import {GatewayClient} from '../../../src/client/client.js';
import {encodeCommand} from '../../../src/protocol/commands.js';
import {recordToWire} from '../../../src/protocol/execution.js';
import {createHeader} from '../../../src/protocol/header.js';
import {sessionExecutions} from '../../../src/store/executions.js';
import type {Store} from '../../../src/store/store.js';
import type {TestStore} from '../../support/stores.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {snapshots} from './reload.js';
import {
  bringOnline,
  common,
  contents,
  gate,
  NOON,
  onlyRecord,
  recordWith,
  resumeOf,
  runRows,
  SESSION_REGISTRY,
  work,
  type RowTest,
} from './support.js';

/** The steps of the rows in their order, a second apart as in the rows. */
const STEPS = ['initialize', 'running', 'suspended', 'resumed', 'cancelling', 'failed', 'flagged'] as const;
type Step = (typeof STEPS)[number];
const SECONDS: Readonly<Record<Step, number>> = {
  ...{initialize: 0, running: 1, suspended: 3, resumed: 4, cancelling: 5, failed: 6, flagged: 7},
};

interface Played {
  readonly store: Store;
  readonly redis: Redis;
}

/** Take an execution through its life up to a step. */
async function play(at: TestStore, last: Step, {without}: {without?: Step} = {}): Promise<Played> {
  const store = at.open();
  const redis = at.redis();
  let now = NOON;
  const clock = () => now;
  const client = new GatewayClient(store, {now: clock});
  const suspends = gate();
  const fails = gate();
  const act: Readonly<Record<Step, () => Promise<unknown>>> = {
    async initialize() {
      await bringOnline(store, 'idle', ['writer']);
      await client.send({
        ...{agentType: 'writer', content: 'hi', sessionId: 'sess-1', messageId: 'msg-1', traceId: 'trace-1'},
      });
    },
    async running() {
      const suspend = async () => {
        await suspends.opened;
        return {status: 'WAITING_USER'};
      };
      await work(at, store, suspend, {workerId: 'worker-01', now: clock});
      await recordWith(redis, store, 'RUNNING');
    },
    async suspended() {
      suspends.open();
      await recordWith(redis, store, 'WAITING_USER');
    },
    async resumed() {
      const fail = async () => {
        await fails.opened;
        throw Object.assign(new Error('boom'), {name: 'RuntimeError'});
      };
      // The first worker leaves the stream to the second.
      await setDenied(redis, store, 'worker-01');
      await work(at, store, fail, {workerId: 'worker-02', now: clock});
      await redis.xadd(store.keys.workerCtrlStream('worker-02'), '*', 'data', resumeOf({}, 'go on'));
      await recordWith(redis, store, 'RUNNING');
    },
    cancelling: () => client.cancel({sessionId: 'sess-1', messageId: 'msg-1', reason: 'user'}),
    async failed() {
      fails.open();
      await recordWith(redis, store, 'FAILED');
    },
    flagged: () => client.cancel({sessionId: 'sess-1', messageId: 'msg-1', reason: 'late'}),
  };
  for (const step of STEPS.slice(0, STEPS.indexOf(last) + 1)) {
    if (step === without) continue;
    now = NOON + SECONDS[step] * 1000;
    await act[step]();
  }
  return {store, redis};
}

const setDenied = (redis: Redis, {keys}: Store, workerId: string) =>
  redis.sadd(keys.denied('writer'), workerId);

const wantedRegistry = (row: Row) => asDoc(field(row.expected, 'redis', SESSION_REGISTRY, 'value'));

/** The whole registry, with the execution's id as in the row. */
async function compareRegistry({store, redis}: Played, wanted: unknown): Promise<void> {
  const registry = (await contents(redis, store))[SESSION_REGISTRY];
  const {execution_id: id} = await onlyRecord(redis, store);
  const [wantedId = ''] = Object.values(asDoc(wanted)).filter(value => typeof value === 'string');
  const ours = JSON.parse(JSON.stringify(registry?.value).replaceAll(id as string, wantedId)) as unknown;
  expect(common(ours)).toEqual(common(wanted));
  expect(registry?.ttl).toBeGreaterThan(604_000);
}

const after = (step: Step): RowTest => ({
  run: async (at, row) => compareRegistry(await play(at, step), wantedRegistry(row)),
});

/** A record of a life in which nobody asked it to stop while it ran. */
const withoutCancel = (record: Doc): Doc => {
  const timeline = record['timeline'] as readonly Doc[];
  return {...record, timeline: timeline.filter(step => step['status'] !== 'CANCELLING')};
};

const CANCELLED_FIRST = 'a turn that was asked to stop ends CANCELLED, so here nobody had asked it';

runRows('executions', {
  ...snapshots,
  'executions/exec.1_initialize': after('initialize'),
  'executions/raw.exec.1_initialize': {
    differs: 'C19, compact JSON',
    async run(at, row) {
      const raw = asDoc(field(row.expected, 'hash_fields_raw'));
      const parsed = Object.entries(raw).map(([name, text]) => [
        name,
        name.startsWith('exec:') ? (JSON.parse(text as string) as unknown) : text,
      ]);
      await compareRegistry(await play(at, 'initialize'), Object.fromEntries(parsed));
    },
  },
  'executions/exec.2_running (worker claims it)': after('running'),
  'executions/exec.4_suspended (mark_finished with a non-terminal status)': after('suspended'),
  'executions/exec.5_resumed_on_other_worker': after('resumed'),
  'executions/exec.6_cancelling': after('cancelling'),
  'executions/exec.7_failed': {
    differs: CANCELLED_FIRST,
    async run(at, row) {
      const {'exec:exec-12345678': record, ...rest} = wantedRegistry(row);
      const {cancel_requested: _flag, cancel_reason: _reason, ...wanted} = withoutCancel(asDoc(record));
      const played = await play(at, 'failed', {without: 'cancelling'});
      await compareRegistry(played, {...rest, 'exec:exec-12345678': wanted});
    },
  },
  'executions/exec.8_cancel_requested_flag_on_terminal': {
    differs: CANCELLED_FIRST,
    async run(at, row) {
      const {'exec:exec-12345678': record, ...rest} = wantedRegistry(row);
      const played = await play(at, 'flagged', {without: 'cancelling'});
      await compareRegistry(played, {...rest, 'exec:exec-12345678': withoutCancel(asDoc(record))});
    },
  },
  'executions/exec.get_all_session_executions': {
    differs: CANCELLED_FIRST,
    async run(at, row) {
      const {store} = await play(at, 'flagged', {without: 'cancelling'});
      const found = (await sessionExecutions(store, 'sess-1')).map(recordToWire);
      const ids = {execution_id: '', stream_name: ''};
      expect(found.map(record => common({...record, ...ids}))).toEqual(
        (row.expected as Doc[]).map(record => common({...withoutCancel(record), ...ids})),
      );
    },
  },
  'executions/exec.save_execution_without_prior_record': {
    differs: 'it has started, so started_at is set; an empty source is written',
    async run(at, row) {
      const store = at.open();
      const redis = at.redis();
      const ends = gate();
      at.cleanup(() => ends.open());
      await work(at, store, () => ends.opened, {now: () => NOON + 7000});
      const header = createHeader({
        ...{messageId: 'msg-2', sessionId: 'sess-1', traceId: 't', targetAgentType: 'writer'},
      });
      const document = encodeCommand({
        action: 'ASK_AGENT',
        header,
        ...{content: 'x', waitForReply: false, extraPayload: {}},
      });
      const entry = await redis.xadd(store.keys.ctrlStream('writer'), '*', 'data', document);
      await recordWith(redis, store, 'RUNNING');
      const {'exec:exec-aaaaaaaa': wanted, ...rest} = wantedRegistry(row);
      await compareRegistry(
        {store, redis},
        {
          ...rest,
          'exec:exec-aaaaaaaa': {
            ...asDoc(wanted),
            ...{redis_message_id: entry, started_at: NOON + 7000, source_agent_type: ''},
          },
        },
      );
    },
  },
  'executions/exec.record_failed_route_decision': {
    async run(at, row) {
      const store = at.open();
      const client = new GatewayClient(store, {now: () => NOON + 7000});
      const request = {
        agentType: 'writer',
        content: 'x',
        sessionId: 'sess-1',
        messageId: 'msg-3',
        traceId: 't',
      };
      await expect(client.send(request)).rejects.toMatchObject({code: 'AGENT_TYPE_UNAVAILABLE'});
      const redis = at.redis();
      const {error_message: text, availability_error: why} = await onlyRecord(redis, store);
      const {'exec:exec-bbbbbbbb': wanted, ...rest} = wantedRegistry(row);
      await compareRegistry(
        {store, redis},
        {...rest, 'exec:exec-bbbbbbbb': {...asDoc(wanted), error_message: text, availability_error: why}},
      );
    },
  },
});
