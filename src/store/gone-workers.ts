/** Workers that died without leaving: after a while nobody needs to see them any more, and their names go. */
import {SESSION_TTL_S} from '../protocol/keys.js';
import {knownWorkers} from './presence.js';
import {getAll, type Store} from './store.js';

/** How long a worker without a lease stays in the lists, in milliseconds: long enough for people to see that it died. */
const REMEMBERED_MS = 86_400_000;
/** Managers that run at once take turns. */
const TURN_MS = 55_000;
const RETRY = {retryForMs: 5000};

/** @returns whether it is this manager's turn to sweep. */
export async function takeSweepTurn(store: Store): Promise<boolean> {
  const turn = store.keys.sweepTurn();
  return (await store.commands.run(redis => redis.set(turn, '1', 'PX', TURN_MS, 'NX'))) === 'OK';
}

/**
 * Take workers out of the sets of workers that have had no lease for a day, by the server's clock. One that comes back
 * joins again with its first heartbeat.
 * @returns their ids.
 */
export async function forgetGoneWorkers(store: Store, rememberedMs = REMEMBERED_MS): Promise<string[]> {
  const {keys} = store;
  const known = await knownWorkers(store);
  const leases = await getAll(
    store,
    known.map(id => keys.workerLease(id)),
  );
  const gone = known.filter((_, i) => leases[i] === null);
  const live = known.filter((_, i) => leases[i] !== null);
  // Who came back and dies again has a whole day anew.
  await store.commands.run(redis => Promise.all(live.map(id => redis.del(keys.goneSince(id)))), RETRY);
  const forgotten: string[] = [];
  for (const workerId of gone) {
    if (!(await isLongGone(store, workerId, rememberedMs))) continue;
    const declared = await store.commands.run(redis => redis.smembers(keys.declaredTypes(workerId)), RETRY);
    await store.commands.run(
      redis =>
        Promise.all([
          ...declared.map(type => redis.srem(keys.members(type), workerId)),
          redis.del(keys.declaredTypes(workerId)),
          redis.del(keys.goneSince(workerId)),
          redis.expire(keys.workerCtrlStream(workerId), SESSION_TTL_S),
        ]),
      RETRY,
    );
    // Last, so that a manager that dies before this finds the worker again.
    await store.commands.run(redis => redis.srem(keys.knownWorkers(), workerId), RETRY);
    forgotten.push(workerId);
  }
  return forgotten;
}

/** The first sight of a worker without a lease is noted, for twice the time: what is left of that says how long ago. */
async function isLongGone(store: Store, workerId: string, rememberedMs: number): Promise<boolean> {
  const key = store.keys.goneSince(workerId);
  const noteMs = 2 * rememberedMs + 1;
  await store.commands.run(redis => redis.set(key, '1', 'PX', noteMs, 'NX'), RETRY);
  const leftMs = await store.commands.run(redis => redis.pttl(key), RETRY);
  return noteMs - leftMs >= rememberedMs;
}
