/** Strings and counters. */
import type {Args, Client} from './client.js';
import {deadline, isDeadlineUnit} from './deadlines.js';
import {valueOf, type Database, type Value} from './keyspace.js';
import {addDecimals, addInt64, exactInteger, integer, parseInt64, type Int64} from './numbers.js';
import {CommandError, notAnInteger, OK, syntaxError, wrongType, type Reply} from './reply.js';
import {at, type Handler, type Store} from './store.js';

const MAX_BYTES = 512 * 1024 * 1024;
/** Longer strings are 'raw' to OBJECT ENCODING. */
const EMBEDDED_UP_TO = 44;

export class StringValue implements Value {
  readonly type = 'string';
  readonly isEmpty = false;

  /** @param form How it came about, which only OBJECT ENCODING shows: set, computed as a float, or edited in place. */
  constructor(
    readonly text: string,
    private readonly form: 'set' | 'float' | 'edited' = 'set',
  ) {}

  get bytes(): number {
    return this.text.length;
  }
  get encoding(): string {
    if (this.form === 'edited') return 'raw';
    if (this.form === 'set' && this.text.length <= 20 && parseInt64(this.text) !== undefined) return 'int';
    return this.text.length <= EMBEDDED_UP_TO ? 'embstr' : 'raw';
  }
  copy(): StringValue {
    return new StringValue(this.text, this.form);
  }
}

const textOf = (db: Database, key: string) => valueOf(db, key, StringValue)?.text;

/** Store a string that has no deadline. */
function store(db: Database, key: string, text: string): void {
  const entry = db.put(key, new StringValue(text));
  if (entry.expiresAt !== 0) db.setExpiry(entry, 0);
  db.changed(key);
}

/** Replace a string's text; its deadline stays. */
function edit(db: Database, key: string, text: string, form: 'set' | 'float' | 'edited' = 'set'): void {
  db.put(key, new StringValue(text, form));
  db.changed(key);
}

export function get({db}: Client, [, key]: Args): Reply {
  return textOf(db, key) ?? null;
}

export function set({db}: Client, args: Args, {shared}: Store): Reply {
  const [, key, text] = args;
  let condition: 'NX' | 'XX' | undefined;
  let wantsOld = false;
  let keepTtl = false;
  let expiresAt: number | undefined;
  let expiry: {text: string; unit: 'EX' | 'PX' | 'EXAT' | 'PXAT'} | undefined;
  for (let i = 3; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if ((word === 'NX' || word === 'XX') && (condition === undefined || condition === word)) condition = word;
    else if (word === 'GET') wantsOld = true;
    else if (word === 'KEEPTTL' && expiry === undefined) keepTtl = true;
    else if (isDeadlineUnit(word) && (expiry === undefined || expiry.unit === word) && !keepTtl)
      expiry = {text: at(args, ++i), unit: word};
    else throw syntaxError();
  }
  if (expiry !== undefined) expiresAt = deadline(expiry.text, expiry.unit, shared.now, 'set');

  const old = wantsOld ? (textOf(db, key) ?? null) : null;
  if (condition !== undefined && db.has(key) === (condition === 'NX')) return old;
  const entry = db.put(key, new StringValue(text));
  if (expiresAt !== undefined) db.setExpiry(entry, expiresAt);
  else if (!keepTtl && entry.expiresAt !== 0) db.setExpiry(entry, 0);
  db.changed(key);
  return wantsOld ? old : OK;
}

export function setnx({db}: Client, [, key, text]: Args): Reply {
  if (db.has(key)) return 0;
  store(db, key, text);
  return 1;
}

const setWithTtl =
  (unit: 'EX' | 'PX', command: string): Handler =>
  ({db}, [, key, ttl, text], {shared}) => {
    const expiresAt = deadline(ttl, unit, shared.now, command);
    db.setExpiry(db.put(key, new StringValue(text)), expiresAt);
    db.changed(key);
    return OK;
  };
export const setex = setWithTtl('EX', 'setex');
export const psetex = setWithTtl('PX', 'psetex');

export function getset({db}: Client, [, key, text]: Args): Reply {
  const old = textOf(db, key) ?? null;
  store(db, key, text);
  return old;
}

export function getdel({db}: Client, [, key]: Args): Reply {
  const old = textOf(db, key) ?? null;
  db.remove(key);
  return old;
}

export function getex({db}: Client, args: Args, {shared}: Store): Reply {
  const key = args[1];
  let expiry: {text: string; unit: 'EX' | 'PX' | 'EXAT' | 'PXAT'} | undefined;
  let persist = false;
  for (let i = 2; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if (word === 'PERSIST' && expiry === undefined) persist = true;
    else if (isDeadlineUnit(word) && (expiry === undefined || expiry.unit === word) && !persist)
      expiry = {text: at(args, ++i), unit: word};
    else throw syntaxError();
  }
  const text = textOf(db, key);
  if (text === undefined) return null;
  const expiresAt = expiry && deadline(expiry.text, expiry.unit, shared.now, 'getex');
  const entry = db.entry(key);
  if (entry === undefined) return text;
  if (expiresAt !== undefined) {
    if (expiresAt <= shared.now) {
      db.remove(key);
    } else {
      db.setExpiry(entry, expiresAt);
      db.changed(key);
    }
  } else if (persist && entry.expiresAt !== 0) {
    db.setExpiry(entry, 0);
    db.changed(key);
  }
  return text;
}

export function mget({db}: Client, args: Args): Reply {
  return args.slice(1).map(key => {
    const value = db.get(key);
    return value instanceof StringValue ? value.text : null;
  });
}

function pairs(args: Args, from: number, command: string): [string, string][] {
  if ((args.length - from) % 2 !== 0) {
    throw new CommandError(`ERR wrong number of arguments for '${command}' command`);
  }
  const out: [string, string][] = [];
  for (let i = from; i < args.length; i += 2) out.push([at(args, i), at(args, i + 1)]);
  return out;
}

export function mset({db}: Client, args: Args): Reply {
  for (const [key, text] of pairs(args, 1, 'mset')) store(db, key, text);
  return OK;
}

export function msetnx({db}: Client, args: Args): Reply {
  const all = pairs(args, 1, 'msetnx');
  if (all.some(([key]) => db.has(key))) return 0;
  for (const [key, text] of all) store(db, key, text);
  return 1;
}

export function strlen({db}: Client, [, key]: Args): Reply {
  return textOf(db, key)?.length ?? 0;
}

function checkSize(bytes: number): void {
  if (bytes > MAX_BYTES)
    throw new CommandError('ERR string exceeds maximum allowed size (proto-max-bulk-len)');
}

export function append({db}: Client, [, key, text]: Args): Reply {
  const old = textOf(db, key);
  const joined = (old ?? '') + text;
  checkSize(joined.length);
  edit(db, key, joined, old === undefined ? 'set' : 'edited');
  return joined.length;
}

export function getrange({db}: Client, [, key, first, last]: Args): Reply {
  let from = integer(first);
  let to = integer(last);
  const text = textOf(db, key) ?? '';
  if (from < 0 && to < 0 && from > to) return '';
  if (from < 0) from = Math.max(0, text.length + from);
  if (to < 0) to = Math.max(0, text.length + to);
  return text.slice(from, Math.min(to, text.length - 1) + 1);
}

export function setrange({db}: Client, [, key, offset, patch]: Args): Reply {
  const from = integer(offset);
  if (from < 0) throw new CommandError('ERR offset is out of range');
  const old = textOf(db, key) ?? '';
  if (patch === '') return old.length;
  checkSize(from + patch.length);
  edit(db, key, old.slice(0, from).padEnd(from, '\0') + patch + old.slice(from + patch.length), 'edited');
  return Math.max(old.length, from + patch.length);
}

function add(db: Database, key: string, by: Int64): Reply {
  const text = textOf(db, key);
  const current = text === undefined ? 0 : parseInt64(text);
  if (current === undefined) throw notAnInteger();
  const sum = addInt64(current, by);
  if (sum === undefined) throw new CommandError('ERR increment or decrement would overflow');
  edit(db, key, String(sum));
  return sum;
}

export const incr: Handler = ({db}, [, key]) => add(db, key, 1);
export const decr: Handler = ({db}, [, key]) => add(db, key, -1);
export const incrby: Handler = ({db}, [, key, by]) => add(db, key, exactInteger(by));
export const decrby: Handler = ({db}, [, key, by]) => {
  const amount = exactInteger(by);
  if (amount === -(2n ** 63n)) throw new CommandError('ERR decrement would overflow');
  return add(db, key, typeof amount === 'bigint' ? -amount : 0 - amount);
};

export function incrbyfloat({db}: Client, [, key, by]: Args): Reply {
  const value = db.get(key);
  if (value !== undefined && !(value instanceof StringValue)) throw wrongType();
  const sum = addDecimals(value?.text ?? '0', by);
  edit(db, key, sum, 'float');
  return sum;
}
