/**
 * Checkpoints of LangGraph in a session's storage: the newest of each namespace, with the writes that wait for them. All
 * of a thread is one hash, so a thread lives on one node of a Cluster and is forgotten as a whole.
 */
import {
  BaseCheckpointSaver,
  compareWritesSortKeys,
  copyCheckpoint,
  getCheckpointId,
  WRITES_IDX_MAP,
  writesSortKey,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  type PendingWrite,
} from '@langchain/langgraph-checkpoint';
import type {RunnableConfig} from '@langchain/core/runnables';
import {z} from 'zod';
import {openStorage, type Storage} from '../../store/storage.js';
import type {Store} from '../../store/store.js';

/** Checkpoints kept of one namespace of a thread. */
const KEPT = 20;

const STORED = z.object({checkpoint: z.string(), metadata: z.string(), parent: z.string()});
const WRITE = z.object({channel: z.string(), value: z.string(), path: z.string()});

interface Place {
  readonly ns: string;
  readonly id: string;
}

/** Names of fields: `c` checkpoint, `w` write; ids and namespaces may hold anything but a line break. */
const checkpointField = ({ns, id}: Place) => `c\n${ns}\n${id}`;
const writesOf = ({ns, id}: Place) => `w\n${ns}\n${id}\n`;
const writeField = (place: Place, taskId: string, index: number) => `${writesOf(place)}${taskId}\n${index}`;

export class StorageCheckpointer extends BaseCheckpointSaver {
  /** @param storageOf the storage of a thread, by its `thread_id`. */
  constructor(private readonly storageOf: (threadId: string) => Storage) {
    super();
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const {threadId, ns} = placeOf(config);
    const storage = this.storageOf(threadId);
    const names = await storage.names();
    const wanted = getCheckpointId(config);
    const id = wanted || checkpointIds(names, ns)[0];
    return id === undefined ? undefined : this.tuple(storage, names, threadId, {ns, id});
  }

  override async *list(
    config: RunnableConfig,
    {limit = Infinity, before, filter = {}}: CheckpointListOptions = {},
  ): AsyncGenerator<CheckpointTuple> {
    const {threadId, ns} = placeOf(config);
    const storage = this.storageOf(threadId);
    const names = await storage.names();
    const end = before === undefined ? '' : getCheckpointId(before);
    let listed = 0;
    for (const id of checkpointIds(names, ns)) {
      if (listed >= limit) return;
      if (end !== '' && id >= end) continue;
      const tuple = await this.tuple(storage, names, threadId, {ns, id});
      const metadata = tuple?.metadata as Readonly<Record<string, unknown>> | undefined;
      if (tuple === undefined || !Object.entries(filter).every(([key, value]) => metadata?.[key] === value))
        continue;
      listed++;
      yield tuple;
    }
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
  ): Promise<RunnableConfig> {
    const {threadId, ns} = placeOf(config);
    const storage = this.storageOf(threadId);
    const {id} = checkpoint;
    const stored: z.infer<typeof STORED> = {
      checkpoint: await this.dump(copyCheckpoint(checkpoint)),
      metadata: await this.dump(metadata),
      parent: getCheckpointId(config),
    };
    const names = await storage.names();
    const old = new Set(checkpointIds(names, ns).slice(KEPT - 1));
    await storage.write(
      {[checkpointField({ns, id})]: JSON.stringify(stored)},
      names.filter(name => {
        const [, ofNs, ofId = ''] = name.split('\n');
        return ofNs === ns && old.has(ofId);
      }),
    );
    return configOf(threadId, {ns, id});
  }

  override async putWrites(
    config: RunnableConfig,
    writes: PendingWrite[],
    taskId: string,
    path = '',
  ): Promise<void> {
    const {threadId, ns} = placeOf(config);
    const storage = this.storageOf(threadId);
    const place = {ns, id: getCheckpointId(config)};
    const fields: Record<string, string> = {};
    for (const [at, [channel, value]] of writes.entries()) {
      const index = WRITES_IDX_MAP[channel] ?? at;
      const write: z.infer<typeof WRITE> = {channel, value: await this.dump(value), path};
      fields[writeField(place, taskId, index)] = JSON.stringify(write);
    }
    // What a task wrote before stays, except for the channels that may change: interrupts and errors.
    const fixed = Object.keys(fields).filter(name => Number(name.split('\n')[4]) >= 0);
    const there = await storage.read(fixed);
    for (const [at, name] of fixed.entries())
      if (there[at] !== undefined) Reflect.deleteProperty(fields, name);
    if (Object.keys(fields).length > 0) await storage.write(fields);
  }

  override async deleteThread(threadId: string): Promise<void> {
    await this.storageOf(threadId).clear();
  }

  private async tuple(
    storage: Storage,
    names: readonly string[],
    threadId: string,
    place: Place,
  ): Promise<CheckpointTuple | undefined> {
    const prefix = writesOf(place);
    const writes = names.filter(name => name.startsWith(prefix));
    const [text, ...texts] = await storage.read([checkpointField(place), ...writes]);
    if (text === undefined) return undefined;
    const stored = STORED.parse(JSON.parse(text));
    return {
      config: configOf(threadId, place),
      checkpoint: (await this.load(stored.checkpoint)) as Checkpoint,
      metadata: (await this.load(stored.metadata)) as CheckpointMetadata,
      pendingWrites: await this.pending(writes, texts),
      ...(stored.parent === '' ? {} : {parentConfig: configOf(threadId, {ns: place.ns, id: stored.parent})}),
    };
  }

  private async pending(
    names: readonly string[],
    texts: readonly (string | undefined)[],
  ): Promise<CheckpointPendingWrite[]> {
    const writes = await Promise.all(
      names.flatMap((name, at) => {
        const text = texts[at];
        if (text === undefined) return [];
        const [, , , taskId = '', index = '0'] = name.split('\n');
        const {channel, value, path} = WRITE.parse(JSON.parse(text));
        const key = writesSortKey(path, taskId, Number(index));
        return [
          this.load(value).then(loaded => ({
            key,
            write: [taskId, channel, loaded] as CheckpointPendingWrite,
          })),
        ];
      }),
    );
    return writes.sort((a, b) => compareWritesSortKeys(a.key, b.key)).map(({write}) => write);
  }

  private async dump(value: unknown): Promise<string> {
    const [type, bytes] = await this.serde.dumpsTyped(value);
    return `${type}\n${Buffer.from(bytes).toString('base64')}`;
  }

  private async load(text: string): Promise<unknown> {
    const end = text.indexOf('\n');
    return this.serde.loadsTyped(text.slice(0, end), Buffer.from(text.slice(end + 1), 'base64'));
  }
}

/**
 * Checkpoints in Redis for graphs of your own, outside of agents: `builder.compile({checkpointer: checkpointer(store)})`.
 * A thread is forgotten a week after its last step. Nothing fences its writers: two that run one thread at once disturb
 * each other, as with every saver.
 */
export const checkpointer = (store: Store): StorageCheckpointer =>
  new StorageCheckpointer(threadId => openStorage(store, {sessionId: threadId, name: 'langgraph'}));

/** Ids of the checkpoints of a namespace, newest first: they rise with time. */
function checkpointIds(names: readonly string[], ns: string): string[] {
  const prefix = checkpointField({ns, id: ''});
  return names
    .filter(name => name.startsWith(prefix))
    .map(name => name.slice(prefix.length))
    .sort()
    .reverse();
}

function placeOf({configurable = {}}: RunnableConfig): {readonly threadId: string; readonly ns: string} {
  const {thread_id: threadId, checkpoint_ns: ns = ''} = configurable as Readonly<Record<string, unknown>>;
  if (typeof threadId !== 'string' || typeof ns !== 'string' || ns.includes('\n'))
    throw new TypeError('A graph with a checkpointer needs a thread_id in its configurable.');
  return {threadId, ns};
}

const configOf = (threadId: string, {ns, id}: Place): RunnableConfig => ({
  configurable: {thread_id: threadId, checkpoint_ns: ns, checkpoint_id: id},
});
