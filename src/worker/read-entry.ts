/** The command of an entry, as it came from the stream. */
import {createHash} from 'node:crypto';
import {readCommandEntry, type Command} from '../protocol/commands.js';
import type {ControlEntry} from '../store/control-streams.js';

/** @throws what can not be read or is no command. */
export const readEntry = (entry: ControlEntry): Command => readCommandEntry(entry.data, idsFrom(entry));

/** A command without ids of its own gets them from its entry: delivered again, it is the same command. */
function idsFrom({stream, id}: ControlEntry) {
  const digest = () => createHash('sha256').update(`${stream}/${id}`).digest('hex');
  return {messageId: () => `msg-${digest().slice(0, 16)}`, traceId: () => digest().slice(16, 48)};
}
