/** Where the last lines of a session begin: pieces of one answer count as one line. */
import {readEventEntry, type DataEvent} from '../protocol/events.js';
import {eventsBefore} from '../store/data-streams.js';
import type {Store} from '../store/store.js';
import {toTailEvent} from './tail-event.js';

const PAGE = 500;

/** @returns the stream id after which the last `count` lines begin; `0-0` if there are fewer. */
export async function lastLinesStart(store: Store, sessionId: string, count: number): Promise<string> {
  let lines = 0;
  let line = '';
  let before = '+';
  for (;;) {
    const page = await eventsBefore(store, sessionId, before, PAGE);
    for (const {id, data} of page) {
      const key = lineKey(id, data);
      if (key !== line) lines++;
      line = key;
      // This event belongs to a line too many: everything after it is wanted.
      if (lines > count) return id;
      before = id;
    }
    if (page.length < PAGE) return '0-0';
  }
}

/** Pieces of the same answer share a key; everything else is a line of its own. */
function lineKey(id: string, data: string | undefined): string {
  let event: DataEvent;
  try {
    event = readEventEntry(data);
  } catch {
    // Unreadable entries are shown as a line each.
    return id;
  }
  const {type, messageId} = toTailEvent(id, event);
  return type === 'answer' || type === 'reasoning' ? `${messageId}/${type}` : id;
}
