/** Consumer groups: XGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM. Reading is in stream-read.ts. */
import type {Args, Client} from './client.js';
import {valueOf, type Database} from './keyspace.js';
import {integer, parseInt64, type Int64} from './numbers.js';
import {CommandError, NULL_ARRAY, OK, syntaxError, type Reply} from './reply.js';
import {at, type Handler, type Store} from './store.js';
import {
  compareIds,
  formatId,
  MAX_ID,
  parseEnd,
  parseId,
  parseStart,
  tryParseId,
  ZERO_ID,
  type StreamId,
} from './stream-id.js';
import {entryReply, take} from './streams.js';
import {Group, StreamValue, type Consumer, type Pending} from './stream-value.js';

function existing(db: Database, key: string): StreamValue {
  const stream = valueOf(db, key, StreamValue);
  if (stream === undefined) {
    throw new CommandError(
      'ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.',
    );
  }
  return stream;
}

function groupOf(db: Database, key: string, name: string): {stream: StreamValue; group: Group} {
  const stream = existing(db, key);
  const group = stream.groups.get(name);
  if (group === undefined) {
    throw new CommandError(`NOGROUP No such consumer group '${name}' for key name '${key}'`);
  }
  return {stream, group};
}

/** For the commands that do not tell a missing key from a missing group. */
function groupOrRefuse(db: Database, key: string, name: string): {stream: StreamValue; group: Group} {
  const stream = valueOf(db, key, StreamValue);
  const group = stream?.groups.get(name);
  if (stream === undefined || group === undefined) {
    throw new CommandError(`NOGROUP No such key '${key}' or consumer group '${name}'`);
  }
  return {stream, group};
}

function groupOptions(
  args: Args,
  from: number,
  mayCreate: boolean,
): {mustMake: boolean; entriesRead: Int64 | undefined} {
  let mustMake = false;
  let entriesRead: Int64 | undefined;
  for (let i = from; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if (word === 'MKSTREAM' && mayCreate) {
      mustMake = true;
    } else if (word === 'ENTRIESREAD' && i + 1 < args.length) {
      const value = parseInt64(at(args, ++i));
      if (value === undefined) throw new CommandError('ERR value is not an integer or out of range');
      if (value < -1) throw new CommandError('ERR value for ENTRIESREAD must be positive or -1');
      entriesRead = value === -1 ? undefined : value;
    } else {
      throw unknownSubcommand(args);
    }
  }
  return {mustMake, entriesRead};
}

const unknownSubcommand = (args: Args) =>
  new CommandError(
    `ERR unknown subcommand or wrong number of arguments for '${args[1]}'. Try ${args[0].toUpperCase()} HELP.`,
  );

export function xgroupCreate({db}: Client, args: Args): Reply {
  const [, , key, name, idText] = args;
  const {mustMake, entriesRead} = groupOptions(args, 5, true);
  const stream = mustMake ? valueOf(db, key, StreamValue) : existing(db, key);
  const id = idText === '$' ? (stream?.lastId ?? ZERO_ID) : parseId(idText);
  const target = stream ?? new StreamValue();
  if (stream === undefined) db.put(key, target);
  if (target.groups.has(name)) throw new CommandError('BUSYGROUP Consumer Group name already exists');
  target.groups.set(name, new Group(name, id, entriesRead));
  db.changed(key);
  return OK;
}

export function xgroupSetId({db}: Client, args: Args): Reply {
  const [, , key, name, idText] = args;
  const {entriesRead} = groupOptions(args, 5, false);
  const {stream, group} = groupOf(db, key, name);
  group.lastId = idText === '$' ? stream.lastId : parseId(idText);
  group.entriesRead = entriesRead;
  // Readers that wait are not told: they see what SETID opened to them when the next entry comes.
  db.changed(key, false);
  return OK;
}

export function xgroupDestroy({db}: Client, [, , key, name]: Args): Reply {
  const stream = existing(db, key);
  if (!stream.groups.delete(name)) return 0;
  db.changed(key);
  return 1;
}

export const xgroupCreateConsumer: Handler = ({db}, [, , key, name, consumer], {shared}) => {
  const {group} = groupOf(db, key, name);
  if (group.addConsumer(consumer, shared.now) === undefined) return 0;
  db.changed(key);
  return 1;
};

export function xgroupDelConsumer({db}: Client, [, , key, name, consumerName]: Args): Reply {
  const {group} = groupOf(db, key, name);
  const consumer = group.consumers.get(consumerName);
  if (consumer === undefined) return 0;
  const pending = [...consumer.pending];
  for (const item of pending) group.release(item);
  group.consumers.delete(consumerName);
  db.changed(key);
  return pending.length;
}

export function xack({db}: Client, args: Args): Reply {
  const key = args[1];
  const group = valueOf(db, key, StreamValue)?.groups.get(args[2]);
  if (group === undefined) return 0;
  const ids = args.slice(3).map(text => parseId(text));
  let acknowledged = 0;
  for (const id of ids) {
    const pending = group.pending.find(id);
    if (pending === undefined) continue;
    group.release(pending);
    acknowledged++;
  }
  if (acknowledged > 0) db.changed(key);
  return acknowledged;
}

export function xpending({db}: Client, args: Args, {shared}: Store): Reply {
  const [, key, name] = args;
  if (args.length === 3) return pendingSummary(groupOrRefuse(db, key, name).group);
  if (args.length < 6 || args.length > 9) throw syntaxError();
  let from = 3;
  let minIdle = 0;
  if (args[3].toUpperCase() === 'IDLE') {
    minIdle = integer(args[4]);
    if (args.length < 8) throw syntaxError();
    from = 5;
  }
  const count = Math.max(0, integer(at(args, from + 2)));
  const start = parseStart(at(args, from));
  const end = parseEnd(at(args, from + 1));
  const consumerName = args[from + 3];
  const {group} = groupOrRefuse(db, key, name);
  const source = consumerName === undefined ? group : group.consumers.get(consumerName);
  if (source === undefined) return [];
  const rows: Reply[] = [];
  if (count === 0) return rows;
  for (const pending of source.pending.range(start, end)) {
    const idle = Math.max(0, shared.now - pending.deliveredAt);
    if (idle < minIdle) continue;
    rows.push([formatId(pending), pending.consumer.name, idle, pending.deliveries]);
    if (rows.length >= count) break;
  }
  return rows;
}

function pendingSummary(group: Group): Reply {
  const {first, last, size} = group.pending;
  if (first === undefined || last === undefined) return [0, null, null, NULL_ARRAY];
  const consumers = group
    .sortedConsumers()
    .filter(consumer => consumer.pending.size > 0)
    .map(consumer => [consumer.name, String(consumer.pending.size)]);
  return [size, formatId(first), formatId(last), consumers];
}

interface ClaimOptions {
  deliveredAt: number;
  deliveries: number | undefined;
  mayForce: boolean;
  isJustId: boolean;
  lastId: StreamId;
}

function claimOptions(args: Args, from: number, now: number): ClaimOptions {
  const options: ClaimOptions = {
    deliveredAt: now,
    deliveries: undefined,
    mayForce: false,
    isJustId: false,
    lastId: ZERO_ID,
  };
  const number = (text: string, name: string) => {
    const value = parseInt64(text);
    if (value === undefined) throw new CommandError(`ERR Invalid ${name} option argument for XCLAIM`);
    return Number(value);
  };
  for (let i = from; i < args.length; i++) {
    const text = at(args, i);
    const word = text.toUpperCase();
    const hasMore = i + 1 < args.length;
    if (word === 'FORCE') options.mayForce = true;
    else if (word === 'JUSTID') options.isJustId = true;
    else if (word === 'IDLE' && hasMore) options.deliveredAt = now - number(at(args, ++i), 'IDLE');
    else if (word === 'TIME' && hasMore) options.deliveredAt = number(at(args, ++i), 'TIME');
    else if (word === 'RETRYCOUNT' && hasMore) options.deliveries = number(at(args, ++i), 'RETRYCOUNT');
    else if (word === 'LASTID' && hasMore) options.lastId = parseId(at(args, ++i));
    else throw new CommandError(`ERR Unrecognized XCLAIM option '${text}'`);
  }
  // A time in the future or before the epoch is taken as now.
  if (options.deliveredAt < 0 || options.deliveredAt > now) options.deliveredAt = now;
  if (options.deliveries !== undefined && options.deliveries < 0) options.deliveries = undefined;
  return options;
}

export function xclaim({db}: Client, args: Args, {shared: {now}}: Store): Reply {
  const [, key, name, consumerName, idle] = args;
  const {stream, group} = groupOrRefuse(db, key, name);
  const minIdle = parseInt64(idle);
  if (minIdle === undefined) throw new CommandError('ERR Invalid min-idle-time argument for XCLAIM');
  const ids: StreamId[] = [];
  let next = 5;
  for (; next < args.length; next++) {
    const id = tryParseId(at(args, next));
    if (id === undefined) break;
    ids.push(id);
  }
  const options = claimOptions(args, next, now);
  if (compareIds(options.lastId, group.lastId) > 0) group.lastId = options.lastId;

  const claimed: Reply[] = [];
  let consumer: Consumer | undefined;
  for (const id of ids) {
    const pending = group.pending.find(id);
    const entry = stream.entries.find(id);
    if (entry === undefined) {
      if (pending !== undefined) group.release(pending);
      continue;
    }
    if (pending === undefined && !options.mayForce) continue;
    if (pending !== undefined && minIdle > 0 && now - pending.deliveredAt < minIdle) continue;
    consumer ??= group.consumer(consumerName, now);
    const deliveries = options.deliveries ?? (pending?.deliveries ?? 1) + (options.isJustId ? 0 : 1);
    group.assign(id, consumer, options.deliveredAt, deliveries);
    claimed.push(options.isJustId ? formatId(id) : entryReply(entry));
  }
  db.changed(key);
  return claimed;
}

/** How many pending entries XAUTOCLAIM looks at for each it may claim. */
const LOOKS_PER_CLAIM = 10;

export function xautoclaim({db}: Client, args: Args, {shared: {now}}: Store): Reply {
  const [, key, name, consumerName, idle, startText] = args;
  const minIdle = parseInt64(idle);
  if (minIdle === undefined) throw new CommandError('ERR Invalid min-idle-time argument for XAUTOCLAIM');
  const start = parseStart(startText);
  let count = 100;
  let isJustId = false;
  for (let i = 6; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if (word === 'COUNT' && i + 1 < args.length) {
      const value = parseInt64(at(args, ++i));
      if (value === undefined || value < 1 || value > 2n ** 63n / 16n)
        throw new CommandError('ERR COUNT must be > 0');
      count = Number(value);
    } else if (word === 'JUSTID') {
      isJustId = true;
    } else {
      throw syntaxError();
    }
  }
  const {stream, group} = groupOrRefuse(db, key, name);
  const looked = take(group.pending.range(start, MAX_ID), count * LOOKS_PER_CLAIM + 1);
  const claimed: Reply[] = [];
  const deleted: Reply[] = [];
  let consumer: Consumer | undefined;
  let cursor: Pending | undefined;
  for (const [index, pending] of looked.entries()) {
    if (claimed.length + deleted.length >= count || index >= count * LOOKS_PER_CLAIM) {
      cursor = pending;
      break;
    }
    const entry = stream.entries.find(pending);
    if (entry === undefined) {
      deleted.push(formatId(pending));
      group.release(pending);
      continue;
    }
    if (minIdle > 0 && now - pending.deliveredAt < minIdle) continue;
    consumer ??= group.consumer(consumerName, now);
    group.assign(pending, consumer, now, pending.deliveries + (isJustId ? 0 : 1));
    claimed.push(isJustId ? formatId(pending) : entryReply(entry));
  }
  db.changed(key);
  return [formatId(cursor ?? ZERO_ID), claimed, deleted];
}
