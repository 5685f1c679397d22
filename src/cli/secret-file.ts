/** Secrets in files: what an argument must not hold. */
import {readFile} from 'node:fs/promises';
import {ByError, messageOf} from '../errors.js';

/**
 * @param flag that named the file.
 * @returns the file's text without white space around it.
 * @throws {ByError} USAGE if it can not be read.
 */
export async function secretIn(file: string, flag: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new ByError('USAGE', `The secret in ${file} can not be read: ${messageOf(cause)}`, {
      hint: `Name another file with ${flag}.`,
      cause,
    });
  }
}
