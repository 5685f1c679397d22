/** `by agent`, `by wakeup`, `by pending` and `by tail wakeup|pending|deadletter` as a user types them. Needs the build. */
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {startEmbeddedStore} from '../../src/dev/embedded/start.js';
import {silentLogger} from '../../src/log.js';
import type {WakeupRequest} from '../../src/protocol/wakeup.js';
import {requestWakeup} from '../../src/store/control-plane.js';
import {openStore, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {brokenRules} from '../support/keyspace.js';
import {startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {ESCAPES, jsonOf, runBy, startBy} from './run-by.js';

const servers = [
  ['redis-server', async () => startRedisServer()],
  ['embedded', async () => startEmbeddedStore().then(store => ({url: store.url, stop: () => store.close()}))],
] as const;

const evil = 'a\u001b]52;c;ZXZpbA==\u0007b\u009bc\u202ed';

const asked = (executionId: string, targetAgentType: string, fields: Partial<WakeupRequest> = {}) => ({
  ...{executionId, targetAgentType, sessionId: 's', traceId: '', messageId: `msg-${executionId}`},
  ...{source: evil, policy: 'WAKE_AND_WAIT', timeoutMs: 30_000, userCode: '', region: '', priority: 0},
  ...{metadata: {}, commandPayload: {text: evil}},
  ...fields,
});

describe.each(servers)('by on %s', (_, start) => {
  let server: {url: string; stop: () => Promise<void>};
  let store: Store;
  let client: GatewayClient;
  let worker: WorkerHandle;
  const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});
  const {data, failure} = jsonOf(by);
  const refusal = (agentType: string, userCode = '') =>
    client
      .send({agentType, content: 'x', policy: 'SEND_ANYWAY', userCode})
      .then(() => undefined)
      .catch((error: unknown) => error);

  beforeAll(async () => {
    server = await start();
    store = openStore({url: server.url});
    client = new GatewayClient(store);
    worker = await startWorker(
      {url: server.url},
      {
        workerId: 'w-1',
        log: silentLogger,
        agents: [
          defineAgent({type: 'ocr_lite', run: (_ctx, ask) => ask.text}),
          defineAgent({type: 'thrower', run: () => Promise.reject(new Error(evil))}),
        ],
      },
    );
  });
  afterAll(async () => {
    await worker.stop({drainMs: 0});
    expect(await brokenRules(store, new Set())).toEqual([]);
    store.close();
    await server.stop();
  });

  describe('by agent', () => {
    test('a circuit turns everything away until it is closed, with its reason', async () => {
      expect(await failure('agent', 'circuit', 'open', 'ocr_lite', '--reason', 'down')).toMatchObject({
        code: 'INPUT_NEEDED',
      });
      const dry = await data('agent', 'circuit', 'open', 'ocr_lite', '--reason', 'down', '--dry-run');
      expect(dry).toMatchObject({dry_run: true, changed: false});
      expect(await refusal('ocr_lite')).toBeUndefined();
      const opened = await data(
        'agent',
        'circuit',
        'open',
        'ocr_lite',
        '--reason',
        'down',
        '--for',
        '10m',
        '--yes',
      );
      expect(opened).toMatchObject({
        agent_type: 'ocr_lite',
        open: true,
        expires_in_ms: 600_000,
        changed: true,
      });
      expect(opened['actor']).toMatch(/.@./);
      expect(await refusal('ocr_lite')).toMatchObject({code: 'AGENT_CIRCUIT_OPEN'});
      expect(await data('agent', 'circuit', 'list')).toMatchObject({
        circuits: [{agent_type: 'ocr_lite', open: true, reason: 'down', source: 'manual', readable: true}],
      });
      const shown = await by('agent', 'show', 'ocr_lite');
      expect(shown.stdout).toMatch(/circuit +open {2}"down" {2}manual {2}for 9m\d+s more/);
      expect((await by('agent', 'list')).stdout).toMatch(/ocr_lite +1 +0 +open/);
      expect(await data('agent', 'circuit', 'close', 'ocr_lite')).toMatchObject({changed: true});
      expect(await data('agent', 'circuit', 'close', 'ocr_lite')).toMatchObject({changed: false});
      expect(await refusal('ocr_lite')).toBeUndefined();
    });

    test('a quota turns one user away', async () => {
      const off = ['agent', 'quota', 'set', 'u-42', '--off', '--reason', 'monthly cap'] as const;
      expect(await data(...off, '--yes')).toMatchObject({user_code: 'u-42', available: false});
      expect(await refusal('ocr_lite', 'u-42')).toMatchObject({code: 'TENANT_QUOTA_EXCEEDED'});
      expect(await refusal('ocr_lite', 'u-43')).toBeUndefined();
      expect((await by('agent', 'quota', 'list')).stdout).toMatch(/u-42 +used up +- +- +monthly cap/);
      expect(await data('agent', 'quota', 'set', 'u-42', '--on')).toMatchObject({available: true});
      expect(await refusal('ocr_lite', 'u-42')).toBeUndefined();
      expect(await data('agent', 'quota', 'clear', 'u-42')).toMatchObject({changed: true});
      expect((await by('agent', 'quota', 'list')).stderr).toContain('There is no quota');
    });

    test('a limit turns a user away once it is used up', async () => {
      const limit = ['agent', 'quota', 'set', 'u-43', '--limit', '2', '--window', '1h'] as const;
      expect(await data(...limit, '--dry-run')).toMatchObject({
        limit: 2,
        window_ms: 3_600_000,
        changed: false,
      });
      expect((await by('agent', 'quota', 'list')).stderr).toContain('There is no quota');
      expect(await data(...limit)).toMatchObject({reason: '2 commands in 1h are the limit', changed: true});
      const send = ['send', 'ocr', 'hi', '--user-code', 'u-43', '--policy', 'send-anyway'] as const;
      expect((await by(...send)).code).toBe(0);
      expect((await by('agent', 'quota', 'list')).stdout).toMatch(/u-43 +available +1 of 2 in 1h/);
      expect((await by(...send)).code).toBe(0);
      const refused = await by(...send, '--json');
      expect(refused.code).toBe(5);
      expect(refused.stdout + refused.stderr).toContain('TENANT_QUOTA_EXCEEDED');
      expect((await by('agent', 'quota', 'list')).stdout).toMatch(/u-43 +used up +2 of 2 in 1h/);
      expect(await data('agent', 'quota', 'clear', 'u-43')).toMatchObject({changed: true});
      expect((await by(...send)).code).toBe(0);
    });

    test('a fallback takes what is sent to an agent type that is offline', async () => {
      expect(await data('agent', 'fallback', 'set', 'ocr', 'ocr_lite')).toMatchObject({
        agent_type: 'ocr',
        selected_agent_type: 'ocr_lite',
      });
      const sent = await client.send({agentType: 'ocr', content: 'x'});
      await until(async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED');
      expect(await data('agent', 'fallback', 'list')).toMatchObject({
        fallbacks: [{agent_type: 'ocr', selected_agent_type: 'ocr_lite', online: true}],
      });
      expect(await data('agent', 'fallback', 'clear', 'ocr')).toMatchObject({changed: true});
      const far = await by('agent', 'fallback', 'set', 'ocr', 'nobody_there', '--dry-run');
      expect(far.stderr).toContain('No worker of "nobody_there" is online');
      expect(await data('agent', 'fallback', 'list')).toEqual({fallbacks: []});
    });

    test('a record that routers can not read is shown as such', async () => {
      await store.commands.run(redis => redis.set(store.keys.circuit('ocr_lite'), `OPEN ${evil}`));
      const shown = await by('agent', 'circuit', 'list');
      expect(shown.stdout).toMatch(/ocr_lite +unreadable/);
      expect(shown.stdout).not.toMatch(ESCAPES);
      await by('agent', 'circuit', 'close', 'ocr_lite');
    });
  });

  describe('by wakeup', () => {
    test('list and show tell who waits for what, and decide answers all of them', async () => {
      for (const id of ['exec-1', 'exec-2']) await requestWakeup(store, asked(id, 'translator'));
      const listed = await by('wakeup', 'list', '--agent', 'translator');
      expect(listed.stdout).not.toMatch(ESCAPES);
      expect(listed.stdout).toMatch(/exec-1 +\S+ +translator +waiting +- +1 +wake-and-wait 30s/);
      expect((await by('wakeup', 'list', '-o', 'name')).stdout).toBe('exec-1\nexec-2\n');
      expect(await data('wakeup', 'show', 'exec-1')).toMatchObject({
        state: 'waiting',
        target_agent_type: 'translator',
        waiters: ['exec-1'],
        workers_online: [],
        command: {text: evil},
        decisions: [],
      });
      const reject = ['wakeup', 'decide', 'exec-1', 'rejected', '--reason', 'no room'] as const;
      expect(await failure(...reject)).toMatchObject({code: 'INPUT_NEEDED'});
      expect(await data(...reject, '--dry-run')).toMatchObject({dry_run: true, told: []});
      const decided = await data(...reject, '--yes');
      expect(decided).toMatchObject({agent_type: 'translator', decision: 'REJECTED', dead_letters: []});
      expect([...(decided['told'] as string[])].sort()).toEqual(['exec-1', 'exec-2']);
      expect(await data('wakeup', 'list')).toEqual({wakeups: []});
      expect(await failure('wakeup', 'show', 'exec-1')).toMatchObject({code: 'NOT_FOUND'});
    });

    test('a send that waits is told by hand, in text as in JSON', async () => {
      const sending = by('send', 'translator', 'hi', '--policy', 'wake-and-wait', '--json');
      const [id] = await until(async () => {
        const names = (await by('wakeup', 'list', '-o', 'name')).stdout.trim();
        return names === '' ? undefined : names.split('\n');
      });
      await data('wakeup', 'decide', id ?? '', 'fallback', '--to', 'ocr_lite');
      expect((await sending).json()).toMatchObject({data: {selected_agent_type: 'ocr_lite'}});
    });
  });

  describe('by pending', () => {
    test('what is held back is listed, shown, released and given up', async () => {
      const send = () =>
        client.send({agentType: 'legacy', content: evil, policy: 'QUEUE_ONLY', sessionId: 'p'});
      const [first, second] = [await send(), await send()];
      const listed = await by('pending', 'list');
      expect(listed.stdout).not.toMatch(ESCAPES);
      expect(listed.stdout).toMatch(new RegExp(`legacy +0 +arriving +0 +${first.executionId}`));
      const shown = await by('pending', 'show', first.executionId);
      expect(shown.stdout).not.toMatch(ESCAPES);
      expect(shown.stdout).toContain(first.messageId);

      const release = ['pending', 'release', first.executionId] as const;
      expect(await failure(...release)).toMatchObject({code: 'INPUT_NEEDED'});
      expect(await data(...release, '--dry-run')).toMatchObject({items: [{result: 'untouched'}]});
      expect(await data(...release, '--yes')).toMatchObject({done: 1, items: [{result: 'done'}]});
      expect(await failure(...release, '--yes')).toMatchObject({code: 'NOT_FOUND'});
      expect(await data('queue', 'peek', 'legacy')).toMatchObject({
        entries: [{message_id: first.messageId}],
      });

      const drop = ['pending', 'drop', '--agent', 'legacy', '--reason', 'not wanted'] as const;
      expect(await failure(...drop)).toMatchObject({code: 'INPUT_NEEDED'});
      expect(await data(...drop, '--yes')).toMatchObject({done: 1});
      expect(await client.find('p', second.messageId)).toMatchObject({
        status: 'FAILED',
        errorCode: 'DELIVERY_DROPPED',
      });
      expect((await by('deadletter', 'list')).stdout).toContain('not wanted');
      expect(await failure(...drop, '--yes')).toMatchObject({code: 'NOT_FOUND'});
    });
  });

  describe('by tail', () => {
    test('of wakeups prints what is there, then what comes, and takes nothing', async () => {
      await requestWakeup(store, asked('exec-t1', 'tailed'));
      const child = startBy(['tail', 'wakeup', '-o', 'jsonl', '--follow', '--agent', 'tailed'], {
        env: {BY_REDIS_URL: server.url},
      });
      let said = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
      await until(() => said.includes('exec-t1'));
      await requestWakeup(store, asked('exec-other', 'other'));
      await requestWakeup(store, asked('exec-t2', 'tailed', {userCode: 'u'}));
      await until(() => said.includes('exec-t2'));
      child.kill('SIGINT');
      await new Promise(done => child.once('close', done));
      expect(said).not.toMatch(ESCAPES);
      const lines = said
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as Record<string, unknown>);
      expect(lines[0]).toMatchObject({type: 'wakeup', agent_type: 'tailed', execution_id: 'exec-t1'});
      expect(lines[1]).toMatchObject({execution_id: 'exec-t2', user_code: 'u', policy: 'WAKE_AND_WAIT'});
      expect(said).not.toContain('exec-other');
      const groups = await store.commands.run(redis => redis.xinfo('GROUPS', store.keys.wakeup()));
      expect((groups as unknown[]).length).toBeLessThanOrEqual(1);
      expect(await data('wakeup', 'list', '--agent', 'tailed')).toMatchObject({
        wakeups: [{state: 'waiting'}, {state: 'waiting'}],
      });
      for (const id of ['exec-t1', 'exec-t2', 'exec-other']) await by('wakeup', 'decide', id, 'ready');
    });

    test('of dead letters shows code and reason, filtered, and ends in a pipe', async () => {
      const sent = await client.send({agentType: 'thrower', content: 'x'});
      await until(async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'FAILED');
      const tailed = await by('tail', 'deadletter', '--agent', 'thrower', '-i', 'EXECUTION_FAILED');
      expect(tailed.code).toBe(0);
      expect(tailed.stdout).not.toMatch(ESCAPES);
      expect(tailed.stdout).toContain(sent.executionId);
      expect((await by('tail', 'deadletter', '-x', 'EXECUTION_FAILED', '-a', 'thrower')).stdout).toBe('');
      expect(await data('tail', 'deadletter', '-a', 'thrower')).toMatchObject({
        stream: 'deadletter',
        reason: 'caught-up',
        events: [{type: 'deadletter', code: 'EXECUTION_FAILED', reason: evil}],
      });
    });

    test('of pending deliveries shows what can not be read beside what can', async () => {
      const entry = await store.commands.run(redis =>
        redis.xadd(store.keys.deliveryPending(), '*', 'data', 'no json'),
      );
      const sent = await client.send({agentType: 'held', content: 'x', policy: 'QUEUE_ONLY'});
      const tailed = await by('tail', 'pending', '-n', 'all', '-t');
      expect(tailed.stdout).toContain(`${entry}  -             -  unreadable: `);
      expect(tailed.stdout).toContain(sent.executionId);
      await by('pending', 'drop', entry ?? '', sent.executionId, '--reason', 'test', '--yes');
    });
  });

  test.each([
    ['an unknown agent type', ['agent', 'show', 'ocr_lit'], 4, 'NOT_FOUND'],
    ['an agent type that is none', ['agent', 'circuit', 'open', 'a b', '--reason', 'x'], 2, 'INVALID_INPUT'],
    ['a circuit without a reason', ['agent', 'circuit', 'open', 'ocr'], 2, 'USAGE'],
    ['a circuit for no time', ['agent', 'circuit', 'open', 'ocr', '--reason', 'x', '--for', '0'], 2, 'USAGE'],
    ['a quota neither on nor off', ['agent', 'quota', 'set', 'u'], 2, 'USAGE'],
    ['a quota both on and off', ['agent', 'quota', 'set', 'u', '--on', '--off'], 2, 'USAGE'],
    ['a limit without a window', ['agent', 'quota', 'set', 'u', '--limit', '3'], 2, 'USAGE'],
    [
      'a limit and off',
      ['agent', 'quota', 'set', 'u', '--limit', '3', '--window', '1m', '--off'],
      2,
      'USAGE',
    ],
    ['a window of nothing', ['agent', 'quota', 'set', 'u', '--limit', '3', '--window', '0'], 2, 'USAGE'],
    ['a limit of none', ['agent', 'quota', 'set', 'u', '--limit', '0', '--window', '1m'], 2, 'USAGE'],
    ['a user code that is none', ['agent', 'quota', 'set', 'u*', '--on'], 2, 'INVALID_INPUT'],
    ['a fallback to itself', ['agent', 'fallback', 'set', 'ocr', 'ocr'], 2, 'USAGE'],
    ['an unknown wakeup', ['wakeup', 'decide', 'exec-none', 'ready'], 4, 'NOT_FOUND'],
    ['an unknown decision', ['wakeup', 'decide', 'exec-none', 'maybe'], 2, 'USAGE'],
    ['a fallback to nobody', ['wakeup', 'decide', 'exec-none', 'fallback'], 2, 'USAGE'],
    ['--to without a fallback', ['wakeup', 'decide', 'exec-none', 'ready', '--to', 'x'], 2, 'USAGE'],
    ['a worker that is not ready', ['wakeup', 'decide', 'e', 'failed', '--worker', 'w'], 2, 'USAGE'],
    ['an unknown delivery', ['pending', 'show', 'exec-none'], 4, 'NOT_FOUND'],
    ['nothing to release', ['pending', 'release'], 2, 'USAGE'],
    ['ids and an agent type', ['pending', 'release', '1-1', '--agent', 'x'], 2, 'USAGE'],
    ['a drop without a reason', ['pending', 'drop', '1-1'], 2, 'USAGE'],
    ['an agent type nothing is held for', ['pending', 'release', '--agent', 'x'], 4, 'NOT_FOUND'],
    ['a pattern that is none', ['tail', 'wakeup', '-i', '('], 2, 'USAGE'],
    ['a number of lines that is none', ['tail', 'pending', '-n', 'few'], 2, 'USAGE'],
    ['a place that is no stream id', ['tail', 'deadletter', '--from', '10m'], 2, 'USAGE'],
  ])('%s ends with its own code', async (_case, args, code, name) => {
    const error = await failure(...args);
    expect(error).toMatchObject({code: name, exit: code});
    expect(error['hint']).not.toBe('');
  });
});
