/** Names of files, and limits: the same wherever files are kept. */
import {ByError} from '../errors.js';

export const MAX_FILE_BYTES = 100 * 1024 * 1024;
export const MAX_READ_BYTES = 16 * 1024 * 1024;
export const MAX_PAGE = 1000;
const MAX_NAME_LENGTH = 1024;
/** What file systems allow for one step of a path. */
const MAX_STEP_BYTES = 255;
/** What is being stored has another name until it is whole; one that its process died over is nobody's file. */
export const UNFINISHED = '.by-put-';

/** `.` and nothing are no step. */
const isStep = (step: string): boolean => step !== '' && step !== '.';

/** What other systems could not store, or would take for another name, is no name here either. */
export function isName(name: string): boolean {
  if (typeof name !== 'string' || name === '' || name.length > MAX_NAME_LENGTH) return false;
  // Half a character has no bytes of its own.
  if (Buffer.from(name).toString() !== name) return false;
  return name
    .split('/')
    .filter(isStep)
    .every(
      step =>
        step === '..' ||
        (!/[\u0000-\u001f\u007f]|[. ]$/.test(step) &&
          Buffer.byteLength(step) <= MAX_STEP_BYTES &&
          !step.startsWith(UNFINISHED)),
    );
}

/** @throws {ByError} INVALID_INPUT */
export function checkedName(name: string): string {
  if (isName(name)) return name;
  throw new ByError('INVALID_INPUT', 'That can not be the name of a file.', {
    hint: 'Up to 1,024 characters, "/" between folders, no control characters, no part that ends in a dot or a space.',
  });
}

/** The one spelling of a name: without what is no step. */
export const plainName = (name: string): string => name.split('/').filter(isStep).join('/');

/**
 * Some systems take two names that differ only in case, or in how their accents are written, for one: there the second file
 * would replace the first.
 *
 * @param step of the name, whose neighbours are `there`.
 * @throws {ByError} CONFLICT if one of them is such a twin of it.
 */
export function refuseTwin(name: string, step: string, there: readonly string[]): void {
  if (there.includes(step)) return;
  const twin = there.find(other => folded(other) === folded(step));
  if (twin === undefined) return;
  throw new ByError(
    'CONFLICT',
    `"${name.slice(0, 200)}" differs only in case from "${twin.slice(0, 200)}", which is there.`,
    {
      hint: 'Use the name that is there, or choose another.',
      details: {there: twin},
    },
  );
}

const folded = (step: string) => step.normalize('NFC').toLowerCase();

export function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_PAGE) return;
  throw new ByError('INVALID_INPUT', `The limit is ${String(limit).slice(0, 20)}.`, {
    hint: `Give a whole number from 1 to ${MAX_PAGE}.`,
  });
}

export const tooLarge = (name: string, maxBytes: number) =>
  new ByError('MESSAGE_TOO_LARGE', `"${name.slice(0, 200)}" is larger than ${maxBytes} bytes.`, {
    hint: 'Allow more with maxBytes, or keep it elsewhere.',
    details: {limit: maxBytes},
  });
