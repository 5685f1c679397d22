/** Watching one message from its first event to its end. */
import {isEndOfStream} from '../protocol/events.js';
import {handedOverTo, type ExecutionRecord} from '../protocol/execution.js';
import {isTerminal} from '../protocol/states.js';
import {followSession, type SessionItem} from '../store/data-streams.js';
import {findByMessage} from '../store/executions.js';
import type {Store} from '../store/store.js';

export interface FollowExecution {
  readonly sessionId: string;
  readonly messageId: string;
  /** Stream id after which to begin. Default `0-0`. */
  readonly after?: string;
  readonly signal?: AbortSignal;
}

/** An execution may end without an event of its own (a refused command, a foreign worker): then its record tells. */
const RECORD_POLL_MS = 1000;

/**
 * Events of a session until the message's execution has ended or waits for a person; what was handed over to others
 * ends with them.
 * @returns the record as it stands then, of what answered; undefined if there is none or the signal aborted first.
 */
export async function* followExecution(
  store: Store,
  options: FollowExecution,
): AsyncGenerator<SessionItem, ExecutionRecord | undefined> {
  const {sessionId, messageId, signal} = options;
  const over = new AbortController();
  const stop = () => over.abort();
  signal?.addEventListener('abort', stop, {once: true});
  if (signal?.aborted) stop();
  const settled = () => settledRecord(store, sessionId, messageId);
  const poll = setInterval(() => {
    settled().then(
      record => {
        // What is stored by now is read before the end is believed.
        if (record !== undefined) over.abort();
      },
      () => {
        // Redis is away: the reader knows, and retries or fails.
      },
    );
  }, RECORD_POLL_MS);
  let last = options.after ?? '0-0';
  try {
    for await (const item of followSession(store, sessionId, {after: last, signal: over.signal})) {
      last = item.id;
      yield item;
      if (item.kind !== 'event' || !isEndOfStream(item.event)) continue;
      if (item.event.messageId === messageId) return await findByMessage(store, sessionId, messageId);
      // Perhaps of somebody who answers in its place.
      const record = await settled();
      if (record !== undefined && record.messageId !== messageId) return record;
    }
    if (signal?.aborted) return undefined;
    for await (const item of followSession(store, sessionId, {after: last, untilCaughtUp: true})) yield item;
    return await settled();
  } finally {
    clearInterval(poll);
    signal?.removeEventListener('abort', stop);
  }
}

/** @returns undefined while somebody is at work: it, or whoever it was handed over to. */
async function settledRecord(
  store: Store,
  sessionId: string,
  messageId: string,
  known: ReadonlySet<string> = new Set(),
): Promise<ExecutionRecord | undefined> {
  const record = await findByMessage(store, sessionId, messageId);
  if (!isSettled(record)) return undefined;
  const others = record === undefined ? [] : handedOverTo(record).filter(id => !known.has(id));
  if (others.length === 0) return record;
  const seen = new Set([...known, messageId]);
  const ends = await Promise.all(others.map(id => settledRecord(store, sessionId, id, seen)));
  return ends.includes(undefined) ? undefined : ends.at(-1);
}

function isSettled(record: ExecutionRecord | undefined): boolean {
  if (record === undefined) return true;
  return isTerminal(record.status) || record.status === 'WAITING_USER';
}
