/** A private redis-server for tests: loopback, a free port, a temporary folder, stopped by whoever started it. */
import {spawn} from 'node:child_process';
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Redis} from 'ioredis';

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** A port that a server was to listen on is somebody else's. */
export class PortTaken extends Error {
  constructor(readonly port: number) {
    super(`port ${port} is taken`);
  }
}

/**
 * @throws if no redis-server is on the PATH: tests must not pass by not running. {@link PortTaken} for one among the
 *   extra arguments.
 */
export async function startRedisServer(extra: readonly string[] = []): Promise<RedisServer> {
  for (;;) {
    const port = await freePort();
    try {
      return await startAt(port, extra);
    } catch (error) {
      // It was free a moment ago, and nobody kept it for us.
      if (!(error instanceof PortTaken) || error.port !== port) throw error;
    }
  }
}

async function startAt(port: number, extra: readonly string[]): Promise<RedisServer> {
  const dir = await mkdtemp(join(tmpdir(), 'by-redis-'));
  const log = join(dir, 'log');
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
    '--logfile',
    log,
    ...extra,
  ];
  const child = spawn('redis-server', args, {stdio: 'ignore'});
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()));
  const password = extra[extra.indexOf('--requirepass') + 1];
  const auth = extra.includes('--requirepass') ? `:${password}@` : '';
  const url = `redis://${auth}127.0.0.1:${port}/0`;
  const client = new Redis(url, {lazyConnect: true, maxRetriesPerRequest: null, retryStrategy: () => 20});
  client.on('error', () => undefined);
  try {
    const ended = exited.then(async () => Promise.reject(await whyEnded(log)));
    await Promise.race([failed, ended, answers(client, child.pid)]);
  } catch (error) {
    await rm(dir, {recursive: true, force: true});
    throw error;
  } finally {
    client.disconnect();
  }
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

/** This very server: on the same port there may be somebody else's, until ours ends for want of it. */
async function answers(client: Redis, pid: number | undefined): Promise<void> {
  await client.connect().catch(() => undefined);
  while (client.status !== 'end') {
    const info = await client.info('server').catch(() => '');
    if (info.includes(`process_id:${pid}\r\n`)) return;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

async function whyEnded(log: string): Promise<Error> {
  const said = await readFile(log, 'utf8').catch(() => '');
  const [, port] = /Address already in use[^]*Failed listening on port (\d+)/.exec(said) ?? [];
  return port === undefined ? new Error(`redis-server ended: ${said}`) : new PortTaken(Number(port));
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
