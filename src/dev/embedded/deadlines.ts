/** Expiry times as arguments: EX, PX, EXAT, PXAT and the EXPIRE family. */
import {CommandError, notAnInteger} from './reply.js';
import {parseInt64} from './numbers.js';

export type DeadlineUnit = 'EX' | 'PX' | 'EXAT' | 'PXAT';

const MAX = 2n ** 63n - 1n;

/**
 * Unix milliseconds of a deadline argument.
 *
 * @param command Named in the refusal.
 * @param mayBePast EXPIRE takes times that are over (and deletes); SET does not.
 */
export function deadline(
  text: string,
  unit: DeadlineUnit,
  now: number,
  command: string,
  mayBePast = false,
): number {
  const value = parseInt64(text);
  if (value === undefined) throw notAnInteger();
  const refuse = () => new CommandError(`ERR invalid expire time in '${command}' command`);
  if (!mayBePast && value <= 0) throw refuse();
  let ms = BigInt(value);
  if (unit === 'EX' || unit === 'EXAT') ms *= 1000n;
  if (ms > MAX || ms < -MAX - 1n) throw refuse();
  if (unit === 'EX' || unit === 'PX') {
    if (ms > MAX - BigInt(now)) throw refuse();
    ms += BigInt(now);
  }
  return Number(ms);
}

export function isDeadlineUnit(word: string): word is DeadlineUnit {
  return word === 'EX' || word === 'PX' || word === 'EXAT' || word === 'PXAT';
}
