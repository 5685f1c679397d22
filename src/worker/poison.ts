/** Entries that can not be run: kept whole among the dead letters, out of everybody's way (G6). */
import {encodeDeadLetter, entryTimeMs, newDeadLetter, wholeCommand} from '../protocol/deadletter.js';
import {unreadableLetter} from '../protocol/unreadable.js';
import type {ControlEntry} from '../store/control-streams.js';
import {moveToDeadLetters} from '../store/dead-letters.js';
import type {Store} from '../store/store.js';

/** Why and by whom an entry is given up. */
export interface Verdict {
  readonly reason: string;
  readonly workerId: string;
  /** Unix milliseconds. */
  readonly now: number;
  /** The agent type it was for, as far as anybody can tell. */
  readonly agentType: string;
}

/**
 * Move an entry to the dead letters: a command that is readable, but not for this worker, as a command that can be
 * replayed; anything else as the bytes it is.
 * @returns the dead letter's id, '' if somebody else settled the entry.
 * @throws {ByError} DEAD_LETTERS_FULL
 */
export function quarantine(
  store: Store,
  group: string,
  entry: ControlEntry,
  {reason, workerId, now, agentType}: Verdict,
): Promise<string> {
  const command = wholeCommand(entry.data);
  if (Object.keys(command).length === 0) {
    const letter = unreadableLetter(entry, {source: 'poison', reason, now, workerId, agentType});
    return moveToDeadLetters(store, group, entry, letter);
  }
  const letter = newDeadLetter({
    source: 'poison',
    reason,
    commandPayload: command,
    targetAgentType: agentType,
    deliveryStream: entry.stream,
    attempts: [{workerId, error: reason, at: now}],
    firstFailedAt: now,
    firstAcceptedAt: entryTimeMs(entry.id),
    xStream: entry.stream,
    xEntryId: entry.id,
  });
  return moveToDeadLetters(store, group, entry, encodeDeadLetter(letter));
}
