/** T15: a password that is in use is in no output, on no command line, in no file, in no key. Needs the build. */
import {existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {Redis} from 'ioredis';
import {afterAll, beforeAll, expect, test} from 'vitest';
import {startRedisServer, type RedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {runBy, startBy} from './run-by.js';

const canary = 'canary_4f1c9a7d';
let server: RedisServer;
let dir = '';
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'by-secrets-'));
  server = await startRedisServer(['--requirepass', canary]);
});
afterAll(async () => {
  await server.stop();
  rmSync(dir, {recursive: true});
});

const filesIn = (folder: string): string[] =>
  readdirSync(folder).flatMap(name => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesIn(path) : [path];
  });

/** Command lines of all processes that can be seen; none where the system does not show them. */
const commandLines = (): string[] =>
  existsSync('/proc/self/cmdline')
    ? readdirSync('/proc')
        .filter(name => /^\d+$/.test(name))
        .map(pid => {
          try {
            return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
          } catch {
            // It ended meanwhile.
            return '';
          }
        })
    : [];

test('a password in use is seen nowhere, whatever is done with it', {timeout: 120_000}, async () => {
  const source = resolve(import.meta.dirname, '../../dist/src/index.js');
  const agent = join(dir, 'agent.mjs');
  writeFileSync(
    agent,
    `import {defineAgent} from ${JSON.stringify(source)};
     export default defineAgent({type: 'writer', run: (_ctx, {text}) => {
       if (text === 'fail') throw new Error('on purpose');
       return text;
     }});`,
  );
  const options = {env: {BY_REDIS_URL: server.url}, cwd: dir};
  let said = '';
  const long = [
    startBy(['worker', 'run', agent, '--verbose'], options),
    startBy(['manager', 'run', '--start', `other=${process.execPath} -e 0`, '--verbose'], options),
  ];
  for (const {stdout, stderr} of long)
    for (const stream of [stdout, stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  await until(() => said.includes('online') && said.includes('provider process'));
  // The server's own command line holds it: that one is not ours.
  const ours = commandLines().filter(line => !line.startsWith('redis-server'));

  const commands = [
    ['send', 'writer', 'hello', '--session', 'sess-1', '--follow'],
    ['send', 'writer', 'fail', '--session', 'sess-1', '--wait'],
    ['send', 'other', 'x', '--policy', 'wake-and-wait', '--wait-timeout', '1s'],
    ['tail', 'sess-1', '--no-follow'],
    ['exec', 'list', '--session', 'sess-1'],
    ['deadletter', 'list'],
    ['worker', 'list'],
    ['doctor', '--verbose'],
    ['session', 'show', 'none', '--verbose'],
  ];
  for (const command of commands) {
    for (const form of [[], ['--json']]) {
      const {stdout, stderr} = await runBy([...command, ...form], options);
      said += stdout + stderr;
    }
  }
  for (const one of long) {
    one.kill('SIGTERM');
    await new Promise(done => one.once('close', done));
  }
  expect(said).toContain('on purpose');
  expect(said).not.toContain(canary);
  expect(ours.filter(line => line.includes(canary))).toEqual([]);
  expect(filesIn(dir).filter(path => readFileSync(path, 'utf8').includes(canary))).toEqual([]);

  const redis = new Redis(server.url);
  const keys = await redis.keys('*');
  const dumps = await Promise.all(keys.map(key => redis.dumpBuffer(key) as Promise<Buffer | null>));
  redis.disconnect();
  // One that is null ended meanwhile.
  const values = dumps.filter(dump => dump !== null);
  expect(values.length).toBeGreaterThan(3);
  expect(values.filter(value => value.includes(canary))).toEqual([]);
});

test.each([
  ['a wrong password', (port: number) => `redis://:${canary}x@127.0.0.1:${port}/0`],
  ['a user who does not exist', (port: number) => `redis://nobody:${canary}@127.0.0.1:${port}/0`],
  ['a server that is not there', () => `redis://:${canary}@127.0.0.1:1/0`],
  ['an address that is none', () => `redis://:${canary}@:port/0`],
  ['another protocol', (port: number) => `http://:${canary}@127.0.0.1:${port}/0`],
])('the error about %s does not repeat it', async (_what, url) => {
  for (const args of [
    ['worker', 'list', '--verbose'],
    ['doctor', '--json'],
    ['send', 'writer', 'x', '--verbose'],
  ]) {
    const ran = await runBy(args, {env: {BY_REDIS_URL: url(server.port)}});
    expect(ran.code).not.toBe(0);
    expect(ran.stdout + ran.stderr).not.toContain(canary);
  }
});

test('on the command line it is refused, and not repeated', async () => {
  const ran = await runBy(['worker', 'list', '--redis-url', server.url]);
  expect(ran.code).toBe(2);
  expect(ran.stdout + ran.stderr).not.toContain(canary);
});
