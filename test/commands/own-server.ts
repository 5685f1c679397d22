/** A Redis server for one file of tests or one suite, and a store on it. */
import {afterAll, beforeAll} from 'vitest';
import {openStore, type Store} from '../../src/store/store.js';
import {startRedisServer} from '../support/redis-server.js';

/** Started before the tests of whoever calls it, and stopped after them. */
export function ownServer(): {readonly url: string; readonly store: Store} {
  let server: Awaited<ReturnType<typeof startRedisServer>>;
  let store: Store;
  beforeAll(async () => {
    server = await startRedisServer();
    store = openStore({url: server.url});
  });
  afterAll(async () => {
    store.close();
    await server.stop();
  });
  return {
    get url() {
      return server.url;
    },
    get store() {
      return store;
    },
  };
}
