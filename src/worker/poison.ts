/** Entries that can not be run: kept whole among the dead letters, out of everybody's way (G6). */
import {unreadableLetter} from '../protocol/unreadable.js';
import type {ControlEntry} from '../store/control-streams.js';
import {moveToDeadLetters} from '../store/dead-letters.js';
import type {Store} from '../store/store.js';

/** Move an entry to the dead letters. @returns the dead letter's id, '' if somebody else settled the entry. */
export function quarantine(
  store: Store,
  group: string,
  entry: ControlEntry,
  reason: string,
  now: number,
): Promise<string> {
  return moveToDeadLetters(store, group, entry, unreadableLetter(entry, {source: 'poison', reason, now}));
}
