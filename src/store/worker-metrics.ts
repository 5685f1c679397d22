/** What workers say of the executions they ended. */
import {readWorkerMetrics, type WorkerMetrics} from '../protocol/worker-metrics.js';
import {getAll, type Store} from './store.js';

/** Longer than a worker is silent, and not much: who is gone is not to be counted. */
const TTL_S = 120;

export async function publishWorkerMetrics(store: Store, metrics: WorkerMetrics): Promise<void> {
  const key = store.keys.workerMetrics(metrics.worker_id);
  await store.commands.run(redis => redis.set(key, JSON.stringify(metrics), 'EX', TTL_S));
}

export async function dropWorkerMetrics(store: Store, workerId: string): Promise<void> {
  await store.commands.run(redis => redis.del(store.keys.workerMetrics(workerId)), {retryForMs: 1000});
}

/** Of those of the workers that say something: workers of other SDKs say nothing. */
export async function workerMetrics(store: Store, workerIds: readonly string[]): Promise<WorkerMetrics[]> {
  const texts = await getAll(
    store,
    workerIds.map(id => store.keys.workerMetrics(id)),
  );
  return texts.flatMap(text => (text === null ? [] : (readWorkerMetrics(text) ?? [])));
}
