/** The quick way to run agents as a process: connection from the environment, signals handled, ends when told to. */
import {connectionFromEnv, historyFromEnv, workerHealthFromEnv} from '../config/load.js';
import {ByError} from '../errors.js';
import type {HistoryBackend} from '../history/backend.js';
import {openHistory} from '../history/open.js';
import {parseHealthAddress, startHealthServer} from '../observe/health-server.js';
import {WorkersWatch} from '../observe/worker-health.js';
import {startWorker, type WorkerEnd, type WorkerHandle, type WorkerOptions} from './runner.js';

export interface RunWorkerOptions extends WorkerOptions {
  /** Default: BY_REDIS_URL and the SDKs' variables, else localhost. */
  readonly redisUrl?: string;
  readonly keySchema?: 'v1' | 'v2';
}

/**
 * As {@link startWorker}, with history where the environment says (BY_HISTORY, BY_HISTORY_URL), else in memory.
 * With BYAI_WORKER_HEALTH_PORT it answers `/healthz`, `/readyz` and `/metrics` there, to this machine only.
 *
 * Run until SIGTERM or SIGINT (the first drains, the second hands back at once), eviction, or a lost lease.
 * @throws {ByError} as startWorker; LEASE_LOST when another process took the worker id.
 */
export async function runWorker(options: RunWorkerOptions): Promise<WorkerEnd> {
  const {redisUrl, keySchema, ...worker} = options;
  const settings = connectionFromEnv({flagUrl: redisUrl, flagKeySchema: keySchema});
  const port = workerHealthFromEnv();
  const watch = new WorkersWatch(1, worker.metrics);
  const server = port === undefined ? undefined : await startHealthServer(parseHealthAddress(port), watch);
  let opened: HistoryBackend | undefined;
  try {
    if (worker.history === undefined) opened = await openHistory(historyFromEnv(), settings);
    const history = worker.history ?? opened ?? false;
    const watched = server === undefined ? {} : {watch: watch.add()};
    return await untilTold(
      await startWorker({...settings, name: 'by-worker'}, {...watched, ...worker, history}),
    );
  } finally {
    await opened?.close();
    await server?.close();
  }
}

async function untilTold(handle: WorkerHandle): Promise<WorkerEnd> {
  let signals = 0;
  const onSignal = () => void handle.stop(++signals > 1 ? {drainMs: 0} : {});
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  try {
    const end = await handle.done;
    if (end === 'lease-lost' || end === 'deaf') {
      throw new ByError('LEASE_LOST', `Worker "${handle.workerId}" lost its lease.`, {
        hint: 'Start it again; if it happens often, see whether its event loop is blocked for long.',
      });
    }
    return end;
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
  }
}
