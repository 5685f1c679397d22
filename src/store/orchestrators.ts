/** Orchestrators (`by serve`) that run: they show signs of life, and those who look see them by these. */
import {createRunKeys} from '../protocol/orchestration/keys.js';
import {serverNowMs, type Store} from './store.js';

/** Older signs of life do not count. */
const LIVE_S = 30;

const keyOf = (store: Store) => createRunKeys({prefix: store.keys.prefix}).orchNodes();

/** Say that an orchestrator runs: `<id>|<role>,<role>`, by the time of its last sign of life. */
export async function noteOrchestrator(store: Store, node: string): Promise<void> {
  const nowMs = await serverNowMs(store);
  const key = keyOf(store);
  await store.commands.run(
    redis =>
      Promise.all([
        redis.zadd(key, nowMs, node),
        redis.zremrangebyscore(key, '-inf', nowMs - LIVE_S * 1000),
        redis.expire(key, LIVE_S),
      ]),
    {retryForMs: 5000},
  );
}

export async function forgetOrchestrator(store: Store, node: string): Promise<void> {
  await store.commands.run(redis => redis.zrem(keyOf(store), node), {retryForMs: 1000});
}

export interface OrchestratorFacts {
  readonly id: string;
  readonly roles: readonly string[];
  /** Milliseconds ago, by Redis's clock. */
  readonly seenMs: number;
}

export async function liveOrchestrators(store: Store): Promise<OrchestratorFacts[]> {
  const key = keyOf(store);
  const [rows, now] = await Promise.all([
    store.commands.run(redis => redis.zrange(key, '0', '-1', 'WITHSCORES'), {retryForMs: 5000}),
    serverNowMs(store),
  ]);
  return rows.flatMap((text, i) => {
    if (i % 2 === 1) return [];
    const seenMs = Math.max(0, now - Number(rows[i + 1]));
    const [id = '', roles = ''] = text.split('|');
    return seenMs > LIVE_S * 1000 ? [] : [{id, roles: roles.split(',').filter(role => role !== ''), seenMs}];
  });
}
