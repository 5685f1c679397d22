/** `by trace`, and traces of `by worker run` and `by send`, as a user types them. Needs the build. */
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {pathToFileURL} from 'node:url';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {tellSpan} from '../../src/protocol/tracer.js';
import {RedisTracer} from '../../src/observe/redis-tracer.js';
import {openStore, type Store} from '../../src/store/store.js';
import {drawTree, startOtlpReceiver, type OtlpReceiver} from '../support/otlp-receiver.js';
import {startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {ESCAPES, runBy, startBy} from './run-by.js';

const toolkit = pathToFileURL(resolve(import.meta.dirname, '../../dist/src/index.js')).href;

const AGENTS = `
import {defineAgent} from ${JSON.stringify(toolkit)};
export default [
  defineAgent({type: 'inner', run: async ctx => 'for ' + await ctx.askUser('For whom?')}),
  defineAgent({
    type: 'outer',
    async run(ctx) {
      await ctx.step('prepare', () => 1);
      const answer = await ctx.call('inner', 'x');
      return ctx.step('finish', () => answer);
    },
  }),
];`;

let server: {url: string; stop: () => Promise<void>};
let receiver: OtlpReceiver;
let store: Store;
let folder: string;
const children: ReturnType<typeof startBy>[] = [];

beforeEach(async () => {
  server = await startRedisServer();
  receiver = await startOtlpReceiver();
  store = openStore({url: server.url});
  folder = await mkdtemp(join(tmpdir(), 'by-trace-'));
  await writeFile(join(folder, 'agents.mjs'), AGENTS);
  const config = {tracing: {redis: true, otlp: {endpoint: receiver.url, serviceName: 'letters'}}};
  await writeFile(join(folder, 'by.config.json'), JSON.stringify(config));
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  store.close();
  await receiver.close();
  await server.stop();
  await rm(folder, {recursive: true, force: true});
});

const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}, cwd: folder});

async function startWorker(id: string) {
  const child = startBy(['worker', 'run', 'agents.mjs', '--worker-id', id], {
    ...{env: {BY_REDIS_URL: server.url}, cwd: folder},
  });
  children.push(child);
  await until(async () => (await by('worker', 'list', '-o', 'name')).stdout.includes(id) || undefined);
  return child;
}

test('a worker that is killed while a person is asked: one tree all the same, over OTLP and in Redis', async () => {
  const first = await startWorker('w-1');
  const sent = (await by('send', 'outer', 'go', '--json')).json().data! as Record<string, string>;
  const session = sent['session_id']!;
  const asked = await until(async () => {
    const {stdout} = await by('reply', session, '--json');
    const open = /"execution_id": ?"(exec-[^"]+)"/.exec(stdout)?.[1];
    return open !== undefined && receiver.spans().some(({name}) => name === 'step prepare') && open;
  });
  await until(() => receiver.spans().some(({name}) => name === 'client.dispatch inner'));
  first.kill('SIGKILL');
  await startWorker('w-2');
  expect((await by('reply', asked, 'Ann', '--session', session)).code).toBe(0);
  await until(() => receiver.spans().some(({name}) => name === 'worker.execute outer'));
  await until(() => receiver.spans().some(({name}) => name === 'agent.return inner'));
  const tree = drawTree(receiver.spans()).filter(line => !/turn \d+$/.test(line));
  expect(tree).toEqual([
    'client.dispatch outer',
    '  client.route',
    '  queue.wait',
    '  worker.execute outer',
    '    client.dispatch inner',
    '      client.route',
    '      queue.wait',
    '      worker.execute inner',
    '        agent.ask_user',
    '        agent.return inner',
    '    step finish',
    '    step prepare',
  ]);
  expect(new Set(receiver.spans().map(({serviceName}) => serviceName))).toEqual(new Set(['letters']));
  const shown = await by('trace', 'show', sent['trace_id']!);
  expect(shown.code).toBe(0);
  for (const line of [
    'client.dispatch outer',
    '└ worker.execute outer',
    'worker.execute inner',
    'step finish',
  ])
    expect(shown.stdout).toContain(line);
  const listed = (await by('trace', 'list', '--agent', 'outer', '--json')).json();
  expect(listed).toMatchObject({
    schema: 'by.trace.list/1',
    data: {traces: [{trace_id: sent['trace_id'], status: 'COMPLETED', agent_type: 'outer'}]},
  });
}, 120_000);

test('what other programs wrote is shown and can do no harm; what is not there is said', async () => {
  const evil = 'a\u001b]52;c;ZXZpbA==\u0007b\u009bc\u202ed';
  const tracer = new RedisTracer(store);
  const began = Date.now();
  for (let i = 0; i < 30; i++)
    tellSpan(
      tracer,
      {
        ...{traceId: 'trace-1', spanId: `s${i}`, parent: {spanId: i === 0 ? '' : `s${i - 1}`, hex: ''}},
        ...{operation: 'x', name: evil, startTs: began + i, sessionId: 'sess-1', targetAgentType: 'writer'},
      },
      {status: evil, endTs: began + 1000, errorMessage: evil},
    );
  await tracer.flush(5000);
  for (const args of [
    ['trace', 'show', 'trace-1'],
    ['trace', 'show', 'trace-1', '--json'],
    ['trace', 'list'],
  ]) {
    const ran = await by(...args);
    expect(ran.code).toBe(0);
    expect(ran.stdout + ran.stderr).not.toMatch(ESCAPES);
  }
  expect((await by('trace', 'show', 'trace-1', '--depth', '2')).stderr).toContain('27 spans below level 2');
  expect((await by('trace', 'list', '--session', 'sess-1', '-o', 'name')).stdout.trim()).toBe('trace-1');
  expect((await by('trace', 'list', '--session', 'sess-2')).stderr).toContain('No trace');
  expect(await by('trace', 'show', 'trace-2')).toMatchObject({code: 4});
  for (const id of ['a{b}', 'a b', 'x'.repeat(300)])
    expect((await by('trace', 'show', id, '--json')).json()).toMatchObject({error: {code: 'INVALID_INPUT'}});
});

test('where OpenTelemetry is pointed at nobody, a send works and says so', async () => {
  const config = {tracing: {otlp: {endpoint: 'http://127.0.0.1:9'}}};
  await writeFile(join(folder, 'by.config.json'), JSON.stringify(config));
  const ran = await by('send', 'nobody', 'go', '--policy', 'send-anyway');
  expect(ran.code).toBe(0);
  await writeFile(join(folder, 'by.config.json'), JSON.stringify({tracing: {otlp: {endpoint: 'nonsense'}}}));
  expect((await by('send', 'nobody', 'go', '--json')).json()).toMatchObject({
    error: {code: 'INVALID_CONFIG'},
  });
});
