/** `by service`, and the health and the log of `by worker run`, as an operator meets them. Needs the build. */
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, beforeAll, expect, test, vi} from 'vitest';
import {putInstance} from '../../src/store/services.js';
import {openStore, type Store} from '../../src/store/store.js';
import {ServiceRegistry} from '../../src/registry/service-registry.js';
import {startRedisServer, type RedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {runBy, startBy} from './run-by.js';

vi.setConfig({testTimeout: 180_000});

const evil = 'a\u001b]52;c;ZXZpbA==\u0007b\u009bc';
let server: RedisServer;
let store: Store;
let dir = '';
let file = '';
beforeAll(async () => {
  server = await startRedisServer();
  store = openStore({url: server.url});
  dir = mkdtempSync(join(tmpdir(), 'by-worker-'));
  file = join(dir, 'agents.mjs');
  writeFileSync(
    file,
    "export default {type: 'talker', agentTypes: ['talker'], run: ctx => (ctx.log.debug('a detail'), 'done')};",
  );
});
afterAll(async () => {
  store.close();
  await server.stop();
  rmSync(dir, {recursive: true});
});
const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});

test('services are listed with their instances, alive or not, whatever somebody wrote there', async () => {
  expect((await by('service', 'list')).stderr).toContain('No service was ever registered');
  const registry = new ServiceRegistry(store);
  await registry.register({service: 'billing', host: '10.0.0.1', port: 8080, pathPrefix: '/api'});
  const old = {id: 'old', host: evil, port: 1, protocol: 'http', pathPrefix: null, weight: 1};
  await putInstance(store, 'billing', {...old, metadata: {someKey: evil}}, 1000);
  const list = await by('service', 'list', '--json');
  expect(list.json()).toMatchObject({data: {services: [{service: 'billing', alive: 1, instances: 2}]}});
  const shown = await by('service', 'show', 'billing');
  expect(shown.stdout).toMatch(/billing:by-[0-9a-f]{8} +yes .*http:\/\/10\.0\.0\.1:8080\/api/);
  expect(shown.stdout).toMatch(/old +no /);
  expect(shown.stdout).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
  const json = (await by('service', 'show', 'billing', '--json')).json();
  expect(json).toMatchObject({data: {instances: [{alive: true}, {id: 'old', metadata: {someKey: evil}}]}});
  const missing = await by('service', 'show', 'biling', '--json');
  expect(missing.json()).toMatchObject({error: {code: 'NOT_FOUND', hint: 'Did you mean "billing"?'}});
  await registry.stop();
});

test('a worker answers for its health, logs JSON lines into a pipe, and more of them when it is told to', async () => {
  const child = startBy(['worker', 'run', file, '--worker-id', 'w-1'], {
    env: {BY_REDIS_URL: server.url, BYAI_WORKER_HEALTH_PORT: '0'},
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const exit = new Promise(resolve => child.once('close', resolve));
  const url = await until(() => /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0]);
  const ready = async () => {
    const answer = await fetch(`${url}/readyz`);
    return {status: answer.status, body: (await answer.json()) as {reason: string}};
  };
  await until(async () => (await ready()).status === 200);
  expect((await ready()).body).toMatchObject({ready: true, worker_id: 'w-1', admin_lifecycle: 'active'});
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  expect(await (await fetch(`${url}/metrics`)).text()).toContain('by_worker_ready{worker_id="w-1"} 1');
  await by('worker', 'suspend', 'w-1', '--wait');
  expect(await ready()).toMatchObject({status: 503, body: {reason: 'suspended'}});
  await by('worker', 'resume', 'w-1', '--wait');

  expect((await by('worker', 'log-level', 'w-1')).stdout).toContain('logs as it was started');
  const set = await by('worker', 'log-level', 'w-1', 'debug', '--for', '10m', '--json');
  expect(set.json()).toMatchObject({data: {level: 'debug', expires_in_ms: 600_000, changed: true}});
  await until(() => said.includes('log level changed'));
  expect((await by('worker', 'log-level', 'w-1')).stdout).toMatch(/logs debug {2}for 9m\d+s more/);
  await by('send', 'talker', 'x', '--wait');
  const lines = said
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Record<string, unknown>);
  expect(lines.find(({msg}) => msg === 'a detail')).toMatchObject({
    ...{level: 'debug', worker_id: 'w-1', attempt: 1},
    ...{session_id: expect.any(String) as string, execution_id: expect.any(String) as string},
  });
  expect((await by('worker', 'log-level', 'w-1', '--reset')).code).toBe(0);
  child.kill('SIGTERM');
  expect(await exit).toBe(0);
});

test.each([
  ['an unknown level', ['worker', 'log-level', 'w-1', 'loud'], 2, 'USAGE'],
  ['a level and its end', ['worker', 'log-level', 'w-1', 'debug', '--reset'], 2, 'USAGE'],
  ['a time that is too long', ['worker', 'log-level', 'w-1', 'debug', '--for', '8d'], 2, 'USAGE'],
  ['nobody', ['worker', 'log-level', 'w-9', 'debug'], 4, 'NOT_FOUND'],
  ['an address that is none', ['worker', 'run', '@', '--health', 'x'], 2, 'INVALID_INPUT'],
  ['an unknown form', ['worker', 'run', '@', '--log-format', 'xml'], 2, 'USAGE'],
])('%s is refused', async (_case, args, exit, code) => {
  const ran = await by(...args.map(arg => (arg === '@' ? file : arg)), '--json');
  expect([ran.code, ran.json()]).toMatchObject([exit, {error: {code}}]);
});
