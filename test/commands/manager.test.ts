/** `by manager run --wakeup-url`, as an operator types it. Needs the build. */
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, beforeAll, expect, test} from 'vitest';
import {SeenNonces, verifyWakeupSignature} from '../../src/availability/wakeup-signature.js';
import {silentLogger} from '../../src/log.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {startRedisServer, type RedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {startWakeupService} from '../support/wakeup-service.js';
import {runBy, startBy} from './run-by.js';

const secret = 'a-secret-of-more-than-thirty-two-bytes';
let server: RedisServer;
let dir = '';
let secretFile = '';
beforeAll(async () => {
  server = await startRedisServer();
  dir = mkdtempSync(join(tmpdir(), 'by-manager-'));
  secretFile = join(dir, 'secret');
  writeFileSync(secretFile, `${secret}\n`);
});
afterAll(async () => {
  await server.stop();
  rmSync(dir, {recursive: true});
});

test('a send that waits is served by a worker that a service started, and the secret is nowhere to be seen', async () => {
  const nonces = new SeenNonces();
  const workers: WorkerHandle[] = [];
  const service = await startWakeupService((response, {headers, body}) => {
    const verdict = verifyWakeupSignature({headers, body, secret, nonces});
    if (!verdict.ok) return void response.writeHead(401).end();
    const {target_agent_type: type} = JSON.parse(body) as {target_agent_type: string};
    const agents = [defineAgent({type, run: (_ctx, ask) => ask.text})];
    startWorker({url: server.url}, {agents, log: silentLogger}).then(
      worker => {
        workers.push(worker);
        response.end('{"status":"READY"}');
      },
      () => response.writeHead(500).end(),
    );
  });
  const url = `http://127.0.0.1:${service.port}/start`;
  const env = {BY_REDIS_URL: server.url};
  const args = ['--wakeup-url', url, '--wakeup-secret-file', secretFile, '--wakeup-allow-loopback'];
  const manager = startBy(['manager', 'run', ...args], {env});
  let said = '';
  for (const stream of [manager.stdout, manager.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  await until(() => said.includes('provider http'));
  const sent = await runBy(['send', 'ocr', 'hello', '--policy', 'wake-and-wait', '--follow'], {env});
  expect([sent.code, sent.stdout]).toEqual([0, 'hello\n']);
  await until(() => said.includes('READY'));
  manager.kill('SIGTERM');
  await new Promise(done => manager.once('close', done));
  expect(said).not.toContain(secret);
  for (const worker of workers) await worker.stop();
  await service.stop();
});

test.each([
  ['no secret', ['--wakeup-url', 'https://wake.example/'], /No secret was given/],
  [
    'a secret file that is not there',
    ['--wakeup-url', 'https://x.example/', '--wakeup-secret-file', '/nowhere'],
    /can not be read/,
  ],
  ['plain http', ['--wakeup-url', 'http://wake.example/', '--wakeup-secret-file', '@'], /https only/],
  ['no address', ['--wakeup-url', 'wake', '--wakeup-secret-file', '@'], /no URL/],
  ['a secret for nobody', ['--wakeup-secret-file', '@'], /wakeup-url/],
])('is refused with %s, before anything starts', async (_what, args, message) => {
  const given = args.map(arg => (arg === '@' ? secretFile : arg));
  const ran = await runBy(['manager', 'run', ...given], {env: {BY_REDIS_URL: server.url}});
  expect(ran.code).toBe(2);
  expect(ran.stderr.replaceAll(/\s+/g, ' ')).toMatch(message);
});

test('is refused with a secret that could be guessed', async () => {
  const env = {BY_REDIS_URL: server.url, BY_WAKEUP_SECRET: 'too-short'};
  const ran = await runBy(['manager', 'run', '--wakeup-url', 'https://wake.example/'], {env});
  expect([ran.code, ran.stdout]).toEqual([2, '']);
  expect(ran.stderr).toContain('shorter than 32 bytes');
  expect(ran.stderr).not.toContain('too-short');
});

/** A manager with its pages; resolves once it says where they are. */
async function managerWithPages(...args: readonly string[]) {
  const child = startBy(['manager', 'run', '--health', '127.0.0.1:0', ...args], {
    env: {BY_REDIS_URL: server.url},
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [, url = ''] = await until(() => /(http:\S+)\/healthz/.exec(said) ?? undefined);
  const end = new Promise<number | null>(done => child.once('close', done));
  return {child, url, end, said: () => said};
}

test('its pages tell that it lives and works, and what it did; they close with it', async () => {
  const manager = await managerWithPages('--start', 'pages=false');
  expect(await (await fetch(`${manager.url}/healthz`)).json()).toMatchObject({ok: true, reason: 'alive'});
  await until(async () => (await fetch(`${manager.url}/readyz`)).status === 200);
  const sent = await runBy(
    ['send', 'pages', 'x', '--policy', 'wake-and-wait', '--availability-timeout', '30s'],
    {
      env: {BY_REDIS_URL: server.url},
    },
  );
  expect(sent.code).toBe(5);
  const metrics = async () => (await fetch(`${manager.url}/metrics`)).text();
  // The sender hears of it before the manager counts it.
  await until(async () =>
    /^by_wakeups_total\{agent_type="pages",decision="FAILED"\} 1$/m.test(await metrics()),
  );
  manager.child.kill('SIGTERM');
  expect(await manager.end).toBe(0);
  await expect(fetch(`${manager.url}/healthz`)).rejects.toThrow();
});

test('an address that is taken is refused before anything is begun', async () => {
  const manager = await managerWithPages();
  const {host} = new URL(manager.url);
  const second = await runBy(['manager', 'run', '--health', host, '--json'], {
    env: {BY_REDIS_URL: server.url},
  });
  expect(second.code).toBe(11);
  expect(second.json()).toMatchObject({error: {code: 'CONFLICT'}});
  manager.child.kill('SIGTERM');
  await manager.end;
});

test('at the end it is not ready any more, and finishes what is under way', async () => {
  // What is under way ends when it is told to, and not before the pages were looked at.
  const slow = join(dir, 'slow');
  writeFileSync(slow, 'while [ ! -e "$0.go" ]; do sleep 0.05; done; exit 1');
  const manager = await managerWithPages('--start', `slow=sh ${slow}`, '--drain', '60s');
  const sending = startBy(
    ['send', 'slow', 'x', '--policy', 'wake-and-wait', '--availability-timeout', '60s'],
    {
      env: {BY_REDIS_URL: server.url},
    },
  );
  const sent = new Promise(done => sending.once('close', done));
  const ready = async () =>
    (await (await fetch(`${manager.url}/readyz`)).json()) as {under_way: number; reason: string};
  await until(async () => (await ready()).under_way === 1);
  manager.child.kill('SIGTERM');
  await until(async () => (await ready()).reason === 'draining');
  writeFileSync(`${slow}.go`, '');
  expect(await manager.end).toBe(0);
  expect(manager.said()).toContain('finishing 1');
  expect(manager.said()).toMatch(/wakeup .*slow.*FAILED/);
  await sent;
});

test.each([
  ['an address that is none', ['--health', 'everywhere'], 'INVALID_INPUT'],
  ['a role that is none', ['--role', 'boss'], 'USAGE'],
])('is refused with %s', async (_what, args, code) => {
  const ran = await runBy(['manager', 'run', ...args, '--json'], {env: {BY_REDIS_URL: server.url}});
  expect(ran.code).toBe(2);
  expect(ran.json()).toMatchObject({error: {code}});
});

test('with -o jsonl events go to standard output and the log to standard error, a JSON document a line', async () => {
  const child = startBy(['manager', 'run', '--start', 'lines=false', '-o', 'jsonl'], {
    env: {BY_REDIS_URL: server.url},
  });
  let out = '';
  let log = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
  await runBy(['send', 'lines', 'x', '--policy', 'wake-and-wait', '--availability-timeout', '30s'], {
    env: {BY_REDIS_URL: server.url},
  });
  await until(() => out.includes('"wakeup"'));
  child.kill('SIGTERM');
  await new Promise(done => child.once('close', done));
  expect(JSON.parse(out.trim().split('\n')[0] ?? '')).toMatchObject({
    type: 'wakeup',
    agent_type: 'lines',
    decision: 'FAILED',
  });
  const logged = log
    .trim()
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Record<string, unknown>);
  expect(logged).toContainEqual(expect.objectContaining({msg: 'wakeup', decision: 'FAILED', level: 'info'}));
});

test('a worker that is told to opens the circuit of what fails, and the manager that of what can not be woken', async () => {
  const env = {BY_REDIS_URL: server.url};
  const file = join(dir, 'broken.mjs');
  writeFileSync(file, "export default {type: 'broken', run: () => { throw new Error('down'); }};");
  const rate = [
    '--circuit-rate',
    '50%',
    '--circuit-min',
    '2',
    '--circuit-window',
    '10m',
    '--circuit-open',
    '10m',
  ];
  const worker = startBy(['worker', 'run', file, ...rate], {env});
  const wakeups = ['--circuit-failures', '2', '--circuit-open', '10m', '--provider-attempts', '1'];
  const manager = startBy(['manager', 'run', '--provider', 'mock:fail', ...wakeups], {env});
  let said = '';
  for (const stream of [worker.stdout, worker.stderr, manager.stdout, manager.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  await until(() => said.includes('online') && said.includes('provider'));
  for (const i of [1, 2]) await runBy(['send', 'broken', `${i}`], {env});
  for (const i of [1, 2]) await runBy(['send', 'asleep', `${i}`, '--policy', 'wake-and-wait'], {env});
  await until(async () => {
    const {stdout} = await runBy(['agent', 'circuit', 'list'], {env});
    return /asleep +open +auto/.test(stdout) && /broken +open +auto .*2 of 2 executions failed/.test(stdout);
  });
  for (const type of ['asleep', 'broken']) {
    const refused = await runBy(['send', type, 'x', '--policy', 'send-anyway', '--json'], {env});
    expect(refused.code).toBe(5);
    expect(refused.json()).toMatchObject({error: {code: 'AGENT_CIRCUIT_OPEN'}});
  }
  for (const one of [worker, manager]) {
    one.kill('SIGTERM');
    await new Promise(done => one.once('close', done));
  }
});

test.each([
  ['a share above all', ['worker', 'run', 'x.js', '--circuit-rate', '101%'], 'INVALID_INPUT'],
  ['a share of nothing', ['worker', 'run', 'x.js', '--circuit-rate', '0'], 'INVALID_INPUT'],
  ['a window without a share', ['worker', 'run', 'x.js', '--circuit-window', '1m'], 'USAGE'],
  ['a time without failures', ['manager', 'run', '--circuit-open', '1m'], 'USAGE'],
  ['no time', ['manager', 'run', '--circuit-failures', '1', '--circuit-open', '0'], 'USAGE'],
])('of circuits, %s is refused by name', async (_case, args, code) => {
  const ran = await runBy([...args, '--json'], {env: {BY_REDIS_URL: server.url}});
  expect(ran.json()).toMatchObject({error: {code}});
  expect(ran.code).toBe(2);
});
