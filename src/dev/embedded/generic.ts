/** Commands on keys of any type, and on whole databases. */
import type {Args, Client} from './client.js';
import {deadline, type DeadlineUnit} from './deadlines.js';
import {globMatcher} from './glob.js';
import type {Database} from './keyspace.js';
import {integer} from './numbers.js';
import {CommandError, noSuchKey, OK, StatusReply, syntaxError, type Reply} from './reply.js';
import {scanOptions} from './scan.js';
import {at, type Handler, type Store} from './store.js';

export function del({db}: Client, args: Args): Reply {
  let removed = 0;
  for (const key of args.slice(1)) if (db.has(key) && db.remove(key)) removed++;
  return removed;
}

export const exists: Handler = ({db}, args) => args.slice(1).filter(key => db.has(key)).length;
export const type: Handler = ({db}, [, key]) => new StatusReply(db.get(key)?.type ?? 'none');

function rename(db: Database, from: string, to: string): void {
  const entry = db.entry(from);
  if (entry === undefined) throw noSuchKey();
  if (from === to) return;
  const {value, expiresAt} = entry;
  db.remove(from);
  db.remove(to);
  db.setExpiry(db.put(to, value), expiresAt);
  db.changed(to);
}

export const renameKey: Handler = ({db}, [, from, to]) => {
  rename(db, from, to);
  return OK;
};

export const renamenx: Handler = ({db}, [, from, to]) => {
  if (!db.has(from)) throw noSuchKey();
  if (db.has(to)) return 0;
  rename(db, from, to);
  return 1;
};

function databaseAt(store: Store, text: string, problem: string): Database {
  const db = store.databases[integer(text)];
  if (db === undefined) throw new CommandError(problem);
  return db;
}

export function copy({db}: Client, args: Args, store: Store): Reply {
  const [, from, to] = args;
  let target = db;
  let mayReplace = false;
  for (let i = 3; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if (word === 'REPLACE') mayReplace = true;
    else if (word === 'DB' && i + 1 < args.length) {
      target = databaseAt(store, at(args, ++i), 'ERR DB index is out of range');
    } else throw syntaxError();
  }
  if (db === target && from === to) throw new CommandError('ERR source and destination objects are the same');
  const entry = db.entry(from);
  if (entry === undefined) return 0;
  if (target.has(to)) {
    if (!mayReplace) return 0;
    target.remove(to);
  }
  target.setExpiry(target.put(to, entry.value.copy()), entry.expiresAt);
  target.changed(to);
  return 1;
}

export function move({db}: Client, [, key, index]: Args, store: Store): Reply {
  const target = databaseAt(store, index, 'ERR DB index is out of range');
  if (target === db) throw new CommandError('ERR source and destination objects are the same');
  const entry = db.entry(key);
  if (entry === undefined || target.has(key)) return 0;
  const {value, expiresAt} = entry;
  db.remove(key);
  target.setExpiry(target.put(key, value), expiresAt);
  target.changed(key);
  return 1;
}

export function keys({db, db: {shared}}: Client, [, pattern]: Args): Reply {
  const matches = globMatcher(pattern);
  const found: string[] = [];
  for (const {key, value} of db.keys) {
    if (matches(key) && (value.expiresAt === 0 || value.expiresAt >= shared.now)) found.push(key);
  }
  return found;
}

export function scan({db}: Client, args: Args): Reply {
  const {cursor, count, matches, type: wanted} = scanOptions(args, 1, true);
  const {next, found} = db.keys.scan(cursor, count);
  const live = found.filter(({key, value}) => {
    if (!matches(key) || (wanted !== undefined && value.value.type !== wanted)) return false;
    if (!db.isExpired(key)) return true;
    db.expire(value);
    return false;
  });
  return [String(next), live.map(slot => slot.key)];
}

export function randomkey({db}: Client): Reply {
  for (;;) {
    const slot = db.keys.random();
    if (slot === undefined) return null;
    if (!db.isExpired(slot.key)) return slot.key;
    db.expire(slot.value);
  }
}

export const dbsize: Handler = ({db}) => db.keys.size;

function flushOptions(args: Args): void {
  const word = args.length > 1 ? args[1].toUpperCase() : 'SYNC';
  if (args.length > 2 || (word !== 'SYNC' && word !== 'ASYNC')) throw syntaxError();
}

export const flushdb: Handler = ({db}, args) => {
  flushOptions(args);
  db.clear();
  return OK;
};
export const flushall: Handler = (_client, args, {databases}) => {
  flushOptions(args);
  for (const db of databases) db.clear();
  return OK;
};

const expireCommand =
  (unit: DeadlineUnit, command: string): Handler =>
  ({db}, args, {shared}) => {
    const key = args[1];
    const flags = new Set(args.slice(3).map(word => word.toUpperCase()));
    for (const [index, flag] of [...flags].entries()) {
      if (['NX', 'XX', 'GT', 'LT'].includes(flag)) continue;
      throw new CommandError(`ERR Unsupported option ${at(args, 3 + index)}`);
    }
    if (flags.has('NX') && flags.size > 1) {
      throw new CommandError('ERR NX and XX, GT or LT options at the same time are not compatible');
    }
    if (flags.has('GT') && flags.has('LT')) {
      throw new CommandError('ERR GT and LT options at the same time are not compatible');
    }
    const expiresAt = deadline(args[2], unit, shared.now, command, true);
    const entry = db.entry(key);
    if (entry === undefined) return 0;
    const current = entry.expiresAt;
    if (flags.has('NX') && current !== 0) return 0;
    if (flags.has('XX') && current === 0) return 0;
    // A key without a deadline counts as one that lives for ever.
    if (flags.has('GT') && (current === 0 || expiresAt <= current)) return 0;
    if (flags.has('LT') && current !== 0 && expiresAt >= current) return 0;
    if (expiresAt <= shared.now) {
      db.remove(key);
      return 1;
    }
    db.setExpiry(entry, expiresAt);
    db.changed(key);
    return 1;
  };
export const expire = expireCommand('EX', 'expire');
export const pexpire = expireCommand('PX', 'pexpire');
export const expireat = expireCommand('EXAT', 'expireat');
export const pexpireat = expireCommand('PXAT', 'pexpireat');

const ttlCommand =
  (answer: (expiresAt: number, now: number) => number): Handler =>
  ({db}, [, key], {shared}) => {
    const entry = db.entry(key);
    if (entry === undefined) return -2;
    return entry.expiresAt === 0 ? -1 : answer(entry.expiresAt, shared.now);
  };
export const ttl = ttlCommand((expiresAt, now) => Math.floor((Math.max(0, expiresAt - now) + 500) / 1000));
export const pttl = ttlCommand((expiresAt, now) => Math.max(0, expiresAt - now));
export const expiretime = ttlCommand(expiresAt => Math.floor((expiresAt + 500) / 1000));
export const pexpiretime = ttlCommand(expiresAt => expiresAt);

export const persist: Handler = ({db}, [, key]) => {
  const entry = db.entry(key);
  if (entry === undefined || entry.expiresAt === 0) return 0;
  db.setExpiry(entry, 0);
  db.changed(key);
  return 1;
};

export const objectEncoding: Handler = ({db}, [, , key]) => db.get(key)?.encoding ?? null;
export const objectRefcount: Handler = ({db}, [, , key]) => (db.has(key) ? 1 : null);
export const objectFreq: Handler = ({db}, [, , key]) => {
  if (!db.has(key)) return null;
  throw new CommandError(
    'ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.',
  );
};
export const objectIdletime: Handler = ({db}, [, , key], {shared}) => {
  const entry = db.keys.get(key);
  return entry === undefined || db.isExpired(key) ? null : Math.floor((shared.now - entry.lastUsedAt) / 1000);
};
export const memoryUsage: Handler = ({db}, [, , key]) => db.entry(key)?.accounted ?? null;

export const select: Handler = (client, [, index], store) => {
  client.db = databaseAt(store, index, 'ERR DB index is out of range');
  return OK;
};
