/** What a program holds while it talks to one deployment: its connections and its key names. */
import {createKeys, type Keys, type KeySchema} from '../protocol/keys.js';
import type {UnreadableRecords} from '../protocol/routing.js';
import {ByError} from '../errors.js';
import {Cluster, type Redis} from 'ioredis';
import type {DepthLimits, Durability, SentinelSettings} from '../config/connection.js';
import {requireDurability} from './durability.js';
import {addressOf, Connection, type ConnectionOptions} from './connection.js';
import {leaderOf} from './sentinel.js';

export interface StoreOptions {
  /** `redis://` or `rediss://`. May hold a password: never print it. */
  readonly url: string;
  /** Key layout. Default `v2` when `clusterNodes` are named, else `v1`. A Cluster needs `v2`. */
  readonly keySchema?: KeySchema;
  /**
   * Nodes of a Cluster as `host:port`, of which one must answer. Not needed: a URL that leads to a node of a Cluster
   * is enough, while that node lives.
   */
  readonly clusterNodes?: readonly string[];
  /** Who knows which server leads; the host in the URL is then not used, its user, password and database are. */
  readonly sentinel?: SentinelSettings;
  /** Put in front of every key; tests share one server with it. Default none. */
  readonly prefix?: string;
  /** Shown by CLIENT LIST. */
  readonly name?: string;
  /** Milliseconds a command may take. Default 5,000. */
  readonly commandTimeoutMs?: number;
  /** What a send must survive before it counts as accepted; less is refused. Default: whatever the server gives. */
  readonly durability?: Durability;
  /** How much may wait before a send is refused with QUEUE_FULL, and how many dead letters are kept. */
  readonly limits?: Partial<DepthLimits>;
  /** What circuits and quotas that can not be read do. Default `allow`: they are ignored, as by every SDK. */
  readonly unreadableRecords?: UnreadableRecords;
}

export interface Store {
  /** What it was opened with; holds what the URL holds. For opening another to the same keys. */
  readonly options: StoreOptions;
  readonly keys: Keys;
  /** For commands that answer at once. */
  readonly commands: Connection;
  /** A connection of its own for blocking reads of one key (in a Cluster, to its node); the caller closes it. */
  blocking(name: string, key: string): Connection;
  readonly durability: Durability | undefined;
  readonly limits: DepthLimits;
  readonly unreadableRecords: UnreadableRecords;
  /** `host:port`, of a Cluster several; for people. */
  readonly address: string;
  close(): void;
}

/** Connects with the first command, so opening never fails and costs nothing. */
export function openStore(options: StoreOptions): Store {
  const {url, commandTimeoutMs, clusterNodes = [], sentinel} = options;
  const leader = sentinel && (() => leaderOf(sentinel));
  const schema = options.keySchema ?? (clusterNodes.length > 0 ? 'v2' : 'v1');
  const open = new Set<Connection>();
  const connect = (name: string, locate?: ConnectionOptions['locate']) => {
    const connection = new Connection({
      url,
      clusterNodes,
      name: `${options.name ?? 'by'}:${name}`,
      ...(schema === 'v2'
        ? {}
        : {refusesCluster: 'Use key schema v2 with it: --key-schema v2 or REDIS_KEY_SCHEMA_VERSION=v2.'}),
      ...(commandTimeoutMs === undefined ? {} : {commandTimeoutMs}),
      ...(locate ? {locate} : {}),
    });
    open.add(connection);
    return connection;
  };
  const commands = connect('commands', leader);
  return {
    options,
    keys: createKeys({schema, prefix: options.prefix ?? ''}),
    commands,
    blocking: (name, key) => connect(name, leader ?? (() => commands.nodeOf(key))),
    durability: options.durability,
    limits: {perAgentType: 1_000_000, perUser: 0, deadLetters: 100_000, ...options.limits},
    unreadableRecords: options.unreadableRecords ?? 'allow',
    address: sentinel ? `${sentinel.master} of ${sentinel.nodes.join(', ')}` : addressOf({url, clusterNodes}),
    close: () => {
      for (const connection of open) connection.close();
      open.clear();
    },
  };
}

/** Oldest server we speak to: architecture.md §9. */
const MINIMUM_MAJOR = 7;

export interface ServerFacts {
  readonly version: string;
  /** `by dev`'s own store: for development and tests. */
  readonly embedded: boolean;
  /** Servers that hold a part of the keys; 0 if this is one server that holds all. */
  readonly clusterNodes: number;
  readonly maxmemoryPolicy: string;
  readonly aofEnabled: boolean;
  /** '' if this user may not ask. */
  readonly appendFsync: string;
  readonly onlineReplicas: number;
}

/**
 * Ask the server what it is.
 * @throws {ByError} REDIS_TOO_OLD for a server before 7.0, KEY_SCHEMA for a Cluster under key schema v1, NOT_DURABLE if the
 *   store requires more than the server gives.
 */
export async function checkServer(store: Store): Promise<ServerFacts> {
  const info = await store.commands.run(redis => redis.info(), {retryForMs: 0});
  const field = (name: string) => new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim() ?? '';
  const version = field('valkey_version') || field('redis_version');
  const major = Number.parseInt(version, 10);
  if (major < MINIMUM_MAJOR) {
    throw new ByError(
      'REDIS_TOO_OLD',
      `Redis at ${store.address} is version ${version}; ${MINIMUM_MAJOR}.0 or later is needed.`,
      {
        hint: 'Upgrade the server, or name another one with --redis-url.',
      },
    );
  }
  const aofEnabled = field('aof_enabled') === '1';
  const facts: ServerFacts = {
    version,
    embedded: field('by_embedded') === '1',
    clusterNodes: await store.commands.run(redis =>
      Promise.resolve(redis instanceof Cluster ? redis.nodes('master').length : 0),
    ),
    maxmemoryPolicy: field('maxmemory_policy'),
    aofEnabled,
    appendFsync: aofEnabled ? await appendFsync(store) : '',
    onlineReplicas: (info.match(/^slave\d+:.*state=online/gm) ?? []).length,
  };
  if (store.durability !== undefined) requireDurability(facts, store.durability, store.address);
  return facts;
}

async function appendFsync(store: Store): Promise<string> {
  try {
    const [, value = ''] = (await store.commands.run(redis =>
      redis.call('CONFIG', 'GET', 'appendfsync'),
    )) as string[];
    return value;
  } catch (error) {
    // Managed servers and users of small rights may not ask.
    if (error instanceof ByError && error.retryable) throw error;
    return '';
  }
}

/** The server's clock, Unix milliseconds. */
export async function serverTimeMs(store: Store): Promise<number> {
  const [seconds, micros] = await store.commands.run(redis => redis.time(), {retryForMs: 2000});
  return Number(seconds) * 1000 + Number(micros) / 1000;
}

/** The same in whole milliseconds: times that are kept are whole. */
export const serverNowMs = async (store: Store): Promise<number> => Math.floor(await serverTimeMs(store));

/** The values of several strings, in order. One command on a single server, one for each key in a Cluster. */
export async function getAll(store: Store, keys: readonly string[]): Promise<(string | null)[]> {
  if (keys.length === 0) return [];
  return store.commands.run(
    redis => (redis instanceof Cluster ? Promise.all(keys.map(key => redis.get(key))) : redis.mget(...keys)),
    {retryForMs: 5000},
  );
}

/** The same for keys of which each group is in one slot: a Cluster takes one command for each group. */
export async function getAllBySlot(
  store: Store,
  groups: readonly (readonly string[])[],
): Promise<(string | null)[]> {
  return store.commands.run(
    async redis =>
      redis instanceof Cluster
        ? (await Promise.all(groups.map(keys => redis.mget(...keys)))).flat()
        : redis.mget(...groups.flat()),
    {retryForMs: 5000},
  );
}

/**
 * Keys that match a glob pattern, each once, for operators' commands: the server walks all its keys.
 * @param limit most keys to look at on each server, roughly. Default all.
 */
export async function scanKeys(store: Store, pattern: string, limit = Infinity): Promise<string[]> {
  return [...(await walkKeys(store, pattern, limit)).keys];
}

/** As {@link scanKeys}, and whether all keys were looked at. */
export async function walkKeys(
  store: Store,
  pattern: string,
  limit: number,
): Promise<{readonly keys: ReadonlySet<string>; readonly isComplete: boolean}> {
  const found = new Set<string>();
  let isComplete = true;
  const servers = await store.commands.run((redis): Promise<Redis[]> =>
    Promise.resolve(redis instanceof Cluster ? redis.nodes('master') : [redis]),
  );
  for (const server of servers) {
    let cursor = '0';
    let looked = 0;
    do {
      const from = cursor;
      const [next, keys] = await store.commands.run(() => server.scan(from, 'MATCH', pattern, 'COUNT', 1000));
      for (const key of keys) found.add(key);
      cursor = next;
      looked += 1000;
    } while (cursor !== '0' && looked < limit);
    if (cursor !== '0') isComplete = false;
  }
  return {keys: found, isComplete};
}

/** Whether keys of either schema are among the first few thousand. A hint for people, not a proof. */
export async function keysOfBothSchemas(store: Store): Promise<{readonly v1: boolean; readonly v2: boolean}> {
  const prefix = 'byai_gateway:';
  const keys = await scanKeys(store, `${prefix}*`, 5000);
  const isV2 = (key: string) => key.startsWith(`${prefix}v2:`);
  return {v1: !keys.every(isV2), v2: keys.some(isV2)};
}
