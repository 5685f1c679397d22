/** Executions that crashed before run in processes of their own: G4, G17. Needs the build. */
import {existsSync, writeFileSync} from 'node:fs';
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {countedAttempts, execField} from '../../src/protocol/execution.js';
import {readCircuit} from '../../src/store/admission.js';
import {readReports} from '../../src/store/plugin-state.js';
import type {Store} from '../../src/store/store.js';
import {relayTracer} from '../../src/worker/trace-relay.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {
  AGENTS_FILE,
  deadLetters,
  eventKinds,
  send,
  settled,
  spawnWorker,
  TYPE,
  withStatus,
  work,
  type WorkerProcess,
} from './support.js';

const GROUP = 'agent_engines';
const DEAD = 'w-9#0123456789ab';
let serial = 0;

/**
 * An execution that was there in two crashes: the second, of a worker that has just died, has not been counted yet.
 * It is prepared where nobody reads, so that no worker begins it meanwhile.
 */
async function suspect(at: TestStore, store: Store, content: string, crashes = 1) {
  const redis = at.redis();
  const {keys} = store;
  const sent = await new GatewayClient(store).send({agentType: 'nobody', content, policy: 'SEND_ANYWAY'});
  const [[, [, data = '']] = ['', []]] = await redis.xrange(keys.ctrlStream('nobody'), '-', '+');
  await redis.del(keys.ctrlStream('nobody'));
  const stream = keys.ctrlStream(TYPE);
  const id = `${Date.now() + 60_000 + serial++}-0`;
  const registry = keys.sessionRegistry(sent.sessionId);
  const field = execField(sent.executionId);
  const record = JSON.parse((await redis.hget(registry, field)) ?? '') as Record<string, unknown>;
  Object.assign(record, {
    ...{status: 'RUNNING', started_at: Date.now(), target_agent_type: TYPE, stream_name: stream},
    ...{x_attempt: 2, x_owner: DEAD, x_fence: `2@${DEAD}`, x_entry: `${stream}/${id}`, x_crashes: crashes},
  });
  await redis.hset(registry, field, JSON.stringify(record));
  await redis.xgroup('CREATE', stream, GROUP, '0', 'MKSTREAM').catch(() => undefined);
  await redis
    .multi()
    .xadd(stream, id, 'data', data.replaceAll('"nobody"', `"${TYPE}"`))
    .xreadgroup('GROUP', GROUP, DEAD, 'STREAMS', stream, '>')
    .exec();
  return sent;
}

async function tempFolder(at: TestStore): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'by-isolation-'));
  at.cleanup(() => rm(folder, {recursive: true, force: true}));
  return folder;
}

const isolating = (at: TestStore, store: Store) => spawnWorker(at, store, {agentsFile: AGENTS_FILE});
const processOf = (worker: WorkerProcess, messageId: string): Promise<number> =>
  until(() => {
    const line = worker.said.find(each => each.startsWith(`process ${messageId} `));
    return line !== undefined && Number(line.split(' ')[2]);
  });
const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

describeEachStore('an execution that was there in two crashes', at => {
  test('runs in a process of its own, beside what is running, and ends like any other', async () => {
    const store = at.open();
    const folder = await tempFolder(at);
    const worker = await isolating(at, store);
    const long = await send(store, `wait-for ${folder}/go`);
    await processOf(worker, long.messageId);
    const sent = await suspect(at, store, 'where');
    const record = await withStatus(store, sent, 'COMPLETED');
    expect(await processOf(worker, sent.messageId)).not.toBe(worker.pid);
    expect(countedAttempts(record).crashes).toBe(2);
    expect(await eventKinds(store, sent.sessionId)).toEqual(['final', 'end']);
    writeFileSync(`${folder}/go`, '');
    await withStatus(store, long, 'COMPLETED');
    await settled(at, store);
  });

  test('is not begun by a worker that stops while the process loads, and counts nothing for it', async () => {
    const store = at.open();
    const folder = await tempFolder(at);
    const agentsFile = join(folder, 'slow.mjs');
    writeFileSync(
      agentsFile,
      `import {writeFileSync} from 'node:fs';
      writeFileSync('${folder}/loading', '');
      await new Promise(resolve => setTimeout(resolve, 2 ** 30));`,
      {mode: 0o600},
    );
    const worker = await work(at, store, () => 'not here', {agentsFile, drainMs: 2 ** 30});
    const sent = await suspect(at, store, 'where');
    await until(() => existsSync(`${folder}/loading`));
    await worker.stop();
    const record = await store.commands.run(redis =>
      redis.hget(store.keys.sessionRegistry(sent.sessionId), execField(sent.executionId)),
    );
    expect(JSON.parse(record ?? '')).toMatchObject({status: 'RUNNING', x_attempt: 2, x_crashes: 1});
    await isolating(at, store);
    expect(countedAttempts(await withStatus(store, sent, 'COMPLETED')).crashes).toBe(2);
    await settled(at, store);
  });

  test('keeps nobody waiting who was there in one crash only, however many have no room', async () => {
    const store = at.open();
    const folder = await tempFolder(at);
    const held = [];
    for (let i = 0; i < 8; i++) held.push(await suspect(at, store, `wait-for ${folder}/go`));
    const other = await suspect(at, store, 'where', 0);
    await spawnWorker(at, store, {agentsFile: AGENTS_FILE, concurrency: 4});
    await withStatus(store, other, 'COMPLETED');
    writeFileSync(`${folder}/go`, '');
    for (const each of held) await withStatus(store, each, 'COMPLETED');
    await settled(at, store);
  });

  test('is traced like any other', async () => {
    const store = at.open();
    const told: string[] = [];
    const tracer = relayTracer(false, ({start, end}) => told.push(`${start.operation} ${end.status}`));
    await work(at, store, () => 'not here', {agentsFile: AGENTS_FILE, tracer});
    await withStatus(store, await suspect(at, store, 'where'), 'COMPLETED');
    await until(() => told.includes('worker.execute COMPLETED'));
    await settled(at, store);
  });

  test('is looked on at by hooks, which are counted like any other', async () => {
    const store = at.open();
    const plugin = join(await tempFolder(at), 'looks-on.mjs');
    writeFileSync(
      plugin,
      `export default {manifest: {name: 'looks-on', version: '1'}, onTaskStart: () => undefined,
        onTaskComplete: () => { throw new Error('oops'); }};`,
      {mode: 0o600},
    );
    const worker = await work(at, store, () => 'not here', {
      ...{agentsFile: AGENTS_FILE, plugins: [plugin], leaseMs: 3000},
    });
    await withStatus(store, await suspect(at, store, 'where'), 'COMPLETED');
    const hooks = await until(async () => {
      const [report] = await readReports(store, [worker.workerId]);
      const counted = report?.plugins[0]?.hooks;
      return counted?.['onTaskComplete'] !== undefined && counted;
    });
    expect(hooks).toMatchObject({
      onTaskStart: {calls: 1, failures: 0},
      onTaskComplete: {calls: 1, failures: 1},
    });
    await settled(at, store);
  });

  test('takes nobody with it when it crashes again: its worker lives, starts it again, and gives up in the end', async () => {
    const store = at.open();
    const worker = await isolating(at, store);
    const sent = await suspect(at, store, 'die');
    const record = await withStatus(store, sent, 'FAILED');
    expect(countedAttempts(record)).toEqual({crashes: 5, failures: 0});
    const canary = await send(store, 'where');
    await withStatus(store, canary, 'COMPLETED');
    expect(await processOf(worker, canary.messageId)).toBe(worker.pid);
    // In a Cluster it follows the record.
    await until(async () => (await deadLetters(at, store)).length > 0);
    expect(await deadLetters(at, store)).toHaveLength(1);
    await settled(at, store);
  });

  test('counts for the circuit of its agent type like any other', async () => {
    const store = at.open();
    const circuit = {rate: 1, min: 1};
    await spawnWorker(at, store, {agentsFile: AGENTS_FILE, circuit, maxAttempts: 3});
    const sent = await suspect(at, store, 'die');
    await withStatus(store, sent, 'FAILED');
    const open = await until(() => readCircuit(store, TYPE));
    expect(open.reason).toBe('1 of 1 executions failed');
    await settled(at, store);
  });

  test.each(['graceful', 'forced'] as const)('can be cancelled there (%s)', async how => {
    const store = at.open();
    const folder = await tempFolder(at);
    const worker = await isolating(at, store);
    const sent = await suspect(at, store, `wait-for ${folder}/never`);
    const pid = await processOf(worker, sent.messageId);
    await new GatewayClient(store).cancel({...sent, reason: 'enough', force: how === 'forced'});
    await withStatus(store, sent, 'CANCELLED');
    await until(() => !isAlive(pid));
    await settled(at, store);
  });

  test('is killed when it was cancelled and hears nothing', async () => {
    const store = at.open();
    const worker = await spawnWorker(at, store, {agentsFile: AGENTS_FILE, cancelGraceMs: 300});
    const sent = await suspect(at, store, 'hang');
    await until(() => worker.said.some(line => line.startsWith(`start ${sent.messageId}`)));
    await new GatewayClient(store).cancel({...sent, reason: 'enough'});
    await withStatus(store, sent, 'CANCELLED');
    await settled(at, store);
  });

  test('ends with its worker, and another worker goes on', async () => {
    const store = at.open();
    const folder = await tempFolder(at);
    const first = await isolating(at, store);
    const sent = await suspect(at, store, `wait-for ${folder}/go`);
    const pid = await processOf(first, sent.messageId);
    first.kill('SIGKILL');
    await first.exit;
    await until(() => !isAlive(pid));
    const second = await isolating(at, store);
    await processOf(second, sent.messageId);
    writeFileSync(`${folder}/go`, '');
    expect(countedAttempts(await withStatus(store, sent, 'COMPLETED')).crashes).toBe(3);
    await settled(at, store);
  });

  test('ends with its worker even in an endless loop', async () => {
    const store = at.open();
    const worker = await isolating(at, store);
    const sent = await suspect(at, store, 'hang');
    const pid = await processOf(worker, sent.messageId);
    worker.kill('SIGKILL');
    await until(() => !isAlive(pid));
  });

  test('is handed back by a worker that stops, and that counts as nothing', async () => {
    const store = at.open();
    const folder = await tempFolder(at);
    const first = await spawnWorker(at, store, {agentsFile: AGENTS_FILE, drainMs: 100});
    const sent = await suspect(at, store, `wait-for ${folder}/go`);
    const pid = await processOf(first, sent.messageId);
    first.kill('SIGTERM');
    expect(await first.exit).toBe(0);
    await until(() => !isAlive(pid));
    const second = await isolating(at, store);
    await processOf(second, sent.messageId);
    writeFileSync(`${folder}/go`, '');
    expect(countedAttempts(await withStatus(store, sent, 'COMPLETED')).crashes).toBe(2);
    await settled(at, store);
  });

  test('runs alone in the worker when its file can not be loaded by another process', async () => {
    const store = at.open();
    const sent = await suspect(at, store, 'x');
    await work(at, store, () => 'done', {agentsFile: join(await tempFolder(at), 'gone.mjs')});
    await withStatus(store, sent, 'COMPLETED');
    await settled(at, store);
  });
});
