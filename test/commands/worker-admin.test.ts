/** `by worker suspend|resume|evict|rejoin` and `by agent deny|allow|denylist` as a user types them. Needs the build. */
import {afterAll, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {startEmbeddedStore} from '../../src/dev/embedded/start.js';
import {silentLogger} from '../../src/log.js';
import {claimLease, heartbeat} from '../../src/store/presence.js';
import {openStore, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {jsonOf, runBy} from './run-by.js';

const servers = [
  ['redis-server', async () => startRedisServer()],
  ['embedded', async () => startEmbeddedStore().then(store => ({url: store.url, stop: () => store.close()}))],
] as const;

describe.each(servers)('by on %s', {timeout: 180_000}, (_, start) => {
  let server: {url: string; stop: () => Promise<void>};
  let store: Store;
  let worker: WorkerHandle;
  let seen: {begun: number; aborted: number};
  const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});
  const {data, failure} = jsonOf(by);

  beforeAll(async () => {
    server = await start();
    store = openStore({url: server.url});
  });
  afterAll(async () => {
    store.close();
    await server.stop();
  });
  beforeEach(async () => {
    seen = {begun: 0, aborted: 0};
    const mine = seen;
    worker = await startWorker(store, {
      workerId: 'w-1',
      log: silentLogger,
      agents: [
        defineAgent({
          type: 'ocr',
          run: ctx =>
            new Promise((_resolve, reject) => {
              mine.begun++;
              ctx.signal.addEventListener('abort', () => {
                mine.aborted++;
                reject(new Error('stopped'));
              });
            }),
        }),
      ],
    });
    return () => worker.stop({drainMs: 0});
  });

  test('suspend and resume wait until the worker has done it', async () => {
    const suspended = await data('worker', 'suspend', 'w-1', '--reason', 'deploy 214', '--wait');
    expect(suspended).toMatchObject({
      action: 'suspend',
      workers: [
        {
          ...{worker_id: 'w-1', changed: true, before: 'active', lifecycle: 'suspended'},
          ...{online: true, sdk: 'by', done: true},
        },
      ],
      reason: 'deploy 214',
      dry_run: false,
      failed: [],
    });
    expect((await by('worker', 'list')).stdout).toMatch(/w-1 +suspended +ocr .*deploy 214/);
    expect((await by('worker', 'info', 'w-1')).stdout).toContain('suspended (deploy 214)');
    expect((await by('send', 'ocr', 'x')).code).toBe(5);
    expect(await failure('worker', 'rejoin', 'w-1')).toMatchObject({
      code: 'CONFLICT',
      next: ['by worker resume w-1'],
    });
    const resumed = await by('worker', 'resume', 'w-1', '--wait');
    expect(resumed.stdout).toMatch(/w-1 may take work again\n.*w-1 takes work/);
    expect((await by('worker', 'resume', 'w-1')).stderr).toContain('"w-1" was not suspended');
  });

  test('evict asks, by force aborts, waits for the end, and holds until rejoin', async () => {
    await new GatewayClient(store).send({agentType: 'ocr', content: 'x'});
    await until(() => seen.begun === 1);
    expect(await failure('worker', 'evict', 'w-1')).toMatchObject({code: 'INPUT_NEEDED'});
    expect(await data('worker', 'evict', 'w-1', '--dry-run')).toMatchObject({dry_run: true});
    expect(seen.aborted).toBe(0);
    const evicted = await data('worker', 'evict', 'w-1', '--force', '--yes', '--wait');
    expect(evicted).toMatchObject({workers: [{lifecycle: 'evicted', done: true}]});
    expect(await worker.done).toBe('evicted');
    expect(seen.aborted).toBe(1);
    expect((await by('worker', 'list', '--state', 'evicted', '-o', 'name')).stdout).toBe('w-1\n');
    expect(await failure('worker', 'suspend', 'w-1')).toMatchObject({code: 'CONFLICT', exit: 11});
    expect((await by('worker', 'rejoin', 'w-1')).stdout).toContain('w-1 may start again');
    expect((await by('worker', 'list', '-o', 'name')).stdout).toBe('');
  });

  test('what nobody knows is no worker; of several the rest is done', async () => {
    expect(await failure('worker', 'suspend', 'w-2')).toMatchObject({
      ...{code: 'NOT_FOUND', exit: 4, hint: 'Did you mean "w-1"?'},
    });
    const partial = await failure('worker', 'suspend', 'w-1', 'nobody');
    expect(partial).toMatchObject({
      ...{code: 'PARTIAL', exit: 10},
      details: {workers: [{worker_id: 'w-1'}], failed: [{worker_id: 'nobody', code: 'NOT_FOUND'}]},
    });
    await data('worker', 'resume', 'w-1', '--wait');
    expect(await failure('worker', 'suspend', 'a b')).toMatchObject({code: 'INVALID_INPUT'});
  });

  test('a worker of another SDK: what it may not do is said', async () => {
    // Nobody renews it while the commands run.
    const lease = {workerId: 'py-1', token: 'f'.repeat(32), ipAddress: '', ttlMs: 60_000};
    await claimLease(store, lease);
    await heartbeat(store, lease, {agentTypes: ['ocr'], join: true, nowMs: Date.now()});
    const evicted = await by('worker', 'evict', 'py-1', '--force', '--yes');
    expect(evicted.stderr).toContain('a worker of another SDK, which may finish what it runs');
    const ended = by('worker', 'evict', 'py-1', '--yes', '--wait', '--timeout', '1s');
    expect((await ended).code).toBe(8);
    expect((await by('agent', 'deny', 'ocr', 'py-1')).stderr).toContain('a worker of another SDK');
    await data('agent', 'allow', 'ocr', 'py-1');
  });

  test('deny, denylist and allow', async () => {
    expect(await data('agent', 'deny', 'ocr', 'w-1', '--dry-run')).toMatchObject({denied: []});
    expect(await data('agent', 'deny', 'ocr', 'w-1')).toMatchObject({
      ...{agent_type: 'ocr', workers: [{worker_id: 'w-1', changed: true}], denied: ['w-1']},
    });
    expect((await by('type', 'deny', 'ocr', 'w-1')).stdout).toContain('(it was before)');
    expect((await by('agent', 'denylist')).stdout).toMatch(/ocr +w-1/);
    expect((await by('type', 'denylist', 'ocr', '-o', 'name')).stdout).toBe('w-1\n');
    expect(await data('worker', 'show', 'w-1')).toMatchObject({denied_types: ['ocr']});
    expect((await by('send', 'ocr', 'x')).code).toBe(5);
    expect((await by('agent', 'deny', 'other', 'w-1')).stderr).toContain('does not serve "other"');
    expect(await failure('agent', 'deny', 'ocr', 'w-3')).toMatchObject({code: 'NOT_FOUND'});
    expect(await data('agent', 'allow', 'ocr', 'w-1')).toMatchObject({denied: []});
    expect((await by('agent', 'allow', 'ocr', 'w-1')).stderr).toContain('was not barred');
    await data('agent', 'allow', 'other', 'w-1');
    expect(await data('agent', 'denylist')).toEqual({denylist: []});
  });
});
