/** The backend that settings name. */
import type {HistorySettings} from '../config/history.js';
import {openStore, type StoreOptions} from '../store/store.js';
import type {HistoryBackend} from './backend.js';
import {memoryHistory} from './memory.js';

/**
 * Connects with the first call. Close it after the last.
 * @param redis the server of the sessions.
 * @returns undefined if there is to be no history.
 * @throws {ByError} INVALID_CONFIG if what the backend needs is not installed.
 */
export async function openHistory(
  settings: HistorySettings,
  redis: StoreOptions,
): Promise<HistoryBackend | undefined> {
  switch (settings.backend) {
    case 'off':
      return undefined;
    case 'memory':
      return memoryHistory();
    case 'redis': {
      const {redisHistory} = await import('./redis.js');
      const store = openStore({...redis, name: 'by-history'});
      return {...redisHistory(store), close: async () => store.close()};
    }
    case 'postgres': {
      const [{postgresHistory}, {requirePg}] = await Promise.all([
        import('./postgres.js'),
        import('./open-postgres.js'),
      ]);
      await requirePg();
      return postgresHistory({url: settings.url});
    }
  }
}
