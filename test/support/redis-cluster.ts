/** A Cluster of three redis-servers on the loopback, each with a third of the slots. */
import {Redis} from 'ioredis';
import {freePort, PortTaken, startRedisServer, type RedisServer} from './redis-server.js';

/** Starts one redis-server with these extra arguments. */
export type StartServer = (extra: readonly string[]) => Promise<RedisServer>;

export interface RedisCluster {
  /** Of the first node. */
  readonly url: string;
  readonly nodes: readonly RedisServer[];
  readonly nodeTimeoutMs: number;
  stop(): Promise<void>;
}

const SLOTS = 16_384;
/** Longer than a busy machine keeps a node from answering: one that is thought to be gone fails whoever uses the Cluster. */
const NODE_TIMEOUT_MS = 15_000;

/** @param options.nodeTimeoutMs after how long a silent node is gone, for tests in which a replica takes over. */
export async function startRedisCluster(
  startServer: StartServer = startRedisServer,
  {nodeTimeoutMs = NODE_TIMEOUT_MS}: {readonly nodeTimeoutMs?: number} = {},
): Promise<RedisCluster> {
  const size = 3;
  const nodes = await Promise.all(Array.from({length: size}, () => startNode(startServer, nodeTimeoutMs)));
  const stop = async () => {
    await Promise.all(nodes.map(node => node.server.stop()));
  };
  const clients = nodes.map(({server}) => new Redis(server.url));
  try {
    await Promise.all(
      clients.map((client, i) =>
        client.cluster(
          'ADDSLOTSRANGE',
          Math.floor((i * SLOTS) / size),
          Math.floor(((i + 1) * SLOTS) / size) - 1,
        ),
      ),
    );
    // Greater epochs than the nodes give themselves: without this two of them may argue about the same one.
    await Promise.all(clients.map((client, i) => client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1))));
    const [first] = clients;
    for (const {server, busPort} of nodes.slice(1))
      await first?.call('CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(busPort));
    for (const client of clients) await isWhole(client, size);
  } catch (error) {
    await stop();
    throw error;
  } finally {
    for (const client of clients) client.disconnect();
  }
  return {url: nodes[0]?.server.url ?? '', nodes: nodes.map(({server}) => server), nodeTimeoutMs, stop};
}

/** One more node, which copies the first and takes over when that is gone. @returns once it has caught up. */
export async function addReplica({nodes, nodeTimeoutMs}: RedisCluster): Promise<RedisServer> {
  const [first] = nodes;
  if (first === undefined) throw new Error('a Cluster without nodes');
  const {server} = await startNode(startRedisServer, nodeTimeoutMs);
  const client = new Redis(server.url);
  const leader = new Redis(first.url);
  try {
    const busPort =
      /@(\d+)/.exec(
        String(await leader.cluster('NODES'))
          .split('\n')
          .find(line => line.includes('myself')) ?? '',
      )?.[1] ?? '';
    await client.call('CLUSTER', 'MEET', '127.0.0.1', String(first.port), busPort);
    await isWhole(client, nodes.length + 1);
    await isWhole(leader, nodes.length + 1);
    await client.call('CLUSTER', 'REPLICATE', String(await leader.call('CLUSTER', 'MYID')));
    while (!(await client.info('replication')).includes('master_link_status:up'))
      await new Promise(resolve => setTimeout(resolve, 20));
    return server;
  } finally {
    client.disconnect();
    leader.disconnect();
  }
}

async function startNode(
  startServer: StartServer,
  nodeTimeoutMs: number,
): Promise<{server: RedisServer; busPort: number}> {
  for (;;) {
    const busPort = await freePort();
    try {
      const server = await startServer([
        ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort)],
        ...['--cluster-node-timeout', String(nodeTimeoutMs), '--cluster-replica-validity-factor', '0'],
      ]);
      return {server, busPort};
    } catch (error) {
      // Nobody kept it either: another node may have been faster.
      if (!(error instanceof PortTaken)) throw error;
    }
  }
}

async function isWhole(client: Redis, size: number): Promise<void> {
  for (;;) {
    const info = await client.cluster('INFO');
    if (info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${size}`)) return;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}
