/** Ids as arguments: checked before they become part of a key. */
import {ByError} from '../errors.js';
import {isValidId} from '../ids.js';

/**
 * @param what what it names, for people: `session id`.
 * @throws {ByError} INVALID_INPUT
 */
export function checkedId(text: string, what: string): string {
  if (isValidId(text)) return text;
  throw new ByError('INVALID_INPUT', `"${text}" can not be a ${what}.`, {
    hint: 'Ids have letters, digits and . _ : @ - (at most 128, beginning with a letter or digit).',
  });
}

/** @throws {ByError} INVALID_INPUT */
export function checkedEntryId(text: string): string {
  if (/^\d{1,20}-\d{1,20}$/.test(text)) return text;
  throw new ByError('INVALID_INPUT', `"${text}" is no entry of a queue.`, {
    hint: 'Entries look like 1716123456789-0; see them with `by queue pending TYPE`.',
  });
}
