/** The backend that settings name. */
import type {HistorySettings} from '../config/history.js';
import type {Store} from '../store/store.js';
import type {HistoryBackend} from './backend.js';
import {memoryHistory} from './memory.js';

/**
 * @param store the server of the sessions; stays open.
 * @returns undefined if there is to be no history.
 */
export async function openHistory(
  settings: HistorySettings,
  store: Store,
): Promise<HistoryBackend | undefined> {
  switch (settings.backend) {
    case 'off':
      return undefined;
    case 'memory':
      return memoryHistory();
    case 'redis':
      return (await import('./redis.js')).redisHistory(store);
    case 'postgres':
      return (await import('./postgres.js')).postgresHistory({url: settings.url});
  }
}
