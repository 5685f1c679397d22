/** Hashes. */
import type {Args, Client} from './client.js';
import {IndexedMap} from './indexed-map.js';
import {valueOf, valueOrNew, type Value} from './keyspace.js';
import {addDecimals, addInt64, exactInteger, integer, parseInt64} from './numbers.js';
import {randomSlots} from './random.js';
import {CommandError, MapReply, notAFloat, OK, syntaxError, type Reply} from './reply.js';
import {parseDouble} from './numbers.js';
import {scanCursor, scanMembers, scanOptions} from './scan.js';
import {at, type Handler} from './store.js';

const FIELD_OVERHEAD = 80;
const COMPACT_FIELDS = 512;
const COMPACT_VALUE = 64;

export class HashValue implements Value {
  readonly type = 'hash';
  bytes = 0;
  readonly fields = new IndexedMap<string>();
  private isCompact = true;

  get isEmpty(): boolean {
    return this.fields.size === 0;
  }
  get encoding(): string {
    return this.isCompact ? 'listpack' : 'hashtable';
  }

  /** @returns Whether the field is new. */
  set(field: string, value: string): boolean {
    const old = this.fields.get(field);
    this.fields.set(field, value);
    this.bytes +=
      old === undefined ? field.length + value.length + FIELD_OVERHEAD : value.length - old.length;
    if (field.length > COMPACT_VALUE || value.length > COMPACT_VALUE || this.fields.size > COMPACT_FIELDS) {
      this.isCompact = false;
    }
    return old === undefined;
  }

  delete(field: string): boolean {
    const old = this.fields.get(field);
    if (old === undefined) return false;
    this.fields.delete(field);
    this.bytes -= field.length + old.length + FIELD_OVERHEAD;
    return true;
  }

  copy(): HashValue {
    const copy = new HashValue();
    for (const {key, value} of this.fields) copy.set(key, value);
    copy.isCompact = this.isCompact;
    return copy;
  }
}

function setAll({db}: Client, args: Args): number {
  if (args.length % 2 !== 0) {
    throw new CommandError(`ERR wrong number of arguments for '${args[0].toLowerCase()}' command`);
  }
  const hash = valueOrNew(db, args[1], HashValue);
  let added = 0;
  for (let i = 2; i < args.length; i += 2) if (hash.set(at(args, i), at(args, i + 1))) added++;
  db.changed(args[1]);
  return added;
}

export const hset: Handler = setAll;
export const hmset: Handler = (client, args) => {
  setAll(client, args);
  return OK;
};

export function hsetnx({db}: Client, [, key, field, value]: Args): Reply {
  const hash = valueOrNew(db, key, HashValue);
  if (hash.fields.has(field)) return 0;
  hash.set(field, value);
  db.changed(key);
  return 1;
}

export function hget({db}: Client, [, key, field]: Args): Reply {
  return valueOf(db, key, HashValue)?.fields.get(field) ?? null;
}

export function hmget({db}: Client, args: Args): Reply {
  const hash = valueOf(db, args[1], HashValue);
  return args.slice(2).map(field => hash?.fields.get(field) ?? null);
}

export function hgetall({db}: Client, [, key]: Args): Reply {
  const items: string[] = [];
  for (const {key: field, value} of valueOf(db, key, HashValue)?.fields ?? []) items.push(field, value);
  return new MapReply(items);
}

export function hdel({db}: Client, args: Args): Reply {
  const hash = valueOf(db, args[1], HashValue);
  if (hash === undefined) return 0;
  let removed = 0;
  for (const field of args.slice(2)) if (hash.delete(field)) removed++;
  if (removed > 0) db.changed(args[1]);
  return removed;
}

export const hexists: Handler = ({db}, [, key, field]) =>
  valueOf(db, key, HashValue)?.fields.has(field) === true ? 1 : 0;
export const hlen: Handler = ({db}, [, key]) => valueOf(db, key, HashValue)?.fields.size ?? 0;
export const hstrlen: Handler = ({db}, [, key, field]) =>
  valueOf(db, key, HashValue)?.fields.get(field)?.length ?? 0;
export const hkeys: Handler = ({db}, [, key]) => valueOf(db, key, HashValue)?.fields.keys() ?? [];
export const hvals: Handler = ({db}, [, key]) =>
  [...(valueOf(db, key, HashValue)?.fields ?? [])].map(slot => slot.value);

export function hincrby({db}: Client, [, key, field, by]: Args): Reply {
  const amount = exactInteger(by);
  const text = valueOf(db, key, HashValue)?.fields.get(field);
  const current = text === undefined ? 0 : parseInt64(text);
  if (current === undefined) throw new CommandError('ERR hash value is not an integer');
  const sum = addInt64(current, amount);
  if (sum === undefined) throw new CommandError('ERR increment or decrement would overflow');
  valueOrNew(db, key, HashValue).set(field, String(sum));
  db.changed(key);
  return sum;
}

export function hincrbyfloat({db}: Client, [, key, field, by]: Args): Reply {
  const amount = parseDouble(by);
  if (amount === undefined) throw notAFloat();
  if (/inf/i.test(by)) throw new CommandError('ERR value is NaN or Infinity');
  const text = valueOf(db, key, HashValue)?.fields.get(field) ?? '0';
  const sum = addDecimals(text, by, 'ERR hash value is not a float');
  valueOrNew(db, key, HashValue).set(field, sum);
  db.changed(key);
  return sum;
}

export function hscan({db}: Client, args: Args): Reply {
  scanCursor(args[2]);
  const hash = valueOf(db, args[1], HashValue);
  if (hash === undefined) return ['0', []];
  const options = scanOptions(args, 2);
  const [next, found] = scanMembers(hash.fields, options);
  return [next, found.flatMap(slot => [slot.key, slot.value])];
}

export function hrandfield(client: Client, args: Args): Reply {
  const {db} = client;
  if (args.length === 2) return valueOf(db, args[1], HashValue)?.fields.random()?.key ?? null;
  const count = integer(args[2]);
  const withValues = args.length === 4 && args[3].toUpperCase() === 'WITHVALUES';
  if (args.length > 3 && !withValues) throw syntaxError();
  const hash = valueOf(db, args[1], HashValue);
  if (hash === undefined) return [];
  const found = randomSlots(hash.fields, count);
  if (!withValues) return found.map(slot => slot.key);
  return client.protocol === 3
    ? found.map(slot => [slot.key, slot.value])
    : found.flatMap(slot => [slot.key, slot.value]);
}
