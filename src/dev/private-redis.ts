/** A private redis-server or valkey-server from the PATH, for `by dev --store redis`. */
import {spawn} from 'node:child_process';
import {mkdir} from 'node:fs/promises';
import {ByError} from '../errors.js';
import {sleep} from '../clock.js';
import {openStore} from '../store/store.js';

export interface PrivateRedis {
  readonly url: string;
  readonly program: string;
  close(): Promise<void>;
}

const PROGRAMS = ['redis-server', 'valkey-server'];
const START_TIMEOUT_MS = 10_000;

/**
 * @param dataDir where append-only files go when `persist` is set.
 * @throws {ByError} USAGE when neither program is on the PATH, REDIS_UNREACHABLE when it does not come up.
 */
export async function startPrivateRedis(options: {
  readonly port: number;
  readonly dataDir: string;
  readonly persist: boolean;
}): Promise<PrivateRedis> {
  await mkdir(options.dataDir, {recursive: true});
  const args = [
    '--port',
    String(options.port),
    '--bind',
    '127.0.0.1',
    '--dir',
    options.dataDir,
    '--save',
    '',
  ];
  args.push('--appendonly', options.persist ? 'yes' : 'no', '--maxmemory-policy', 'noeviction');
  for (const program of PROGRAMS) {
    const started = await start(program, args, options.port);
    if (started) return started;
  }
  throw new ByError('USAGE', `None of ${PROGRAMS.join(', ')} is on the PATH.`, {
    hint: 'Install one (Debian: apt-get install redis-server), or leave --store redis out to use the embedded store.',
  });
}

async function start(
  program: string,
  args: readonly string[],
  port: number,
): Promise<PrivateRedis | undefined> {
  const child = spawn(program, args, {stdio: 'ignore'});
  const state: {end?: 'missing' | 'exited'} = {};
  child.on('error', () => (state.end = 'missing'));
  child.on('exit', () => (state.end ??= 'exited'));
  // A `by dev` that is killed must not leave its server behind.
  const onExit = () => void child.kill('SIGKILL');
  process.once('exit', onExit);
  const url = `redis://127.0.0.1:${port}/0`;
  const store = openStore({url, name: 'by-dev'});
  const deadline = Date.now() + START_TIMEOUT_MS;
  try {
    while (state.end === undefined && Date.now() < deadline) {
      try {
        await store.commands.run(redis => redis.ping());
        return {url, program, close: () => close(child, onExit)};
      } catch {
        // Not up yet; the deadline decides.
        await sleep(20);
      }
    }
  } finally {
    store.close();
  }
  process.off('exit', onExit);
  if (state.end === 'missing') return undefined;
  child.kill('SIGKILL');
  throw new ByError('REDIS_UNREACHABLE', `${program} did not come up on port ${port}.`, {
    hint: 'The port may be taken: give another with --port.',
  });
}

async function close(child: ReturnType<typeof spawn>, onExit: () => void): Promise<void> {
  process.off('exit', onExit);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>(resolve => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  await ended;
}
