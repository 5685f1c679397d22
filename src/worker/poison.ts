/** Entries that can not be run: kept whole among the dead letters, out of everybody's way (G6). */
import {createHash} from 'node:crypto';
import {encodeDeadLetter, newDeadLetter, preserveBytes} from '../protocol/deadletter.js';
import type {ControlEntry} from '../store/control-streams.js';
import {moveToDeadLetters} from '../store/dead-letters.js';
import type {Store} from '../store/store.js';

/** Raw bytes kept of an entry; a hash and the length tell about the rest. */
const MAX_RAW_BYTES = 65_536;

/** Move an entry to the dead letters. @returns the dead letter's id, '' if somebody else settled the entry. */
export function quarantine(
  store: Store,
  group: string,
  entry: ControlEntry,
  reason: string,
  now: number,
): Promise<string> {
  const raw = entry.data ?? Buffer.alloc(0);
  const sha256 = createHash('sha256').update(raw).digest('hex');
  const letter = newDeadLetter({
    source: 'poison',
    reason: `${reason} (${raw.length} bytes, sha256 ${sha256})`,
    commandPayload: {},
    firstFailedAt: now,
    xStream: entry.stream,
    xEntryId: entry.id,
    xData: preserveBytes(raw.subarray(0, MAX_RAW_BYTES)),
  });
  return moveToDeadLetters(store, group, entry, encodeDeadLetter(letter));
}
