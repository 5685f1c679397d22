/** What SCAN, HSCAN, SSCAN and ZSCAN share. */
import type {Args} from './client.js';
import {globMatcher} from './glob.js';
import type {IndexedMap, Slot} from './indexed-map.js';
import {integer, parseUint64} from './numbers.js';
import {CommandError, syntaxError} from './reply.js';
import {at} from './store.js';

/** Collections up to this size are returned at once, as Redis does with its compact encodings. */
const AT_ONCE_UP_TO = 512;

export interface ScanOptions {
  cursor: number;
  matches: (text: string) => boolean;
  count: number;
  type: string | undefined;
}

/** The cursor, which is checked before the key is looked up; the options come after. */
export function scanCursor(text: string): number {
  const cursor = parseUint64(text);
  if (cursor === undefined) throw new CommandError('ERR invalid cursor');
  return Number(cursor);
}

/** `cursor [MATCH pattern] [COUNT n] [TYPE type]` from argument `from` on. */
export function scanOptions(args: Args, from: number, withType = false): ScanOptions {
  const cursor = scanCursor(at(args, from));
  const options: ScanOptions = {cursor, matches: () => true, count: 10, type: undefined};
  for (let i = from + 1; i < args.length; i += 2) {
    const word = at(args, i).toUpperCase();
    const value = at(args, i + 1);
    if (word === 'MATCH') {
      options.matches = globMatcher(value);
    } else if (word === 'COUNT') {
      options.count = integer(value);
      if (options.count < 1) throw syntaxError();
    } else if (word === 'TYPE' && withType) {
      options.type = value.toLowerCase();
    } else {
      throw syntaxError();
    }
  }
  return options;
}

/** The next members of a collection, and the next cursor as text. */
export function scanMembers<V>(
  map: IndexedMap<V>,
  {cursor, count, matches}: ScanOptions,
): [string, Slot<V>[]] {
  const {next, found} =
    cursor === 0 && map.size <= AT_ONCE_UP_TO ? {next: 0, found: [...map]} : map.scan(cursor, count);
  return [String(next), found.filter(slot => matches(slot.key))];
}
