/** Sorted sets. */
import type {Args, Client} from './client.js';
import {timeoutSeconds} from './blocking.js';
import {IndexedMap} from './indexed-map.js';
import {valueOf, valueOrNew, type Database, type Value} from './keyspace.js';
import {double, integer, parseDouble, parseInt64} from './numbers.js';
import {randomSlots} from './random.js';
import {CommandError, DoubleReply, NULL_ARRAY, syntaxError, wrongType, type Reply} from './reply.js';
import {scanCursor, scanMembers, scanOptions} from './scan.js';
import {isBefore, SortedBlocks, type Scored} from './sorted-blocks.js';
import {SetValue} from './sets.js';
import {at, type Handler, type Store} from './store.js';
import {formatDouble} from './numbers.js';

const MEMBER_OVERHEAD = 112;
const COMPACT_MEMBERS = 128;
const COMPACT_MEMBER = 64;

export class ZsetValue implements Value {
  readonly type = 'zset';
  bytes = 0;
  readonly members = new IndexedMap<Scored>();
  readonly order = new SortedBlocks();
  /** Few and short members, as Redis would keep in one listpack. */
  isCompact = true;

  get isEmpty(): boolean {
    return this.members.size === 0;
  }
  get encoding(): string {
    return this.isCompact ? 'listpack' : 'skiplist';
  }

  score(member: string): number | undefined {
    return this.members.get(member)?.score;
  }

  set(member: string, score: number): void {
    const old = this.members.get(member);
    if (old !== undefined) this.order.remove(old);
    else this.bytes += member.length + MEMBER_OVERHEAD;
    // Redis's compact form has one zero, though ZINCRBY answers with the one it computed.
    const item = {member, score: score + 0};
    this.members.set(member, item);
    this.order.insert(item);
    if (member.length > COMPACT_MEMBER || this.members.size > COMPACT_MEMBERS) this.isCompact = false;
  }

  delete(member: string): boolean {
    const old = this.members.get(member);
    if (old === undefined) return false;
    this.members.delete(member);
    this.order.remove(old);
    this.bytes -= member.length + MEMBER_OVERHEAD;
    return true;
  }

  rank(member: string): number | undefined {
    const item = this.members.get(member);
    return item && this.order.rankWhere(other => isBefore(other, item));
  }

  copy(): ZsetValue {
    const copy = new ZsetValue();
    for (const {key, value} of this.members) copy.set(key, value.score);
    copy.isCompact = this.isCompact;
    return copy;
  }
}

export function zadd(client: Client, args: Args): Reply {
  const {db} = client;
  const key = args[1];
  const flags = new Set<string>();
  let from = 2;
  for (; from < args.length; from++) {
    const word = at(args, from).toUpperCase();
    if (!['NX', 'XX', 'GT', 'LT', 'CH', 'INCR'].includes(word)) break;
    flags.add(word);
  }
  const [nx, xx, gt, lt, ch, incr] = ['NX', 'XX', 'GT', 'LT', 'CH', 'INCR'].map(flag => flags.has(flag));
  if (from >= args.length || (args.length - from) % 2 !== 0) throw syntaxError();
  if (nx && xx) throw new CommandError('ERR XX and NX options at the same time are not compatible');
  if ((gt && nx) || (lt && nx) || (gt && lt)) {
    throw new CommandError('ERR GT, LT, and/or NX options at the same time are not compatible');
  }
  if (incr && args.length - from > 2) {
    throw new CommandError('ERR INCR option supports a single increment-element pair');
  }
  const changes: Scored[] = [];
  for (let i = from; i < args.length; i += 2)
    changes.push({score: double(at(args, i)), member: at(args, i + 1)});

  const existing = valueOf(db, key, ZsetValue);
  if (existing === undefined && xx) return incr ? null : 0;
  const zset = existing ?? new ZsetValue();
  let added = 0;
  let updated = 0;
  let answer: number | undefined;
  for (const {member, score: given} of changes) {
    const old = zset.score(member);
    if (old === undefined ? xx : nx) continue;
    const score = incr && old !== undefined ? old + given : given;
    if (Number.isNaN(score)) throw new CommandError('ERR resulting score is not a number (NaN)');
    if (old !== undefined && ((gt && score <= old) || (lt && score >= old))) continue;
    answer = score;
    if (old === undefined) added++;
    else if (old !== score) updated++;
    else continue;
    zset.set(member, score);
  }
  if (added + updated > 0) {
    if (existing === undefined) db.put(key, zset);
    db.changed(key);
  }
  if (incr) return answer === undefined ? null : new DoubleReply(answer);
  return ch ? added + updated : added;
}

export function zincrby(client: Client, [, key, by, member]: Args): Reply {
  const {db} = client;
  const amount = double(by);
  const existing = valueOf(db, key, ZsetValue);
  const old = existing?.score(member);
  const score = old === undefined ? amount : old + amount;
  if (Number.isNaN(score)) throw new CommandError('ERR resulting score is not a number (NaN)');
  (existing ?? valueOrNew(db, key, ZsetValue)).set(member, score);
  db.changed(key);
  return new DoubleReply(score);
}

export function zrem({db}: Client, args: Args): Reply {
  const zset = valueOf(db, args[1], ZsetValue);
  if (zset === undefined) return 0;
  let removed = 0;
  for (let i = 2; i < args.length; i++) if (zset.delete(at(args, i))) removed++;
  if (removed > 0) db.changed(args[1]);
  return removed;
}

const scoreReply = (score: number | undefined): Reply =>
  score === undefined ? null : new DoubleReply(score);

export const zscore: Handler = ({db}, [, key, member]) =>
  scoreReply(valueOf(db, key, ZsetValue)?.score(member));
export const zcard: Handler = ({db}, [, key]) => valueOf(db, key, ZsetValue)?.members.size ?? 0;
export const zmscore: Handler = ({db}, args) => {
  const zset = valueOf(db, args[1], ZsetValue);
  return args.slice(2).map(member => scoreReply(zset?.score(member)));
};
export const zrank: Handler = ({db}, [, key, member]) => valueOf(db, key, ZsetValue)?.rank(member) ?? null;
export const zrevrank: Handler = ({db}, [, key, member]) => {
  const zset = valueOf(db, key, ZsetValue);
  const rank = zset?.rank(member);
  return zset === undefined || rank === undefined ? null : zset.members.size - 1 - rank;
};

/** Part of a sorted set as ranks: `from` up to but without `to`. */
interface Ranks {
  from: number;
  to: number;
}
type RangeOf = (zset: ZsetValue) => Ranks;

function byRank(first: string, last: string, reverse = false): RangeOf {
  const start = integer(first);
  const end = integer(last);
  return ({members: {size}}) => {
    const from = start < 0 ? Math.max(0, size + start) : start;
    const to = Math.min(end < 0 ? size + end : end, size - 1) + 1;
    return reverse ? {from: size - to, to: size - from} : {from, to};
  };
}

function bound(text: string): {value: number; isOpen: boolean} {
  const isOpen = text.startsWith('(');
  const value = parseDouble(isOpen ? text.slice(1) : text);
  if (value === undefined) throw new CommandError('ERR min or max is not a float');
  return {value, isOpen};
}

function byScore(min: string, max: string): RangeOf {
  const low = bound(min);
  const high = bound(max);
  return ({order}) => ({
    from: order.rankWhere(item => item.score < low.value || (low.isOpen && item.score === low.value)),
    to: order.rankWhere(item => item.score < high.value || (!high.isOpen && item.score === high.value)),
  });
}

function lexBound(text: string): {value: string; isOpen: boolean; infinite: -1 | 0 | 1} {
  if (text === '-') return {value: '', isOpen: false, infinite: -1};
  if (text === '+') return {value: '', isOpen: false, infinite: 1};
  if (!text.startsWith('[') && !text.startsWith('(')) {
    throw new CommandError('ERR min or max not valid string range item');
  }
  return {value: text.slice(1), isOpen: text.startsWith('('), infinite: 0};
}

function byLex(min: string, max: string): RangeOf {
  const low = lexBound(min);
  const high = lexBound(max);
  const isBelow = (
    member: string,
    {value, isOpen, infinite}: ReturnType<typeof lexBound>,
    orEqual: boolean,
  ) => (infinite !== 0 ? infinite > 0 : member < value || (member === value && orEqual !== isOpen));
  return ({order}) => ({
    from: order.rankWhere(({member}) =>
      low.infinite !== 0 ? low.infinite > 0 : member < low.value || (low.isOpen && member === low.value),
    ),
    to: order.rankWhere(({member}) => isBelow(member, high, true)),
  });
}

/** Items of a range, with LIMIT applied from the end that comes first. */
function items(zset: ZsetValue, range: RangeOf, reverse = false, offset = 0, count = -1): Scored[] {
  const {from, to} = range(zset);
  if (offset < 0 || from >= to) return [];
  const most = count < 0 ? Infinity : count;
  if (reverse) {
    const end = to - offset;
    return end <= from ? [] : zset.order.slice(Math.max(from, end - most), end).reverse();
  }
  const start = from + offset;
  return zset.order.slice(start, Math.min(to, start + most));
}

function scoredReply({protocol}: Client, found: readonly Scored[], withScores: boolean): Reply {
  if (!withScores) return found.map(item => item.member);
  return protocol === 3
    ? found.map(item => [item.member, new DoubleReply(item.score)])
    : found.flatMap(item => [item.member, new DoubleReply(item.score)]);
}

interface RangeOptions {
  by: 'rank' | 'score' | 'lex';
  reverse: boolean;
  withScores: boolean;
  offset: number;
  count: number;
}

function parseRange(
  args: Args,
  from: number,
  fixed: Partial<Pick<RangeOptions, 'by' | 'reverse'>>,
  isStore = false,
): {options: RangeOptions; range: RangeOf} {
  const options: RangeOptions = {
    by: 'rank',
    reverse: false,
    withScores: false,
    offset: 0,
    count: -1,
    ...fixed,
  };
  let hasLimit = false;
  for (let i = from + 2; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    const isFree = fixed.by === undefined && fixed.reverse === undefined;
    if (word === 'WITHSCORES' && !isStore) {
      options.withScores = true;
    } else if (word === 'LIMIT' && i + 2 < args.length) {
      options.offset = integer(at(args, i + 1));
      options.count = integer(at(args, i + 2));
      hasLimit = true;
      i += 2;
    } else if (word === 'REV' && isFree && !options.reverse) {
      options.reverse = true;
    } else if (word === 'BYSCORE' && isFree && options.by === 'rank') {
      options.by = 'score';
    } else if (word === 'BYLEX' && isFree && options.by === 'rank') {
      options.by = 'lex';
    } else {
      throw syntaxError();
    }
  }
  if (hasLimit && options.count !== -1 && options.by === 'rank') {
    throw new CommandError(
      'ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX',
    );
  }
  if (options.withScores && options.by === 'lex') {
    throw new CommandError('ERR syntax error, WITHSCORES not supported in combination with BYLEX');
  }
  const first = at(args, from);
  const second = at(args, from + 1);
  const [min, max] = options.reverse ? [second, first] : [first, second];
  if (options.by === 'score') return {options, range: byScore(min, max)};
  if (options.by === 'lex') return {options, range: byLex(min, max)};
  return {options: {...options, offset: 0, count: -1}, range: byRank(first, second, options.reverse)};
}

const rangeCommand =
  (fixed: Partial<Pick<RangeOptions, 'by' | 'reverse'>>): Handler =>
  (client, args) => {
    const {options, range} = parseRange(args, 2, fixed);
    const zset = valueOf(client.db, args[1], ZsetValue);
    if (zset === undefined) return [];
    const {reverse, offset, count, withScores} = options;
    return scoredReply(client, items(zset, range, reverse, offset, count), withScores);
  };

export const zrange = rangeCommand({});
export const zrevrange = rangeCommand({by: 'rank', reverse: true});
export const zrangebyscore = rangeCommand({by: 'score', reverse: false});
export const zrevrangebyscore = rangeCommand({by: 'score', reverse: true});
export const zrangebylex = rangeCommand({by: 'lex', reverse: false});
export const zrevrangebylex = rangeCommand({by: 'lex', reverse: true});

export function zrangestore({db}: Client, args: Args): Reply {
  const [, target, key] = args;
  const {options, range} = parseRange(args, 3, {}, true);
  const zset = valueOf(db, key, ZsetValue);
  return storeZset(
    db,
    target,
    zset === undefined ? [] : items(zset, range, options.reverse, options.offset, options.count),
  );
}

function storeZset(db: Database, target: string, found: readonly Scored[]): number {
  if (found.length === 0) {
    db.remove(target);
    return 0;
  }
  const result = new ZsetValue();
  for (const {member, score} of found) result.set(member, score);
  const entry = db.put(target, result);
  if (entry.expiresAt !== 0) db.setExpiry(entry, 0);
  db.changed(target);
  return result.members.size;
}

const countCommand =
  (by: (min: string, max: string) => RangeOf): Handler =>
  ({db}, [, key, min, max]) => {
    const range = by(min, max);
    const zset = valueOf(db, key, ZsetValue);
    if (zset === undefined) return 0;
    const {from, to} = range(zset);
    return Math.max(0, to - from);
  };
export const zcount = countCommand(byScore);
export const zlexcount = countCommand(byLex);

const removeCommand =
  (by: (min: string, max: string) => RangeOf): Handler =>
  ({db}, [, key, min, max]) => {
    const range = by(min, max);
    const zset = valueOf(db, key, ZsetValue);
    if (zset === undefined) return 0;
    const found = items(zset, range);
    for (const {member} of found) zset.delete(member);
    if (found.length > 0) db.changed(key);
    return found.length;
  };
export const zremrangebyscore = removeCommand(byScore);
export const zremrangebyrank = removeCommand(byRank);
export const zremrangebylex = removeCommand(byLex);

function pop(db: Database, key: string, zset: ZsetValue, end: 'min' | 'max', count: number): Scored[] {
  const {size} = zset.members;
  const found = end === 'min' ? zset.order.slice(0, count) : zset.order.slice(size - count, size).reverse();
  for (const {member} of found) zset.delete(member);
  if (found.length > 0) db.changed(key);
  return found;
}

const popCommand =
  (end: 'min' | 'max'): Handler =>
  (client, args) => {
    const {db} = client;
    if (args.length > 3) throw syntaxError();
    const count = args.length === 3 ? parseInt64(args[2]) : 1;
    if (count === undefined || count < 0)
      throw new CommandError('ERR value is out of range, must be positive');
    const zset = valueOf(db, args[1], ZsetValue);
    if (zset === undefined) return [];
    const found = pop(db, args[1], zset, end, Number(count));
    const nested = client.protocol === 3 && args.length === 3;
    return nested
      ? found.map(item => [item.member, new DoubleReply(item.score)])
      : found.flatMap(item => [item.member, new DoubleReply(item.score)]);
  };
export const zpopmin = popCommand('min');
export const zpopmax = popCommand('max');

const blockingPop =
  (end: 'min' | 'max'): Handler =>
  (client, args, store) => {
    const {db} = client;
    const keys = args.slice(1, -1);
    const timeoutMs = timeoutSeconds(args.at(-1) ?? '');
    const serve = (key: string): Reply | undefined => {
      const zset = db.get(key);
      if (!(zset instanceof ZsetValue)) return undefined;
      return [key, ...pop(db, key, zset, end, 1).flatMap(item => [item.member, new DoubleReply(item.score)])];
    };
    for (const key of keys) {
      if (valueOf(db, key, ZsetValue) === undefined) continue;
      return serve(key) ?? null;
    }
    return store.blocking.wait(client, {keys, timeoutMs, serve});
  };
export const bzpopmin = blockingPop('min');
export const bzpopmax = blockingPop('max');

interface PopMany {
  keys: string[];
  end: 'min' | 'max';
  count: number;
}

function popManyOptions(args: Args, from: number): PopMany {
  const keyCount = parseInt64(at(args, from));
  if (keyCount === undefined || keyCount < 1) throw new CommandError('ERR numkeys should be greater than 0');
  const rest = from + 1 + Number(keyCount);
  if (rest >= args.length) throw syntaxError();
  const end = at(args, rest).toUpperCase();
  if (end !== 'MIN' && end !== 'MAX') throw syntaxError();
  let count: number | undefined;
  for (let i = rest + 1; i < args.length; i += 2) {
    if (at(args, i).toUpperCase() !== 'COUNT' || count !== undefined) throw syntaxError();
    const value = parseInt64(at(args, i + 1));
    if (value === undefined || value < 1) throw new CommandError('ERR count should be greater than 0');
    count = Number(value);
  }
  return {keys: args.slice(from + 1, rest), end: end === 'MIN' ? 'min' : 'max', count: count ?? 1};
}

const popMany =
  (client: Client, {end, count}: PopMany) =>
  (key: string): Reply | undefined => {
    const zset = client.db.get(key);
    if (!(zset instanceof ZsetValue)) return undefined;
    const found = pop(client.db, key, zset, end, count);
    return [key, found.map(item => [item.member, new DoubleReply(item.score)])];
  };

function popFirst(client: Client, options: PopMany): Reply | undefined {
  for (const key of options.keys) {
    if (valueOf(client.db, key, ZsetValue) !== undefined) return popMany(client, options)(key);
  }
  return undefined;
}

export function zmpop(client: Client, args: Args): Reply {
  return popFirst(client, popManyOptions(args, 1)) ?? NULL_ARRAY;
}

export function bzmpop(client: Client, args: Args, store: Store): Reply {
  const timeoutMs = timeoutSeconds(args[1]);
  const options = popManyOptions(args, 2);
  return (
    popFirst(client, options) ??
    store.blocking.wait(client, {keys: options.keys, timeoutMs, serve: popMany(client, options)})
  );
}

/** ZSCAN shows scores as the compact form holds them: integers in full. */
const compactScore = (score: number) =>
  Number.isInteger(score) && Math.abs(score) < 2 ** 63 ? BigInt(score).toString() : formatDouble(score);

export function zscan({db}: Client, args: Args): Reply {
  scanCursor(args[2]);
  const zset = valueOf(db, args[1], ZsetValue);
  if (zset === undefined) return ['0', []];
  const options = scanOptions(args, 2);
  const [next, found] = scanMembers(zset.members, options);
  return [
    next,
    found.flatMap(slot => [
      slot.key,
      zset.isCompact ? compactScore(slot.value.score) : formatDouble(slot.value.score),
    ]),
  ];
}

export function zrandmember(client: Client, args: Args): Reply {
  if (args.length === 2) return valueOf(client.db, args[1], ZsetValue)?.members.random()?.key ?? null;
  const count = integer(args[2]);
  const withScores = args.length === 4 && args[3].toUpperCase() === 'WITHSCORES';
  if (args.length > 3 && !withScores) throw syntaxError();
  const zset = valueOf(client.db, args[1], ZsetValue);
  if (zset === undefined) return [];
  const found = randomSlots(zset.members, count).map(slot => slot.value);
  return scoredReply(client, found, withScores);
}

type Combination = 'union' | 'inter' | 'diff';

/** A sorted set, or a set whose members all score 1. */
function scoresOf(db: Database, key: string): Map<string, number> | undefined {
  const value = db.get(key);
  if (value === undefined) return undefined;
  if (value instanceof ZsetValue)
    return new Map([...value.members].map(slot => [slot.key, slot.value.score]));
  if (value instanceof SetValue) return new Map(value.list().map(member => [member, 1]));
  throw wrongType();
}

const aggregates: Record<string, (a: number, b: number) => number> = {
  // Infinity - Infinity counts as 0.
  SUM: (a, b) => (Number.isNaN(a + b) ? 0 : a + b),
  MIN: Math.min,
  MAX: Math.max,
};

function combine(
  db: Database,
  args: Args,
  from: number,
  how: Combination,
  isStore: boolean,
): {found: Scored[]; withScores: boolean} {
  const count = integer(at(args, from));
  if (count < 1) {
    throw new CommandError(`ERR at least 1 input key is needed for '${args[0].toLowerCase()}' command`);
  }
  if (count > args.length - from - 1) throw syntaxError();
  const keys = args.slice(from + 1, from + 1 + count);
  const inputs = keys.map(key => scoresOf(db, key));
  let weights = keys.map(() => 1);
  let aggregate = Math.max;
  aggregate = aggregates.SUM as typeof Math.max;
  let withScores = false;
  for (let i = from + 1 + count; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if (word === 'WEIGHTS' && how !== 'diff' && args.length - i > count) {
      weights = keys.map((_, index) => {
        const weight = parseDouble(at(args, i + 1 + index));
        if (weight === undefined) throw new CommandError('ERR weight value is not a float');
        return weight;
      });
      i += count;
    } else if (word === 'AGGREGATE' && how !== 'diff' && i + 1 < args.length) {
      const chosen = aggregates[at(args, ++i).toUpperCase()];
      if (chosen === undefined) throw syntaxError();
      aggregate = chosen;
    } else if (word === 'WITHSCORES' && !isStore) {
      withScores = true;
    } else {
      throw syntaxError();
    }
  }
  const result = new Map<string, number>();
  if (how === 'diff') {
    for (const [member, score] of inputs[0] ?? []) {
      if (!inputs.slice(1).some(input => input?.has(member) === true)) result.set(member, score);
    }
  } else {
    const times = (a: number, b: number) => (Number.isNaN(a * b) ? 0 : a * b);
    inputs.forEach((input, index) => {
      for (const [member, score] of input ?? []) {
        const value = times(score, weights[index] ?? 1);
        const old = result.get(member);
        result.set(member, old === undefined ? value : aggregate(old, value));
      }
    });
    if (how === 'inter') {
      for (const member of result.keys()) {
        if (!inputs.every(input => input?.has(member) === true)) result.delete(member);
      }
    }
  }
  const found = [...result].map(([member, score]) => ({member, score}));
  return {found: found.sort((a, b) => (isBefore(a, b) ? -1 : 1)), withScores};
}

const combined =
  (how: Combination): Handler =>
  (client, args) => {
    const {found, withScores} = combine(client.db, args, 1, how, false);
    return scoredReply(client, found, withScores);
  };
const combinedInto =
  (how: Combination): Handler =>
  ({db}, args) =>
    storeZset(db, args[1], combine(db, args, 2, how, true).found);

export const zunion = combined('union');
export const zinter = combined('inter');
export const zdiff = combined('diff');
export const zunionstore = combinedInto('union');
export const zinterstore = combinedInto('inter');
export const zdiffstore = combinedInto('diff');
