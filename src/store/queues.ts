/** What operators see of a control stream: what waits in it, what was given to whom, and moving it by hand. */
import {messageOf} from '../errors.js';
import {streamReply, type ControlEntry} from './control-streams.js';
import type {Store} from './store.js';

const RETRY = {retryForMs: 5000};

export interface PendingFacts {
  readonly entryId: string;
  readonly consumer: string;
  /** Milliseconds since it was given to the consumer. */
  readonly idleMs: number;
  readonly deliveries: number;
}

/** Entries in the stream: waiting and pending ones, and those other SDKs settled and left there. */
export function streamLength(store: Store, stream: string): Promise<number> {
  return store.commands.run(redis => redis.xlen(stream), RETRY);
}

/** Commands held back until somebody of the agent type is online. */
export function heldBack(store: Store, agentType: string): Promise<number> {
  return store.commands.run(redis => redis.zcard(store.keys.pendingQueue(agentType)), RETRY);
}

export interface PendingFilter {
  /** Only entries given to their consumer at least this long ago, in milliseconds. */
  readonly minIdleMs?: number;
  readonly consumer?: string;
  readonly count: number;
  /** Only this entry. */
  readonly entryId?: string;
  /** Only those behind this entry. */
  readonly after?: string;
}

/** Entries that were given to a consumer and not settled, oldest first; none if stream or group does not exist. */
export async function pendingEntries(
  store: Store,
  stream: string,
  group: string,
  {minIdleMs = 0, consumer, count, entryId, after}: PendingFilter,
): Promise<PendingFacts[]> {
  const first = after === undefined ? '-' : `(${after}`;
  const range = entryId === undefined ? [first, '+'] : [entryId, entryId];
  const who = consumer === undefined ? [] : [consumer];
  const reply = await whereThere(
    store.commands.run(
      redis =>
        redis.call('XPENDING', stream, group, 'IDLE', String(minIdleMs), ...range, String(count), ...who),
      RETRY,
    ),
  );
  return rowsOf(reply).flatMap(row => {
    if (!Array.isArray(row)) return [];
    const [id, name, idle, deliveries] = row as unknown[];
    if (typeof id !== 'string' || typeof name !== 'string') return [];
    return [{entryId: id, consumer: name, idleMs: Number(idle ?? 0), deliveries: Number(deliveries ?? 0)}];
  });
}

/** The first entries of a stream, whether or not somebody has them. @param from an entry id, or `(` and one to begin after it. */
export async function firstEntries(
  store: Store,
  stream: string,
  count: number,
  from = '-',
): Promise<ControlEntry[]> {
  const rows = await store.commands.run(
    redis => redis.callBuffer('XRANGE', stream, from, '+', 'COUNT', String(count)),
    RETRY,
  );
  return streamReply([[Buffer.from(stream), rows]]);
}

/** Entries by their ids, in that order; undefined where the stream no longer has one. */
export async function entriesById(
  store: Store,
  stream: string,
  ids: readonly string[],
): Promise<(ControlEntry | undefined)[]> {
  const replies = await store.commands.run(
    redis => Promise.all(ids.map(id => redis.callBuffer('XRANGE', stream, id, id))),
    RETRY,
  );
  return replies.map(rows => streamReply([[Buffer.from(stream), rows]])[0]);
}

/**
 * Give pending entries to another consumer, without counting it as a delivery. Entries that were settled, or given to
 * somebody less than `minIdleMs` ago, stay as they are.
 * @returns the ids that were given.
 */
export async function giveEntries(
  store: Store,
  stream: string,
  group: string,
  give: {readonly to: string; readonly minIdleMs: number; readonly ids: readonly string[]},
): Promise<string[]> {
  if (give.ids.length === 0) return [];
  // Not repeated: a repeat would find the entries just given, and answer that there were none.
  const reply = await store.commands.run(redis =>
    redis.call('XCLAIM', stream, group, give.to, String(give.minIdleMs), ...give.ids, 'JUSTID'),
  );
  return rowsOf(reply).filter(id => typeof id === 'string');
}

/** An answer, or undefined where it says that there is no such stream or group. */
async function whereThere(reply: Promise<unknown>): Promise<unknown> {
  try {
    return await reply;
  } catch (error) {
    if (/no such key|NOGROUP/i.test(messageOf(error))) return undefined;
    throw error;
  }
}

const rowsOf = (reply: unknown): readonly unknown[] => (Array.isArray(reply) ? (reply as unknown[]) : []);
