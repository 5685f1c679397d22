/** The dead letter of an entry nobody can read: what came, as far as it is kept, and how to recognise the rest. G6. */
import {createHash} from 'node:crypto';
import {encodeDeadLetter, newDeadLetter, preserveBytes, type DeadLetterSource} from './deadletter.js';

/** Raw bytes kept of an entry; a hash and the length tell about the rest. */
export const MAX_RAW_BYTES = 65_536;

export interface UnreadableEntry {
  readonly stream: string;
  readonly id: string;
  readonly data: Uint8Array | undefined;
  /** What is kept where there is no `data`. */
  readonly fields?: Uint8Array;
}

/** @param now Unix milliseconds. @returns the document for the dead letters. */
export function unreadableLetter(
  {stream, id, data, fields}: UnreadableEntry,
  {source, reason, now}: {readonly source: DeadLetterSource; readonly reason: string; readonly now: number},
): string {
  const raw = data ?? fields ?? new Uint8Array();
  const sha256 = createHash('sha256').update(raw).digest('hex');
  return encodeDeadLetter(
    newDeadLetter({
      source,
      reason: `${reason} (${raw.byteLength} bytes, sha256 ${sha256})`,
      commandPayload: {},
      firstFailedAt: now,
      xStream: stream,
      xEntryId: id,
      xData: preserveBytes(raw.subarray(0, MAX_RAW_BYTES)),
    }),
  );
}
