/** Wakeups under way: the requests nobody has settled, who carries them out, and who waits for each. */
import {ProtocolError, readable, requireData} from '../protocol/limits.js';
import {entryTimeMs} from '../protocol/deadletter.js';
import {
  readWakeupDecision,
  readWakeupRequest,
  type WakeupDecision,
  type WakeupRequest,
} from '../protocol/wakeup.js';
import {isValidId} from '../ids.js';
import {unsettledEntries, type UnsettledEntry} from '../store/by-hand.js';
import type {ControlEntry} from '../store/control-streams.js';
import {firstEntries} from '../store/queues.js';
import type {Store} from '../store/store.js';
import {isWakeupKey, wakeupWaiters, type WakeupKey, type WakeupWaiters} from '../store/wakeup-waiters.js';

export interface WakeupSummary {
  readonly entry: ControlEntry;
  /** Unix milliseconds by the server's clock. */
  readonly at: number;
  /** `waiting`: no manager has read it. `started`: one has. `unreadable`: it is for the dead letters. */
  readonly state: 'waiting' | 'started' | 'unreadable';
  /** '' while it waits. */
  readonly managerId: string;
  /** Milliseconds since its manager last said that it works on it; null while it waits. */
  readonly idleMs: number | null;
  /** Undefined if the entry can not be read. */
  readonly request: WakeupRequest | undefined;
  /** Why it can not be read, or ''. */
  readonly unreadable: string;
  /** Of its agent type, user and region; the request's own execution is among them. */
  readonly waiters: readonly string[];
  /** The execution whose request is carried out for all of them; '' if none is. */
  readonly leader: string;
}

/** Oldest first. @param count most requests to look at. */
export async function listWakeups(store: Store, count: number): Promise<WakeupSummary[]> {
  const rows = (await unsettledEntries(store, store.keys.wakeup(), count)).map(readRow);
  const keys = new Map<string, WakeupKey>();
  for (const {request} of rows)
    if (request !== undefined && isWakeupKey(request)) keys.set(keyText(request), request);
  const found = new Map<string, WakeupWaiters>(
    await Promise.all([...keys].map(async ([text, key]) => [text, await wakeupWaiters(store, key)] as const)),
  );
  return rows.map(row => {
    if (row.request === undefined) return {...row, waiters: [], leader: ''};
    const {leader = '', executionIds = []} = found.get(keyText(row.request)) ?? {};
    return {...row, leader, waiters: [...new Set([row.request.executionId, ...executionIds])]};
  });
}

/** A request by its entry, its execution, or an execution that waits for the same wakeup. */
export async function findWakeup(
  store: Store,
  id: string,
  count: number,
): Promise<WakeupSummary | undefined> {
  const wakeups = await listWakeups(store, count);
  return (
    wakeups.find(({entry, request}) => entry.id === id || request?.executionId === id) ??
    wakeups.find(({waiters}) => waiters.includes(id))
  );
}

/** Whether two requests are answered together. */
export const isSameWakeup = (a: WakeupKey, b: WakeupKey): boolean => keyText(a) === keyText(b);

/** What was decided for an execution so far, oldest first; decisions are kept for five minutes. */
export async function decisionsFor(store: Store, executionId: string): Promise<WakeupDecision[]> {
  if (!isValidId(executionId)) return [];
  const entries = await firstEntries(store, store.keys.wakeupResult(executionId), 100);
  // What can not be read no waiter takes for a decision either.
  return entries.flatMap(({data}) => readable(() => readWakeupDecision(requireData(data))) ?? []);
}

const keyText = ({targetAgentType, userCode, region}: WakeupKey): string =>
  JSON.stringify([targetAgentType, userCode, region]);

function readRow({entry, held}: UnsettledEntry): Omit<WakeupSummary, 'waiters' | 'leader'> {
  const row = {
    entry,
    at: entryTimeMs(entry.id),
    managerId: held?.consumer ?? '',
    idleMs: held?.idleMs ?? null,
  };
  try {
    const request = readWakeupRequest(requireData(entry.data));
    return {...row, state: held === undefined ? 'waiting' : 'started', request, unreadable: ''};
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return {...row, state: 'unreadable', request: undefined, unreadable: error.message};
  }
}
