/**
 * One suite on every store: a real server, the embedded one, and a Cluster of three nodes under key schema v2. Each
 * test has a prefix of its own.
 */
import {randomBytes} from 'node:crypto';
import {Cluster, Redis} from 'ioredis';
import {afterAll, afterEach, beforeAll, describe, expect, inject} from 'vitest';
import type {EmbeddedStore} from '../../src/dev/embedded/start.js';
import {openStore, type Store, type StoreOptions} from '../../src/store/store.js';
import {brokenRules, deleteKeys, type Exception} from './keyspace.js';
import {openByRole, roleUrl} from './roles.js';

export interface TestStore {
  /** A store under a prefix nobody else uses; closed after the test. */
  open(): Store;
  /** The server's address; with the credentials of the role, where roles are in use. */
  url(role?: 'client' | 'worker' | 'manager'): string;
  /** A plain client, to look behind the scenes; closed after the test. Of a Cluster, it serves all keys. */
  redis(): Redis;
  readonly kind: 'redis' | 'embedded' | 'cluster';
  /** Undone after the test, last first. */
  cleanup(act: () => unknown): void;
  /**
   * After each test, once everything is undone, the keys of its stores must keep the rules of key-rules.ts. This test
   * breaks some: it writes keys of these names by hand, or kills workers (`dead-workers`).
   */
  breaksRules(...exceptions: readonly Exception[]): void;
}

export function describeEachStore(name: string, suite: (store: TestStore) => void): void {
  describeEachServer(name, suite);
  describeCluster(name, suite);
}

/** On the stores that are one server: for faults between a client and its server, and what only one script can do. */
export function describeEachServer(name: string, suite: (store: TestStore) => void): void {
  describe(`${name} (redis-server)`, () => suite(harness('redis', () => inject('redisUrl'))));
  if (inject('hasRoles')) return;
  describe(`${name} (embedded)`, () => {
    let embedded: EmbeddedStore | undefined;
    beforeAll(async () => {
      const {startEmbeddedStore} = await import('../../src/dev/embedded/start.js');
      embedded = await startEmbeddedStore();
    });
    afterAll(async () => embedded?.close());
    suite(harness('embedded', () => embedded?.url ?? ''));
  });
}

export function describeCluster(name: string, suite: (store: TestStore) => void): void {
  if (inject('hasRoles')) return;
  describe(`${name} (cluster)`, () => suite(harness('cluster', () => inject('clusterUrl'))));
}

/** The same for suites about a real server's own behaviour. */
export function describeRedis(name: string, suite: (store: TestStore) => void): void {
  describe(name, () => suite(harness('redis', () => inject('redisUrl'))));
}

function harness(kind: TestStore['kind'], url: () => string): TestStore {
  let cleanups: (() => unknown)[] = [];
  let prefixes: string[] = [];
  let exceptions = new Set<Exception>();
  const optionsOf = (prefix: string): StoreOptions => ({
    ...{url: url(), prefix, name: 'test', keySchema: kind === 'cluster' ? 'v2' : 'v1'},
    // A server that is slow because the machine is busy has not failed.
    commandTimeoutMs: 30_000,
  });
  afterEach(async ({task}) => {
    const acts = cleanups.reverse();
    const opened = prefixes;
    const allowed = exceptions;
    [cleanups, prefixes, exceptions] = [[], [], new Set()];
    for (const act of acts) await act();
    const broken: string[] = [];
    for (const prefix of opened) {
      const store = openStore(optionsOf(prefix));
      broken.push(...(await brokenRules(store, allowed)));
      await deleteKeys(store);
      store.close();
    }
    // What a failed test left says nothing new.
    if (task.result?.state !== 'fail') expect(broken).toEqual([]);
  });
  return {
    kind,
    url: role => (role !== undefined && inject('hasRoles') ? roleUrl(url(), role) : url()),
    open() {
      const prefix = `t:${randomBytes(6).toString('hex')}:`;
      prefixes.push(prefix);
      const options = optionsOf(prefix);
      const store = inject('hasRoles') ? openByRole(options) : openStore(options);
      cleanups.push(() => store.close());
      return store;
    },
    redis() {
      const redis = kind === 'cluster' ? asRedis(new Cluster([url()])) : new Redis(url());
      cleanups.push(() => redis.disconnect());
      return redis;
    },
    cleanup: act => void cleanups.push(act),
    breaksRules: (...rules) => rules.forEach(rule => exceptions.add(rule)),
  };
}

/** The commands are the same; what differs, the tests do not use. */
const asRedis = (cluster: Cluster): Redis => cluster as unknown as Redis;

/** Waits until a condition holds, however long the machine takes; the test's own timeout is the end. */
export async function until<T>(
  what: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  for (;;) {
    const value = await what();
    if (value !== undefined && value !== false) return value;
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
