/** A private redis-server for tests: loopback, a free port, a temporary folder, stopped by whoever started it. */
import {spawn} from 'node:child_process';
import {mkdtemp, rm} from 'node:fs/promises';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Redis} from 'ioredis';

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** @throws if no redis-server is on the PATH: tests must not pass by not running. */
export async function startRedisServer(extra: readonly string[] = []): Promise<RedisServer> {
  const dir = await mkdtemp(join(tmpdir(), 'by-redis-'));
  const port = await freePort();
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    dir,
    '--save',
    '',
    '--appendonly',
    'no',
    ...extra,
  ];
  const child = spawn('redis-server', args, {stdio: 'ignore'});
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()));
  const password = extra[extra.indexOf('--requirepass') + 1];
  const auth = extra.includes('--requirepass') ? `:${password}@` : '';
  const url = `redis://${auth}127.0.0.1:${port}/0`;
  await Promise.race([failed, answers(url)]);
  return {
    url,
    port,
    async stop() {
      child.kill('SIGKILL');
      await exited;
      await rm(dir, {recursive: true, force: true});
    },
  };
}

async function answers(url: string): Promise<void> {
  const client = new Redis(url, {lazyConnect: true, maxRetriesPerRequest: null, retryStrategy: () => 20});
  client.on('error', () => undefined);
  await client.connect().catch(() => undefined);
  await client.ping();
  client.disconnect();
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
