/** The quick way to run agents as a process: connection from the environment, signals handled, ends when told to. */
import {connectionFromEnv, historyFromEnv} from '../config/load.js';
import {ByError} from '../errors.js';
import {openHistory} from '../history/open.js';
import {startWorker, type WorkerEnd, type WorkerOptions} from './runner.js';

export interface RunWorkerOptions extends WorkerOptions {
  /** Default: BY_REDIS_URL and the SDKs' variables, else localhost. */
  readonly redisUrl?: string;
  readonly keySchema?: 'v1' | 'v2';
}

/**
 * As {@link startWorker}, with history where the environment says (BY_HISTORY, BY_HISTORY_URL), else in memory.
 * Run until SIGTERM or SIGINT (the first drains, the second hands back at once), eviction, or a lost lease.
 * @throws {ByError} as startWorker; LEASE_LOST when another process took the worker id.
 */
export async function runWorker(options: RunWorkerOptions): Promise<WorkerEnd> {
  const {redisUrl, keySchema, ...worker} = options;
  const settings = connectionFromEnv({flagUrl: redisUrl, flagKeySchema: keySchema});
  const opened = worker.history === undefined ? await openHistory(historyFromEnv(), settings) : undefined;
  const history = worker.history ?? opened ?? false;
  const handle = await startWorker({...settings, name: 'by-worker'}, {...worker, history});
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
    await opened?.close();
  }
}
