/** `by provider check`, `by provider mock` and `by manager run --provider`, as an operator types them. Needs the build. */
import {mkdtempSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, afterEach, beforeAll, expect, test} from 'vitest';
import {silentLogger} from '../../src/log.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {startFakeDocker} from '../support/docker-engine.js';
import {startFakeKubernetes} from '../support/kubernetes-api.js';
import {startRedisServer, type RedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {runBy, startBy} from './run-by.js';

let server: RedisServer;
let dir = '';
beforeAll(async () => {
  server = await startRedisServer();
  dir = mkdtempSync(join(tmpdir(), 'by-provider-'));
});
afterAll(async () => {
  await server.stop();
  rmSync(dir, {recursive: true});
});
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of cleanups.splice(0).reverse()) await act();
});

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

const good = `
export default async ({targetAgentType}, {isOnline, signal}) => {
  console.log('woken for', targetAgentType);
  if (targetAgentType !== 'ocr') return {status: 'REJECTED', reason: 'not mine'};
  while (!signal.aborted && !(await isOnline())) await new Promise(done => setTimeout(done, 10));
  return signal.aborted ? {status: 'FAILED', reason: 'late'} : {status: 'READY'};
};`;

test('check passes a provider that keeps the contract, and shows the report alone', async () => {
  const ran = await runBy(['provider', 'check', file('good.mjs', good), '--agent', 'ocr', '--json']);
  expect(ran.code).toBe(0);
  const {data} = ran.json() as unknown as {data: {provider: string; checks: {name: string; level: string}[]}};
  expect(data.provider).toBe('good');
  expect(data.checks.map(({level}) => level)).toEqual(data.checks.map(() => 'ok'));
  const text = await runBy(['provider', 'check', file('good.mjs', good), '--agent', 'ocr']);
  expect([text.code, text.stderr]).toEqual([0, '']);
  expect(text.stdout).toContain('READY for "ocr"');
  expect(text.stdout).not.toContain('woken for');
});

test('check says what is wrong and what to do, exit 12, and hides what the provider did not', async () => {
  const bad = `
export const provider = {
  name: 'chatty',
  async wakeup(request) {
    void Promise.reject(new Error('lost'));
    console.log(process.env.BY_REDIS_URL);
    return {status: 'FAILED', reason: 'can not reach ' + process.env.BY_REDIS_URL};
  },
};`;
  const env = {BY_REDIS_URL: 'redis://:a-password-1@nowhere:6379'};
  const args = ['provider', 'check', file('bad.mjs', bad), '--agent', 'ocr'];
  const ran = await runBy(args, {env});
  expect(ran.code).toBe(12);
  for (const words of ['FAILED for "ocr"', 'a secret of the environment', 'nobody caught: lost'])
    expect(ran.stdout).toContain(words);
  expect(ran.stderr).toContain('checks found something');
  const json = await runBy([...args, '--json'], {env});
  expect(json.code).toBe(12);
  expect(json.json()).toMatchObject({ok: false, error: {code: 'FINDINGS', details: {provider: 'chatty'}}});
  expect(ran.stdout + ran.stderr + json.stdout + json.stderr).not.toContain('a-password-1');
});

test.each([
  ['is not there', '/nowhere/provider.ts', [], 'There is no file'],
  ['does not load', 'export default {', [], 'can not be loaded'],
  ['exports something else', 'export default {name: "x"}', [], 'exports no provider'],
  ['is asked for no agent type', good, ['--agent', '../x'], 'can not be an agent type'],
])('check refuses a file that %s, exit 2', async (_what, text, more, message) => {
  const path = text.startsWith('/') ? text : file(`refused-${cleanups.length}-${text.length}.mjs`, text);
  const ran = await runBy(['provider', 'check', path, ...more]);
  expect(ran.code).toBe(2);
  expect(ran.stderr.replaceAll(/\s+/g, ' ')).toContain(message);
});

/** `by …` in the foreground, once it runs, with all it says. */
async function foreground(args: readonly string[], env: NodeJS.ProcessEnv = {}, ready = 'provider ') {
  const child = startBy(args, {env: {BY_REDIS_URL: server.url, ...env}});
  const said = {text: ''};
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said.text += text));
  const ended = new Promise(done => child.once('close', done));
  cleanups.push(() => {
    child.kill('SIGTERM');
    return ended;
  });
  await until(() => said.text.includes(ready));
  return said;
}

const send = (type: string, more: readonly string[] = ['--wait']) =>
  runBy(['send', type, 'hello', '--policy', 'wake-and-wait', ...more], {env: {BY_REDIS_URL: server.url}});

/** What a platform would do when it is told to: run a worker. */
function work(type: string): void {
  const agents = [defineAgent({type, run: () => `hello from ${type}`})];
  const started: Promise<WorkerHandle> = startWorker({url: server.url}, {agents, log: silentLogger});
  cleanups.push(async () => (await started).stop());
}

test('a container, a Deployment and a file, each for its agent types, wake workers', async () => {
  const docker = await startFakeDocker();
  const kubernetes = await startFakeKubernetes();
  cleanups.push(
    () => docker.stop(),
    () => kubernetes.stop(),
  );
  docker.images.add('acme/boxed:1');
  docker.onStart = () => work('boxed_one');
  kubernetes.scale('agents/podded', 0);
  kubernetes.before = what => what.startsWith('PATCH') && work('podded');
  const kubeconfig = file(
    'kubeconfig',
    `current-context: a
clusters: [{name: c, cluster: {server: "http://127.0.0.1:${kubernetes.port}"}}]
contexts: [{name: a, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: token-1}}]`,
  );
  const own = file('own.mjs', `export default async () => ({status: 'REJECTED', reason: 'own words'});`);
  const said = await foreground(
    [
      ...['manager', 'run', '--provider', 'boxed*=docker:image=acme/boxed:1,env=BY_REDIS_URL:WORKER_REDIS'],
      ...['--provider', 'podded=kubernetes:agents/podded', '--provider', own],
    ],
    {
      DOCKER_HOST: `unix://${docker.socketPath}`,
      KUBECONFIG: kubeconfig,
      WORKER_REDIS: 'redis://:a-password-2@redis:6379',
    },
  );
  expect(said.text).toContain('boxed*=docker, podded=kubernetes, own');
  expect((await send('boxed_one')).stdout).toContain('hello from boxed_one');
  expect((await send('podded')).stdout).toContain('hello from podded');
  const refused = await send('other');
  expect([refused.code, refused.stderr]).toEqual([5, expect.stringContaining('own words')]);
  expect(docker.containers.get('by-boxed_one')?.env).toEqual([
    'BY_REDIS_URL=redis://:a-password-2@redis:6379',
    'BY_AGENT_TYPE=boxed_one',
  ]);
  for (const secret of ['a-password-2', 'token-1']) expect(said.text).not.toContain(secret);
});

test.each([
  ['nothing that can be read', ['nonsense:'], {}, /There is no file/],
  ['a half spec', ['kubernetes:agents'], {}, /names no provider/],
  ['a variable that is not set', ['docker:image=x,env=NOT_SET'], {}, /NOT_SET/],
  ['Docker far away', ['docker:x'], {DOCKER_HOST: 'tcp://10.0.0.1:2375'}, /no Unix socket/],
  ['no kubeconfig', ['kubernetes:a/b'], {KUBECONFIG: '/nowhere/config'}, /can not be read/],
  ['no secret', ['https://wake.example/'], {}, /No secret was given/],
  ['a mode that is none', ['mock:wrong'], {}, /is no mode/],
] as [string, string[], NodeJS.ProcessEnv, RegExp][])(
  'manager run refuses %s before it begins, exit 2',
  async (_what, [spec = ''], env, message) => {
    const ran = await runBy(['manager', 'run', '--provider', spec], {
      env: {BY_REDIS_URL: server.url, ...env},
    });
    expect(ran.code).toBe(2);
    expect(ran.stderr.replaceAll(/\s+/g, ' ')).toMatch(message);
  },
);

test('a mock follows its script, says what became of each wakeup, and records it', async () => {
  const script = file('script', 'reject\nfail\n# from now on\nqueued\nother=fallback:ocr');
  const record = join(dir, 'record.jsonl');
  const args = ['--mode', `script:${script}`, '--record', record, '--dedupe-ttl', '1s'];
  const said = await foreground(['provider', 'mock', ...args], {}, 'provider mock');
  await send('scripted', []);
  await until(() =>
    /scripted {6}exec-\S+ {2}wake-and-wait {2}(30|2\d)s +\S+ REJECTED "mock: reject"/.test(said.text),
  );
  await send('scripted', []);
  await until(() => /FAILED +"mock: fail" \S+ dead letter \d+-\d+/.test(said.text));
  await send('scripted', ['--availability-timeout', '10s']);
  await until(() => /FAILED +"the provider said QUEUED, but no worker came/.test(said.text));
  const lines = () =>
    readFileSync(record, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>);
  await until(() => lines().length === 3);
  expect(lines().map(({decision}) => decision)).toEqual(['REJECTED', 'FAILED', 'FAILED']);
  expect(lines()[1]).toMatchObject({agent_type: 'scripted', policy: 'WAKE_AND_WAIT'});
  // What is left of 30 s when the provider is asked; of the third it is less than 10 s.
  expect(lines()[1]?.['timeout_ms']).toBeGreaterThan(10_000);
  expect(lines()[1]?.['timeout_ms']).toBeLessThanOrEqual(30_000);
  expect(lines()[1]?.['dead_letter_id']).toMatch(/^\d+-\d+$/);
  expect(readFileSync(record, 'utf8')).not.toContain('hello');
  expect(statSync(record).mode & 0o777).toBe(0o600);
});

test.each([
  ['--ask without a terminal', ['--ask'], /nobody can be asked here/],
  ['a script that is not there', ['--mode', 'script:/nowhere'], /can not be read/],
  ['a wakeup that stands for others for long', ['--dedupe-ttl', '1m'], /can not be more than 30s/],
  ['a record in no folder', ['--record', '/nowhere/x'], /can not be recorded/],
])('mock refuses %s', async (_what, args, message) => {
  const ran = await runBy(['provider', 'mock', ...args], {env: {BY_REDIS_URL: server.url}});
  expect(ran.code).toBe(2);
  expect(ran.stderr.replaceAll(/\s+/g, ' ')).toMatch(message);
});
