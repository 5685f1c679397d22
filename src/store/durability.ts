/** What survives which loss, by guarantees.md §1: read from the server, and required where the caller says so. */
import type {Durability} from '../config/connection.js';
import {ByError} from '../errors.js';
import type {RedisClient} from './client.js';
import type {ServerFacts} from './store.js';

export interface DurabilityInForce {
  /** 'none': a crash of Redis may lose everything since its last snapshot. */
  readonly level: 'none' | Durability;
  /** Why it is not more. */
  readonly because: string;
  /** What would make it more. */
  readonly fix?: string;
}

/** The level a server's settings give. */
export function durabilityOf(server: ServerFacts): DurabilityInForce {
  if (server.embedded)
    return {
      level: 'none',
      because: 'embedded store: for development and tests, nothing is kept',
      fix: 'Use Redis 7.0 or later, or Valkey, in production.',
    };
  if (!server.aofEnabled)
    return {
      level: 'none',
      because: 'no append-only file: a crash of Redis loses what was not saved',
      fix: 'redis-cli CONFIG SET appendonly yes',
    };
  switch (server.appendFsync) {
    case 'always':
      return server.onlineReplicas > 0
        ? {level: 'D2', because: `every write is synced, ${server.onlineReplicas} online replicas`}
        : {level: 'D1', because: 'every write is synced, no replica is online'};
    case 'no':
      return {
        level: 'none',
        because: 'append-only file without fsync: the operating system decides what is lost',
        fix: 'redis-cli CONFIG SET appendfsync everysec',
      };
    case 'everysec':
      return {
        level: 'D0',
        because: 'append-only file synced every second: a power cut may lose the last ones',
      };
    default:
      return {level: 'D0', because: 'append-only file is on; how often it is synced may not be read'};
  }
}

const RANK = ['none', 'D0', 'D1', 'D2'] as const;

/** @throws {ByError} NOT_DURABLE if the server gives less than required. */
export function requireDurability(server: ServerFacts, required: Durability, address: string): void {
  const inForce = durabilityOf(server);
  if (required === 'D2' && server.clusterNodes > 0) {
    throw new ByError('NOT_DURABLE', 'D2 is required, and can not be promised in a Cluster.', {
      hint: 'Require D1, or use one server with replicas.',
    });
  }
  if (RANK.indexOf(inForce.level) >= RANK.indexOf(required)) return;
  throw new ByError(
    'NOT_DURABLE',
    `${required} is required, and Redis at ${address} gives ${inForce.level}: ${inForce.because}.`,
    {hint: inForce.fix ?? HINTS[required], details: {required, inForce: inForce.level}},
  );
}

const HINTS: Readonly<Record<Durability, string>> = {
  D0: 'Turn the append-only file on: redis-cli CONFIG SET appendonly yes',
  D1: 'Sync every write: redis-cli CONFIG SET appendfsync always',
  D2: 'Sync every write (appendfsync always) and connect a replica.',
};

/**
 * Refuse a server that throws keys away when its memory is full: accepted work would be among them.
 * @throws {ByError} NOT_DURABLE
 */
export function refuseEviction({maxmemoryPolicy}: ServerFacts, address: string): void {
  if (maxmemoryPolicy === '' || maxmemoryPolicy === 'noeviction') return;
  throw new ByError(
    'NOT_DURABLE',
    `Redis at ${address} has maxmemory-policy ${maxmemoryPolicy}: it may delete work to make room.`,
    {hint: 'redis-cli CONFIG SET maxmemory-policy noeviction'},
  );
}

/** Milliseconds a replica gets to acknowledge. */
const REPLICA_MS = 1000;

/**
 * Wait until a replica has what this client wrote before on the same connection.
 * @throws {ByError} NOT_DURABLE if none has in time: what was written stands, and may be lost with this server.
 */
export async function awaitReplica(redis: RedisClient): Promise<void> {
  const acknowledged = await redis.wait(1, REPLICA_MS);
  if (acknowledged > 0) return;
  throw new ByError('NOT_DURABLE', `No replica acknowledged the write within ${REPLICA_MS} ms.`, {
    hint: 'It may have been accepted: send it again with the same message id, which is harmless.',
  });
}
