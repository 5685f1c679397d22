/**
 * What operators do by hand on the streams that managers share: see what nobody has settled, and take an entry out of a
 * manager's hands. Nothing here disturbs a manager: whoever settles an entry first has done it.
 */
import {MANAGER_GROUP} from './control-plane.js';
import {ensureGroup, groupsOf, type ControlEntry} from './control-streams.js';
import {entriesById, firstEntries, pendingEntries, type PendingFacts} from './queues.js';
import {dropConsumer} from './recovery.js';
import type {Store} from './store.js';

/** Consumer that holds an entry while an operator settles it. */
const OPERATOR = 'by-operator';
const RETRY = {retryForMs: 5000};

export interface UnsettledEntry {
  readonly entry: ControlEntry;
  /** Undefined if no manager was given it yet. */
  readonly held: PendingFacts | undefined;
}

/**
 * Entries of a stream of the managers that nobody has settled, oldest first: those a manager has, then those none was
 * given. Entries that the controllers of other SDKs read and left behind are not told from new ones until a manager of
 * ours has been there.
 */
export async function unsettledEntries(
  store: Store,
  stream: string,
  count: number,
): Promise<UnsettledEntry[]> {
  const [groups, held] = await Promise.all([
    groupsOf(store, stream),
    pendingEntries(store, stream, MANAGER_GROUP, {count}),
  ]);
  const last = groups.find(({name}) => name === MANAGER_GROUP)?.lastDeliveredId;
  const [taken, waiting] = await Promise.all([
    entriesById(
      store,
      stream,
      held.map(({entryId}) => entryId),
    ),
    firstEntries(store, stream, count, last === undefined ? '-' : `(${last}`),
  ]);
  const withManagers = held.flatMap((facts, at): UnsettledEntry[] => {
    const entry = taken[at];
    // Settled between the two looks.
    return entry === undefined ? [] : [{entry, held: facts}];
  });
  return [...withManagers, ...waiting.map(entry => ({entry, held: undefined}))].slice(0, count);
}

/**
 * Run a step that settles an entry in the group of managers, whether or not a manager has read it. It is put into the
 * operator's hands first, because only what somebody was given can be acknowledged.
 *
 * @returns undefined if somebody else settled it first; the step was not run then.
 */
export async function inOperatorsHands<T>(
  store: Store,
  {stream, id}: Pick<ControlEntry, 'stream' | 'id'>,
  step: () => Promise<T>,
): Promise<T | undefined> {
  await ensureGroup(store, stream, MANAGER_GROUP);
  const taken = await store.commands.run(
    redis => redis.call('XCLAIM', stream, MANAGER_GROUP, OPERATOR, '0', id, 'FORCE', 'JUSTID'),
    RETRY,
  );
  try {
    return Array.isArray(taken) && taken.length > 0 ? await step() : undefined;
  } finally {
    await dropConsumer(store, stream, MANAGER_GROUP, OPERATOR);
  }
}
