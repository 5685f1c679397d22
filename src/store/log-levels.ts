/** How much a worker logs, said while it runs. A key of ours: workers of other SDKs never look at it. */
import {isLogLevel, type LogLevel} from '../log.js';
import type {Store} from './store.js';

/** A level said for a while goes by itself, so that nobody finds a worker talking weeks later. */
export const MAX_LOG_LEVEL_MS = 604_800_000;

export interface SetLogLevel {
  readonly level: LogLevel;
  /** Milliseconds, up to {@link MAX_LOG_LEVEL_MS}. */
  readonly forMs: number;
}

/** Holds for as long as said, also over restarts; the worker hears of it with its next heartbeat. */
export async function setLogLevel(
  store: Store,
  workerId: string,
  {level, forMs}: SetLogLevel,
): Promise<void> {
  const ms = Math.min(Math.ceil(forMs), MAX_LOG_LEVEL_MS);
  await store.commands.run(redis => redis.set(store.keys.workerLogLevel(workerId), level, 'PX', ms), {
    retryForMs: 5000,
  });
}

/** Let the worker log as it was started. @returns whether something else was said. */
export async function clearLogLevel(store: Store, workerId: string): Promise<boolean> {
  const removed = await store.commands.run(redis => redis.del(store.keys.workerLogLevel(workerId)), {
    retryForMs: 5000,
  });
  return removed === 1;
}

/** @returns undefined where nothing is said. */
export async function readLogLevel(
  store: Store,
  workerId: string,
): Promise<{readonly level: LogLevel; readonly expiresInMs: number} | undefined> {
  const key = store.keys.workerLogLevel(workerId);
  const [level, expiresInMs] = await store.commands.run(
    redis => Promise.all([redis.get(key), redis.pttl(key)]),
    {retryForMs: 5000},
  );
  return level !== null && isLogLevel(level) ? {level, expiresInMs} : undefined;
}
