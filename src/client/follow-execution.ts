/** Watching one message from its first event to its end, or to a question nobody has answered. */
import {sleep} from '../clock.js';
import {eventKind, isEndOfStream} from '../protocol/events.js';
import {handedOverTo, type ExecutionRecord} from '../protocol/execution.js';
import {isTerminal} from '../protocol/states.js';
import {followSession, type SessionItem} from '../store/data-streams.js';
import {findByMessage} from '../store/executions.js';
import type {Store} from '../store/store.js';
import {askingOf, type OpenQuestion} from '../availability/questions.js';

export interface FollowExecution {
  readonly sessionId: string;
  readonly messageId: string;
  /** Stream id after which to begin. Default `0-0`. */
  readonly after?: string;
  /** Messages that may wait for a person, beside this one: what was seen of them before `after`. */
  readonly askers?: Iterable<string>;
  readonly signal?: AbortSignal;
}

/** An execution may end without an event of its own (a refused command, a foreign worker): then its record tells. */
const RECORD_POLL_MS = 1000;
/** A question is seen before its turn has ended. */
const ASKED_POLL_MS = 100;
/** Agents that call each other, one above the other, as far as they are looked at for who asks. */
const MOST_CALLERS = 64;

/** How it stands. */
interface Standing {
  readonly record: ExecutionRecord | undefined;
  readonly questions: readonly OpenQuestion[];
}

/**
 * Events of a session until the message's execution has ended, or it, or one it called, waits for a person; what was handed
 * over to others ends with them.
 * @returns the record as it stands then, of what answered; undefined if there is none or the signal aborted first.
 */
export async function* followExecution(
  store: Store,
  options: FollowExecution,
): AsyncGenerator<SessionItem, ExecutionRecord | undefined> {
  return (yield* followToQuestion(store, options)).record;
}

/** As {@link followExecution}. @returns also the questions that wait; none if it has ended. */
export async function* followToQuestion(
  store: Store,
  options: FollowExecution,
): AsyncGenerator<SessionItem, Standing> {
  const {sessionId, messageId, signal} = options;
  const over = new AbortController();
  const stop = () => over.abort();
  signal?.addEventListener('abort', stop, {once: true});
  if (signal?.aborted) stop();
  const askers = new Set(options.askers);
  let standing: Standing | undefined;
  const look = async () => {
    while (!over.signal.aborted) {
      await sleep(askers.size === 0 ? RECORD_POLL_MS : ASKED_POLL_MS, over.signal);
      try {
        standing = await settled(store, sessionId, messageId, askers);
        // What is stored by now is read before the end is believed.
        if (standing !== undefined) over.abort();
      } catch {
        // Redis is away: the reader knows, and retries or fails.
      }
    }
  };
  const looking = look();
  let last = options.after ?? '0-0';
  try {
    for await (const item of followSession(store, sessionId, {after: last, signal: over.signal})) {
      last = item.id;
      yield item;
      if (item.kind !== 'event') continue;
      if (eventKind(item.event) === 'ask') askers.add(item.event.messageId);
      if (!isEndOfStream(item.event)) continue;
      if (item.event.messageId === messageId)
        return {record: await findByMessage(store, sessionId, messageId), questions: []};
      // Perhaps of somebody who answers in its place.
      const others = await settled(store, sessionId, messageId, askers);
      if (others !== undefined && others.record?.messageId !== messageId) return others;
    }
    if (signal?.aborted) return {record: undefined, questions: []};
    for await (const item of followSession(store, sessionId, {after: last, untilCaughtUp: true})) yield item;
    return (
      standing ?? {
        record: (await settled(store, sessionId, messageId, askers))?.record,
        questions: [],
      }
    );
  } finally {
    stop();
    signal?.removeEventListener('abort', stop);
    await looking;
  }
}

/** @returns undefined while somebody is at work: it, or whoever it was handed over to. */
async function settled(
  store: Store,
  sessionId: string,
  messageId: string,
  askers: ReadonlySet<string>,
  known: ReadonlySet<string> = new Set(),
): Promise<Standing | undefined> {
  const record = await findByMessage(store, sessionId, messageId);
  if (record === undefined) return {record, questions: []};
  if (isTerminal(record.status)) {
    const others = handedOverTo(record).filter(id => !known.has(id));
    const seen = new Set([...known, messageId]);
    const ends = await Promise.all(others.map(id => settled(store, sessionId, id, askers, seen)));
    if (ends.includes(undefined)) return undefined;
    return {record: ends.at(-1)?.record ?? record, questions: ends.flatMap(end => end?.questions ?? [])};
  }
  const questions: OpenQuestion[] = [];
  for (const asker of new Set([messageId, ...askers])) {
    const asking = asker === messageId ? record : await findByMessage(store, sessionId, asker);
    // One that runs may wait for an approval, and has shown it then.
    const mayAsk =
      asking?.status === 'WAITING_USER' || (asking?.status === 'RUNNING' && askers.has(asking.messageId));
    if (asking === undefined || !mayAsk || !(await isWithin(store, asking, messageId))) continue;
    questions.push(...(await askingOf(store, asking)).open);
  }
  return questions.length === 0 ? undefined : {record, questions};
}

/** Whether the message started this execution, directly or not. */
async function isWithin(store: Store, record: ExecutionRecord, messageId: string): Promise<boolean> {
  let at: ExecutionRecord | undefined = record;
  for (let depth = 0; at !== undefined && depth < MOST_CALLERS; depth++) {
    if (at.messageId === messageId) return true;
    if (at.parentMessageId === '') return false;
    at = await findByMessage(store, at.sessionId, at.parentMessageId);
  }
  return false;
}
