/** Data streams: the events of a session, written under a fence and read without gap or repeat. */
import {backoffMs} from '../backoff.js';
import {sleep} from '../clock.js';
import {ByError} from '../errors.js';
import {readEventEntry, type DataEvent} from '../protocol/events.js';
import {infoFields, streamReply, type ControlEntry} from './control-streams.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {defineScript, flag} from './script.js';
import type {Store} from './store.js';

const appendScript = defineScript({
  file: 'append-events.lua',
  keys: ['registry', 'events'],
  args: ['executionId', 'fence', 'ttlS'],
  reply: flag,
});

/**
 * Append encoded events of one attempt, in order.
 * @returns false if another attempt owns the execution: nothing was written.
 */
export function appendEvents(
  store: Store,
  turn: {readonly sessionId: string; readonly executionId: string; readonly fence: string},
  events: readonly string[],
  renewTtl: boolean,
): Promise<boolean> {
  return appendScript(store.commands, {
    keys: {
      registry: store.keys.sessionRegistry(turn.sessionId),
      events: store.keys.sessionDataStream(turn.sessionId),
    },
    args: {executionId: turn.executionId, fence: turn.fence, ttlS: renewTtl ? SESSION_TTL_S : 0},
    moreArgs: events,
  });
}

export type SessionItem =
  | {readonly kind: 'event'; readonly id: string; readonly event: DataEvent}
  /** An entry that is no event; shown, never thrown. */
  | {readonly kind: 'unreadable'; readonly id: string; readonly reason: string}
  /** Retention may have removed entries after this one. */
  | {readonly kind: 'gap'; readonly id: string; readonly afterId: string};

export interface FollowOptions {
  /** Stream id after which to begin; `0-0` from the first event, `$` from now. Default `0-0`. */
  readonly after?: string;
  readonly signal?: AbortSignal;
  /** End when everything stored so far has been read, in place of waiting for more. */
  readonly untilCaughtUp?: boolean;
}

const READ_COUNT = 500;
const BLOCK_MS = 5000;
const BLOCK_GRACE_MS = 2000;

/**
 * Read a session's events from a point on, across any loss of connection: every event once, in order (G8).
 * Ends when `signal` aborts, or when caught up if that is asked for.
 */
export async function* followSession(
  store: Store,
  sessionId: string,
  options: FollowOptions = {},
): AsyncGenerator<SessionItem> {
  const stream = store.keys.sessionDataStream(sessionId);
  for await (const item of followEntries(store, stream, {...options, saysGaps: true}))
    yield item.kind === 'entry' ? readItem(item.entry.id, item.entry.data) : item;
}

export type StreamItem =
  | {readonly kind: 'entry'; readonly entry: ControlEntry}
  | {readonly kind: 'gap'; readonly id: string; readonly afterId: string};

/**
 * Read any stream from a point on, as {@link followSession} does, without a group: nothing is taken from anybody.
 * @param options.saysGaps say where entries may have been removed; not of use where what is settled is deleted.
 */
export async function* followEntries(
  store: Store,
  stream: string,
  options: FollowOptions & {readonly saysGaps?: boolean} = {},
): AsyncGenerator<StreamItem> {
  const {saysGaps = false} = options;
  const connection = store.blocking('follow', stream);
  const stop = () => connection.close();
  options.signal?.addEventListener('abort', stop, {once: true});
  try {
    let last = options.after ?? '0-0';
    if (last === '$') last = await lastEntryId(store, stream);
    let looksForGap = saysGaps && last !== '0-0';
    let failures = 0;
    while (!options.signal?.aborted) {
      let entries;
      try {
        if (looksForGap) {
          const isGap = await isGapAfter(store, stream, last);
          looksForGap = false;
          if (isGap) yield {kind: 'gap', id: last, afterId: last};
        }
        const from = last;
        const block = options.untilCaughtUp ? [] : ['BLOCK', String(BLOCK_MS)];
        const reply = await connection.run(
          redis => redis.callBuffer('XREAD', 'COUNT', String(READ_COUNT), ...block, 'STREAMS', stream, from),
          {timeoutMs: BLOCK_MS + BLOCK_GRACE_MS},
        );
        entries = streamReply(reply);
        failures = 0;
      } catch (error) {
        if (options.signal?.aborted) return;
        if (!(error instanceof ByError) || !error.retryable) throw error;
        // The last id read is all we need to go on where we were.
        failures++;
        if (failures > MAX_FOLLOW_FAILURES) throw error;
        looksForGap = saysGaps && last !== '0-0';
        await sleep(backoffMs(failures, {baseMs: 100, maxMs: 2000}) + 50, options.signal);
        continue;
      }
      if (entries.length === 0 && options.untilCaughtUp) return;
      for (const entry of entries) {
        last = entry.id;
        yield {kind: 'entry', entry};
      }
    }
  } finally {
    options.signal?.removeEventListener('abort', stop);
    connection.close();
  }
}

/** With the waits in between, about a minute without a server. */
const MAX_FOLLOW_FAILURES = 40;

function readItem(id: string, data: Buffer | undefined): SessionItem {
  try {
    return {kind: 'event', id, event: readEventEntry(data)};
  } catch (error) {
    return {kind: 'unreadable', id, reason: error instanceof Error ? error.message : 'unreadable'};
  }
}

/** @returns the id of the newest event, `0-0` if there is none. */
export const lastEventId = (store: Store, sessionId: string): Promise<string> =>
  lastEntryId(store, store.keys.sessionDataStream(sessionId));

async function lastEntryId(store: Store, stream: string): Promise<string> {
  const rows = await store.commands.run(redis => redis.xrevrange(stream, '+', '-', 'COUNT', 1), {
    retryForMs: 5000,
  });
  return rows[0]?.[0] ?? '0-0';
}

/** The id after which the last `count` entries of a stream begin; `0-0` if there are fewer. */
export async function lastEntriesStart(store: Store, stream: string, count: number): Promise<string> {
  const rows = await store.commands.run(redis => redis.xrevrange(stream, '+', '-', 'COUNT', count + 1), {
    retryForMs: 5000,
  });
  return rows[count]?.[0] ?? '0-0';
}

/** Whether entries after `last` may have been removed: by id, or from the front by trimming. */
async function isGapAfter(store: Store, stream: string, last: string): Promise<boolean> {
  const [info, rows] = await store.commands.run(
    async redis => {
      if ((await redis.exists(stream)) === 0) return [undefined, []] as const;
      return [
        await redis.call('XINFO', 'STREAM', stream),
        await redis.xrange(stream, '-', '+', 'COUNT', 1),
      ] as const;
    },
    {retryForMs: 5000},
  );
  const fields = infoFields(info);
  if (compareIds(fields.get('max-deleted-entry-id') ?? '0-0', last) > 0) return true;
  const removed = Number(fields.get('entries-added') ?? 0) - Number(fields.get('length') ?? 0);
  const first = rows[0]?.[0];
  return removed > 0 && first !== undefined && compareIds(first, last) > 0;
}

/** Order of two stream ids. */
export function compareIds(a: string, b: string): number {
  const [aMs = '0', aSeq = '0'] = a.split('-');
  const [bMs = '0', bSeq = '0'] = b.split('-');
  const ms = BigInt(aMs) - BigInt(bMs);
  const order = ms !== 0n ? ms : BigInt(aSeq) - BigInt(bSeq);
  return order < 0n ? -1 : order > 0n ? 1 : 0;
}

/** Whether a session has left any trace: events, or a registry. */
export async function sessionExists(store: Store, sessionId: string): Promise<boolean> {
  const {keys} = store;
  const found = await store.commands.run(
    redis => redis.exists(keys.sessionDataStream(sessionId), keys.sessionRegistry(sessionId)),
    {retryForMs: 5000},
  );
  return found > 0;
}

/**
 * What one message said after an id (exclusive), in one page of the session's events.
 * @returns also the id of the page's last entry, whosever it is; undefined if there was none.
 */
export async function eventsAfter(
  store: Store,
  sessionId: string,
  after: string,
  messageId: string,
): Promise<{
  readonly events: {readonly id: string; readonly event: DataEvent}[];
  readonly last: string | undefined;
}> {
  const stream = store.keys.sessionDataStream(sessionId);
  const reply = await store.commands.run(
    redis => redis.callBuffer('XRANGE', stream, `(${after}`, '+', 'COUNT', String(READ_COUNT)),
    {retryForMs: 30_000},
  );
  const entries = streamReply([[Buffer.from(stream), reply]]);
  const events = entries.flatMap(({id, data}) => {
    // Most of a busy session is somebody else's, and not worth reading.
    if (data?.includes(messageId) !== true) return [];
    const item = readItem(id, data);
    return item.kind === 'event' && item.event.messageId === messageId ? [{id, event: item.event}] : [];
  });
  return {events, last: entries.at(-1)?.id};
}

/** Entries before an id (exclusive; `+` for the newest), newest first. */
export async function eventsBefore(
  store: Store,
  sessionId: string,
  before: string,
  count: number,
): Promise<{readonly id: string; readonly data: string | undefined}[]> {
  const end = before === '+' ? '+' : `(${before}`;
  const rows = await store.commands.run(
    redis => redis.xrevrange(store.keys.sessionDataStream(sessionId), end, '-', 'COUNT', count),
    {retryForMs: 5000},
  );
  return rows.map(([id, fields]) => ({id, data: fields[fields.indexOf('data') + 1]}));
}
