/**
 * A worker of another SDK, as far as the run layer sees it: a lease, a record it writes itself, and events. What it writes is
 * what its SDK was recorded to write (recordings.ts), with the ids of its command in place of the recorded ones.
 */
import type {Redis} from 'ioredis';
import {expect} from 'vitest';
import {readCommandEntry, type Command} from '../../src/protocol/commands.js';
import {execField, msgMapField} from '../../src/protocol/execution.js';
import {CONSUMER_GROUP} from '../../src/protocol/keys.js';
import {ensureGroup, readNew, type ControlEntry} from '../../src/store/control-streams.js';
import type {Store} from '../../src/store/store.js';
import type {Doc} from '../interop/vectors.js';
import {until} from '../support/stores.js';
import {dialects, type Dialect, type SceneName} from './recordings.js';

export interface Taken {
  readonly action: Command['action'];
  readonly sessionId: string;
  readonly messageId: string;
  readonly executionId: string;
  readonly traceId: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly entryId: string;
}

const [python] = dialects;
const LIFETIME_S = 604_800;

/** Whoever sends writes these, or whoever cancels: a worker reads them and writes them back. */
const OF_OTHERS: ReadonlySet<string> = new Set([
  ...['execution_id', 'message_id', 'session_id', 'trace_id', 'parent_message_id', 'source_agent_type'],
  ...[
    'target_agent_type',
    'stream_name',
    'route_policy',
    'route_status',
    'selected_agent_type',
    'created_at',
  ],
  ...['availability_error_code', 'availability_error', 'cancel_requested', 'cancel_reason'],
]);
/** Written as the turn begins; all else at its end. */
const AT_START: ReadonlySet<string> = new Set([
  ...[
    'worker_id',
    'redis_message_id',
    'agent_configs_version',
    'agent_configs_snapshot_key',
    'agent_config_audit',
  ],
]);
const CLEANUP = /^agent_configs_snapshot_clean/;

export class PlainWorker {
  constructor(
    private readonly store: Store,
    private readonly redis: Redis,
    readonly workerId: string,
    private readonly agentType: string,
    private readonly dialect: Dialect = python!,
  ) {}

  async online(): Promise<this> {
    const {keys} = this.store;
    const lease = JSON.stringify({...this.dialect.presence, last_seen: Date.now()});
    await this.redis.set(keys.workerLease(this.workerId), lease, 'EX', 30);
    await this.redis.sadd(keys.members(this.agentType), this.workerId);
    await ensureGroup(this.store, keys.ctrlStream(this.agentType), CONSUMER_GROUP);
    return this;
  }

  /**
   * As newer versions of Python's worker do with each heartbeat: it is known, reads what operators decided, and joins or
   * stays away. One of an older version joins whatever was decided.
   */
  async beat({obeys = true}: {readonly obeys?: boolean} = {}): Promise<this> {
    const {keys} = this.store;
    const {redis, workerId, agentType} = this;
    const lease = JSON.stringify({worker_id: workerId, last_seen: Date.now()});
    await redis.set(keys.workerLease(workerId), lease, 'EX', 30);
    await redis.sadd(keys.knownWorkers(), workerId);
    await redis.sadd(keys.declaredTypes(workerId), agentType);
    this.isSuspended = obeys && (await redis.hget(keys.workerAdmin(workerId), 'lifecycle')) === 'suspended';
    if (!this.isSuspended) await redis.sadd(keys.members(agentType), workerId);
    await ensureGroup(this.store, keys.ctrlStream(agentType), CONSUMER_GROUP);
    return this;
  }

  /** What it was last told; a suspended one reads no commands. */
  isSuspended = false;

  /** Carry out what came on its own stream, as it says. @returns the actions, in order. */
  async obey(): Promise<string[]> {
    const stream = this.store.keys.workerCtrlStream(this.workerId);
    const entries = await this.redis.xrange(stream, '-', '+');
    const actions: string[] = [];
    for (const [id, fields] of entries) {
      const {action} = readCommandEntry(Buffer.from(fields[1] ?? ''));
      if (action === 'SUSPEND_WORKER') this.isSuspended = true;
      if (action === 'RESUME_WORKER') this.isSuspended = false;
      actions.push(action);
      await this.redis.xdel(stream, id);
    }
    return actions;
  }

  /** As a process that was killed: nothing is taken back but by time. */
  async die(): Promise<void> {
    await this.redis.del(this.store.keys.workerLease(this.workerId));
  }

  /** Take the next command and say that it runs. */
  async take(scene: SceneName = 'success'): Promise<Taken> {
    const taken = await this.read();
    await this.begin(taken, scene);
    return taken;
  }

  /** The next command, which is one that a worker of this SDK would not refuse. */
  async read(): Promise<Taken> {
    const entry = await this.next(this.store.keys.ctrlStream(this.agentType));
    const {header} = this.known(entry);
    const taken = {...header, action: readCommandEntry(entry.data).action, entryId: entry.id};
    return {...taken, executionId: await this.executionOf(taken)};
  }

  /** What its own stream tells it to stop: the message id. */
  async toldToStop(): Promise<string> {
    const stream = this.store.keys.workerCtrlStream(this.workerId);
    await ensureGroup(this.store, stream, CONSUMER_GROUP);
    const command = this.known(await this.next(stream));
    if (command.action !== 'CANCEL_TASK') throw new Error(`${command.action} where CANCEL_TASK was due`);
    return command.targetMessageId;
  }

  /** Begin a turn, with the fields that are written then. */
  async begin(taken: Taken, name: SceneName = 'success'): Promise<void> {
    const {record} = this.dialect.scenes[name];
    const at = Date.now();
    await this.change(taken, doc => ({
      ...{status: 'RUNNING', started_at: Number(doc['started_at'] ?? 0) || at},
      timeline: later(doc, 'RUNNING', at),
      ...this.own(record, taken, field => AT_START.has(field)),
      worker_id: this.workerId,
    }));
  }

  /** Say what was said in this scene, and end the turn as it ended there. */
  async play(taken: Taken, name: SceneName): Promise<void> {
    const {said, record} = this.dialect.scenes[name];
    for (const {eventType, contentType, role, content} of said)
      await this.say(taken, {eventType, contentType, role, content});
    await this.finish(taken, record);
    await this.done(taken);
  }

  private async finish(taken: Taken, record: Doc): Promise<void> {
    const at = Date.now();
    const isTimed = Number(record['finished_at'] ?? 0) !== 0;
    await this.change(taken, doc => ({
      ...this.own(record, taken, field => !AT_START.has(field) && !CLEANUP.test(field)),
      status: record['status'],
      ...(isTimed ? {finished_at: at} : {}),
      timeline: later(doc, String(record['status']), at),
    }));
    // Python does this in a write of its own.
    if (Object.keys(record).some(field => CLEANUP.test(field)))
      await this.change(taken, () => this.own(record, taken, field => CLEANUP.test(field)));
  }

  /** Of a recorded record what this worker writes itself, with ids and times of its own. */
  private own(record: Doc, {executionId, entryId}: Taken, isDue: (field: string) => boolean): Doc {
    const replaced: Doc = {agent_configs_snapshot_key: executionId, redis_message_id: entryId};
    const counted = new Set(['status', 'timeline', 'started_at', 'finished_at', 'updated_at']);
    return Object.fromEntries(
      Object.entries(record)
        .filter(([field]) => !OF_OTHERS.has(field) && !counted.has(field) && isDue(field))
        .map(([field, value]) => [field, field.endsWith('_at') ? Date.now() : (replaced[field] ?? value)]),
    );
  }

  /** Writes fields of the record, without a word about its end. */
  async write(taken: Taken, fields: Doc): Promise<void> {
    await this.change(taken, () => fields);
  }

  /** The record is read, changed and written whole; what the SDK does not know is kept. */
  private async change({sessionId, executionId}: Taken, make: (doc: Doc) => Doc): Promise<void> {
    const registry = this.store.keys.sessionRegistry(sessionId);
    const text = (await this.redis.hget(registry, execField(executionId))) ?? '{}';
    const before = JSON.parse(text) as Doc;
    const doc = {...before, ...make(before), updated_at: Date.now()};
    await this.redis.hset(registry, execField(executionId), JSON.stringify(doc));
    await this.redis.expire(registry, LIFETIME_S);
  }

  async answer(taken: Taken, text: string): Promise<void> {
    await this.say(taken, {
      ...{eventType: 'finalAnswer', contentType: '1002', role: 'assistant', content: text},
    });
  }

  private async say(
    {sessionId, messageId, traceId}: Taken,
    {eventType, contentType, role, content}: Dialect['scenes']['success']['said'][number],
  ): Promise<void> {
    const {events} = this.dialect;
    const like = events.find(one => one['event_type'] === eventType) ?? events[0]!;
    const data = like['data'] as Doc;
    const [choice] = data['choices'] as Doc[];
    const event = {
      ...like,
      ...{trace_id: traceId, session_id: sessionId, message_id: messageId, event_type: eventType},
      source_agent_type: this.agentType,
      ...('timestamp' in like ? {timestamp: Date.now()} : {}),
      data: {
        ...data,
        contentType,
        ...('agentId' in data ? {agentId: this.agentType} : {}),
        ...('orderId' in data ? {orderId: messageId} : {}),
        choices: [{...choice, delta: {...(choice?.['delta'] as Doc), role, content}}],
      },
    };
    const stream = this.store.keys.sessionDataStream(sessionId);
    await this.redis.xadd(stream, '*', 'data', JSON.stringify(event));
    await this.redis.expire(stream, LIFETIME_S);
  }

  async done({entryId}: Taken): Promise<void> {
    const stream = this.store.keys.ctrlStream(this.agentType);
    await this.redis.xack(stream, CONSUMER_GROUP, entryId);
    await this.redis.xdel(stream, entryId);
  }

  /** By its message, as every SDK does. */
  private async executionOf({sessionId, messageId}: Pick<Taken, 'sessionId' | 'messageId'>): Promise<string> {
    const id = await this.redis.hget(this.store.keys.sessionRegistry(sessionId), msgMapField(messageId));
    if (id === null) throw new Error(`no execution of ${messageId}: this SDK would make a new one`);
    return id;
  }

  private async next(stream: string): Promise<ControlEntry> {
    const reader = this.store.blocking('plain', stream);
    try {
      return await until(async () => {
        const [one] = await readNew(this.store, reader, {
          ...{streams: [stream], group: CONSUMER_GROUP, consumer: this.workerId, count: 1, blockMs: 100},
        });
        return one;
      });
    } finally {
      reader.close();
    }
  }

  private known(entry: ControlEntry): Command {
    const {headerKeys} = this.dialect;
    const doc = JSON.parse(String(entry.data)) as {readonly header: Doc};
    expect(Object.keys(doc).sort()).toEqual(['action_type', 'body', 'header']);
    if (headerKeys !== undefined) expect(headerKeys).toEqual(expect.arrayContaining(Object.keys(doc.header)));
    return readCommandEntry(entry.data);
  }
}

const later = ({timeline}: Doc, status: string, timestamp: number): Doc[] => [
  ...((timeline as Doc[] | undefined) ?? []),
  {status, timestamp},
];
