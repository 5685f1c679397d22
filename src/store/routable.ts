/** Who of an agent type takes work now: online, and not exhausted. */
import {readMarked} from '../protocol/orchestration/status.js';
import {createStatusKeys} from '../protocol/orchestration/status-keys.js';
import {onlineAmong, onlineMembers, type OnlineCheck} from './presence.js';
import {serverNowMs, type Store} from './store.js';

/** Why nobody takes work though somebody is online. */
export interface Exhausted {
  /** Workers that are online and exhausted. */
  readonly workers: number;
  /** Members that are not online. */
  readonly offline: number;
  /** Milliseconds until the first of them may work again. */
  readonly recoverMs: number;
}

export interface RoutableCheck extends OnlineCheck {
  /** Null where somebody takes work, and where nobody is online. */
  readonly exhausted: Exhausted | null;
}

/** The exhausted workers of an agent type, and in how many milliseconds each recovers. One read while there are none. */
export async function exhaustedWorkers(
  store: Store,
  agentType: string,
): Promise<ReadonlyMap<string, number>> {
  const key = createStatusKeys(store.keys.prefix).exhaustedWorkers(agentType);
  const marked = readMarked(await store.commands.run(redis => redis.get(key), {retryForMs: 5000}));
  if (marked.size === 0) return marked;
  const now = await serverNowMs(store);
  return new Map([...marked].map(([id, at]) => [id, at - now] as const).filter(([, ms]) => ms > 0));
}

/** As {@link onlineMembers}, without those that can do nothing. */
export async function routableMembers(store: Store, agentType: string): Promise<RoutableCheck> {
  const [check, marked] = await Promise.all([
    onlineMembers(store, agentType),
    exhaustedWorkers(store, agentType),
  ]);
  const workerIds = check.workerIds.filter(id => !marked.has(id));
  // Who was suspended until it recovers is no member meanwhile, and comes back.
  const apart = workerIds.length > 0 ? [] : await onlineAmong(store, [...marked.keys()]);
  const there = [...new Set([...check.workerIds, ...apart])];
  const spent = there.flatMap(id => marked.get(id) ?? []);
  return {
    online: workerIds.length > 0,
    members: check.members,
    workerIds,
    exhausted:
      workerIds.length > 0 || spent.length === 0
        ? null
        : {
            workers: spent.length,
            offline: check.members - check.workerIds.length,
            recoverMs: Math.min(...spent),
          },
  };
}
