/** What the forms of `by tail` share: where to begin, and which text is shown. */
import {ByError, messageOf} from '../errors.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {parseTimePoint} from './time.js';

/** @throws {ByError} USAGE for what is neither a number nor `all`. */
export function lineCount(text: string): number | 'all' {
  if (text === 'all') return 'all';
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 0) return count;
  throw new ByError('USAGE', `"${text}" is no number of lines.`, {hint: 'Give a number, or all.'});
}

export interface TailStart {
  /** A stream id, of which what comes after is shown. */
  readonly from?: string | undefined;
  /** A moment, or a stream id. */
  readonly since?: string | undefined;
}

/**
 * The stream id after which to begin; undefined if neither is given.
 * @throws {ByError} INVALID_INPUT for what is no point in time, USAGE for a `from` that is no stream id.
 */
export async function givenStart(store: Store, {from, since}: TailStart): Promise<string | undefined> {
  const given = from ?? since;
  if (given === undefined) return undefined;
  const point = parseTimePoint(given, await serverTimeMs(store));
  if (from !== undefined && point.kind !== 'id') {
    throw new ByError('USAGE', `"${from}" is no stream id.`, {
      hint: 'Write it as a stopped tail prints it: 1716123456789-0.',
    });
  }
  return point.kind === 'id' ? point.id : `${Math.max(0, point.ms - 1)}-18446744073709551615`;
}

/** @throws {ByError} USAGE for what is no regular expression. */
export function textPattern(flag: string, source: string | undefined): RegExp | undefined {
  if (source === undefined) return undefined;
  try {
    return new RegExp(source, 'u');
  } catch (error) {
    throw new ByError('USAGE', `${flag} is no regular expression: ${messageOf(error)}`, {
      hint: 'Escape special characters with \\.',
      cause: error,
    });
  }
}
