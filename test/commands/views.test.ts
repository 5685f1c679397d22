/** `by exec`, `by queue` and `by session` as a user types them. Needs the build. */
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {startEmbeddedStore} from '../../src/dev/embedded/start.js';
import {silentLogger} from '../../src/log.js';
import {encodeRecord, execField, newExecutionRecord} from '../../src/protocol/execution.js';
import {CONSUMER_GROUP} from '../../src/protocol/keys.js';
import {encodePresence} from '../../src/protocol/presence.js';
import {ensureGroup, readNew} from '../../src/store/control-streams.js';
import {openStore, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {brokenRules} from '../support/keyspace.js';
import {startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {ESCAPES, jsonOf, runBy} from './run-by.js';

const servers = [
  ['redis-server', async () => startRedisServer()],
  ['embedded', async () => startEmbeddedStore().then(store => ({url: store.url, stop: () => store.close()}))],
] as const;

const evil = 'a\u001b]52;c;ZXZpbA==\u0007b\u009bc\u202ed';

describe.each(servers)('by on %s', (_, start) => {
  let server: {url: string; stop: () => Promise<void>};
  let store: Store;
  let client: GatewayClient;
  let worker: WorkerHandle;
  const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});
  const {data, failure} = jsonOf(by);

  /** Send to an agent type nobody of ours serves, and take the entries as a worker of another SDK. */
  async function pendingAt(agentType: string, consumer: string, contents: readonly string[]) {
    const results = [];
    for (const content of contents)
      results.push(await client.send({agentType, content, policy: 'SEND_ANYWAY'}));
    const stream = store.keys.ctrlStream(agentType);
    await ensureGroup(store, stream, CONSUMER_GROUP);
    await readNew(store, store.commands, {
      streams: [stream],
      group: CONSUMER_GROUP,
      consumer,
      count: contents.length,
      blockMs: 1,
    });
    return results;
  }

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
          defineAgent({type: 'echo', run: (_ctx, ask) => ask.text}),
          defineAgent({
            type: 'durable',
            run: async (ctx, ask) => {
              const said = await ctx.call('echo', ask.text);
              const size = await ctx.step('measure', () => String(said).length);
              await ctx.askUser({prompt: `${size}?`, choices: ['yes', 'no']});
            },
          }),
          defineAgent({type: 'thrower', run: () => Promise.reject(new Error(evil))}),
          defineAgent({
            type: 'sleeper',
            run: ctx =>
              new Promise((_, reject) =>
                ctx.signal.addEventListener('abort', () => reject(new Error('woken'))),
              ),
          }),
        ],
      },
    );
  });
  afterAll(async () => {
    await worker.stop({drainMs: 0});
    // The session with a tree is written by hand.
    expect(await brokenRules(store, new Set(['sessionRegistry']))).toEqual([]);
    store.close();
    await server.stop();
  });

  describe('by exec', () => {
    test('show --journal tells what a durable execution asked for, and replay starts it again from there', async () => {
      const sent = await client.send({agentType: 'durable', content: evil, sessionId: 'sess-journal'});
      const find = async (messageId: string) => client.find('sess-journal', messageId);
      await until(async () => (await find(sent.messageId))?.status === 'WAITING_USER');
      const {stdout} = await by('exec', 'show', sent.executionId, '--last', '--journal');
      expect(stdout).not.toMatch(ESCAPES);
      expect(stdout).toMatch(/0 +call echo: a/);
      expect(stdout).toMatch(/1 +step measure +2\. \+[\d.]+m?s +\d+/);
      expect(stdout).toMatch(/2 +ask: \d+\? +- +waits for a person/);
      expect(await data('exec', 'show', sent.executionId, '--last', '--journal')).toMatchObject({
        journal: {
          entries: [
            {entry: 0, kind: 'call', target: 'echo', outcome: {order: 1, status: 'COMPLETED'}},
            {entry: 1, kind: 'step', target: 'measure', outcome: {order: 2}},
            {entry: 2, kind: 'ask-user', outcome: null},
          ],
        },
      });

      const again = await data('exec', 'replay', sent.executionId, '--last', '--from', '1', '--yes');
      expect(again).toMatchObject({replayed: true, replay_of: sent.executionId, from: 1, kept_outcomes: 1});
      await until(async () => (await find(String(again['message_id'])))?.status === 'WAITING_USER');
      expect(
        await failure('exec', 'replay', sent.executionId, '--last', '--from', '9', '--yes'),
      ).toMatchObject({
        ...{code: 'INVALID_INPUT', exit: 2},
      });
      await client.cancel({sessionId: 'sess-journal'});
    });

    test('list shows a session, filtered, and what is in a queue or in a worker’s hands', async () => {
      const done = await client.send({agentType: 'echo', content: 'x', sessionId: 'sess-list'});
      await until(async () => (await client.find('sess-list', done.messageId))?.status === 'COMPLETED');
      const open = await client.send({agentType: 'sleeper', content: 'x', sessionId: 'sess-list'});
      await until(async () => (await client.find('sess-list', open.messageId))?.status === 'RUNNING');

      const ids = async (...args: string[]) =>
        (await by('exec', 'list', ...args, '-o', 'name')).stdout.trim();
      expect(await ids('--session', 'sess-list')).toBe(`${done.executionId}\n${open.executionId}`);
      expect(await ids('--session', 'sess-list', '--status', 'completed')).toBe(done.executionId);
      expect((await by('exec', 'list', '--session', 'sess-list', '--status', 'runing')).stderr).toContain(
        'No execution fits; there are 1 COMPLETED, 1 RUNNING.',
      );
      expect(await ids('--session', 'sess-list', '--agent', 'sleeper')).toBe(open.executionId);
      expect(await ids('--session', 'sess-list', '--limit', '1')).toBe(open.executionId);
      expect(await ids('--agent', 'sleeper')).toBe(open.executionId);
      expect(await ids('--worker', 'w-1')).toBe(open.executionId);
      expect((await ids()).split('\n')).toContain(open.executionId);
      expect(await ids()).not.toContain(done.executionId);
      expect(await data('exec', 'list', '--last')).toMatchObject({
        session_id: 'sess-list',
        matched: 2,
        executions: [{execution_id: done.executionId}, {status: 'RUNNING', worker_id: 'w-1'}],
      });
      await client.cancel({sessionId: 'sess-list'});
    });

    test('show tells the whole life of an execution, also by its message', async () => {
      const failed = await client.send({agentType: 'thrower', content: 'x', sessionId: 'sess-show'});
      await until(async () => (await client.find('sess-show', failed.messageId))?.status === 'FAILED');
      const shown = await data('exec', 'show', failed.messageId, '--session', 'sess-show');
      expect(shown).toMatchObject({
        execution_id: failed.executionId,
        status: 'FAILED',
        attempts: 1,
        worker_id: 'w-1',
        error_message: evil,
        dead_letter: {code: 'EXECUTION_FAILED', reason: evil, replayed: false},
      });
      expect((shown['timeline'] as {status: string}[]).map(({status}) => status)).toEqual([
        'QUEUED',
        'RUNNING',
        'FAILED',
      ]);
      const human = await by('exec', 'show', failed.executionId, '--session', 'sess-show');
      expect(human.stdout).not.toMatch(ESCAPES);
      expect(human.stdout).toMatch(/dead letter +\d+-\d+ +\(by deadletter replay/);
      expect(human.stdout).toMatch(/its command +(settled|with w-1)/);

      const [waiting] = await pendingAt('foreign-show', 'py-1', ['x']);
      expect(await data('exec', 'show', waiting!.executionId, '-s', waiting!.sessionId)).toMatchObject({
        attempts: null,
        place: {kind: 'pending', consumer: 'py-1', worker_id: 'py-1', deliveries: 1},
        dead_letter: null,
      });
    });

    test('tree draws who called whom, with what other programs left in a mess', async () => {
      const registry = store.keys.sessionRegistry('sess-tree');
      const write = async (executionId: string, parent: string, agentType: string, now: number) => {
        const record = newExecutionRecord({
          executionId,
          messageId: `msg-${executionId}`,
          sessionId: 'sess-tree',
          traceId: 't',
          parentMessageId: parent === '' ? '' : `msg-${parent}`,
          sourceAgentType: 'client',
          targetAgentType: agentType,
          streamName: '',
          now,
        });
        const ended = {...record, status: 'COMPLETED', startedAt: now, finishedAt: now + 1500};
        await store.commands.run(redis => redis.hset(registry, execField(executionId), encodeRecord(ended)));
      };
      await write('a', '', 'planner', 1);
      await write('b', 'a', `searcher${evil}`, 2);
      await write('c', 'a', 'critic', 3);
      await write('o', 'elsewhere', 'orphan', 4);
      await write('r', 'r', 'ring', 5);
      await store.commands.run(redis => redis.hset(registry, 'exec:junk', 'no json'));
      const drawn = await by('exec', 'tree', 'sess-tree');
      expect(drawn.stdout).not.toMatch(ESCAPES);
      expect(drawn.stdout.split('\n').map(line => line.split(/ {2,}/)[0])).toEqual([
        'AGENT TYPE',
        'planner',
        expect.stringMatching(/^├ searchera/) as string,
        '└ critic',
        'orphan',
        'ring',
        '',
      ]);
      expect(drawn.stdout).toContain('1.5s');
      expect(drawn.stdout).toContain('its caller is not in this session');
      expect(drawn.stdout).toContain('calls itself in a ring');
      const {nodes} = (await data('exec', 'tree', '--session', 'sess-tree')) as {nodes: object[]};
      expect(nodes).toMatchObject([
        {execution_id: 'a', depth: 0, placement: 'root', took_ms: 1500},
        {execution_id: 'b', depth: 1, placement: 'child', parent_execution_id: 'a'},
        {execution_id: 'c'},
        {execution_id: 'o', placement: 'orphan'},
        {execution_id: 'r', placement: 'cycle'},
      ]);
    });
  });

  describe('by queue', () => {
    test('list, show, peek and pending agree', async () => {
      const [first] = await pendingAt('foreign-look', 'py-1', ['hello', evil]);
      await client.send({agentType: 'foreign-look', content: 'later', policy: 'SEND_ANYWAY'});
      await store.commands.run(redis => redis.xadd(store.keys.ctrlStream('foreign-look'), '*', 'data', '{'));

      expect((await by('queue', 'list', '-o', 'name')).stdout).toBe('durable\necho\nsleeper\nthrower\n');
      const {queues} = (await data('queue', 'list', '--scan')) as {queues: {agent_type: string}[]};
      expect(queues.find(queue => queue.agent_type === 'foreign-look')).toMatchObject({
        depth: 4,
        waiting: 2,
        pending: 2,
        consumers: 1,
        workers_online: 0,
      });
      expect(await data('queue', 'show', 'foreign-look')).toMatchObject({
        depth: 4,
        consumers: [{name: 'py-1', worker_id: 'py-1', incarnation: '', pending: 2, online: false}],
        groups: [{name: 'agent_engines', pending: 2, lag: 2}],
      });
      expect((await by('queue', 'show', 'foreign-look')).stdout).toMatch(/py-1 +py-1 +no +2/);

      const peeked = await by('queue', 'peek', 'foreign-look');
      expect(peeked.stdout).not.toMatch(ESCAPES);
      expect(peeked.stdout.match(/ASK_AGENT/g)).toHaveLength(3);
      expect(peeked.stdout).toContain('unreadable');
      expect(await data('queue', 'peek', 'foreign-look', '-n', '1')).toMatchObject({
        entries: [
          {
            entry_id: first!.streamId,
            consumer: 'py-1',
            action: 'ASK_AGENT',
            command: {header: {message_id: first!.messageId}, body: {content: 'hello'}},
          },
        ],
      });
      const raw = (await by('queue', 'peek', 'foreign-look', '--raw', '-n', '2')).stdout.trim().split('\n');
      expect(raw.map(line => (JSON.parse(line) as {body: {content: string}}).body.content)).toEqual([
        'hello',
        evil,
      ]);

      const pending = await by('queue', 'pending', 'foreign-look', '--consumer', 'py-1', '--min-idle', '0');
      expect(pending.stdout).toContain(first!.streamId);
      expect(pending.stdout).not.toMatch(ESCAPES);
      expect(await data('queue', 'pending', 'foreign-look', '--min-idle', '1h')).toMatchObject({entries: []});
    });

    test('claim gives entries to any worker or to one, after a look', async () => {
      const [one, two] = await pendingAt('foreign-claim', 'py-1', ['1', '2']);
      const claim = ['queue', 'claim', 'foreign-claim'] as const;
      expect(await data(...claim)).toMatchObject({entries: [], claimed: []});
      // Why not, and what would let them in.
      expect((await by(...claim)).stderr).toContain('2 given out less than 1m ago (--min-idle)');
      expect(await data(...claim, '--min-idle', '0', '--dry-run')).toMatchObject({
        dry_run: true,
        to: 'by-queue#000000000000',
        entries: [{entry_id: one!.streamId}, {entry_id: two!.streamId}],
        claimed: [],
      });
      expect(await data(...claim, '--min-idle', '0', '--limit', '1')).toMatchObject({
        claimed: [one!.streamId],
      });
      expect(
        await data(...claim, two!.streamId, one!.streamId, '--min-idle', '0', '--to', 'by-queue'),
      ).toMatchObject({claimed: [two!.streamId]});
      const {entries} = (await data('queue', 'pending', 'foreign-claim')) as {entries: object[]};
      expect(entries).toMatchObject([
        {consumer: 'by-queue#000000000000', worker_id: 'by-queue', deliveries: 1},
        {consumer: 'by-queue#000000000000', deliveries: 1},
      ]);
      expect(await failure(...claim, '--to', 'w-typo')).toMatchObject({code: 'NOT_FOUND'});
      expect(await failure(...claim, '1-1')).toMatchObject({code: 'NOT_FOUND'});
    });

    test('what claim takes from a worker that hangs is run by another', async () => {
      const [stuck] = await pendingAt('hung', 'py-2', ['x']);
      // Its lease is kept, so nobody takes its work by itself.
      const lease = encodePresence({token: 'theirs', lastSeen: 1, ipAddress: ''});
      await store.commands.run(redis => redis.set(store.keys.workerLease('py-2'), lease, 'EX', 30));
      const other = await startWorker(
        {url: server.url},
        {agents: [defineAgent({type: 'hung', run: (_ctx, ask) => ask.text})], log: silentLogger},
      );
      const canary = await client.send({agentType: 'hung', content: 'canary'});
      const statusOf = async ({sessionId, messageId}: {sessionId: string; messageId: string}) =>
        (await client.find(sessionId, messageId))?.status;
      await until(async () => (await statusOf(canary)) === 'COMPLETED');
      expect(await statusOf(stuck!)).toBe('QUEUED');
      expect(await data('queue', 'claim', 'hung', '--consumer', 'py-2', '--min-idle', '0')).toMatchObject({
        claimed: [stuck!.streamId],
      });
      await until(async () => (await statusOf(stuck!)) === 'COMPLETED');
      await other.stop({drainMs: 0});
    });

    test('its help shows what may be given several times, and durations as they are given', async () => {
      const {stdout} = await by('queue', 'claim', '--help');
      expect(stdout).toContain('by queue claim TYPE [ENTRY...] ');
      expect(stdout).toMatch(/--min-idle=DURATION +\[default: 1m\]/);
    });

    test('claim asks before it takes from a worker that is online', async () => {
      const sent = await client.send({agentType: 'sleeper', content: 'x', sessionId: 'sess-busy'});
      await until(async () => (await client.find('sess-busy', sent.messageId))?.status === 'RUNNING');
      const claim = ['queue', 'claim', 'sleeper', sent.streamId, '--min-idle', '0'] as const;
      expect(await failure(...claim)).toMatchObject({code: 'INPUT_NEEDED', exit: 2});
      expect(await data(...claim, '--yes')).toMatchObject({claimed: [sent.streamId]});
      await client.cancel({sessionId: 'sess-busy'});
    });

    test('ack gives work up into the dead letters, from where it can be replayed; --drop keeps nothing', async () => {
      const [kept, dropped] = await pendingAt('foreign-ack', 'py-1', ['kept', 'dropped']);
      const ack = ['queue', 'ack', 'foreign-ack'] as const;
      expect(await failure(...ack, kept!.streamId)).toMatchObject({code: 'INPUT_NEEDED', exit: 2});
      const {items} = (await data(...ack, kept!.streamId, '--reason', 'loops', '--yes')) as {
        items: {dead_letter_id: string}[];
      };
      expect(items).toMatchObject([
        {result: 'dead_letter', execution_id: kept!.executionId, status: 'QUEUED'},
      ]);
      const letter = items[0]!.dead_letter_id;
      expect(await data('deadletter', 'show', letter)).toMatchObject({
        code: 'MANUAL',
        replay: 'yes',
        reason: expect.stringMatching(/^loops \(given up by .+@.+\)$/) as string,
        command: {header: {message_id: kept!.messageId}, body: {content: 'kept'}},
        entry_id: kept!.streamId,
      });
      expect(await data(...ack, dropped!.streamId, '--drop', '--yes')).toMatchObject({
        items: [{result: 'dropped', dead_letter_id: ''}],
      });
      expect(await data('queue', 'show', 'foreign-ack')).toMatchObject({depth: 0, pending: 0});
      expect(await data('deadletter', 'list', '--agent', 'foreign-ack')).toMatchObject({
        entries: [{id: letter}],
      });
      expect(await data('deadletter', 'replay', letter, '--policy', 'send-anyway', '--yes')).toMatchObject({
        counts: {replayed: 1},
      });

      const waiting = await client.send({agentType: 'foreign-ack', content: 'x', policy: 'SEND_ANYWAY'});
      expect(await failure(...ack, waiting.streamId, '--yes')).toMatchObject({code: 'CONFLICT', exit: 11});
      expect(await failure(...ack, kept!.streamId, '--yes')).toMatchObject({code: 'NOT_FOUND', exit: 4});
    });

    test('ack keeps the bytes of an entry that can not be read', async () => {
      const stream = store.keys.ctrlStream('foreign-poison');
      await store.commands.run(redis => redis.xadd(stream, '*', 'data', Buffer.from([0xff, 0x00])));
      await pendingAt('foreign-poison', 'py-1', ['x']);
      const {entries} = (await data('queue', 'peek', 'foreign-poison', '-n', '1')) as {
        entries: {entry_id: string}[];
      };
      const {items} = (await data('queue', 'ack', 'foreign-poison', entries[0]!.entry_id, '--yes')) as {
        items: {dead_letter_id: string}[];
      };
      expect(await data('deadletter', 'show', items[0]!.dead_letter_id)).toMatchObject({
        replay: 'no-payload',
        raw: 'base64:/wA=',
      });
    });
  });

  describe('by session', () => {
    test('list and show say what a session does and how long it is kept', async () => {
      const sent = await client.send({agentType: 'echo', content: 'x', sessionId: 'sess-kept'});
      await until(async () => (await client.find('sess-kept', sent.messageId))?.status === 'COMPLETED');
      const {sessions} = (await data('session', 'list')) as {sessions: {session_id: string}[]};
      expect(sessions.find(each => each.session_id === 'sess-kept')).toMatchObject({
        state: 'ended',
        executions: 1,
        open: 0,
        agent_types: ['echo'],
        events: 2,
      });
      expect((await by('session', 'list', '--limit', '1', '-o', 'name')).stdout).toBe('sess-kept\n');
      expect(await data('session', 'show', 'sess-kept')).toMatchObject({
        events: 2,
        last_event: {type: 'end', agent_type: 'echo'},
        execution_list: [{execution_id: sent.executionId}],
      });
      const human = await by('session', 'show', 'sess-kept');
      expect(human.stdout).toMatch(/events kept +for 6d23h more/);
      expect(human.stderr).toContain('by tail sess-kept');
    });

    test('cancel stops all of it, after it was confirmed', async () => {
      const sent = await client.send({agentType: 'sleeper', content: 'x', sessionId: 'sess-stop'});
      await client.send({agentType: 'nobody', content: 'x', sessionId: 'sess-stop', policy: 'SEND_ANYWAY'});
      await until(async () => (await client.find('sess-stop', sent.messageId))?.status === 'RUNNING');
      const cancel = ['session', 'cancel', 'sess-stop'] as const;
      expect(await failure(...cancel)).toMatchObject({code: 'INPUT_NEEDED'});
      expect(await data(...cancel, '--dry-run')).toMatchObject({dry_run: true});
      expect(await data(...cancel, '--force', '--reason', 'wrong', '--yes')).toMatchObject({
        status: 'CANCEL_REQUESTED',
        cancelled_count: 2,
      });
      await until(async () => (await client.find('sess-stop', sent.messageId))?.status === 'CANCELLED');
      expect(await failure(...cancel, '--yes')).toMatchObject({code: 'CONFLICT', exit: 11});
    });
  });
});

describe('by, told something wrong', () => {
  let server: {url: string; stop: () => Promise<void>};
  let worker: WorkerHandle;
  beforeAll(async () => {
    server = await startRedisServer();
    const echo = defineAgent({type: 'echo', run: (_, ask) => ask.text});
    worker = await startWorker({url: server.url}, {agents: [echo], log: silentLogger});
    // So that --last finds one.
    const store = openStore({url: server.url});
    await new GatewayClient(store).send({agentType: 'echo', content: 'x'});
    store.close();
  });
  afterAll(async () => {
    await worker.stop({drainMs: 0});
    await server.stop();
  });

  test.each([
    ['two ways to name a session', ['exec', 'list', '--last', '--session', 's'], 2, 'USAGE'],
    ['no session to look in', ['exec', 'show', 'exec-1'], 2, 'USAGE'],
    ['an unknown session', ['exec', 'list', '--session', 'sess-none'], 4, 'NOT_FOUND'],
    ['an unknown session of a tree', ['exec', 'tree', 'sess-none'], 4, 'NOT_FOUND'],
    ['an unknown execution', ['exec', 'show', 'exec-none', '--last'], 4, 'NOT_FOUND'],
    ['an unknown worker', ['exec', 'list', '--worker', 'w-none'], 4, 'NOT_FOUND'],
    ['a session id that is none', ['exec', 'list', '--session', '../etc'], 2, 'INVALID_INPUT'],
    ['an execution id that is none', ['exec', 'show', '{x}', '--last'], 2, 'INVALID_INPUT'],
    ['an agent type that is none', ['queue', 'show', 'a b'], 2, 'INVALID_INPUT'],
    ['an unknown agent type', ['queue', 'show', 'ecko'], 4, 'NOT_FOUND'],
    ['an unknown agent type to peek at', ['queue', 'peek', 'nothing'], 4, 'NOT_FOUND'],
    ['an unknown consumer', ['queue', 'pending', 'echo', '--consumer', 'py-9'], 4, 'NOT_FOUND'],
    ['an entry id that is none', ['queue', 'ack', 'echo', 'first', '--yes'], 2, 'INVALID_INPUT'],
    ['no entry to give up', ['queue', 'ack', 'echo'], 2, 'USAGE'],
    ['an unknown session to show', ['session', 'show', 'sess-none'], 4, 'NOT_FOUND'],
    ['an unknown session to cancel', ['session', 'cancel', 'sess-none', '--yes'], 4, 'NOT_FOUND'],
    ['a session id with a break', ['session', 'show', 'a\nb'], 2, 'INVALID_INPUT'],
  ])('%s ends with its own code', async (_case, args, code, name) => {
    const ran = await runBy([...args, '--json'], {env: {BY_REDIS_URL: server.url}});
    expect(ran.code).toBe(code);
    expect(ran.json()).toMatchObject({ok: false, schema: 'by.error/1', error: {code: name, exit: code}});
    expect((ran.json() as unknown as {error: {hint: string}}).error.hint).not.toBe('');
  });
});
