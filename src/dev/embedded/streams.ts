/** Stream commands: entries. Groups are in stream-groups.ts. */
import type {Args, Client} from './client.js';
import {valueOf} from './keyspace.js';
import {integer, parseInt64} from './numbers.js';
import {CommandError, noSuchKey, NULL_ARRAY, OK, syntaxError, type Reply} from './reply.js';
import {at, type Handler, type Store} from './store.js';
import {
  compareIds,
  formatId,
  MAX_ID,
  nextId,
  parseEnd,
  parseId,
  parseNewId,
  parseStart,
  ZERO_ID,
  type StreamId,
} from './stream-id.js';
import {StreamValue, type StreamEntry, type Trim} from './stream-value.js';

/** What `~` removes at most unless LIMIT says otherwise. */
const DEFAULT_TRIM_LIMIT = 10_000;

export const entryReply = (entry: StreamEntry): Reply => [formatId(entry), entry.fields];

interface AddOptions {
  trim: Trim | undefined;
  mustExist: boolean;
  /** Where the options end: the id of XADD. */
  next: number;
}

function addOrTrimOptions(args: Args, isAdd: boolean): AddOptions {
  let trim:
    {by: Trim['by']; maxLength: Trim['maxLength']; minId: StreamId; isApproximate: boolean} | undefined;
  let limit: number | undefined;
  let mustExist = false;
  let i = 2;
  for (; i < args.length; i++) {
    const text = at(args, i);
    const word = text.toUpperCase();
    const more = args.length - 1 - i;
    if (isAdd && text === '*') break;
    if ((word === 'MAXLEN' || word === 'MINID') && more > 0) {
      if (trim !== undefined) {
        throw new CommandError(
          'ERR syntax error, MAXLEN and MINID options at the same time are not compatible',
        );
      }
      const sign = at(args, i + 1);
      const hasSign = more >= 2 && (sign === '~' || sign === '=');
      if (hasSign) i++;
      const threshold = at(args, ++i);
      let maxLength: Trim['maxLength'] = 0;
      let minId = ZERO_ID;
      if (word === 'MAXLEN') {
        const value = parseInt64(threshold);
        if (value === undefined) throw new CommandError('ERR value is not an integer or out of range');
        if (value < 0) throw new CommandError('ERR The MAXLEN argument must be >= 0.');
        maxLength = value;
      } else {
        minId = parseId(threshold);
      }
      trim = {by: word, maxLength, minId, isApproximate: hasSign && sign === '~'};
    } else if (word === 'LIMIT' && more > 0) {
      limit = integer(at(args, ++i));
      if (limit < 0) throw new CommandError('ERR The LIMIT argument must be >= 0.');
    } else if (isAdd && word === 'NOMKSTREAM') {
      mustExist = true;
    } else if (isAdd) {
      break;
    } else {
      throw syntaxError();
    }
  }
  if (isAdd && i < args.length && args[i] !== '*') parseNewId(at(args, i));
  if (limit !== undefined && limit > 0 && trim === undefined) {
    throw new CommandError('ERR syntax error, LIMIT cannot be used without specifying a trimming strategy');
  }
  if (!isAdd && trim === undefined) {
    throw new CommandError('ERR syntax error, XTRIM must be called with a trimming strategy');
  }
  if (trim?.isApproximate !== true && limit !== undefined) {
    throw new CommandError('ERR syntax error, LIMIT cannot be used without the special ~ option');
  }
  const most = trim?.isApproximate === true ? (limit ?? DEFAULT_TRIM_LIMIT) : 0;
  return {trim: trim && {...trim, limit: most}, mustExist, next: i};
}

/** The id XADD gives an entry. */
function chooseId(stream: StreamValue, text: string, now: number): StreamId {
  const {lastId} = stream;
  if (text === '*') {
    return now > lastId.ms ? {ms: now, seq: 0} : (nextId(lastId) ?? MAX_ID);
  }
  const {ms, seq} = parseNewId(text);
  let id: StreamId | undefined;
  if (seq !== undefined) {
    id = {ms, seq};
  } else if (ms === lastId.ms) {
    id = nextId(lastId);
    // The sequence is used up; the next id would belong to another millisecond.
    if (id?.ms !== ms) id = undefined;
  } else {
    id = {ms, seq: 0};
  }
  if (id === undefined || compareIds(id, lastId) <= 0) {
    throw new CommandError(
      'ERR The ID specified in XADD is equal or smaller than the target stream top item',
    );
  }
  return id;
}

export function xadd({db}: Client, args: Args, {shared}: Store): Reply {
  const key = args[1];
  const {trim, mustExist, next} = addOrTrimOptions(args, true);
  const fields = args.slice(next + 1);
  if (fields.length < 2 || fields.length % 2 !== 0) {
    throw new CommandError("ERR wrong number of arguments for 'xadd' command");
  }
  const idText = at(args, next);
  if (idText !== '*') {
    const {ms, seq} = parseNewId(idText);
    if (ms === 0 && seq === 0)
      throw new CommandError('ERR The ID specified in XADD must be greater than 0-0');
  }
  const existing = valueOf(db, key, StreamValue);
  if (existing === undefined && mustExist) return null;
  const stream = existing ?? new StreamValue();
  if (compareIds(stream.lastId, MAX_ID) === 0) {
    throw new CommandError('ERR The stream has exhausted the last possible ID, unable to add more items');
  }
  const id = chooseId(stream, idText, shared.now);
  stream.append(id, fields);
  if (trim !== undefined) stream.trim(trim);
  if (existing === undefined) db.put(key, stream);
  db.changed(key);
  return formatId(id);
}

export function xtrim({db}: Client, args: Args): Reply {
  const {trim} = addOrTrimOptions(args, false);
  const stream = valueOf(db, args[1], StreamValue);
  if (stream === undefined || trim === undefined) return 0;
  const removed = stream.trim(trim);
  if (removed > 0) db.changed(args[1]);
  return removed;
}

export const xlen: Handler = ({db}, [, key]) => valueOf(db, key, StreamValue)?.length ?? 0;

export function xdel({db}: Client, args: Args): Reply {
  const key = args[1];
  const stream = valueOf(db, key, StreamValue);
  if (stream === undefined) return 0;
  const ids = args.slice(2).map(text => parseId(text));
  let removed = 0;
  for (const id of ids) if (stream.delete(id)) removed++;
  if (removed > 0) db.changed(key);
  return removed;
}

const rangeCommand =
  (isReverse: boolean): Handler =>
  ({db}, args) => {
    const [, key, first, second] = args;
    const start = parseStart(isReverse ? second : first);
    const end = parseEnd(isReverse ? first : second);
    let count = Infinity;
    for (let i = 4; i < args.length; i += 2) {
      if (at(args, i).toUpperCase() !== 'COUNT') throw syntaxError();
      count = Math.max(0, integer(at(args, i + 1)));
    }
    const stream = valueOf(db, key, StreamValue);
    if (stream === undefined) return [];
    if (count === 0) return NULL_ARRAY;
    const found = isReverse ? stream.entries.rangeBackwards(start, end) : stream.entries.range(start, end);
    return take(found, count).map(entryReply);
  };
export const xrange = rangeCommand(false);
export const xrevrange = rangeCommand(true);

export function take<T>(source: Iterable<T>, count: number): T[] {
  const out: T[] = [];
  if (count <= 0) return out;
  for (const item of source) {
    out.push(item);
    if (out.length >= count) break;
  }
  return out;
}

export function xsetid({db}: Client, args: Args): Reply {
  const key = args[1];
  const id = parseId(args[2]);
  let entriesAdded: StreamValue['entriesAdded'] | undefined;
  let maxDeletedId: StreamId | undefined;
  for (let i = 3; i < args.length; i += 2) {
    const word = at(args, i).toUpperCase();
    if (i + 1 >= args.length) throw syntaxError();
    if (word === 'ENTRIESADDED') {
      const value = parseInt64(at(args, i + 1));
      if (value === undefined) throw new CommandError('ERR value is not an integer or out of range');
      if (value < 0) throw new CommandError('ERR entries_added must be positive');
      entriesAdded = value;
    } else if (word === 'MAXDELETEDID') {
      maxDeletedId = parseId(at(args, i + 1));
      if (compareIds(id, maxDeletedId) < 0) {
        throw new CommandError(
          'ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id',
        );
      }
    } else {
      throw syntaxError();
    }
  }
  const stream = valueOf(db, key, StreamValue);
  if (stream === undefined) throw noSuchKey();
  if (stream.entries.last !== undefined && compareIds(id, stream.entries.last) < 0) {
    throw new CommandError('ERR The ID specified in XSETID is smaller than the target stream top item');
  }
  if (entriesAdded !== undefined && stream.length > 0 && stream.length > entriesAdded) {
    throw new CommandError(
      'ERR The entries_added specified in XSETID is smaller than the target stream length',
    );
  }
  stream.lastId = id;
  if (entriesAdded !== undefined) stream.entriesAdded = entriesAdded;
  if (maxDeletedId !== undefined && compareIds(maxDeletedId, ZERO_ID) !== 0)
    stream.maxDeletedId = maxDeletedId;
  db.changed(key);
  return OK;
}
