/** A file with a line of JSON for each wakeup. Nothing of the commands: who, what, when, and the answer. */
import {open} from 'node:fs/promises';
import {ByError, messageOf} from '../errors.js';
import {toSnakeCase} from './json.js';

export interface WakeupRecord {
  readonly write: (wakeup: object) => void;
  /** Waits for what was written. @throws what writing failed with. */
  close(): Promise<void>;
}

/** @throws {ByError} USAGE if the file can not be written. */
export async function openRecord(file: string): Promise<WakeupRecord> {
  const unusable = (cause: unknown) =>
    new ByError('USAGE', `Wakeups can not be recorded in ${file}: ${messageOf(cause)}`, {
      hint: 'Name another file with --record.',
      cause,
    });
  const handle = await open(file, 'a', 0o600).catch((cause: unknown) => {
    throw unusable(cause);
  });
  let last: Promise<unknown> = Promise.resolve();
  return {
    write: wakeup => {
      const line = `${JSON.stringify(toSnakeCase(wakeup))}\n`;
      last = last.then(() => handle.appendFile(line));
      // Said by close: a full disk must not end the manager.
      last.catch(() => undefined);
    },
    async close() {
      try {
        await last;
      } catch (cause) {
        throw unusable(cause);
      } finally {
        await handle.close();
      }
    },
  };
}
