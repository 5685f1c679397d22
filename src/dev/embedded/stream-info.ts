/** XINFO. */
import type {Args, Client} from './client.js';
import {valueOf, type Database} from './keyspace.js';
import {integer} from './numbers.js';
import {CommandError, MapReply, noSuchKey, type Reply} from './reply.js';
import type {Store} from './store.js';
import {formatId, MAX_ID, ZERO_ID} from './stream-id.js';
import {entryReply, take} from './streams.js';
import {StreamValue, type Group} from './stream-value.js';

/** How many entries and pending entries XINFO STREAM FULL shows. */
const DEFAULT_FULL_COUNT = 10;

function streamOf(db: Database, key: string): StreamValue {
  const stream = valueOf(db, key, StreamValue);
  if (stream === undefined) throw noSuchKey();
  return stream;
}

const unknownForm = (subcommand: string) =>
  new CommandError(
    `ERR unknown subcommand or wrong number of arguments for '${subcommand}'. Try XINFO HELP.`,
  );

function header(stream: StreamValue): Reply[] {
  return [
    'length',
    stream.length,
    'radix-tree-keys',
    stream.nodeCount,
    'radix-tree-nodes',
    stream.nodeCount + 1,
    'last-generated-id',
    formatId(stream.lastId),
    'max-deleted-entry-id',
    formatId(stream.maxDeletedId),
    'entries-added',
    stream.entriesAdded,
    'recorded-first-entry-id',
    formatId(stream.firstId),
  ];
}

export function xinfoStream({db}: Client, args: Args): Reply {
  const stream = streamOf(db, args[2]);
  const isFull = args.length > 3 && args[3].toUpperCase() === 'FULL';
  if (args.length > 3 && !isFull) {
    throw unknownForm(args[1]);
  }
  let count = DEFAULT_FULL_COUNT;
  if (args.length > 4) {
    if (args.length !== 6 || args[4].toUpperCase() !== 'COUNT') throw unknownForm(args[1]);
    count = integer(args[5]);
    if (count < 0) count = DEFAULT_FULL_COUNT;
  }
  if (isFull) return fullReply(stream, count === 0 ? Infinity : count);
  const {first, last} = stream.entries;
  return new MapReply([
    ...header(stream),
    'groups',
    stream.groups.size,
    'first-entry',
    first === undefined ? null : entryReply(first),
    'last-entry',
    last === undefined ? null : entryReply(last),
  ]);
}

function fullReply(stream: StreamValue, count: number): Reply {
  const groups = stream
    .sortedGroups()
    .map(
      group =>
        new MapReply([
          'name',
          group.name,
          'last-delivered-id',
          formatId(group.lastId),
          'entries-read',
          group.entriesRead ?? null,
          'lag',
          stream.lag(group) ?? null,
          'pel-count',
          group.pending.size,
          'pending',
          take(group.pending.range(ZERO_ID, MAX_ID), count).map(pending => [
            formatId(pending),
            pending.consumer.name,
            pending.deliveredAt,
            pending.deliveries,
          ]),
          'consumers',
          fullConsumers(group, count),
        ]),
    );
  return new MapReply([
    ...header(stream),
    'entries',
    take(stream.entries.range(ZERO_ID, MAX_ID), count).map(entryReply),
    'groups',
    groups,
  ]);
}

function fullConsumers(group: Group, count: number): Reply[] {
  return group
    .sortedConsumers()
    .map(
      consumer =>
        new MapReply([
          'name',
          consumer.name,
          'seen-time',
          consumer.seenAt,
          'pel-count',
          consumer.pending.size,
          'pending',
          take(consumer.pending.range(ZERO_ID, MAX_ID), count).map(pending => [
            formatId(pending),
            pending.deliveredAt,
            pending.deliveries,
          ]),
        ]),
    );
}

export function xinfoGroups({db}: Client, [, , key]: Args): Reply {
  const stream = streamOf(db, key);
  return stream
    .sortedGroups()
    .map(
      group =>
        new MapReply([
          'name',
          group.name,
          'consumers',
          group.consumers.size,
          'pending',
          group.pending.size,
          'last-delivered-id',
          formatId(group.lastId),
          'entries-read',
          group.entriesRead ?? null,
          'lag',
          stream.lag(group) ?? null,
        ]),
    );
}

export function xinfoConsumers({db}: Client, [, , key, name]: Args, {shared}: Store): Reply {
  const group = streamOf(db, key).groups.get(name);
  if (group === undefined) {
    throw new CommandError(`NOGROUP No such consumer group '${name}' for key name '${key}'`);
  }
  return group
    .sortedConsumers()
    .map(
      consumer =>
        new MapReply([
          'name',
          consumer.name,
          'pending',
          consumer.pending.size,
          'idle',
          Math.max(0, shared.now - consumer.seenAt),
        ]),
    );
}
