/**
 * Opens what a connection talks through: one server, or a Cluster if the server turns out to be a node of one. The
 * client library repairs nothing by itself; see connection.ts.
 */
import {Cluster, Redis, type RedisOptions} from 'ioredis';
import {ByError} from '../errors.js';

export type RedisClient = Redis | Cluster;

/** `host:port` of a node. */
export type NodeAddress = string;

export interface ClientRequest {
  /** `redis://` or `rediss://`; its credentials and TLS hold for every node. */
  readonly url: string;
  /** Nodes to ask for the Cluster's map, before the one in the URL. */
  readonly nodes: readonly NodeAddress[];
  /** Skip asking the server what it is: it is a node of a Cluster. */
  readonly isKnownCluster: boolean;
  /** Talk to the server in the URL alone, whatever it belongs to. */
  readonly isPinned: boolean;
  readonly name: string | undefined;
  /** Milliseconds until a connection must stand. */
  readonly connectTimeoutMs: number;
}

export interface OpenClient {
  readonly redis: RedisClient;
  /** Absent for a Cluster, which is a connection to each node. */
  readonly clientId?: number;
}

/** @throws whatever the first cause was: a refused socket, wrong credentials, or the time that ran out. */
export async function openClient(request: ClientRequest): Promise<OpenClient> {
  const within = deadline(request.connectTimeoutMs);
  try {
    if (request.isKnownCluster && !request.isPinned) return {redis: await openCluster(request, within)};
    const {redis, clientId, isCluster} = await openServer(request, within);
    if (!isCluster) return {redis, clientId};
    redis.disconnect();
    return {redis: await openCluster(request, within)};
  } finally {
    within.end();
  }
}

type Deadline = ReturnType<typeof deadline>;

function deadline(ms: number) {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no connection within ${ms} ms`)), ms);
  });
  late.catch(() => undefined);
  return {
    race: <T>(work: Promise<T>): Promise<T> => Promise.race([work, late]),
    end: () => clearTimeout(timer),
  };
}

async function openServer(request: ClientRequest, within: Deadline) {
  const redis = new Redis(request.url, {
    ...nodeOptions(request),
    lazyConnect: true,
    enableOfflineQueue: false,
    retryStrategy: () => null,
  });
  // The first cause is the useful one; later events only say that the connection closed.
  let cause: unknown;
  redis.on('error', (error: unknown) => (cause ??= error));
  try {
    await within.race(redis.connect());
    const [clientId, isCluster] = await within.race(
      Promise.all([redis.client('ID'), request.isPinned ? false : isClusterNode(redis)]),
    );
    return {redis, clientId, isCluster};
  } catch (error) {
    redis.disconnect();
    throw cause ?? error;
  }
}

async function isClusterNode(redis: Redis): Promise<boolean> {
  try {
    return /^cluster_enabled:1\r?$/m.test(await redis.info('cluster'));
  } catch {
    // A user without INFO: if it is a Cluster after all, the first key on another node says so.
    return false;
  }
}

async function openCluster(request: ClientRequest, within: Deadline): Promise<Cluster> {
  const {hostname, port, username, password, protocol} = new URL(request.url);
  const nodes = [...new Set([...request.nodes, `${hostname || '127.0.0.1'}:${port || '6379'}`])];
  const cluster = new Cluster(nodes.map(parseNode), {
    lazyConnect: true,
    clusterRetryStrategy: () => null,
    // Nodes are connected to when they are first needed: what comes before that waits, under its own deadline.
    enableOfflineQueue: true,
    // A Cluster with a hole still serves the rest; whoever asks for the hole is told so.
    enableReadyCheck: false,
    slotsRefreshTimeout: request.connectTimeoutMs,
    // The library would send a command again after its reply was lost.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    redisOptions: {
      ...nodeOptions(request),
      ...(username === '' ? {} : {username: decodeURIComponent(username)}),
      ...(password === '' ? {} : {password: decodeURIComponent(password)}),
      ...(protocol === 'rediss:' ? {tls: {}} : {}),
    },
  });
  let cause: unknown;
  cluster.on('error', (error: unknown) => (cause ??= error));
  cluster.on('node error', (error: unknown) => (cause ??= error));
  try {
    await within.race(cluster.connect());
    return cluster;
  } catch (error) {
    cluster.disconnect();
    throw cause ?? error;
  }
}

/** @throws {ByError} INVALID_CONFIG */
export function parseNode(node: NodeAddress): {host: string; port: number} {
  const at = node.lastIndexOf(':');
  const port = Number(node.slice(at + 1));
  const host = node.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  if (at <= 0 || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new ByError('INVALID_CONFIG', `"${node}" is no address of a server.`, {
      hint: 'Name nodes and Sentinels as host:port, separated by commas.',
    });
  }
  return {host, port};
}

function nodeOptions({name, connectTimeoutMs}: ClientRequest) {
  return {
    connectTimeout: connectTimeoutMs,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableAutoPipelining: false,
    ...(name === undefined ? {} : {connectionName: name}),
  } satisfies RedisOptions;
}
