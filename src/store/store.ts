/** What a program holds while it talks to one deployment: its connections and its key names. */
import {createKeys, type Keys, type KeySchema} from '../protocol/keys.js';
import {ByError} from '../errors.js';
import {Connection, hostOf} from './connection.js';

export interface StoreOptions {
  /** `redis://` or `rediss://`. May hold a password: never print it. */
  readonly url: string;
  /** Key layout. Default `v1`. */
  readonly keySchema?: KeySchema;
  /** Put in front of every key; tests share one server with it. Default none. */
  readonly prefix?: string;
  /** Shown by CLIENT LIST. */
  readonly name?: string;
  /** Milliseconds a command may take. Default 5,000. */
  readonly commandTimeoutMs?: number;
}

export interface Store {
  readonly keys: Keys;
  /** For commands that answer at once. */
  readonly commands: Connection;
  /** A connection of its own for blocking reads; the caller closes it. */
  blocking(name: string): Connection;
  /** `host:port`, for people. */
  readonly address: string;
  close(): void;
}

/** Connects with the first command, so opening never fails and costs nothing. */
export function openStore(options: StoreOptions): Store {
  const {url, commandTimeoutMs} = options;
  const timeouts = commandTimeoutMs === undefined ? {} : {commandTimeoutMs};
  const open = new Set<Connection>();
  const connect = (name: string) => {
    const connection = new Connection({url, name: `${options.name ?? 'by'}:${name}`, ...timeouts});
    open.add(connection);
    return connection;
  };
  return {
    keys: createKeys({schema: options.keySchema ?? 'v1', prefix: options.prefix ?? ''}),
    commands: connect('commands'),
    blocking: connect,
    address: hostOf(url),
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
  readonly mode: string;
  readonly maxmemoryPolicy: string;
  readonly aofEnabled: boolean;
}

/**
 * Ask the server what it is.
 * @throws {ByError} REDIS_TOO_OLD for a server before 7.0, KEY_SCHEMA for a Cluster node.
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
  const mode = field('redis_mode') || field('server_mode');
  if (mode === 'cluster') {
    throw new ByError(
      'KEY_SCHEMA',
      `Redis at ${store.address} is a Cluster node, which this version does not speak to.`,
      {
        hint: 'Use a single server (or Sentinel master) with --redis-url.',
      },
    );
  }
  return {
    version,
    embedded: field('by_embedded') === '1',
    mode,
    maxmemoryPolicy: field('maxmemory_policy'),
    aofEnabled: field('aof_enabled') === '1',
  };
}

/** The server's clock, Unix milliseconds. */
export async function serverTimeMs(store: Store): Promise<number> {
  const [seconds, micros] = await store.commands.run(redis => redis.time(), {retryForMs: 2000});
  return Number(seconds) * 1000 + Number(micros) / 1000;
}

/** Whether keys of either schema are among the first few thousand. A hint for people, not a proof. */
export async function keysOfBothSchemas(store: Store): Promise<{readonly v1: boolean; readonly v2: boolean}> {
  const prefix = 'byai_gateway:';
  let cursor = '0';
  let v1 = false;
  let v2 = false;
  for (let page = 0; page < 5; page++) {
    const [next, found] = await store.commands.run(redis =>
      redis.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', 1000),
    );
    for (const key of found) {
      if (key.startsWith(`${prefix}v2:`)) v2 = true;
      else v1 = true;
    }
    cursor = next;
    if (cursor === '0') break;
  }
  return {v1, v2};
}
