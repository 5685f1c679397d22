/** A private PostgreSQL for tests: loopback, a free port, a temporary folder, stopped by whoever started it. */
import {execFile, spawn} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {chmod, chown, mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {delimiter, join} from 'node:path';
import {promisify} from 'node:util';
import {Client} from 'pg';
import {freePort} from './redis-server.js';

export interface PostgresServer {
  /** With a password. */
  readonly url: string;
  readonly port: number;
  readonly password: string;
  /** An empty database nobody else uses. @returns its address. */
  createDatabase(): Promise<string>;
  stop(): Promise<void>;
}

const run = promisify(execFile);

/** @throws if PostgreSQL is not installed: tests must not pass by not running. */
export async function startPostgres(): Promise<PostgresServer> {
  const bin = findPrograms();
  const user = unprivileged();
  const dir = await mkdtemp(join(tmpdir(), 'by-postgres-'));
  const data = join(dir, 'data');
  const passwordFile = join(dir, 'password');
  const password = `pw-${randomBytes(8).toString('hex')}`;
  await writeFile(passwordFile, password);
  // It refuses to run as root, and works in folders of its own.
  for (const path of [dir, passwordFile]) {
    await chmod(path, path === dir ? 0o700 : 0o600);
    if (user.uid !== undefined) await chown(path, user.uid, user.gid ?? user.uid);
  }
  const init = ['-D', data, '-U', 'by', '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  await run(join(bin, 'initdb'), [...init, '-E', 'UTF8', '--locale=C', '--no-sync'], {...user, cwd: dir});
  const port = await freePort();
  const settings = ['unix_socket_directories=', 'fsync=off', 'max_connections=60', 'shared_buffers=16MB'];
  const child = spawn(
    join(bin, 'postgres'),
    ['-D', data, '-h', '127.0.0.1', '-p', String(port), ...settings.flatMap(one => ['-c', one])],
    {...user, cwd: dir, stdio: ['ignore', 'ignore', 'pipe']},
  );
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said = `${said}${text.toString()}`.slice(-4000)));
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()));
  const stop = async () => {
    // At once, and with its own processes.
    child.kill('SIGQUIT');
    await exited;
    await rm(dir, {recursive: true, force: true});
  };
  const url = `postgres://by:${password}@127.0.0.1:${port}/postgres`;
  try {
    await Promise.race([
      answers(url),
      exited.then(() => Promise.reject(new Error(`PostgreSQL ended: ${said}`))),
    ]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...{url, port, password, stop},
    async createDatabase() {
      const name = `t_${randomBytes(6).toString('hex')}`;
      await withClient(url, client => client.query(`CREATE DATABASE ${name}`));
      return url.replace(/postgres$/, name);
    },
  };
}

/** A plain client, to look behind the scenes. */
export async function withClient<T>(url: string, act: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({connectionString: url, connectionTimeoutMillis: 5000});
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await act(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function answers(url: string): Promise<void> {
  for (;;) {
    try {
      await withClient(url, client => client.query('SELECT 1'));
      return;
    } catch (error) {
      const {code} = error as {code?: string};
      // Not there yet, or starting up.
      if (code !== 'ECONNREFUSED' && code !== '57P03' && code !== 'ECONNRESET') throw error;
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  }
}

/** Debian keeps them apart from the PATH, a folder for each version. */
function findPrograms(): string {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map(version => join(debian, version, 'bin')),
    ...(process.env['PATH'] ?? '').split(delimiter),
  ];
  const found = folders.find(folder => ['initdb', 'postgres'].every(name => existsSync(join(folder, name))));
  if (found === undefined)
    throw new Error('The tests need PostgreSQL. Install it (Debian: apt-get install postgresql).');
  return found;
}

function unprivileged(): {readonly uid?: number; readonly gid?: number} {
  if (process.getuid?.() !== 0) return {};
  const users = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map(line => line.split(':'))
      .map(([name = '', , uid, gid]) => [name, {uid: Number(uid), gid: Number(gid)}] as const),
  );
  const user = users.get('postgres') ?? users.get('nobody');
  if (user === undefined) throw new Error('PostgreSQL does not run as root, and there is no other user.');
  return user;
}
