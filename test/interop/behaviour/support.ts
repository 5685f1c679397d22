/** Running a row's steps on our code and a real server, and what they left there in the form of the rows. */
import {randomBytes} from 'node:crypto';
import type {Redis} from 'ioredis';
import {describe, expect, test} from 'vitest';
import {spanIdHex} from '../../../src/ids.js';
import {silentLogger} from '../../../src/log.js';
import {encodeCommand, type AskCommand, type ResumeCommand} from '../../../src/protocol/commands.js';
import {createHeader, type Header} from '../../../src/protocol/header.js';
import type {KeySchema} from '../../../src/protocol/keys.js';
import {claimLease, heartbeat, type Lifecycle} from '../../../src/store/presence.js';
import {openStore, type Store} from '../../../src/store/store.js';
import {GatewayWorker} from '../../../src/worker/agent.js';
import type {AgentContext} from '../../../src/worker/context.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../../src/worker/runner.js';
import {describeRedis, until, type TestStore} from '../../support/stores.js';
import {behavioural, behaviouralRows, type Area} from '../behavioural.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {later} from './later.js';

/** What one row demands of our code. */
export interface RowTest {
  /** Where ours does something else on purpose, and by which rule. */
  readonly differs?: string;
  readonly run: (at: TestStore, row: Row) => Promise<void>;
}

/** When the rows that were recorded with a standing clock took place. */
export const NOON = 1_750_000_000_123;

/** Run the rows of an area, and see that none is forgotten. */
export function runRows(area: Area, tests: Readonly<Record<string, RowTest>>): void {
  const rows = behaviouralRows(area).filter(row => Object.hasOwn(tests, row.id));
  if (rows.length > 0) {
    describeRedis(`behaviour of ${area}`, at => {
      for (const row of rows) {
        const {differs, run} = tests[row.id]!;
        test(differs === undefined ? row.id : `${row.id} (ours differs: ${differs})`, async () => {
          expect.hasAssertions();
          await run(at, row);
        });
      }
    });
  }
  describe(`rows of ${area}`, () => {
    test('are run, or wait for the issue that builds what they need', () => {
      const accounted = [...Object.keys(tests), ...Object.keys(later[area])];
      expect(accounted.sort()).toEqual([...behavioural[area]].sort());
    });
  });
}

// What a store holds

export interface Stored {
  readonly type: string;
  /** Seconds; -1 for ever. */
  readonly ttl: number;
  /** JSON texts parsed; sets sorted; of streams the documents, in order. */
  readonly value: unknown;
}

/** Everything under the store's prefix, with the prefix removed from names and values; but a lock of ours, and what a worker tells, come and go. */
export async function contents(redis: Redis, store: Store): Promise<Record<string, Stored>> {
  const {prefix} = store.keys;
  const names = (await redis.keys(`${prefix}*`)).filter(name => !isOurs(name.slice(prefix.length))).sort();
  const found: Record<string, Stored> = {};
  for (const name of names) {
    const type = await redis.type(name);
    found[name.slice(prefix.length)] = {
      type,
      ttl: await redis.ttl(name),
      value: parsed(await valueOf(redis, name, type), prefix),
    };
  }
  return found;
}

/** Of keys that other SDKs do not know, those that come and go with every worker. */
const isOurs = (name: string): boolean =>
  /:by:(?:recovery|metrics):/.test(name) || name.startsWith('byorch:');

async function valueOf(redis: Redis, name: string, type: string): Promise<unknown> {
  switch (type) {
    case 'string':
      return redis.get(name);
    case 'hash':
      return redis.hgetall(name);
    case 'set':
      return (await redis.smembers(name)).sort();
    case 'list':
      return redis.lrange(name, 0, -1);
    case 'zset':
      return redis.zrange(name, '0', '-1', 'WITHSCORES');
    default:
      return (await redis.xrange(name, '-', '+')).map(([, fields]) => fields[fields.indexOf('data') + 1]);
  }
}

function parsed(value: unknown, prefix: string): unknown {
  if (Array.isArray(value)) return value.map(item => parsed(item, prefix));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, parsed(item, prefix)]));
  if (typeof value !== 'string') return value;
  const text = value.replaceAll(prefix, '');
  return /^[{[]/.test(text) ? (JSON.parse(text) as unknown) : text;
}

/** The documents of a stream; none if it does not exist. */
export const streamOf = (found: Record<string, Stored>, name: string): readonly unknown[] =>
  (found[name]?.value ?? []) as unknown[];

/** Streams that hold something, by name: with our code a settled entry leaves its stream empty. */
export const streamsIn = (found: Record<string, Stored>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(found)
      .filter(([, {type, value}]) => type === 'stream' && (value as unknown[]).length > 0)
      .map(([name, {value}]) => [name, value]),
  );

export const SESSION_REGISTRY = 'byai_gateway:session:sess-1:registry';
export const DATA_STREAM = 'byai_gateway:session:sess-1:data_stream';
export const WRITER_STREAM = 'byai_gateway:ctrl:agent_type:writer';
export const PENDING = 'byai_gateway:control_plane:mgmt:delivery:pending';
export const WAKEUP = 'byai_gateway:control_plane:mgmt:wakeup';
export const DEADLETTER = 'byai_gateway:control_plane:mgmt:deadletter';

/** The records of a registry, whatever their ids. */
export const recordsOf = (registry: unknown): Doc[] =>
  Object.entries((registry ?? {}) as Doc)
    .filter(([name]) => name.startsWith('exec:'))
    .map(([, record]) => asDoc(record));

export const timelineOf = (record: Doc): unknown[] =>
  (record['timeline'] as readonly Doc[]).map(step => step['status']);

/** The one record of `sess-1`. */
export async function onlyRecord(redis: Redis, store: Store): Promise<Doc> {
  const [record, ...more] = recordsOf((await contents(redis, store))[SESSION_REGISTRY]?.value);
  expect(more).toEqual([]);
  return asDoc(record);
}

// Comparing

/**
 * What both sides mean to write: without our extras (`by_*`, `x_*`) and without the snapshots and audits of agent
 * configs, which we write only where a worker has some. An empty extra payload is left out (C2).
 */
export function common(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(common);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !/^(x_|by_|agent_config)/.test(key))
      .filter(([key, item]) => key !== 'extra_payload' || !isEmptyPayload(item))
      .map(([key, item]) => [key, common(item)]),
  );
}

const isEmptyPayload = (value: unknown) =>
  ['{}', '{"attachments":[]}', 'null'].includes(JSON.stringify(value));

/** Ids of a record by what they are, so that two runs can be compared. */
export function idNames(record: Doc): Readonly<Record<string, string>> {
  const message = record['message_id'] as string;
  return {
    [message]: '<message>',
    [record['execution_id'] as string]: '<execution>',
    [record['trace_id'] as string]: '<trace>',
    [spanIdHex(`${message}:client.dispatch`)]: '<span>',
  };
}

export function named(value: unknown, names: Readonly<Record<string, string>>): unknown {
  let text = JSON.stringify(value);
  for (const [id, name] of Object.entries(names)) text = text.replaceAll(id, name);
  return JSON.parse(text) as unknown;
}

const TIMES = new Set([
  'created_at',
  'updated_at',
  'started_at',
  'finished_at',
  'timestamp',
  'created',
  'last_seen',
]);

/** Times as whether they are set; event ids as that they are there. */
export function timeless(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(timeless);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      if (TIMES.has(key)) return [key, Number(item) > 0 ? '<time>' : item];
      if (key === 'id' && typeof item === 'string' && /^[0-9A-F]{32}$/.test(item)) return [key, '<event>'];
      return [key, timeless(item)];
    }),
  );
}

/** Events as the rows sum them up. JSON in the text is parsed: its spacing is the language's (C19). */
export function summary(events: readonly unknown[]): unknown[] {
  return events.map(event => {
    const {event_type, source_agent_type, message_id, parent_message_id, data} = asDoc(event);
    const {role, content} = asDoc(field(data, 'choices', 0, 'delta'));
    return {
      event_type,
      contentType: asDoc(data)['contentType'],
      role,
      content: textOrJson(content),
      source_agent_type,
      message_id,
      parent_message_id,
    };
  });
}

export const summaryOf = (row: Row): unknown[] =>
  (field(row.expected, 'data_stream_summary') as Doc[]).map(event => ({
    ...event,
    content: textOrJson(event['content']),
  }));

const textOrJson = (text: unknown): unknown =>
  typeof text === 'string' && text.startsWith('{') ? (JSON.parse(text) as unknown) : text;

// Acting

/** A worker that is online and does nothing, so that what is sent to it stays where it was put. */
export async function bringOnline(
  store: Store,
  workerId: string,
  agentTypes: readonly string[],
): Promise<void> {
  const lease = {workerId, token: `token-of-${workerId}`, ipAddress: '10.1.2.3'};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes, join: true, nowMs: NOON});
}

/** A store of its own name or key layout; closed after the test. */
export function open(at: TestStore, options: {keySchema?: KeySchema; name?: string} = {}): Store {
  const store = openStore({url: at.url(), prefix: `t:${randomBytes(6).toString('hex')}:`, ...options});
  at.cleanup(() => store.close());
  return store;
}

/** What a manager of any SDK does to a worker's lifecycle: spec §5.5. */
export async function setLifecycle(
  redis: Redis,
  {keys}: Store,
  worker: {workerId: string; agentType: string},
  lifecycle: Lifecycle,
): Promise<void> {
  const {workerId, agentType} = worker;
  await redis.hset(keys.workerAdmin(workerId), {lifecycle, reason: '', updated_at: String(NOON)});
  await redis.sadd(keys.adminWorkers(), workerId);
  if (lifecycle === 'active') await redis.sadd(keys.members(agentType), workerId);
  else await redis.srem(keys.members(agentType), workerId);
  const header = createHeader({messageId: 'msg-admin001', sessionId: 'admin', traceId: 't'});
  const command = {
    active: {action: 'RESUME_WORKER', header},
    suspended: {action: 'SUSPEND_WORKER', header, reason: ''},
    evicted: {action: 'EVICT_WORKER', header, reason: '', force: false},
  } as const;
  await redis.xadd(keys.workerCtrlStream(workerId), '*', 'data', encodeCommand(command[lifecycle]));
}

/** A RESUME as a client of any SDK writes it, or as an agent does if a source is given. */
export const resumeOf = (header: Partial<Header>, content: string): string =>
  encodeCommand({
    action: 'RESUME',
    header: createHeader({
      ...{messageId: 'msg-1', sessionId: 'sess-1', traceId: 'trace-1', targetAgentType: 'writer'},
      ...header,
    }),
    ...{status: '', content, replyData: null, extraPayload: {}},
  });

export type Handle = (command: AskCommand | ResumeCommand, ctx: AgentContext) => unknown;

class ScriptedWorker extends GatewayWorker {
  constructor(
    private readonly type: string,
    private readonly script: Handle,
  ) {
    super();
  }
  override getAgentTypes() {
    return [this.type];
  }
  override processCommand(command: AskCommand | ResumeCommand, ctx: AgentContext) {
    return this.script(command, ctx);
  }
}

/** A worker for `writer`, and others by name; stopped after the test. */
export async function work(
  at: TestStore,
  store: Store,
  scripts: Handle | Readonly<Record<string, Handle>>,
  options: Partial<WorkerOptions> = {},
): Promise<WorkerHandle> {
  const byType = typeof scripts === 'function' ? {writer: scripts} : scripts;
  const agents = Object.entries(byType).map(([type, script]) => new ScriptedWorker(type, script));
  const worker = await startWorker(store, {agents, log: silentLogger, workerId: 'worker-01', ...options});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

/** Something a test opens and agent code waits for. */
export function gate(): {readonly opened: Promise<void>; readonly open: () => void} {
  let open: () => void = () => undefined;
  const opened = new Promise<void>(resolve => (open = resolve));
  return {opened, open: () => open()};
}

/** Waits until the one record of `sess-1` has this status. */
export async function recordWith(redis: Redis, store: Store, status: string): Promise<Doc> {
  return until(async () => {
    const records = recordsOf((await contents(redis, store))[SESSION_REGISTRY]?.value);
    return records.find(record => record['status'] === status);
  });
}

/** Waits until nothing is left to read or to acknowledge on a stream. */
export async function drained(redis: Redis, stream: string): Promise<void> {
  await until(async () => (await redis.xlen(stream)) === 0);
}
