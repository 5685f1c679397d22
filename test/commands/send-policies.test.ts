/**
 * `by send --policy`: each of the five policies while the worker is stopped, while it is starting, and while it runs; what
 * a person reads and what a program reads. Needs the build.
 */
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {startManager, type ManagerHandle} from '../../src/availability/manager.js';
import type {Provider} from '../../src/availability/provider.js';
import {GatewayClient} from '../../src/client/client.js';
import {startEmbeddedStore} from '../../src/dev/embedded/start.js';
import {silentLogger} from '../../src/log.js';
import type {RedisClient} from '../../src/store/client.js';
import {openStore, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {brokenRules} from '../support/keyspace.js';
import {startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {readyOrNone} from '../support/wakeups.js';
import {runBy, startBy, type Ran} from './run-by.js';

const servers = [
  ['redis-server', async () => startRedisServer()],
  ['embedded', async () => startEmbeddedStore().then(store => ({url: store.url, stop: () => store.close()}))],
] as const;

const POLICIES = ['fail-fast', 'send-anyway', 'wake-and-wait', 'wake-and-queue', 'queue-only'] as const;
type Policy = (typeof POLICIES)[number];

/** What a person reads on standard error; what changes from run to run is in capitals. */
const head = (policy: Policy) => `→ TYPE   policy ${policy}   session SESSION   message MESSAGE`;
const queued = [
  '  deliver QUEUE_PENDING → control_plane:mgmt:delivery:pending  ENTRY',
  'queued; watch it with  by tail SESSION -f',
];
const offline = '  offline: 0 workers for TYPE';
const asked = '  wakeup  requested  EXECUTION';
const there = `${asked}  → READY in TIME (w-TYPE)`;
const deliver = (status: string) => `  deliver ${status} → ctrl:agent_type:TYPE  ENTRY`;
const held = '  deliver QUEUE_PENDING → control_plane:mgmt:delivery:pending  ENTRY';
/** The answer itself is on standard output. */
const answered = ['', '  STARTING', '✓ COMPLETED in TIME   3 chunks, 1 state change'];
const refused = (policy: Policy, another: string, why = '.') => [
  `✗ AGENT_TYPE_UNAVAILABLE  No worker is online for "TYPE" (policy ${policy})${why}`,
  '  ONLINE',
  '  HINT',
  `  try  by send TYPE … --policy ${another}`,
  '  try  by worker list',
];

interface Outcome {
  readonly exit: number;
  readonly says: readonly string[];
  /** Of an accepted send. */
  readonly status?: string;
  /** Of a refused one. */
  readonly code?: string;
}

const refusal: Outcome = {
  exit: 5,
  code: 'AGENT_TYPE_UNAVAILABLE',
  says: [head('fail-fast'), ...refused('fail-fast', 'wake-and-wait')],
};

const whenStopped: Record<Policy, Outcome> = {
  'fail-fast': refusal,
  'send-anyway': {exit: 0, status: 'DELIVER_NOW', says: [head('send-anyway'), deliver('DELIVER_NOW')]},
  'wake-and-wait': {
    exit: 8,
    code: 'TIMEOUT',
    says: [
      head('wake-and-wait'),
      offline,
      asked,
      ...refused('wake-and-wait', 'queue-only', ': no worker came online within 400 ms.').map(line =>
        line.replace('AGENT_TYPE_UNAVAILABLE', 'TIMEOUT'),
      ),
    ],
  },
  'wake-and-queue': {exit: 0, status: 'QUEUE_PENDING', says: [head('wake-and-queue'), ...queued]},
  'queue-only': {exit: 0, status: 'QUEUE_PENDING', says: [head('queue-only'), ...queued]},
};

const whenStarting: Record<Policy, Outcome> = {
  'fail-fast': refusal,
  'send-anyway': {
    ...{exit: 0, status: 'DELIVER_NOW'},
    says: [head('send-anyway'), deliver('DELIVER_NOW'), ...answered],
  },
  'wake-and-wait': {
    ...{exit: 0, status: 'WAIT_AND_DELIVER'},
    says: [head('wake-and-wait'), offline, there, deliver('WAIT_AND_DELIVER'), ...answered],
  },
  'wake-and-queue': {
    ...{exit: 0, status: 'QUEUE_PENDING'},
    says: [head('wake-and-queue'), held, ...answered],
  },
  'queue-only': {...{exit: 0, status: 'QUEUE_PENDING'}, says: [head('queue-only'), held, ...answered]},
};

const whenRunning = Object.fromEntries(
  POLICIES.map(policy => [
    policy,
    {exit: 0, status: 'DELIVER_NOW', says: [head(policy), deliver('DELIVER_NOW'), ...answered]},
  ]),
) as unknown as Record<Policy, Outcome>;

/** The ids and times of one run by what they are. */
const common = (text: string, agentType: string): string[] =>
  text
    .trimEnd()
    .split('\n')
    .map(line =>
      line
        .replaceAll(agentType, 'TYPE')
        .replace(/\bsess-\w+/, 'SESSION')
        .replace(/\bmsg-\w+/, 'MESSAGE')
        .replace(/\bexec-\w+/, 'EXECUTION')
        .replace(/\b\d{13}-\d+/, 'ENTRY')
        .replace(/ in \d+(\.\d)?m?s\b/g, ' in TIME')
        // Whoever sees the worker first: the manager, or the sender itself, which looks once a second.
        .replace('→ online in TIME', '→ READY in TIME')
        .replace(/^ {2}(known agent types online: |no agent type is online).*/, '  ONLINE')
        .replace(/^ {2}(Start one with `by worker run`|See that a manager runs).*/, '  HINT'),
    );

const IDS = ['session_id', 'message_id', 'execution_id', 'trace_id'];

function expectText(ran: Ran, agentType: string, outcome: Outcome, answer: string): void {
  expect(common(ran.stderr, agentType)).toEqual(outcome.says);
  expect(ran).toMatchObject({code: outcome.exit, stdout: answer});
}

function expectJson(ran: Ran, agentType: string, policy: Policy, outcome: Outcome, isAnswered: boolean) {
  expect({code: ran.code, stderr: ran.stderr}).toEqual({code: outcome.exit, stderr: ''});
  const constant = policy.toUpperCase().replaceAll('-', '_');
  if (outcome.code !== undefined) {
    const {error} = ran.json() as unknown as {error: {details: Record<string, unknown>}};
    expect(ran.json()).toMatchObject({ok: false, schema: 'by.error/1'});
    expect(Object.keys(error)).toEqual(['code', 'exit', 'message', 'hint', 'next', 'details']);
    expect(error).toMatchObject({
      ...{code: outcome.code, exit: outcome.exit},
      details: {agent_type: agentType, policy: constant},
    });
    for (const id of IDS) expect(error.details[id], id).toMatch(/\w/);
    return;
  }
  const {data} = ran.json() as unknown as {data: Record<string, unknown>};
  expect(ran.json()).toMatchObject({ok: true, schema: 'by.send/1', warnings: []});
  expect(Object.keys(data)).toEqual([
    ...['status', 'policy', 'target_agent_type', 'selected_agent_type', ...IDS, 'stream_id', 'duplicate'],
    ...(outcome.status === 'WAIT_AND_DELIVER' ? ['wakeup'] : []),
    ...(isAnswered ? ['execution', 'output'] : []),
  ]);
  expect(data).toMatchObject({
    ...{status: outcome.status, policy: constant, duplicate: false},
    ...{target_agent_type: agentType, selected_agent_type: agentType},
    stream_id: expect.stringMatching(/^\d+-\d+$/) as unknown,
  });
  const elapsed_ms = expect.any(Number) as unknown;
  if (outcome.status === 'WAIT_AND_DELIVER')
    expect(data['wakeup']).toEqual({
      ...{decision: readyOrNone, elapsed_ms},
      worker_ids: [`w-${agentType}`],
    });
  if (isAnswered)
    expect(data).toMatchObject({execution: {status: 'COMPLETED', elapsed_ms}, output: 'Bonjour'});
}

describe.each(servers)('by send --policy on %s', (_, start) => {
  let server: {url: string; stop: () => Promise<void>};
  let store: Store;
  let client: GatewayClient;
  const workers: WorkerHandle[] = [];
  const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});

  async function work(...agentTypes: readonly string[]): Promise<void> {
    const agents = agentTypes.map(type =>
      defineAgent({
        type,
        async run(ctx) {
          await ctx.emitState('STARTING');
          for (const part of ['Bon', 'jo', 'ur']) await ctx.emitChunk(part);
          return {content: 'Bonjour'};
        },
      }),
    );
    const workerId = `w-${agentTypes[0]}`;
    workers.push(await startWorker({url: server.url}, {agents, workerId, log: silentLogger}));
  }

  const manage = (wakeup: Provider['wakeup']) =>
    startManager(store, {provider: {name: 'test', wakeup}, log: silentLogger});
  const has = async (count: (redis: RedisClient) => Promise<number>, wanted: number) =>
    (await store.commands.run(count)) >= wanted;

  beforeAll(async () => {
    server = await start();
    store = openStore({url: server.url});
    client = new GatewayClient(store);
  });
  afterAll(async () => {
    await Promise.all(workers.map(worker => worker.stop({drainMs: 0})));
    expect(await brokenRules(store, new Set())).toEqual([]);
    store.close();
    await server.stop();
  });

  describe('while the worker is stopped, and nobody starts it', () => {
    const sessionOf = (policy: Policy, mode: string) => `sess-${policy.replaceAll('-', '_')}_${mode}`;
    const args = (policy: Policy, mode: string) => [
      ...['send', `${policy}-${mode}`, 'Hello', '--policy', policy, '--availability-timeout', '400ms'],
      ...['--session', sessionOf(policy, mode), '--message-id', 'msg-1'],
    ];

    test.each(POLICIES)('%s', async policy => {
      const outcome = whenStopped[policy];
      const [text, json] = await Promise.all([
        by(...args(policy, 'text')),
        by(...args(policy, 'json'), '--json'),
      ]);
      expectText(text, `${policy}-text`, outcome, '');
      expectJson(json, `${policy}-json`, policy, outcome, false);
    });

    test('what was accepted is carried out once somebody starts it, and what was refused is not', async () => {
      const manager = await manage(() => Promise.resolve({status: 'REJECTED', reason: 'not asked for'}));
      await work(...POLICIES.flatMap(policy => [`${policy}-text`, `${policy}-json`]));
      for (const policy of POLICIES)
        for (const mode of ['text', 'json']) {
          const isAccepted = whenStopped[policy].exit === 0;
          const ended = await until(async () => {
            const record = await client.find(sessionOf(policy, mode), 'msg-1');
            return record?.status === (isAccepted ? 'COMPLETED' : 'FAILED') && record;
          });
          if (!isAccepted)
            expect(ended).toMatchObject({routeStatus: 'REJECT', errorCode: 'AGENT_TYPE_UNAVAILABLE'});
        }
      await manager.stop();
    });
  });

  describe('while the worker is starting', () => {
    const boots = new Map<string, () => void>();
    const isBooting = (agentType: string) => boots.has(agentType);
    let manager: ManagerHandle;
    beforeAll(async () => {
      manager = await manage(async ({targetAgentType}) => {
        await new Promise<void>(boot => boots.set(targetAgentType, boot));
        await work(targetAgentType);
        return {status: 'READY'};
      });
    });
    afterAll(() => manager.stop());

    /** Has the send done what it does before it is answered? */
    const isUnderWay: Record<Policy, (agentType: string) => Promise<boolean>> = {
      'fail-fast': () => Promise.resolve(true),
      'send-anyway': agentType => has(redis => redis.xlen(store.keys.ctrlStream(agentType)), 1),
      'wake-and-wait': agentType => has(redis => redis.hlen(store.keys.wakeupWaiters(agentType, '', '')), 2),
      'wake-and-queue': agentType => has(redis => redis.zcard(store.keys.pendingQueue(agentType)), 2),
      'queue-only': agentType => has(redis => redis.zcard(store.keys.pendingQueue(agentType)), 2),
    };

    async function sendMeanwhile(policy: Policy, agentType: string, ...how: readonly string[]): Promise<Ran> {
      // Somebody else has asked for it already.
      await client.send({agentType, content: 'first', policy: 'WAKE_AND_QUEUE'});
      await until(() => isBooting(agentType));
      const sending = by('send', agentType, 'Hello', '--policy', policy, ...how);
      if (policy === 'fail-fast') await sending;
      await until(() => isUnderWay[policy](agentType));
      boots.get(agentType)?.();
      return sending;
    }

    test.each(POLICIES)('%s', async policy => {
      const outcome = whenStarting[policy];
      const [text, json] = await Promise.all([
        sendMeanwhile(policy, `starting-${policy}-text`, '--follow'),
        sendMeanwhile(policy, `starting-${policy}-json`, '--wait', '--json'),
      ]);
      const isAnswered = outcome.exit === 0;
      expectText(text, `starting-${policy}-text`, outcome, isAnswered ? 'Bonjour\n' : '');
      expectJson(json, `starting-${policy}-json`, policy, outcome, isAnswered);
    });
  });

  describe('while the worker runs', () => {
    beforeAll(() => work('runs'));

    test.each(POLICIES)('%s', async policy => {
      const [text, json] = await Promise.all([
        by('send', 'runs', 'Hello', '--policy', policy, '--follow'),
        by('send', 'runs', 'Hello', '--policy', policy, '--wait', '--json'),
      ]);
      expectText(text, 'runs', whenRunning[policy], 'Bonjour\n');
      expectJson(json, 'runs', policy, whenRunning[policy], true);
    });
  });

  describe('with wake-and-wait', () => {
    test('what the manager says on the way stands in the line of the wakeup', async () => {
      const manager = await manage(({targetAgentType}) => {
        // Once the sender was told.
        void until(() => has(redis => redis.exists(store.keys.wakeupWaiters(targetAgentType, '', '')), 1))
          .then(() => until(() => told.text.includes('STARTING')))
          .then(() => work(targetAgentType));
        return Promise.resolve({status: 'STARTING', reason: 'a node boots'});
      });
      const told = {text: ''};
      const child = startBy(['send', 'announced', 'Hello', '--policy', 'wake-and-wait'], {
        env: {BY_REDIS_URL: server.url},
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => (told.text += text));
      expect(await new Promise(done => child.once('close', done))).toBe(0);
      expect(common(told.text, 'announced')).toEqual([
        head('wake-and-wait'),
        offline,
        `${asked}  → STARTING in TIME a node boots  → READY in TIME (w-TYPE)`,
        deliver('WAIT_AND_DELIVER'),
      ]);
      await manager.stop();
    });

    test('a manager that says no is a refusal with its reason, and not a time that passed', async () => {
      const manager = await manage(() => Promise.resolve({status: 'REJECTED', reason: 'no capacity'}));
      const args = ['send', 'refused', 'Hello', '--policy', 'wake-and-wait'] as const;
      const [text, json] = await Promise.all([by(...args), by(...args, '--json')]);
      const why = ': no capacity.';
      expectText(
        text,
        'refused',
        {
          exit: 5,
          says: [
            head('wake-and-wait'),
            offline,
            `${asked}  → REJECTED in TIME no capacity`,
            ...refused('wake-and-wait', 'queue-only', why),
          ],
        },
        '',
      );
      const outcome = {exit: 5, code: 'AGENT_TYPE_UNAVAILABLE', says: []};
      expectJson(json, 'refused', 'wake-and-wait', outcome, false);
      await manager.stop();
    });
  });

  test('a refusal names who is online, and whom you may have meant', async () => {
    const refusals = await by('send', 'runz', 'Hello');
    expect(refusals.code).toBe(5);
    const [, , line] = refusals.stderr.split('\n');
    expect(line).toMatch(/^ {2}known agent types online: .+ and \d+ more {5}did you mean "runs"\?$/);
    expect((await by('send', 'runz', 'Hello', '--json')).json()).toMatchObject({
      error: {details: {online: expect.arrayContaining(['runs']) as unknown}},
    });
  });
});
