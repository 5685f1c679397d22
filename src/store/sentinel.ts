/** Which server leads: asked of Sentinels for every new connection, because that changes. */
import {Redis} from 'ioredis';
import type {SentinelSettings} from '../config/connection.js';
import {ByError, messageOf} from '../errors.js';
import {parseNode, type NodeAddress} from './client.js';

/** Milliseconds one Sentinel gets: another one knows too. */
const ANSWER_MS = 1000;

/**
 * @returns the server the Sentinels hold for the leader now.
 * @throws {ByError} REDIS_UNREACHABLE if none of them answers, or none knows the name.
 */
export async function leaderOf({nodes, master, password}: SentinelSettings): Promise<NodeAddress> {
  const troubles: string[] = [];
  for (const node of nodes) {
    try {
      const leader = await ask(node, master, password);
      if (leader !== undefined) return leader;
      troubles.push(`${node} does not know "${master}"`);
    } catch (error) {
      if (error instanceof ByError) throw error;
      troubles.push(`${node}: ${messageOf(error)}`);
    }
  }
  throw new ByError(
    'REDIS_UNREACHABLE',
    `No Sentinel says who leads: ${troubles.join('; ').slice(0, 500)}.`,
    {
      hint: 'Check BY_SENTINELS and BY_SENTINEL_MASTER.',
    },
  );
}

async function ask(
  node: NodeAddress,
  master: string,
  password: string | undefined,
): Promise<NodeAddress | undefined> {
  const sentinel = new Redis({
    ...parseNode(node),
    ...(password === undefined ? {} : {password}),
    lazyConnect: true,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: ANSWER_MS,
    commandTimeout: ANSWER_MS,
  });
  let cause: unknown;
  sentinel.on('error', (error: unknown) => (cause ??= error));
  try {
    await sentinel.connect();
    const answer: unknown = await sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master);
    if (!Array.isArray(answer)) return undefined;
    const [host, port] = answer as unknown[];
    return `${String(host)}:${String(port)}`;
  } catch (error) {
    throw cause ?? error;
  } finally {
    sentinel.disconnect();
  }
}
