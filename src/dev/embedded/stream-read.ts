/** XREAD and XREADGROUP. */
import type {Args, Client} from './client.js';
import {valueOf} from './keyspace.js';
import {integer, parseInt64} from './numbers.js';
import {CommandError, ErrorReply, MapReply, NULL_ARRAY, syntaxError, type Reply} from './reply.js';
import {at, type Handler, type Store} from './store.js';
import {formatId, MAX_ID, nextId, parseId, compareIds, type StreamId} from './stream-id.js';
import {entryReply, take} from './streams.js';
import {StreamValue, type Group} from './stream-value.js';

interface ReadOptions {
  group: string | undefined;
  consumer: string;
  count: number;
  /** undefined: does not wait. */
  blockMs: number | undefined;
  isUnacknowledged: boolean;
  keys: string[];
  ids: string[];
}

/** BLOCK's argument: whole milliseconds, 0 for ever. */
function blockTime(text: string): number {
  const value = parseInt64(text);
  if (value === undefined) throw new CommandError('ERR timeout is not an integer or out of range');
  if (value < 0) throw new CommandError('ERR timeout is negative');
  return Number(value);
}

function parseOptions(client: Client, args: Args): ReadOptions {
  const command = args[0].toLowerCase();
  const forGroup = command === 'xreadgroup';
  const options: ReadOptions = {
    group: undefined,
    consumer: '',
    count: Infinity,
    blockMs: undefined,
    isUnacknowledged: false,
    keys: [],
    ids: [],
  };
  for (let i = 1; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    const more = args.length - 1 - i;
    if (word === 'BLOCK' && more > 0) {
      if (client.isScript) {
        throw new CommandError(`ERR ${args[0]} command is not allowed with BLOCK option from scripts`);
      }
      options.blockMs = blockTime(at(args, ++i));
    } else if (word === 'COUNT' && more > 0) {
      const count = integer(at(args, ++i));
      options.count = count <= 0 ? Infinity : count;
    } else if (word === 'STREAMS' && more > 0) {
      if (more % 2 !== 0) {
        throw new CommandError(
          "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
        );
      }
      options.keys = args.slice(i + 1, i + 1 + more / 2);
      options.ids = args.slice(i + 1 + more / 2);
      break;
    } else if (word === 'GROUP' && more >= 2) {
      if (!forGroup) {
        throw new CommandError(
          'ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.',
        );
      }
      options.group = at(args, i + 1);
      options.consumer = at(args, i + 2);
      i += 2;
    } else if (word === 'NOACK') {
      if (!forGroup) {
        throw new CommandError(
          'ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.',
        );
      }
      options.isUnacknowledged = true;
    } else {
      throw syntaxError();
    }
  }
  if (options.keys.length === 0) throw syntaxError();
  if (forGroup && options.group === undefined)
    throw new CommandError('ERR Missing GROUP option for XREADGROUP');
  return options;
}

/** Where one stream is to be read from. */
interface Source {
  readonly key: string;
  /** Entries after this id; undefined is `>`, what the group has not delivered yet. */
  readonly after: StreamId | undefined;
}

export function xread(client: Client, args: Args, store: Store): Reply {
  const {db} = client;
  const options = parseOptions(client, args);
  const sources = options.keys.map((key, index): Source => {
    const text = options.ids[index] ?? '';
    const stream = valueOf(db, key, StreamValue);
    if (text === '$') return {key, after: stream?.lastId ?? {ms: 0, seq: 0}};
    if (text === '>') {
      throw new CommandError(
        'ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.',
      );
    }
    return {key, after: parseId(text)};
  });
  const read = ({key, after}: Source): Reply | undefined => {
    const stream = db.get(key);
    if (!(stream instanceof StreamValue) || after === undefined) return undefined;
    const {last} = stream.entries;
    const start = nextId(after);
    if (last === undefined || start === undefined || compareIds(last, after) <= 0) return undefined;
    return take(stream.entries.range(start, MAX_ID), options.count).map(entryReply);
  };
  return readOrWait(client, store, options, sources, read);
}

export const xreadgroup: Handler = (client, args, store) => {
  const {db} = client;
  const {shared} = store;
  const options = parseOptions(client, args);
  const groupName = options.group ?? '';
  const sources = options.keys.map((key, index): Source => {
    const text = options.ids[index] ?? '';
    if (valueOf(db, key, StreamValue)?.groups.has(groupName) !== true) {
      throw new CommandError(
        `NOGROUP No such key '${key}' or consumer group '${groupName}' in XREADGROUP with GROUP option`,
      );
    }
    if (text === '$') {
      throw new CommandError(
        'ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.',
      );
    }
    const after = text === '>' ? MAX_ID : parseId(text);
    // To Redis, too, the greatest id there is and `>` are one.
    return {key, after: compareIds(after, MAX_ID) === 0 ? undefined : after};
  });
  const read = (source: Source, isWaiting = false): Reply | undefined => {
    const stream = db.get(source.key);
    if (!(stream instanceof StreamValue)) {
      return isWaiting ? new ErrorReply('UNBLOCKED the stream key no longer exists') : undefined;
    }
    const group = stream.groups.get(groupName);
    if (group === undefined) {
      return isWaiting
        ? new ErrorReply('NOGROUP the consumer group this client was blocked on no longer exists')
        : undefined;
    }
    const reply =
      source.after === undefined
        ? readNew(stream, group, options, shared.now)
        : readHistory(stream, group, options, source.after, shared.now);
    if (reply !== undefined && (source.after === undefined || isWaiting)) db.changed(source.key);
    return reply;
  };
  return readOrWait(client, store, options, sources, read);
};

function readNew(stream: StreamValue, group: Group, options: ReadOptions, now: number): Reply | undefined {
  const {last} = stream.entries;
  const start = nextId(group.lastId);
  if (last === undefined || start === undefined || compareIds(last, group.lastId) <= 0) return undefined;
  const consumer = group.consumer(options.consumer, now);
  const entries = take(stream.entries.range(start, MAX_ID), options.count);
  for (const entry of entries) {
    stream.noteRead(group, entry);
    if (!options.isUnacknowledged) group.assign(entry, consumer, now, 1);
  }
  return entries.map(entryReply);
}

/** What this consumer has been given and not acknowledged. Entries that were deleted meanwhile have no fields. */
function readHistory(
  stream: StreamValue,
  group: Group,
  options: ReadOptions,
  after: StreamId,
  now: number,
): Reply {
  const consumer = group.consumer(options.consumer, now);
  const start = nextId(after);
  if (start === undefined) return [];
  return take(consumer.pending.range(start, MAX_ID), options.count).map(pending => {
    const entry = stream.entries.find(pending);
    if (entry === undefined) return [formatId(pending), NULL_ARRAY];
    pending.deliveredAt = now;
    pending.deliveries++;
    return entryReply(entry);
  });
}

/** Read all streams now; if none has anything and BLOCK was given, wait for the first that gets something. */
function readOrWait(
  client: Client,
  store: Store,
  options: ReadOptions,
  sources: readonly Source[],
  read: (source: Source, isWaiting?: boolean) => Reply | undefined,
): Reply {
  const answers: Reply[] = [];
  for (const source of sources) {
    const entries = read(source);
    if (entries !== undefined) answers.push(source.key, entries);
  }
  if (answers.length > 0) return streamsReply(client, answers);
  if (options.blockMs === undefined) return NULL_ARRAY;
  return store.blocking.wait(client, {
    keys: options.keys,
    timeoutMs: options.blockMs,
    serve: key => {
      const source = sources.find(other => other.key === key);
      const entries = source && read(source, true);
      if (entries === undefined || entries instanceof ErrorReply) return entries;
      return streamsReply(client, [key, entries]);
    },
  });
}

function streamsReply({protocol}: Client, answers: readonly Reply[]): Reply {
  if (protocol === 3) return new MapReply(answers);
  const pairs: Reply[] = [];
  for (let i = 0; i < answers.length; i += 2) pairs.push([answers[i] ?? null, answers[i + 1] ?? null]);
  return pairs;
}
