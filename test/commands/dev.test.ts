/** `by dev` as a user runs it: in a project, with another terminal beside it. Needs the build. */
import type {ChildProcess} from 'node:child_process';
import {cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {freePort} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {runBy, startBy} from './run-by.js';

const root = resolve(import.meta.dirname, '../..');
let dir: string;
let running: {child: ChildProcess; output: () => string; ended: Promise<number | null>}[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'by-dev-'));
  await mkdir(join(dir, 'node_modules'));
  await symlink(root, join(dir, 'node_modules', 'by-toolkit'));
  await mkdir(join(dir, 'src'));
  await writeFile(join(dir, 'package.json'), '{"type": "module"}');
  await writeFile(
    join(dir, 'by.config.json'),
    JSON.stringify({workers: [{entry: 'src/agent.ts', agentTypes: ['talker']}]}),
  );
  await agent('first');
});

afterEach(async () => {
  for (const one of running) one.child.kill('SIGTERM');
  await Promise.all(running.map(one => one.ended));
  running = [];
  await rm(dir, {recursive: true, force: true});
});

const agent = (answer: string) =>
  writeFile(
    join(dir, 'src', 'agent.ts'),
    `import {defineAgent} from 'by-toolkit';\nexport default defineAgent({type: 'talker', run: (): string => '${answer}'});\n`,
  );

async function dev(...args: string[]) {
  const child = startBy(['dev', '--port', String(await freePort()), ...args], {cwd: dir});
  let output = '';
  const collect = (text: Buffer) => (output += text.toString());
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const ended = new Promise<number | null>(done => child.once('close', done));
  const one = {child, output: () => output, ended};
  running.push(one);
  await until(() => output.includes('ready in') || child.exitCode !== null);
  return one;
}

const send = async (...args: string[]) =>
  runBy(['send', 'talker', 'hi', '--wait', '--json', ...args], {cwd: dir});
const answered = async () => {
  const ran = await send('-p', 'wake-and-wait');
  return ran.code === 0 ? (ran.json().data as unknown as {output: string}).output : undefined;
};

test('another terminal finds it, a sleeping worker is woken, and it leaves nothing behind', async () => {
  const one = await dev('--no-workers');
  expect(one.output()).toContain('embedded');
  expect(await answered()).toBe('first');
  const {mode} = await stat(join(dir, '.by', 'dev.json'));
  expect(mode & 0o777).toBe(0o600);
  one.child.kill('SIGINT');
  expect(await one.ended).toBe(0);
  await expect(stat(join(dir, '.by', 'dev.json'))).rejects.toThrow();
  expect((await send()).code).toBe(3);
});

test('its manager answers for its health where it is told to, and a wakeup shows in its metrics', async () => {
  const one = await dev('--no-workers', '--health', '0');
  const [, url] = /Health +(http:\S+)\/healthz/.exec(one.output()) ?? [];
  const page = async (path: string) => (await fetch(`${url}/${path}`)).text();
  expect(JSON.parse(await page('readyz'))).toMatchObject({ok: true, reason: 'serving'});
  expect(await answered()).toBe('first');
  // The sender hears of it before the manager counts it.
  await until(async () => /by_wakeups_total\{[^}]*talker[^}]*\} 1/.test(await page('metrics')));
  const without = await runBy(['dev', '--no-manager', '--health', '0', '--json'], {cwd: dir});
  expect(without.json()).toMatchObject({error: {code: 'USAGE'}});
});

test('takes up changed code, keeps what was stored, and keeps running when the code does not load', async () => {
  const one = await dev();
  expect(await answered()).toBe('first');
  const kept = (await send('--message-id', 'm-1', '-s', 's-1')).json();
  await agent('second');
  await until(() => one.output().includes('reloaded'));
  await until(async () => (await answered()) === 'second');
  await writeFile(join(dir, 'src', 'agent.ts'), 'export default {');
  await until(() => one.output().includes('stay as they are'));
  expect(one.output()).toContain('agent.ts');
  expect(await answered()).toBe('second');
  // The store outlives the workers: what was sent before the reload is still there.
  const again = (await send('--message-id', 'm-1', '-s', 's-1')).json();
  expect(again).toMatchObject({
    data: {duplicate: true, execution_id: (kept.data as unknown as {execution_id: string}).execution_id},
  });
});

test('a second one in the same project is refused, and says which runs', async () => {
  const one = await dev('--no-workers');
  const second = await runBy(['dev', '--json'], {cwd: dir});
  expect(second.code).toBe(11);
  expect(second.json()).toMatchObject({error: {code: 'CONFLICT'}});
  expect(second.stdout).toContain(String(one.child.pid));
});

test('with --store redis a private server runs, and what it kept is there next time', async () => {
  const first = await dev('--store', 'redis', '--persist');
  expect(first.output()).toMatch(/private (redis|valkey)-server/);
  expect(await answered()).toBe('first');
  const sent = (await send('-s', 's-1', '--message-id', 'm-1')).json();
  first.child.kill('SIGTERM');
  expect(await first.ended).toBe(0);
  await dev('--store', 'redis', '--persist');
  const again = (await send('-s', 's-1', '--message-id', 'm-1', '-p', 'send-anyway')).json();
  expect(again).toMatchObject({
    data: {duplicate: true, execution_id: (sent.data as unknown as {execution_id: string}).execution_id},
  });
});

test('a URL always wins over a store of its own', async () => {
  const port = await freePort();
  const ran = await runBy(['dev', '--redis-url', `redis://127.0.0.1:${port}`, '--json'], {cwd: dir});
  expect(ran.code).toBe(3);
  expect(ran.json()).toMatchObject({error: {code: 'REDIS_UNREACHABLE'}});
});

test('a port that is taken is replaced by another, and said', async () => {
  const first = await dev('--no-workers');
  const port = /127\.0\.0\.1:(\d+)/.exec(first.output())?.[1] ?? '';
  const other = await mkdtemp(join(tmpdir(), 'by-dev-'));
  await cp(join(dir, 'by.config.json'), join(other, 'by.config.json'));
  const child = startBy(['dev', '--no-workers', '--port', port], {cwd: other});
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  const ended = new Promise<number | null>(done => child.once('close', done));
  running.push({child, output: () => output, ended});
  await until(() => output.includes('ready in'));
  expect(output).toContain(`port ${port} is taken`);
  const found = JSON.parse(await readFile(join(other, '.by', 'dev.json'), 'utf8')) as {url: string};
  expect(found.url).not.toContain(`:${port}/`);
  child.kill('SIGTERM');
  await ended;
  await rm(other, {recursive: true, force: true});
});

test('a provider of your own, in TypeScript, wakes in place of the project’s; one that does not load is said', async () => {
  await writeFile(
    join(dir, 'src', 'provider.ts'),
    `import type {Provider} from 'by-toolkit';
const provider: Provider = {name: 'mine', wakeup: async () => ({status: 'REJECTED', reason: 'my own words'})};
export default provider;\n`,
  );
  const one = await dev('--no-workers', '--provider', 'src/provider.ts');
  expect(one.output()).toContain('mine: src/provider.ts');
  const ran = await send('-p', 'wake-and-wait');
  expect(ran.code).toBe(5);
  expect(ran.stdout).toContain('my own words');
  one.child.kill('SIGTERM');
  await one.ended;
  const two = await dev('--provider', 'src/gone.ts');
  expect(await two.ended).toBe(2);
  expect(two.output()).toContain('There is no file src/gone.ts');
});
