/** A real server with the users of `by acl`: each role can do its work, and nothing of the others'. Needs the build. */
import {Redis} from 'ioredis';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {answerByHand} from '../../src/availability/answer-by-hand.js';
import {startManager} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import {carryOutReplay, planReplay} from '../../src/availability/replay.js';
import {dropByHand, releaseByHand} from '../../src/availability/release-by-hand.js';
import {findLetters} from '../../src/cli/dead-letter-filter.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {examine} from '../../src/observe/examine.js';
import {whereabouts} from '../../src/observe/execution-place.js';
import {ManagerWatch} from '../../src/observe/manager-health.js';
import {ACL_ROLES, aclRules, type AclRole} from '../../src/protocol/acl.js';
import type {WakeupRequest} from '../../src/protocol/wakeup.js';
import {listAgents} from '../../src/registry/agents.js';
import {listAgentTypes} from '../../src/registry/listing.js';
import {findHeld, heldTypes, listHeld} from '../../src/registry/pending-deliveries.js';
import {allAgentTypes, listQueues, peekQueue, showQueue} from '../../src/registry/queues.js';
import {listSessions, showSession} from '../../src/registry/sessions.js';
import {decisionsFor, listWakeups} from '../../src/registry/wakeups.js';
import {listAdmission, setCircuit, setFallback, setQuota} from '../../src/store/admission.js';
import {requestWakeup} from '../../src/store/control-plane.js';
import {followEntries, lastEntriesStart} from '../../src/store/data-streams.js';
import {sweepDeadlines} from '../../src/store/deadlines.js';
import {listDeadLetters} from '../../src/store/dead-letters.js';
import {auditOf, dropDeadLetter} from '../../src/store/replays.js';
import {DiscoveryClient} from '../../src/registry/discovery-client.js';
import {ServiceRegistry} from '../../src/registry/service-registry.js';
import {sessionExecutions} from '../../src/store/executions.js';
import {openStore, type Store} from '../../src/store/store.js';
import {
  allowAgentType,
  deniedWorkers,
  denyAgentType,
  evictWorker,
  isKnownWorker,
  rejoinWorker,
  resumeWorker,
  suspendWorker,
} from '../../src/store/worker-admin.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {startRedisCluster} from '../support/redis-cluster.js';
import {startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {runBy} from './run-by.js';

interface Deployment {
  readonly url: string;
  /** Every server that knows the users. */
  readonly nodes: readonly {readonly url: string}[];
  stop(): Promise<void>;
}

const oneServer = async (): Promise<Deployment> => {
  const server = await startRedisServer();
  return {url: server.url, nodes: [server], stop: () => server.stop()};
};

describe.each([
  ['one server, key schema v1', 'v1', oneServer],
  ['one server, key schema v2', 'v2', oneServer],
  ['a Cluster', 'v2', (): Promise<Deployment> => startRedisCluster()],
] as const)('the users of by acl on %s', (_, keySchema, start) => {
  let server: Deployment;
  let admins: Redis[];
  const opened: {close(): void}[] = [];

  const as = (role: AclRole): string => server.url.replace('redis://', `redis://${role}:secret@`);
  const storeOf = (role: AclRole): Store => {
    const store = openStore({url: as(role), keySchema, limits: {perAgentType: 100, perUser: 1}});
    opened.push(store);
    return store;
  };

  beforeAll(async () => {
    server = await start();
    admins = server.nodes.map(({url}) => new Redis(url));
    for (const role of ACL_ROLES) {
      const flags =
        role === 'worker' ? ['--agent-type', 'fl', '--agent-type', 'gl', '--worker-prefix', 'w-'] : [];
      const {stdout} = await runBy(['acl', role, '--key-schema', keySchema, ...flags]);
      const [acl = '', ...words] = stdout.trim().split(' ');
      for (const admin of admins) {
        expect(await admin.call(acl, ...words)).toBe('OK');
        await admin.call('ACL', 'SETUSER', role, '>secret');
        // Applied again, as after an upgrade: the password stays.
        expect(await admin.call(acl, ...words)).toBe('OK');
      }
    }
    for (const admin of admins) await admin.call('ACL', 'LOG', 'RESET');
  });
  afterAll(async () => {
    for (const each of opened) each.close();
    for (const admin of admins) admin.disconnect();
    await server.stop();
  });

  test('sending, working, waking, replaying and looking are never refused anything', async () => {
    const manager = await startManager(storeOf('manager'), {
      provider: mockProvider({mode: {kind: 'ready'}, delayMs: 0}),
      log: silentLogger,
    });
    const client = new GatewayClient(storeOf('client'));
    const waking = client.send({agentType: 'fl', content: 'x', policy: 'WAKE_AND_WAIT', userCode: 'u'});
    const held = await client.send({agentType: 'gl', content: 'x', policy: 'QUEUE_ONLY'});
    const worker = await startWorker(storeOf('worker'), {
      workerId: 'w-1',
      log: silentLogger,
      agents: [
        defineAgent({
          type: 'fl',
          run: async (ctx, ask) => {
            await ctx.emitChunk('a word');
            if (ask.text === 'fail') throw new Error('no luck');
            return {content: ask.text};
          },
        }),
        defineAgent({type: 'gl', run: () => ({status: 'WAITING_AGENT'})}),
      ],
    });
    const sent = await waking;
    const statusOf = async ({sessionId, messageId}: {sessionId: string; messageId: string}) =>
      (await client.find(sessionId, messageId))?.status;
    await until(async () => (await statusOf(sent)) === 'COMPLETED');
    await until(async () => (await statusOf(held)) === 'WAITING_AGENT');
    const kinds: string[] = [];
    for await (const item of client.follow(sent.sessionId, {untilCaughtUp: true})) kinds.push(item.kind);
    expect(kinds).toEqual(['event', 'event', 'event']);

    // The user's one place is free again: that is looked for, because nobody says so.
    const task = await client.send({agentType: 'fl', content: 'fail', userCode: 'u', deadlineMs: 60_000});
    await until(async () => (await statusOf(task)) === 'FAILED');
    const operator = storeOf('manager');
    const options = {newIds: false, keep: false, reason: '', policy: 'SEND_ANYWAY', actor: 'test'} as const;
    const [plan] = await planReplay(operator, await listDeadLetters(operator, 10), options);
    if (plan?.kind !== 'ready') throw new Error('nothing to replay');
    expect(await carryOutReplay(operator, Date.now, 'rpl-1', plan, options)).toMatchObject({
      result: 'replayed',
    });
    const spare = await operator.commands.run(redis =>
      redis.xadd(operator.keys.deadletter(), '*', 'data', '{"execution_id":"e"}'),
    );
    expect(await dropDeadLetter(operator, spare ?? '', '{"action":"drop"}')).toBe(true);
    await new GatewayClient(operator).cancel({sessionId: held.sessionId});
    for (const role of ['worker', 'manager'] as const) {
      const sweeper = storeOf(role);
      // The manager sweeps too: this role has to win one.
      await until(async () => {
        await client.send({agentType: 'no-one', content: 'x', policy: 'SEND_ANYWAY', deadlineMs: 1});
        return (await sweepDeadlines(sweeper, 1)) > 0;
      });
    }

    await setCircuit(operator, 'kl', {reason: 'down', forMs: 60_000});
    await setQuota(operator, 'nobody', {});
    await setFallback(operator, 'kl', {selectedAgentType: 'fl'});
    for (const content of ['release', 'drop'])
      await client.send({agentType: 'hl', content, policy: 'QUEUE_ONLY'});
    const byHand = {by: 'ops', now: 1};
    const deliveries = await until(async () => {
      const held = (await listHeld(operator, {agentType: 'hl', limit: 10})).deliveries;
      return held.length === 2 && held.every(({place}) => place === 'held') && held;
    });
    expect(await releaseByHand(operator, deliveries[0]!, 1)).toBe('done');
    expect(await dropByHand(operator, deliveries[1]!, {reason: 'x', ...byHand})).toBe('done');
    const wakeup = (executionId: string): WakeupRequest => ({
      ...{executionId, targetAgentType: 'fl', sessionId: 's', traceId: '', messageId: 'm', source: ''},
      ...{policy: 'WAKE_AND_WAIT', timeoutMs: 1, userCode: '', region: '', priority: 0, metadata: {}},
      commandPayload: {},
    });
    await requestWakeup(operator, wakeup('exec-1'));
    const failed = {status: 'FAILED', selectedAgentType: '', workerIds: [], retryAfterMs: null, reason: 'x'};
    await answerByHand(operator, wakeup('exec-1'), failed, byHand);

    const viewer = storeOf('viewer');
    const types = await allAgentTypes(viewer);
    const watch = new ManagerWatch({store: viewer, beats: [], full: 1});
    await Promise.all([
      listAgents(viewer),
      listAdmission(viewer),
      listWakeups(viewer, 10),
      decisionsFor(viewer, 'exec-1'),
      heldTypes(viewer),
      listHeld(viewer, {limit: 10}),
      findHeld(viewer, 'exec-none'),
      watch.metrics(),
      ...[viewer.keys.wakeup(), viewer.keys.deliveryPending(), viewer.keys.deadletter()].map(async key => {
        const after = await lastEntriesStart(viewer, key, 10);
        for await (const item of followEntries(viewer, key, {after, untilCaughtUp: true}))
          kinds.push(item.kind);
      }),
      listAgentTypes(viewer),
      listQueues(viewer, types),
      showQueue(viewer, 'fl'),
      peekQueue(viewer, 'fl', 10),
      listSessions(viewer, {limit: 10, look: 100_000}),
      showSession(viewer, sent.sessionId),
      examine(viewer),
      auditOf(viewer),
      findLetters(viewer, {limit: 10}, 'newest'),
    ]);
    const record = await new GatewayClient(viewer).find(sent.sessionId, sent.messageId);
    await whereabouts(viewer, record!);

    await worker.stop();
    await manager.stop();
    // How often the append-only file is synced is asked for, and may be refused: CONFIG GET also tells passwords.
    const logs = await Promise.all(admins.map(admin => admin.call('ACL', 'LOG') as Promise<unknown[]>));
    expect(
      logs
        .flat()
        .map(factsOf)
        .filter(({object}) => object !== 'config|get'),
    ).toEqual([]);
  });

  /** What the server says that has the key. */
  async function answerTo(role: AclRole, command: string, args: readonly string[]): Promise<string> {
    for (const {url} of server.nodes) {
      const redis = new Redis(url.replace('redis://', `redis://${role}:secret@`));
      const answer = await redis
        .call(command, ...args)
        .then(() => 'allowed')
        .catch((error: unknown) => String(error));
      redis.disconnect();
      if (!answer.includes('MOVED')) return answer;
    }
    return 'no server has it';
  }

  test('a service registers itself and finds others, and does nothing else', async () => {
    const service = storeOf('service');
    const registry = new ServiceRegistry(service);
    const {instance} = await registry.register({service: 'billing', host: 'h', port: 1});
    for (const role of ['service', 'worker', 'manager', 'viewer'] as const)
      expect(await new DiscoveryClient(storeOf(role)).instances('billing'), role).toMatchObject([instance]);
    for (const role of ['client', 'worker', 'viewer'] as const)
      await expect(
        new ServiceRegistry(storeOf(role)).register({service: 'billing', host: 'h', port: 2}),
      ).rejects.toMatchObject({code: 'REDIS_AUTH'});
    await expect(suspendWorker(service, 'w-1')).rejects.toMatchObject({code: 'REDIS_AUTH'});
    await expect(new GatewayClient(service).send({agentType: 'fl', content: 'x'})).rejects.toMatchObject({
      code: 'REDIS_AUTH',
    });
    await registry.stop();
  });

  test('only operators decide about workers', async () => {
    for (const role of ['client', 'worker', 'viewer'] as const) {
      const store = storeOf(role);
      for (const decide of [suspendWorker, evictWorker, rejoinWorker])
        await expect(decide(store, 'w-9'), role).rejects.toMatchObject({code: 'REDIS_AUTH'});
      await expect(denyAgentType(store, 'fl', 'w-9'), role).rejects.toMatchObject({code: 'REDIS_AUTH'});
      await expect(allowAgentType(store, 'fl', 'w-9'), role).rejects.toMatchObject({code: 'REDIS_AUTH'});
    }
    const operator = storeOf('manager');
    expect(await deniedWorkers(operator, 'fl')).toEqual([]);
    expect(await isKnownWorker(operator, 'w-9')).toBe(false);
    await suspendWorker(operator, 'w-9');
    await resumeWorker(operator, 'w-9');
    await evictWorker(operator, 'w-9');
    await rejoinWorker(operator, 'w-9');
    expect(await denyAgentType(operator, 'fl', 'w-9')).toBe(true);
    expect(await deniedWorkers(storeOf('viewer'), 'fl')).toEqual(['w-9']);
    expect(await allowAgentType(operator, 'fl', 'w-9')).toBe(true);
  });

  test('an agent cancels what it called; only workers of its own fleet are told to stop', async () => {
    const silent = {log: silentLogger, concurrency: 3};
    const busy = (type: string) =>
      defineAgent({
        type,
        run: ctx => new Promise<void>(resolve => ctx.signal.addEventListener('abort', () => resolve())),
      });
    const foreign = await startWorker(storeOf('manager'), {
      ...{...silent, workerId: 'x-1'},
      agents: [busy('slow')],
    });
    const own = await startWorker(storeOf('worker'), {
      ...{...silent, workerId: 'w-2'},
      agents: [
        busy('gl'),
        defineAgent({
          type: 'fl',
          run: async (ctx, ask) => {
            if (ask.text === 'wins') {
              for (const type of ['slow', 'gl'])
                await until(async () => (await statusOf(type)) === 'RUNNING');
              return {content: 'won'};
            }
            const calls = [
              ['slow', 'x'],
              ['gl', 'x'],
              ['fl', 'wins'],
            ] as const;
            return {content: await ctx.callAny(calls, {rest: 'cancel'})};
          },
        }),
      ],
    });
    const client = new GatewayClient(storeOf('manager'));
    const records = () => sessionExecutions(storeOf('manager'), 'cancelling');
    const statusOf = async (type: string) =>
      (await records()).find(one => one.targetAgentType === type)?.status;
    await client.send({agentType: 'fl', content: 'go', sessionId: 'cancelling'});
    await until(async () => (await statusOf('gl')) === 'CANCELLED');
    await until(async () => (await statusOf('fl')) === 'COMPLETED');
    expect(await statusOf('slow')).toBe('CANCELLING');
    for (const worker of [own, foreign]) await worker.stop({drainMs: 0});
  });

  test('nobody can do another’s work', async () => {
    const {keys} = storeOf('viewer');
    const [work, mine] = [keys.ctrlStream('fl'), keys.workerCtrlStream('w-1')];
    const forbidden: readonly (readonly [AclRole, ...string[]])[] = [
      // A client takes no work, speaks to no worker, forges no answer, event, lease or decision.
      ['client', 'XREADGROUP', 'GROUP', 'agent_engines', 'c', 'STREAMS', work, '>'],
      ['client', 'XACK', work, 'agent_engines', '1-1'],
      ['client', 'XDEL', work, '1-1'],
      ['client', 'DEL', work],
      ['client', 'EXPIRE', work, '1'],
      ['client', 'SET', work, 'x'],
      ['client', 'XRANGE', work, '-', '+'],
      ['client', 'XADD', mine, '*', 'data', '{}'],
      ['client', 'XADD', keys.sessionDataStream('s'), '*', 'data', '{}'],
      ['client', 'XADD', keys.wakeupResult('e'), '*', 'data', '{}'],
      ['client', 'XADD', keys.deadletter(), '*', 'data', '{}'],
      ['client', 'SET', keys.workerLease('w-1'), 'x'],
      ['client', 'SADD', keys.members('fl'), 'w-9'],
      ['client', 'SET', keys.circuit('fl'), 'x'],
      ['client', 'EVAL', "return redis.call('DEL', KEYS[1])", '1', work],
      ['client', 'CLIENT', 'UNBLOCK', '1'],
      ['client', 'KEYS', '*'],
      ['client', 'SCAN', '0'],
      ['client', 'FLUSHALL'],
      ['client', 'CONFIG', 'GET', '*'],
      // A worker serves its own agent types, under its own ids, and decides nothing.
      ['worker', 'XREADGROUP', 'GROUP', 'agent_engines', 'c', 'STREAMS', keys.ctrlStream('other'), '>'],
      ['worker', 'XADD', keys.workerCtrlStream('x-1'), '*', 'data', '{}'],
      ['worker', 'SET', keys.workerLease('x-1'), 'x'],
      ['worker', 'SADD', keys.members('other'), 'w-1'],
      ['worker', 'HSET', keys.workerAdmin('w-1'), 'lifecycle', 'active'],
      ['worker', 'SREM', keys.denied('fl'), 'w-1'],
      ['worker', 'XADD', keys.wakeupResult('e'), '*', 'data', '{}'],
      ['worker', 'XRANGE', keys.deadletter(), '-', '+'],
      ['worker', 'XDEL', keys.deadletter(), '1-1'],
      ['worker', 'SET', keys.deadletterReplay('1-1'), 'x'],
      ['worker', 'SET', keys.userQuota('u'), 'x'],
      ['worker', 'DEL', work],
      ['worker', 'EVAL', "return redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)", '1', keys.deadletter()],
      ['worker', 'SCAN', '0'],
      // A manager stays within the deployment's keys, and is no administrator.
      ['manager', 'GET', 'somebody:else'],
      ['manager', 'FLUSHALL'],
      ['manager', 'CONFIG', 'SET', 'maxmemory', '1'],
      ['manager', 'ACL', 'LIST'],
      ['manager', 'CLIENT', 'KILL', 'TYPE', 'normal'],
      // A viewer changes nothing.
      ['viewer', 'XADD', work, '*', 'data', '{}'],
      ['viewer', 'XGROUP', 'CREATE', work, 'g', '0'],
      ['viewer', 'XACK', work, 'agent_engines', '1-1'],
      ['viewer', 'HSET', keys.sessionRegistry('s'), 'f', 'v'],
      ['viewer', 'DEL', keys.deadletter()],
      ['viewer', 'EVAL', 'return 1', '0'],
      ['viewer', 'GET', 'somebody:else'],
    ];
    const allowed: string[] = [];
    for (const [role, command = '', ...args] of forbidden) {
      const answer = await answerTo(role, command, args);
      if (!/NOPERM|The user executing the script can't/.test(answer))
        allowed.push(`${role} ${command} ${args.join(' ')}: ${answer}`);
    }
    expect(allowed).toEqual([]);
  });
});

describe('by acl', () => {
  test('names the commands of 7.2 only for 7.2', () => {
    const options = {schema: 'v1', agentTypes: ['*'], workerPrefix: '', since72: false} as const;
    expect(aclRules('client', options)).not.toContain('+client|setinfo');
    expect(aclRules('client', {...options, since72: true})).toContain('+client|setinfo');
  });

  test.each([
    ['an unknown role', ['acl', 'root'], 'USAGE'],
    ['agent types for a viewer', ['acl', 'viewer', '--agent-type', 'fl'], 'USAGE'],
    ['an agent type that is a pattern', ['acl', 'worker', '--agent-type', 'f*'], 'INVALID_INPUT'],
    ['a worker prefix with a space', ['acl', 'worker', '--worker-prefix', 'a ~*'], 'INVALID_INPUT'],
    ['a user name with a rule in it', ['acl', 'client', '--user', 'x +@all'], 'INVALID_INPUT'],
  ])('refuses %s', async (_case, args, code) => {
    const ran = await runBy([...args, '--json']);
    expect(ran.code).toBe(2);
    expect(ran.json()).toMatchObject({error: {code}});
  });
});

function factsOf(entry: unknown): {object: string; username: string} {
  const pairs = new Map<string, string>();
  if (Array.isArray(entry))
    for (let i = 0; i + 1 < entry.length; i += 2) pairs.set(String(entry[i]), String(entry[i + 1]));
  else if (typeof entry === 'object' && entry !== null)
    for (const [name, value] of Object.entries(entry)) pairs.set(name, String(value));
  return {object: pairs.get('object') ?? '', username: pairs.get('username') ?? ''};
}
