/** The fleet's history in Redis (spec §9.5): one point every few seconds, by whoever holds the collector's lock. */
import {
  collectorLockTtlS,
  encodeHistoryPoint,
  HISTORY_WINDOW_MS,
  readHistoryPoint,
  type HistoryPoint,
  type KnownPoint,
} from '../protocol/metrics.js';
import {readable} from '../protocol/limits.js';
import type {Store} from './store.js';

/**
 * Take the collector's lock, or keep it. Workers of all SDKs share it.
 * @returns whether this worker is to write the next point.
 */
export async function holdCollectorLock(store: Store, workerId: string, intervalS: number): Promise<boolean> {
  const key = store.keys.metricsLock();
  const ttlS = collectorLockTtlS(intervalS);
  const taken = await store.commands.run(redis => redis.set(key, workerId, 'EX', ttlS, 'NX'));
  if (taken === 'OK') return true;
  const holder = await store.commands.run(redis => redis.get(key));
  if (holder !== workerId) return false;
  await store.commands.run(redis => redis.expire(key, ttlS));
  return true;
}

/** Give the lock back, if it is ours, so that another worker goes on at once. */
export async function dropCollectorLock(store: Store, workerId: string): Promise<void> {
  const key = store.keys.metricsLock();
  // Between the two it may have become another's, who takes it again with its next point.
  if ((await store.commands.run(redis => redis.get(key))) === workerId)
    await store.commands.run(redis => redis.del(key));
}

/** Points older than two hours go. */
export async function writeHistoryPoint(store: Store, point: KnownPoint): Promise<void> {
  const key = store.keys.metricsHistory();
  await store.commands.run(redis =>
    Promise.all([
      redis.zadd(key, point.generatedAt, encodeHistoryPoint(point)),
      redis.zremrangebyscore(key, '-inf', `(${point.generatedAt - HISTORY_WINDOW_MS}`),
    ]),
  );
}

/** Points from a moment on, oldest first; what can not be read is left out. @param sinceMs Unix milliseconds. */
export async function readHistory(store: Store, sinceMs: number): Promise<HistoryPoint[]> {
  const rows = await store.commands.run(
    redis => redis.zrangebyscore(store.keys.metricsHistory(), sinceMs, '+inf'),
    {retryForMs: 5000},
  );
  return rows.flatMap(row => readable(() => readHistoryPoint(row)) ?? []);
}
