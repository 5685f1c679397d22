/** Orchestrators (`by serve`) that showed a sign of life lately. */
import {orchestratorsKey} from '../protocol/orchestration/status-keys.js';
import {serverTimeMs, type Store} from './store.js';

/** Older signs of life do not count, in milliseconds. */
const LIVE_MS = 30_000;

export interface OrchestratorFacts {
  readonly id: string;
  readonly roles: readonly string[];
  /** Milliseconds ago, by Redis's clock. */
  readonly seenMs: number;
}

export async function liveOrchestrators(store: Store): Promise<OrchestratorFacts[]> {
  const key = orchestratorsKey(store.keys.prefix);
  const [rows, now] = await Promise.all([
    store.commands.run(redis => redis.zrange(key, '0', '-1', 'WITHSCORES'), {retryForMs: 5000}),
    serverTimeMs(store),
  ]);
  return rows.flatMap((text, i) => {
    if (i % 2 === 1) return [];
    const seenMs = Math.max(0, Math.floor(now) - Number(rows[i + 1]));
    const [id = '', roles = ''] = text.split('|');
    return seenMs > LIVE_MS ? [] : [{id, roles: roles.split(',').filter(role => role !== ''), seenMs}];
  });
}
