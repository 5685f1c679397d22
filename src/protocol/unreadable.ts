/** The dead letter of an entry nobody can read: what came, as far as it is kept, and how to recognise the rest. G6. */
import {encodeDeadLetter, entryTimeMs, newDeadLetter, rawParts, type DeadLetterSource} from './deadletter.js';

export interface UnreadableEntry {
  readonly stream: string;
  readonly id: string;
  readonly data: Uint8Array | undefined;
  /** What is kept where there is no `data`. */
  readonly fields?: Uint8Array;
}

/** Why and by whom an entry is given up. */
export interface GivenUp {
  readonly source: DeadLetterSource;
  readonly reason: string;
  /** Unix milliseconds. */
  readonly now: number;
  /** The worker or manager that could not read it. */
  readonly workerId: string;
  /** The agent type it was for, as far as anybody can tell. */
  readonly agentType?: string;
}

/** @returns the document for the dead letters. */
export function unreadableLetter(
  {stream, id, data, fields}: UnreadableEntry,
  {source, reason, now, workerId, agentType = ''}: GivenUp,
): string {
  return encodeDeadLetter(
    newDeadLetter({
      source,
      ...rawParts(data ?? fields, reason),
      ...(agentType === '' ? {} : {targetAgentType: agentType, deliveryStream: stream}),
      attempts: [{workerId, error: reason, at: now}],
      firstFailedAt: now,
      firstAcceptedAt: entryTimeMs(id),
      xStream: stream,
      xEntryId: id,
    }),
  );
}
