/** Sets. */
import type {Args, Client} from './client.js';
import {IndexedMap} from './indexed-map.js';
import {valueOf, valueOrNew, type Database, type Value} from './keyspace.js';
import {integer, parseInt64} from './numbers.js';
import {randomSlots} from './random.js';
import {CommandError, SetReply, syntaxError, type Reply} from './reply.js';
import {scanCursor, scanMembers, scanOptions} from './scan.js';
import {at, type Handler} from './store.js';

const MEMBER_OVERHEAD = 64;
const INTEGERS_UP_TO = 512;

export class SetValue implements Value {
  readonly type = 'set';
  bytes = 0;
  readonly members = new IndexedMap<true>();
  /** Only integers so far, few enough that Redis keeps them sorted. */
  private isIntegers = true;

  get isEmpty(): boolean {
    return this.members.size === 0;
  }
  get encoding(): string {
    return this.isIntegers ? 'intset' : 'hashtable';
  }

  add(member: string): boolean {
    if (!this.members.set(member, true)) return false;
    this.bytes += member.length + MEMBER_OVERHEAD;
    if (this.isIntegers && (this.members.size > INTEGERS_UP_TO || parseInt64(member) === undefined)) {
      this.isIntegers = false;
    }
    return true;
  }

  delete(member: string): boolean {
    if (!this.members.delete(member)) return false;
    this.bytes -= member.length + MEMBER_OVERHEAD;
    return true;
  }

  /** Sorted if they are all integers: Redis's small integer sets are. */
  list(): string[] {
    const members = this.members.keys();
    if (!this.isIntegers) return members;
    return members.sort((a, b) => {
      const x = parseInt64(a) ?? 0;
      const y = parseInt64(b) ?? 0;
      return x < y ? -1 : x > y ? 1 : 0;
    });
  }

  copy(): SetValue {
    const copy = new SetValue();
    for (const {key} of this.members) copy.add(key);
    copy.isIntegers = this.isIntegers;
    return copy;
  }
}

export function sadd({db}: Client, args: Args): Reply {
  const set = valueOrNew(db, args[1], SetValue);
  let added = 0;
  for (let i = 2; i < args.length; i++) if (set.add(at(args, i))) added++;
  if (added > 0) db.changed(args[1]);
  return added;
}

export function srem({db}: Client, args: Args): Reply {
  const set = valueOf(db, args[1], SetValue);
  if (set === undefined) return 0;
  let removed = 0;
  for (let i = 2; i < args.length; i++) if (set.delete(at(args, i))) removed++;
  if (removed > 0) db.changed(args[1]);
  return removed;
}

export const scard: Handler = ({db}, [, key]) => valueOf(db, key, SetValue)?.members.size ?? 0;
export const sismember: Handler = ({db}, [, key, member]) =>
  valueOf(db, key, SetValue)?.members.has(member) === true ? 1 : 0;
export const smembers: Handler = ({db}, [, key]) => new SetReply(valueOf(db, key, SetValue)?.list() ?? []);

export function smismember({db}: Client, args: Args): Reply {
  const set = valueOf(db, args[1], SetValue);
  return args.slice(2).map(member => (set?.members.has(member) === true ? 1 : 0));
}

export function smove({db}: Client, [, from, to, member]: Args): Reply {
  const source = valueOf(db, from, SetValue);
  if (source === undefined) return 0;
  const target = valueOf(db, to, SetValue);
  if (!source.members.has(member)) return 0;
  if (from === to) return 1;
  source.delete(member);
  db.changed(from);
  if ((target ?? valueOrNew(db, to, SetValue)).add(member)) db.changed(to);
  return 1;
}

export function spop({db}: Client, args: Args): Reply {
  const key = args[1];
  if (args.length > 3) throw syntaxError();
  if (args.length === 2) {
    const set = valueOf(db, key, SetValue);
    const slot = set?.members.random();
    if (set === undefined || slot === undefined) return null;
    set.delete(slot.key);
    db.changed(key);
    return slot.key;
  }
  const given = parseInt64(args[2]);
  if (given === undefined || given < 0) throw new CommandError('ERR value is out of range, must be positive');
  const count = Number(given);
  const set = valueOf(db, key, SetValue);
  if (set === undefined || count === 0) return new SetReply([]);
  const members =
    count >= set.members.size ? set.list() : randomSlots(set.members, count).map(slot => slot.key);
  for (const member of members) set.delete(member);
  db.changed(key);
  return new SetReply(members);
}

export function srandmember({db}: Client, args: Args): Reply {
  if (args.length > 3) throw syntaxError();
  if (args.length === 2) return valueOf(db, args[1], SetValue)?.members.random()?.key ?? null;
  const count = integer(args[2]);
  const set = valueOf(db, args[1], SetValue);
  if (set === undefined) return [];
  return count >= set.members.size ? set.list() : randomSlots(set.members, count).map(slot => slot.key);
}

export function sscan({db}: Client, args: Args): Reply {
  scanCursor(args[2]);
  const set = valueOf(db, args[1], SetValue);
  if (set === undefined) return ['0', []];
  const options = scanOptions(args, 2);
  const [next, found] = scanMembers(set.members, options);
  return [next, found.map(slot => slot.key)];
}

type Combination = 'union' | 'inter' | 'diff';

function combine(db: Database, keys: readonly string[], how: Combination): string[] {
  const sets = keys.map(key => valueOf(db, key, SetValue));
  const [first, ...others] = sets;
  if (how === 'union') {
    const all = new SetValue();
    for (const set of sets) for (const member of set?.list() ?? []) all.add(member);
    return all.list();
  }
  const wanted = how === 'inter';
  if (wanted)
    return (first?.list() ?? []).filter(member => others.every(set => set?.members.has(member) === true));
  return (first?.list() ?? []).filter(member => !others.some(set => set?.members.has(member) === true));
}

const combined =
  (how: Combination): Handler =>
  ({db}, args) =>
    new SetReply(combine(db, args.slice(1), how));

const combinedInto =
  (how: Combination): Handler =>
  ({db}, args) => {
    const target = args[1];
    const result = new SetValue();
    for (const member of combine(db, args.slice(2), how)) result.add(member);
    if (result.isEmpty) {
      db.remove(target);
      return 0;
    }
    const entry = db.put(target, result);
    if (entry.expiresAt !== 0) db.setExpiry(entry, 0);
    db.changed(target);
    return result.members.size;
  };

export const sunion = combined('union');
export const sinter = combined('inter');
export const sdiff = combined('diff');
export const sunionstore = combinedInto('union');
export const sinterstore = combinedInto('inter');
export const sdiffstore = combinedInto('diff');

export function sintercard({db}: Client, args: Args): Reply {
  const count = parseInt64(args[1]);
  if (typeof count !== 'number' || count < 1) {
    throw new CommandError('ERR numkeys should be greater than 0');
  }
  if (count > args.length - 2)
    throw new CommandError("ERR Number of keys can't be greater than number of args");
  let limit = 0;
  for (let i = 2 + count; i < args.length; i += 2) {
    if (at(args, i).toUpperCase() !== 'LIMIT') throw syntaxError();
    const most = parseInt64(at(args, i + 1));
    if (most === undefined || most < 0) throw new CommandError("ERR LIMIT can't be negative");
    limit = Number(most);
  }
  const {length} = combine(db, args.slice(2, 2 + count), 'inter');
  return limit > 0 ? Math.min(limit, length) : length;
}
