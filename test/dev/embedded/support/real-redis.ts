/** A real redis-server beside the embedded one. If there is none on the PATH the test fails: it is the point of it. */
import {startRedisServer} from '../../../support/redis-server.js';
import {RawClient} from './raw-client.js';

export interface RealRedis {
  readonly port: number;
  readonly version: string;
  stop(): Promise<void>;
}

export async function startRealRedis(): Promise<RealRedis> {
  const server = await startRedisServer().catch((cause: unknown) => {
    throw new Error(
      'These tests compare with a real redis-server 7.0: install it (apt-get install redis-server).',
      {cause},
    );
  });
  const client = await RawClient.connect(server.port);
  const info = await client.send('INFO', 'server');
  client.close();
  const version = /redis_version:(\S+)/.exec(typeof info === 'string' ? info : '')?.[1] ?? 'unknown';
  return {port: server.port, version, stop: () => server.stop()};
}
