/** A worker of another SDK, as far as the run layer sees it: a lease, a record it writes itself, and events. */
import type {Redis} from 'ioredis';
import {readCommandEntry} from '../../src/protocol/commands.js';
import {encodeEvent, finalAnswerEvent} from '../../src/protocol/events.js';
import {execField} from '../../src/protocol/execution.js';
import {CONSUMER_GROUP} from '../../src/protocol/keys.js';
import {ensureGroup, readNew} from '../../src/store/control-streams.js';
import type {Store} from '../../src/store/store.js';
import {until} from '../support/stores.js';

export interface Taken {
  readonly sessionId: string;
  readonly messageId: string;
  readonly executionId: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly entryId: string;
}

export class PlainWorker {
  constructor(
    private readonly store: Store,
    private readonly redis: Redis,
    readonly workerId: string,
    private readonly agentType: string,
  ) {}

  async online(): Promise<this> {
    const {keys} = this.store;
    const lease = JSON.stringify({worker_id: this.workerId, last_seen: Date.now()});
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
  async take(): Promise<Taken> {
    const {keys} = this.store;
    const stream = keys.ctrlStream(this.agentType);
    const reader = this.store.blocking('plain', stream);
    const entry = await until(async () => {
      const [one] = await readNew(this.store, reader, {
        ...{streams: [stream], group: CONSUMER_GROUP, consumer: this.workerId, count: 1, blockMs: 100},
      });
      return one;
    });
    reader.close();
    const command = readCommandEntry(entry.data);
    const {sessionId, messageId, metadata} = command.header;
    const executionId = String(metadata['by_execution_id']);
    const taken = {sessionId, messageId, executionId, metadata, entryId: entry.id};
    await this.write(taken, {status: 'RUNNING', worker_id: this.workerId, started_at: Date.now()});
    return taken;
  }

  /** Writes the record as Python does: read, changed, written whole. */
  async write({sessionId, executionId}: Taken, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const registry = this.store.keys.sessionRegistry(sessionId);
    const text = (await this.redis.hget(registry, execField(executionId))) ?? '{}';
    const doc = {...(JSON.parse(text) as object), ...fields, updated_at: Date.now()};
    await this.redis.hset(registry, execField(executionId), JSON.stringify(doc));
  }

  async answer({sessionId, messageId}: Taken, text: string): Promise<void> {
    const event = finalAnswerEvent(
      {
        ...{traceId: 't', sessionId, messageId, parentMessageId: '', sourceAgentType: this.agentType},
        ...{subAgent: false, now: Date.now, newEventId: () => 'E'.repeat(32)},
      },
      text,
    );
    const stream = this.store.keys.sessionDataStream(sessionId);
    await this.redis.xadd(stream, '*', 'data', encodeEvent(event));
    await this.redis.expire(stream, 600);
  }

  async done({entryId}: Taken): Promise<void> {
    const stream = this.store.keys.ctrlStream(this.agentType);
    await this.redis.xack(stream, CONSUMER_GROUP, entryId);
    await this.redis.xdel(stream, entryId);
  }
}
