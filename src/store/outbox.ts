/**
 * What one atomic script does on a single server, in a Cluster is several steps, because a script may only touch one
 * slot. The order is always the same:
 *
 * 1. one script in the session's slot changes the record and puts what must follow into the session's outbox;
 * 2. each document of the outbox is appended to its stream, once however often it is tried;
 * 3. it leaves the outbox; the entry that caused it is acknowledged last.
 *
 * Whoever dies in between leaves an outbox that is not empty. It is carried on with by the sender's retry, by whoever
 * is given the unacknowledged entry, or, where there is no entry yet, by a worker's sweep over {@link noteOutbox}.
 */
import {isValidId} from '../ids.js';
import {SESSION_TTL_S, type Keys} from '../protocol/keys.js';
import {streamReply} from './control-streams.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

/** How long the repeat of an append is recognised, in seconds. Repairs come within seconds of a crash. */
const ONCE_TTL_S = 86_400;
/** A replay that was cut off may be carried on with for as long as it is remembered. */
export const LONG_ONCE_TTL_S = 604_800;
/** A sender that has not finished after this long is taken for dead; if it is not, nothing is done twice. */
const ABANDONED_AFTER_MS = 5000;
const RETRY = {retryForMs: 10_000};

export interface OutboxItem {
  readonly stream: string;
  readonly document: string;
}

export interface Appended {
  /** '' if the stream is full. */
  readonly entryId: string;
  /** Whether this call appended it. */
  readonly isNew: boolean;
  /** The stream holds as much as it may: nothing was written. Only of the dead letters. */
  readonly isFull: boolean;
}

/** The stream's name, a line break, the document as it is: documents may be large, and are not ours to read. */
export const encodeOutboxItem = ({stream, document}: OutboxItem): string => `${stream}\n${document}`;

const appendScript = defineScript({
  file: 'append-once.lua',
  keys: ['stream', 'marker'],
  args: ['document', 'ttlS', 'limit'],
  reply: texts,
});

/** Append a document, once for each token. The dead letters take no more than their limit. */
export async function appendOnce(
  store: Store,
  item: OutboxItem,
  token: string,
  ttlS = ONCE_TTL_S,
): Promise<Appended> {
  const limit = item.stream === store.keys.deadletter() ? store.limits.deadLetters : 0;
  const [verdict, entryId = ''] = await appendScript(
    store.commands,
    {
      keys: {stream: item.stream, marker: store.keys.appendedOnce(item.stream, token)},
      args: {document: item.document, ttlS, limit},
    },
    RETRY,
  );
  return {entryId, isNew: verdict === 'appended', isFull: verdict === 'full'};
}

/** Deliver everything in a session's outbox. Safe beside others who do the same. @returns what its items became: outbox id to entry id. */
export const flushOutbox = async (store: Store, sessionId: string): Promise<Map<string, string>> =>
  (await emptyOutbox(store, sessionId)).delivered;

/** As {@link flushOutbox}. @returns also whether a dead letter found no room: it stays, and whoever comes next tries again. */
export async function emptyOutbox(
  store: Store,
  sessionId: string,
): Promise<{readonly delivered: Map<string, string>; readonly isHeld: boolean}> {
  const outbox = store.keys.sessionOutbox(sessionId);
  const reply = await store.commands.run(redis => redis.callBuffer('XRANGE', outbox, '-', '+'), RETRY);
  const delivered = new Map<string, string>();
  let isHeld = false;
  for (const {id, data} of streamReply([[Buffer.from(outbox), reply]])) {
    const item = readItem(store, data);
    if (item !== undefined) {
      const {entryId, isFull} = await appendOnce(store, item, `${sessionId}:${id}`);
      // The others need not wait for it.
      isHeld ||= isFull;
      if (isFull) continue;
      delivered.set(id, entryId);
    }
    await store.commands.run(
      redis => Promise.all([redis.xdel(outbox, id), redis.expire(outbox, SESSION_TTL_S)]),
      RETRY,
    );
  }
  if (isHeld) await store.commands.run(redis => redis.persist(outbox), RETRY);
  return {delivered, isHeld};
}

/** @returns undefined for what we would never have written: the store is not trusted with stream names. */
function readItem(store: Store, data: Buffer | undefined): OutboxItem | undefined {
  const end = data?.indexOf('\n') ?? -1;
  if (data === undefined || end < 0) return undefined;
  const stream = data.toString('utf8', 0, end);
  if (!isWorkStream(store.keys, stream)) return undefined;
  return {stream, document: data.toString('utf8', end + 1)};
}

function isWorkStream(keys: Keys, stream: string): boolean {
  const [ofWorkers = ''] = keys.workerCtrlStream('\0').split('\0');
  return (
    stream.startsWith(keys.ctrlStream('')) ||
    keys.agentTypeOfOnCall(stream) !== undefined ||
    stream.startsWith(ofWorkers) ||
    [keys.wakeup(), keys.deliveryPending(), keys.deadletter()].includes(stream)
  );
}

/** Say that a session's outbox is about to be filled. @returns what to {@link forgetOutbox}. */
export async function noteOutbox(store: Store, sessionId: string): Promise<string> {
  const id = await store.commands.run(
    redis => redis.xadd(store.keys.openOutboxes(), '*', 'data', sessionId),
    RETRY,
  );
  return id ?? '';
}

/** The outbox was emptied. Not repeated: a note that stays is swept. */
export async function forgetOutbox(store: Store, note: string): Promise<void> {
  await store.commands.run(redis => redis.xdel(store.keys.openOutboxes(), note));
}

const oldEntriesScript = defineScript({
  file: 'old-entries.lua',
  keys: ['stream'],
  args: ['ageMs', 'count'],
  reply: raw => streamReply([[Buffer.from(''), raw]]),
});

/** Carry on with what senders left behind. @returns how many documents were delivered. */
export async function sweepOutboxes(store: Store, abandonedAfterMs = ABANDONED_AFTER_MS): Promise<number> {
  const notes = await oldEntriesScript(store.commands, {
    keys: {stream: store.keys.openOutboxes()},
    args: {ageMs: abandonedAfterMs, count: 100},
  });
  let delivered = 0;
  for (const {id, data} of notes) {
    const sessionId = data?.toString('utf8') ?? '';
    if (isValidId(sessionId)) delivered += (await flushOutbox(store, sessionId)).size;
    await forgetOutbox(store, id);
  }
  return delivered;
}
