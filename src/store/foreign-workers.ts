/** What foreign workers let us see of themselves: their leases, and the counters Python's workers keep (spec §5.7). */
import {integerOf} from '../protocol/fields.js';
import {isObject, parseUntrusted} from '../protocol/limits.js';
import type {Store} from './store.js';

/** Executions of a worker that are looked at, newest first. */
const NEWEST = 20;

export interface ForeignFailure {
  readonly executionId: string;
  readonly errorCode: string;
  readonly agentType: string;
  /** Unix milliseconds by the worker's clock; 0 if unknown. */
  readonly finishedAt: number;
}

export interface ForeignWork {
  /** Executions it has; undefined where it does not say. */
  readonly active: number | undefined;
  /** Its newest executions that failed with a code. */
  readonly failures: readonly ForeignFailure[];
}

export async function foreignWork(store: Store, workerId: string): Promise<ForeignWork> {
  const {keys} = store;
  const [active, ids] = await store.commands.run(
    redis =>
      Promise.all([
        redis.hget(keys.workerStatus(workerId), 'active_count'),
        redis.zrevrange(keys.workerExecutions(workerId), 0, NEWEST - 1),
      ]),
    {retryForMs: 5000},
  );
  const snapshots =
    ids.length === 0
      ? []
      : await store.commands.run(redis => redis.hmget(keys.workerHistorySnapshots(workerId), ...ids), {
          retryForMs: 5000,
        });
  return {
    active: active === null ? undefined : Math.max(0, integerOf(active, 0)),
    failures: snapshots.flatMap(text => failureIn(text) ?? []),
  };
}

function failureIn(text: string | null): ForeignFailure | undefined {
  let doc: unknown;
  try {
    doc = text === null ? undefined : parseUntrusted(text);
  } catch {
    // What can not be read says nothing about quotas.
    return undefined;
  }
  if (!isObject(doc)) return undefined;
  const {status, error_code: code, execution_id: id, target_agent_type: type} = doc;
  if (typeof status !== 'string' || !/^failed(:|$)/i.test(status)) return undefined;
  if (typeof id !== 'string' || id === '') return undefined;
  if (typeof code !== 'string' && typeof code !== 'number') return undefined;
  return {
    executionId: id,
    errorCode: String(code),
    agentType: typeof type === 'string' ? type : '',
    finishedAt: integerOf(doc['finished_at'], 0),
  };
}
