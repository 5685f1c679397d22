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
