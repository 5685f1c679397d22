/** `by status` and the parts of `by agent` about workers' status, as a user types them. Needs the build. */
import {afterAll, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {startEmbeddedStore} from '../../src/dev/embedded/start.js';
import {silentLogger} from '../../src/log.js';
import {createRunKeys} from '../../src/protocol/orchestration/keys.js';
import {AgentStatusService} from '../../src/registry/agent-status-service.js';
import {openStore, serverTimeMs, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {startRedisServer} from '../support/redis-server.js';
import {foreignWorker} from '../support/status.js';
import {until} from '../support/stores.js';
import {ESCAPES, jsonOf, runBy, startBy} from './run-by.js';

const servers = [
  ['redis-server', async () => startRedisServer()],
  ['embedded', async () => startEmbeddedStore().then(store => ({url: store.url, stop: () => store.close()}))],
] as const;

describe.each(servers)('by on %s', {timeout: 180_000}, (_, start) => {
  let server: {url: string; stop: () => Promise<void>};
  let store: Store;
  let worker: WorkerHandle;
  const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});
  const {data, failure} = jsonOf(by);
  const status = (workerId: string) =>
    new AgentStatusService(store).get(workerId).then(record => record?.status);

  beforeAll(async () => {
    server = await start();
    store = openStore({url: server.url});
    const agents = [defineAgent({type: 'ocr', run: () => ({content: 'x'})})];
    worker = await startWorker(store, {agents, workerId: 'w-1', concurrency: 3, log: silentLogger});
  });
  // Nobody renews its lease while the commands run.
  beforeEach(async () => {
    const lastSeen = Math.floor(await serverTimeMs(store));
    await foreignWorker(store, 'py-1', {lastSeen, agentType: 'tts'});
    await store.commands.run(redis => redis.pexpire(store.keys.workerLease('py-1'), 600_000));
  });
  afterAll(async () => {
    await worker.stop({drainMs: 0});
    store.close();
    await server.stop();
  });

  test('agents is another name of the topic, and alone it lists', async () => {
    const {stdout, code} = await by('agents');
    expect(code).toBe(0);
    expect(stdout).toBe((await by('agent', 'list')).stdout);
    expect((await by('agents', 'show', 'ocr')).stdout).toContain('ocr');
    expect((await by('agents', '--help')).stdout).toContain('agent exhaust');
    expect((await by('agents', 'nothing')).code).toBe(2);
    expect((await by('help', 'agents')).code).toBe(0);
  });

  test('workers are listed with their status, and narrowed by type and status', async () => {
    const all = await by('agents', '--workers');
    expect(all.stdout).not.toMatch(ESCAPES);
    expect(all.stdout).toMatch(/ocr +yes +1 \(1 idle\) +3 +-/);
    expect(all.stdout).toMatch(/w-1 +ocr +idle +0\/3 +\d+s +native/);
    expect(all.stdout).toMatch(/py-1 +tts +idle +0\/\? +\d+s +derived/);
    expect((await by('agents', '--type', 'ocr', '-o', 'name')).stdout).toBe('w-1\n');
    expect((await data('agents', '--status', 'busy,stale'))['workers']).toEqual([]);
    expect((await by('agents', '--status', 'tired')).code).toBe(2);
    expect(await data('agents', '--workers', '--type', 'ocr')).toMatchObject({
      agents: [{agent_type: 'ocr', routable: true, free_slots: 3, counts: {idle: 1, exhausted: 0}}],
      workers: [{worker_id: 'w-1', status: 'idle', origin: 'native', slots_max: 3, routable: true}],
    });
  });

  test('one of ours is exhausted and recovers by an operator’s word', async () => {
    const said = await data('agent', 'exhaust', 'w-1', '--for', '30m', '--note', 'INC-7');
    expect(said).toMatchObject({
      worker: {worker_id: 'w-1', status: 'exhausted', exhaust_reason: 'rate_limit'},
      enforced: true,
      exhaustion: {explicit: true, source: 'operator'},
    });
    expect((await by('send', 'ocr', 'x')).code).toBe(5);
    expect(await failure('send', 'ocr', 'x')).toMatchObject({
      code: 'AGENT_TYPE_EXHAUSTED',
      details: {exhausted: 1, offline: 0},
    });
    const shown = await by('agent', 'show', 'w-1');
    expect(shown.stdout).toMatch(/status +exhausted +for \d/);
    expect(shown.stdout).toMatch(/quota +rate_limit, recovers in \d+m .*\(operator\)/);
    expect(shown.stdout).toMatch(/idle → exhausted/);
    expect(shown.stdout).toMatch(/exhausted: rate_limit +\(.+: INC-7\)/);

    expect((await by('agent', 'recover', 'w-1')).code).toBe(2);
    const recovered = await by('agent', 'recover', 'w-1', '--note', 'raised');
    expect(recovered.stdout).toContain('w-1 is not exhausted any more: idle');
    expect(await status('w-1')).toBe('idle');
    expect(await failure('agent', 'recover', 'w-1', '--note', 'again')).toMatchObject({
      ...{code: 'STATUS_TRANSITION_INVALID', exit: 11, details: {actual: 'idle', expected: ['exhausted']}},
    });
  });

  test('of a foreign one it is said that nothing keeps it from reading', async () => {
    const said = await by('agent', 'exhaust', 'py-1', '--reason', 'billing', '--for', '1h');
    expect(said.stdout).toMatch(/py-1 is exhausted: billing, recovers in \d+m|in 1h/);
    expect(said.stderr).toContain('not enforced: "py-1" is a foreign worker');
    expect((await by('agents', '--workers')).stdout).toMatch(
      /py-1 +tts +exhausted .*billing until \d\d:\d\d:\d\dZ · waiting may not fix billing · not enforced \(foreign worker\)/,
    );
    expect((await by('status')).stdout).toContain('py-1: exhausted, not enforced (foreign worker)');
    await by('agent', 'recover', 'py-1', '--note', 'x');
  });

  test.each([
    [['exhaust', 'nobody'], 'NOT_FOUND', 4],
    [['recover', 'nobody', '--note', 'x'], 'NOT_FOUND', 4],
    [['exhaust', 'w-1', '--for', '30d'], 'INVALID_INPUT', 2],
    [['exhaust', 'w-1', '--for', '5'], 'INVALID_INPUT', 2],
    [['exhaust', 'w-1', '--until', '2020-01-01'], 'INVALID_INPUT', 2],
    [['exhaust', 'w-1', '--until', 'soon'], 'INVALID_INPUT', 2],
    [['exhaust', 'w-1', '--for', '5m', '--until', '2099-01-01'], 'USAGE', 2],
    [['exhaust', 'w-1', '--reason', 'tired'], 'USAGE', 2],
    [['exhaust', 'not an id'], 'INVALID_INPUT', 2],
    [['recover', 'w-1', '--note', ' '], 'USAGE', 2],
  ])('by agent %j is refused', async (args, code, exit) => {
    expect(await failure('agent', ...args)).toMatchObject({code, exit});
    expect(await status('w-1')).toBe('idle');
  });

  test('a part of a worker is noted, and the worker goes on', async () => {
    const said = await by('agent', 'exhaust', 'w-1', '--scope', 'openai/gpt-6', '--for', '5m');
    expect(said.stdout).toContain('w-1 is exhausted for openai/gpt-6: rate_limit');
    expect(await status('w-1')).toBe('idle');
    expect((await by('agent', 'recover', 'w-1', '--scope', 'openai/gpt-6', '--note', 'x')).code).toBe(0);
  });

  test('status is a few lines, and says what needs a look', async () => {
    const {stdout, code} = await by('status');
    expect(code).toBe(0);
    expect(stdout).not.toMatch(ESCAPES);
    expect(stdout).toMatch(/^redis {10}ok \d+\.\d+\.\d+.*  rtt [\d.]+ms  aof \w+  policy \w+/);
    expect(stdout).toMatch(/^orchestrator {3}none seen$/m);
    expect(stdout).toMatch(/^agents {9}2 types: 2 routable {3}workers 2 \(2 idle\)$/m);
    const now = Math.floor(await serverTimeMs(store));
    await store.commands.run(redis =>
      redis.zadd(
        createRunKeys().orchNodes(),
        now - 1200,
        'a|dispatcher,projector',
        now - 5000,
        'b|dispatcher',
      ),
    );
    expect((await by('status')).stdout).toMatch(
      /^orchestrator {3}2 replicas \(dispatcher 2, projector 1\) {2}last seen \d+(\.\d)?s$/m,
    );
    expect(await data('status')).toMatchObject({
      sections: {
        redis: {rtt_ms: expect.any(Number) as number},
        orchestrator: {replicas: [{id: 'b'}, {id: 'a', roles: ['dispatcher', 'projector']}]},
        agents: {
          types: [
            {agent_type: 'ocr', routable: true},
            {agent_type: 'tts', routable: true},
          ],
        },
      },
    });
  });

  test('status ends with 5, where asked to, if work waits and nobody takes it', async () => {
    expect((await by('status', '--exit-code')).code).toBe(0);
    await by('agent', 'exhaust', 'py-1', '--for', '1h');
    // Without work there is nothing to ring about.
    expect((await by('status', '--exit-code')).code).toBe(0);
    expect((await by('send', 'tts', 'x', '--policy', 'send-anyway')).code).toBe(0);
    const ran = await by('status', '--exit-code');
    expect([ran.code, ran.stdout]).toEqual([
      5,
      expect.stringMatching(/tts: no routable worker, 1 command waits until \d\d:\d\d:\d\dZ/),
    ]);
    expect(await failure('status', '--exit-code')).toMatchObject({
      ...{code: 'AGENT_TYPE_EXHAUSTED', details: {stuck: [{agent_type: 'tts'}]}},
    });
    await by('agent', 'recover', 'py-1', '--note', 'x');
    expect((await by('status', '--exit-code')).code).toBe(0);
  });

  test('status --watch shows it again until it is ended', async () => {
    expect(await failure('status', '--watch')).toMatchObject({code: 'USAGE'});
    const child = startBy(['status', '--watch', '-o', 'jsonl'], {env: {BY_REDIS_URL: server.url}});
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    const ended = new Promise<number | null>(done => child.once('close', done));
    await until(() => stdout.split('\n').length > 2);
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    const [first, second] = stdout.split('\n');
    for (const line of [first, second])
      expect(JSON.parse(line!)).toMatchObject({sections: {orchestrator: {}}});
  });

  test('by serve suspends a foreign worker that is exhausted, where asked to, and lets it go', async () => {
    const flags = ['--enforce-exhausted', '--open-circuit', '--ack-orphans'];
    const serving = startBy(['serve', '--roles', 'status,sweeper', ...flags], {
      env: {BY_REDIS_URL: server.url},
    });
    await by('agent', 'exhaust', 'py-1', '--for', '1h');
    const lines = await until(async () => {
      const {stdout} = await by('agents', '--workers');
      return stdout.includes('enforced (suspended until then)') && stdout;
    });
    expect(lines).not.toContain('not enforced');
    expect((await by('status')).stdout).not.toContain('not enforced');
    expect((await by('worker', 'list')).stdout).toMatch(/py-1 +suspended/);
    await until(async () => (await failure('send', 'tts', 'x'))['code'] === 'AGENT_CIRCUIT_OPEN');
    await by('agent', 'recover', 'py-1', '--note', 'raised');
    await until(async () => (await by('send', 'tts', 'x')).code === 0);
    expect((await by('worker', 'list')).stdout).toMatch(/py-1 +online/);
    serving.kill('SIGTERM');
    await new Promise(resolve => serving.once('exit', resolve));
  });

  test.each([
    ['--enforce-exhausted', 'dispatcher', 'status'],
    ['--open-circuit', 'sweeper', 'status'],
    ['--ack-orphans', 'status', 'sweeper'],
  ])('%s is refused where the role it needs is not among the others', async (flag, roles, needed) => {
    expect(await failure('serve', '--roles', roles, flag)).toMatchObject({
      ...{code: 'USAGE', exit: 2, hint: `Add ${needed} to --roles, or leave ${flag} out.`},
    });
  });
});
