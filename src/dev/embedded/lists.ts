/** Lists. */
import {timeoutSeconds} from './blocking.js';
import type {Args, Client} from './client.js';
import {Deque} from './deque.js';
import {valueOf, valueOrNew, type Database, type Value} from './keyspace.js';
import {integer, parseInt64} from './numbers.js';
import {
  CommandError,
  ErrorReply,
  noSuchKey,
  NULL_ARRAY,
  OK,
  syntaxError,
  wrongType,
  type Reply,
} from './reply.js';
import {at, type Handler, type Store} from './store.js';

const ELEMENT_OVERHEAD = 16;
type End = 'LEFT' | 'RIGHT';

export class ListValue implements Value {
  readonly type = 'list';
  bytes = 0;
  readonly items = new Deque<string>();

  get isEmpty(): boolean {
    return this.items.size === 0;
  }
  get encoding(): string {
    return 'quicklist';
  }

  push(end: End, text: string): void {
    this.bytes += text.length + ELEMENT_OVERHEAD;
    if (end === 'LEFT') this.items.unshift(text);
    else this.items.push(text);
  }

  pop(end: End): string | undefined {
    const text = end === 'LEFT' ? this.items.shift() : this.items.pop();
    if (text !== undefined) this.bytes -= text.length + ELEMENT_OVERHEAD;
    return text;
  }

  /** For the commands that are linear in Redis as well. */
  replaceAll(items: string[]): void {
    this.items.reset(items);
    this.bytes = items.reduce((sum, text) => sum + text.length + ELEMENT_OVERHEAD, 0);
  }

  copy(): ListValue {
    const copy = new ListValue();
    copy.replaceAll(this.items.toArray());
    return copy;
  }
}

const pushCommand =
  (end: End, mustExist: boolean): Handler =>
  ({db}, args) => {
    const key = args[1];
    const existing = valueOf(db, key, ListValue);
    if (existing === undefined && mustExist) return 0;
    const list = existing ?? valueOrNew(db, key, ListValue);
    for (let i = 2; i < args.length; i++) list.push(end, at(args, i));
    const {size} = list.items;
    db.changed(key);
    return size;
  };
export const lpush = pushCommand('LEFT', false);
export const rpush = pushCommand('RIGHT', false);
export const lpushx = pushCommand('LEFT', true);
export const rpushx = pushCommand('RIGHT', true);

function popSome(db: Database, key: string, list: ListValue, end: End, count: number): string[] {
  const out: string[] = [];
  while (out.length < count) {
    const text = list.pop(end);
    if (text === undefined) break;
    out.push(text);
  }
  if (out.length > 0) db.changed(key);
  return out;
}

const popCommand =
  (end: End): Handler =>
  ({db}, args) => {
    const key = args[1];
    if (args.length > 3) {
      throw new CommandError(`ERR wrong number of arguments for '${args[0].toLowerCase()}' command`);
    }
    const hasCount = args.length === 3;
    const count = hasCount ? parseInt64(args[2]) : 1;
    if (count === undefined || count < 0)
      throw new CommandError('ERR value is out of range, must be positive');
    const list = valueOf(db, key, ListValue);
    if (list === undefined) return hasCount ? NULL_ARRAY : null;
    const found = popSome(db, key, list, end, Number(count));
    return hasCount ? found : (found[0] ?? null);
  };
export const lpop = popCommand('LEFT');
export const rpop = popCommand('RIGHT');

export const llen: Handler = ({db}, [, key]) => valueOf(db, key, ListValue)?.items.size ?? 0;

export function lrange({db}: Client, [, key, first, last]: Args): Reply {
  const start = integer(first);
  const end = integer(last);
  const items = valueOf(db, key, ListValue)?.items;
  if (items === undefined) return [];
  const from = start < 0 ? Math.max(0, items.size + start) : start;
  const to = (end < 0 ? items.size + end : Math.min(end, items.size - 1)) + 1;
  return items.slice(from, to);
}

export function lindex({db}: Client, [, key, index]: Args): Reply {
  const list = valueOf(db, key, ListValue);
  if (list === undefined) return null;
  const place = integer(index);
  return list.items.at(place < 0 ? list.items.size + place : place) ?? null;
}

export function lset({db}: Client, [, key, index, text]: Args): Reply {
  const list = valueOf(db, key, ListValue);
  if (list === undefined) throw noSuchKey();
  const given = integer(index);
  const place = given < 0 ? list.items.size + given : given;
  const old = list.items.at(place);
  if (old === undefined) throw new CommandError('ERR index out of range');
  list.items.set(place, text);
  list.bytes += text.length - old.length;
  db.changed(key);
  return OK;
}

export function linsert({db}: Client, [, key, where, pivot, text]: Args): Reply {
  const side = where.toUpperCase();
  if (side !== 'BEFORE' && side !== 'AFTER') throw syntaxError();
  const list = valueOf(db, key, ListValue);
  if (list === undefined) return 0;
  const items = list.items.toArray();
  const index = items.indexOf(pivot);
  if (index < 0) return -1;
  items.splice(side === 'BEFORE' ? index : index + 1, 0, text);
  list.replaceAll(items);
  db.changed(key);
  return items.length;
}

export function lrem({db}: Client, [, key, count, text]: Args): Reply {
  const limit = integer(count);
  const list = valueOf(db, key, ListValue);
  if (list === undefined) return 0;
  let left = limit === 0 ? Infinity : Math.abs(limit);
  const keep = (item: string) => {
    if (item !== text || left === 0) return true;
    left--;
    return false;
  };
  const items = list.items.toArray();
  const kept = limit < 0 ? items.reverse().filter(keep).reverse() : items.filter(keep);
  const removed = list.items.size - kept.length;
  if (removed > 0) {
    list.replaceAll(kept);
    db.changed(key);
  }
  return removed;
}

export function ltrim({db}: Client, [, key, first, last]: Args): Reply {
  const start = integer(first);
  const end = integer(last);
  const list = valueOf(db, key, ListValue);
  if (list === undefined) return OK;
  const {size} = list.items;
  const from = start < 0 ? Math.max(0, size + start) : start;
  const to = Math.max(from, (end < 0 ? size + end : Math.min(end, size - 1)) + 1);
  // A queue trimmed at one end loses a few; only then is it worth not to rebuild it.
  const gone = Math.min(from, size) + Math.max(0, size - to);
  if (gone * 2 < size) {
    for (let i = 0; i < from; i++) list.pop('LEFT');
    for (let i = size; i > to; i--) list.pop('RIGHT');
  } else {
    list.replaceAll(list.items.slice(from, to));
  }
  db.changed(key);
  return OK;
}

export function lpos({db}: Client, args: Args): Reply {
  const [, key, text] = args;
  let rank = 1;
  let count: number | undefined;
  let most = 0;
  for (let i = 3; i < args.length; i += 2) {
    const word = at(args, i).toUpperCase();
    const value = at(args, i + 1);
    if (word === 'RANK') {
      rank = integer(value);
      if (rank === 0) {
        throw new CommandError(
          "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        );
      }
    } else if (word === 'COUNT') {
      const parsed = parseInt64(value);
      if (parsed === undefined || parsed < 0) throw new CommandError("ERR COUNT can't be negative");
      count = Number(parsed);
    } else if (word === 'MAXLEN') {
      const parsed = parseInt64(value);
      if (parsed === undefined || parsed < 0) throw new CommandError("ERR MAXLEN can't be negative");
      most = Number(parsed);
    } else {
      throw syntaxError();
    }
  }
  const list = valueOf(db, key, ListValue);
  if (list === undefined) return count === undefined ? null : [];
  const items = list.items.toArray();
  const found: number[] = [];
  let skip = Math.abs(rank) - 1;
  const wanted = count === undefined ? 1 : count === 0 ? Infinity : count;
  const looks = most === 0 ? items.length : Math.min(most, items.length);
  for (let i = 0; i < looks && found.length < wanted; i++) {
    const index = rank > 0 ? i : items.length - 1 - i;
    if (items[index] !== text) continue;
    if (skip > 0) skip--;
    else found.push(index);
  }
  return count === undefined ? (found[0] ?? null) : found;
}

function end(word: string): End {
  const upper = word.toUpperCase();
  if (upper !== 'LEFT' && upper !== 'RIGHT') throw syntaxError();
  return upper;
}

/** Move one element. The target's type is checked before anything is taken. */
function move(db: Database, from: string, to: string, take: End, give: End): string | undefined {
  const source = valueOf(db, from, ListValue);
  if (source === undefined) return undefined;
  valueOf(db, to, ListValue);
  const text = source.pop(take);
  if (text === undefined) return undefined;
  // The target first: it may be the source, which must not vanish in between.
  valueOrNew(db, to, ListValue).push(give, text);
  db.changed(from);
  db.changed(to);
  return text;
}

export const lmove: Handler = ({db}, [, from, to, take, give]) =>
  move(db, from, to, end(take), end(give)) ?? null;
export const rpoplpush: Handler = ({db}, [, from, to]) => move(db, from, to, 'RIGHT', 'LEFT') ?? null;

function blockingMove(
  client: Client,
  store: Store,
  {from, to, take, give, timeoutMs}: {from: string; to: string; take: End; give: End; timeoutMs: number},
): Reply {
  const {db} = client;
  const moved = move(db, from, to, take, give);
  if (moved !== undefined) return moved;
  return store.blocking.wait(client, {
    keys: [from],
    timeoutMs,
    onRefused: null,
    serve: () => {
      if (!(db.get(from) instanceof ListValue)) return undefined;
      const target = db.get(to);
      if (target !== undefined && !(target instanceof ListValue)) return new ErrorReply(wrongType().message);
      return move(db, from, to, take, give);
    },
  });
}

export const blmove: Handler = (client, [, from, to, take, give, timeout], store) =>
  blockingMove(client, store, {
    from,
    to,
    take: end(take),
    give: end(give),
    timeoutMs: timeoutSeconds(timeout),
  });
export const brpoplpush: Handler = (client, [, from, to, timeout], store) =>
  blockingMove(client, store, {from, to, take: 'RIGHT', give: 'LEFT', timeoutMs: timeoutSeconds(timeout)});

const blockingPop =
  (from: End): Handler =>
  (client, args, store) => {
    const {db} = client;
    const keys = args.slice(1, -1);
    const timeoutMs = timeoutSeconds(args.at(-1) ?? '');
    const serve = (key: string): Reply | undefined => {
      const list = db.get(key);
      if (!(list instanceof ListValue)) return undefined;
      const text = list.pop(from);
      if (text === undefined) return undefined;
      db.changed(key);
      return [key, text];
    };
    for (const key of keys) {
      const value = db.get(key);
      if (value !== undefined && !(value instanceof ListValue)) throw wrongType();
      const answer = serve(key);
      if (answer !== undefined) return answer;
    }
    return store.blocking.wait(client, {keys, timeoutMs, serve});
  };
export const blpop = blockingPop('LEFT');
export const brpop = blockingPop('RIGHT');

interface PopMany {
  keys: string[];
  from: End;
  count: number;
}

function popManyOptions(args: Args, first: number): PopMany {
  const keyCount = parseInt64(at(args, first));
  if (keyCount === undefined || keyCount < 1) throw new CommandError('ERR numkeys should be greater than 0');
  const rest = first + 1 + Number(keyCount);
  if (rest >= args.length) throw syntaxError();
  const from = end(at(args, rest));
  let count: number | undefined;
  for (let i = rest + 1; i < args.length; i += 2) {
    if (at(args, i).toUpperCase() !== 'COUNT' || count !== undefined) throw syntaxError();
    const value = parseInt64(at(args, i + 1));
    if (value === undefined || value < 1) throw new CommandError('ERR count should be greater than 0');
    count = Number(value);
  }
  return {keys: args.slice(first + 1, rest), from, count: count ?? 1};
}

const popMany =
  ({db}: Client, {from, count}: PopMany) =>
  (key: string): Reply | undefined => {
    const list = db.get(key);
    if (!(list instanceof ListValue)) return undefined;
    return [key, popSome(db, key, list, from, count)];
  };

function popFirst(client: Client, options: PopMany): Reply | undefined {
  for (const key of options.keys) {
    if (valueOf(client.db, key, ListValue) !== undefined) return popMany(client, options)(key);
  }
  return undefined;
}

export function lmpop(client: Client, args: Args): Reply {
  return popFirst(client, popManyOptions(args, 1)) ?? NULL_ARRAY;
}

export function blmpop(client: Client, args: Args, store: Store): Reply {
  const timeoutMs = timeoutSeconds(args[1]);
  const options = popManyOptions(args, 2);
  return (
    popFirst(client, options) ??
    store.blocking.wait(client, {keys: options.keys, timeoutMs, serve: popMany(client, options)})
  );
}
