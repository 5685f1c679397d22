/** A real redis-server beside the embedded one. If there is none on the PATH the test fails: it is the point of it. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdtemp, rm} from 'node:fs/promises';
import {createServer, type AddressInfo} from 'node:net';
import os from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {RawClient} from './raw-client.js';

export interface RealRedis {
  readonly port: number;
  readonly version: string;
  stop(): Promise<void>;
}

export async function startRealRedis(): Promise<RealRedis> {
  const port = await freePort();
  const dir = await mkdtemp(path.join(os.tmpdir(), 'by-real-redis-'));
  const child = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', dir],
    {stdio: 'ignore'},
  );
  const failed = once(child, 'error').then(([error]) => {
    throw new Error(
      'These tests compare with a real redis-server 7.0: install it (apt-get install redis-server).',
      {
        cause: error,
      },
    );
  });
  const ready = (async () => {
    for (;;) {
      const client = await RawClient.connect(port).catch(() => undefined);
      if (client === undefined) {
        await sleep(10);
        continue;
      }
      const info = await client.send('INFO', 'server');
      client.close();
      return /redis_version:(\S+)/.exec(typeof info === 'string' ? info : '')?.[1] ?? 'unknown';
    }
  })();
  const version = await Promise.race([ready, failed]);
  return {
    port,
    version,
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      await rm(dir, {recursive: true, force: true});
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
