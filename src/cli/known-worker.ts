/** Worker ids as arguments of what changes something: a misspelt one must not look as if it had been done. */
import {ByError} from '../errors.js';
import type {Store} from '../store/store.js';
import {isKnownWorker, managedWorkers} from '../store/worker-admin.js';
import {suggest} from './suggest.js';

/** @throws {ByError} NOT_FOUND, with the nearest name, where nothing speaks of such a worker. */
export async function requireKnownWorker(store: Store, workerId: string): Promise<void> {
  if (await isKnownWorker(store, workerId)) return;
  const near = suggest(workerId, await managedWorkers(store));
  throw new ByError('NOT_FOUND', `There is no worker "${workerId}".`, {
    hint: near === null ? 'See who is there with `by worker list`.' : `Did you mean "${near}"?`,
    next: ['by worker list'],
  });
}
