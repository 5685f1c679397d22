/** A worker that dies between any two of its commands while agents call each other: whoever comes next ends it once. */
import {tmpdir} from 'node:os';
import {afterEach, expect, test} from 'vitest';
import {silentLogger} from '../../src/log.js';
import {consumerName} from '../../src/protocol/consumers.js';
import {ensureGroup, readNew, type ControlEntry} from '../../src/store/control-streams.js';
import {sessionExecutions} from '../../src/store/executions.js';
import {sweepOutboxes} from '../../src/store/outbox.js';
import {RenewedSessions} from '../../src/store/renewed-sessions.js';
import type {Store} from '../../src/store/store.js';
import {contentText, defineAgent, GatewayWorker, toHandler, type Agent} from '../../src/worker/agent.js';
import type {DurableContext} from '../../src/worker/durable/context.js';
import {readEntry} from '../../src/worker/read-entry.js';
import {RunFences} from '../../src/worker/run-fences.js';
import {RunningTasks} from '../../src/worker/running.js';
import {Settler} from '../../src/worker/settler.js';
import {runTurn, type TurnCommand, type TurnEnvironment} from '../../src/worker/turn.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachStore, type TestStore} from '../support/stores.js';
import {drained, eventsOf, put, replyOf, send, timeline, untilStatus, workAs, type Handle} from './calls.js';

const GROUP = 'agent_engines';
const DEAD = consumerName('w-dead', '0123456789abcdef0123456789abcdef');
/** Who is given the entry of the dead. */
const NEXT = consumerName('w-next', 'fedcba9876543210fedcba9876543210');
let running: AbortController[] = [];
afterEach(() => {
  for (const one of running) one.abort();
  running = [];
});

/** The next command of an agent type, given to a worker that is about to die. */
async function take(store: Store, agentType: string): Promise<ControlEntry> {
  const stream = store.keys.ctrlStream(agentType);
  await ensureGroup(store, stream, GROUP);
  const reader = store.blocking('test', stream);
  const [entry] = await readNew(store, reader, {
    ...{streams: [stream], group: GROUP, consumer: DEAD, count: 1, blockMs: 5000},
  });
  reader.close();
  if (entry === undefined) throw new Error('there was nothing to take');
  return entry;
}

/** How an agent is written: for messages, or as if nothing could fail. */
type Way = Handle | {readonly durable: (ctx: DurableContext) => unknown};

function agentOf(agentType: string, way: Way): Agent {
  if ('durable' in way) return defineAgent({type: agentType, run: way.durable});
  const handle: Handle = way;
  return new (class extends GatewayWorker {
    override getAgentTypes = () => [agentType];
    override processCommand = handle;
  })();
}

/** Run one turn as a worker does, through a store that may fail. */
async function turn(
  store: Store,
  entry: ControlEntry,
  agentType: string,
  way: Way,
  owner = DEAD,
): Promise<void> {
  const abandon = new AbortController();
  running.push(abandon);
  const settler = new Settler(store, GROUP, () => true, silentLogger);
  const env: TurnEnvironment = {
    ...{store, workerId: 'w', owner, group: GROUP, now: () => Date.now(), log: silentLogger},
    ...{running: new RunningTasks(), renewed: new RenewedSessions(() => performance.now()), settler},
    ...{deletesEntries: () => true, abandon: abandon.signal, cancelGraceMs: 1000, maxAttempts: 5},
    reportExhausted: () => Promise.resolve(),
    fences: new RunFences(store, {workerId: 'w', log: silentLogger, ttlMs: 15_000}),
    ...{workspaceRoot: tmpdir(), stepAside: () => () => undefined, isGone: () => Promise.resolve(false)},
    servesNow: () => false,
  };
  const delivery = {entry, agentType, takenFrom: owner === DEAD ? '' : DEAD, alone: false};
  await runTurn(
    env,
    delivery,
    readEntry(entry) as TurnCommand,
    agentType,
    toHandler(agentOf(agentType, way)),
  );
  await settler.flush();
}

const calling: Handle = (command, ctx) =>
  command.action === 'ASK_AGENT'
    ? ctx.callAgent({agentType: 'b', content: 'x', policy: 'SEND_ANYWAY'})
    : {content: `got ${contentText(command.content)}`};

const durably: Way = {
  durable: async ctx => ({content: `got ${String(await ctx.call('b', 'x'))}`}),
};

const durablyTwice: Way = {
  durable: async ctx => ({
    content: (await ctx.callAll(['x', 'y'].map(content => ['b', content] as const))).join(' '),
  }),
};

const scattering: Handle = async (command, ctx) => {
  if (command.action === 'ASK_AGENT')
    return ctx.dispatchGroup(
      ['x', 'y'].map((content, at) => ({agentType: 'b', content, messageId: `m-${at}`})),
      {
        taskGroupId: 'tg-1',
      },
    );
  return {content: (await ctx.collectGroupResults()).map(result => String(result.content)).join(' ')};
};

/** Takes the first answer of three; what loses is cancelled. */
const choosing: Way = {
  durable: async ctx => {
    const calls = ['b', 'f', 'c'].map((type, at) => [type, `x${at}`] as const);
    return {content: `got ${String(await ctx.callAny(calls, {rest: 'cancel'}))}`};
  },
};

/** The same, and calls another one then. */
const choosingTwice: Way = {
  durable: async ctx => {
    const calls = ['b', 'f', 'c'].map((type, at) => [type, `x${at}`] as const);
    const first = String(await ctx.callAny(calls, {rest: 'cancel'}));
    return {content: `got ${String(await ctx.call('e', first))}`};
  },
};

/** The same for messages. It collects nothing: what is not cancelled before its turn is not cancelled by it. */
const picking: Handle = (command, ctx) => {
  if (command.action === 'RESUME') return {content: `got ${contentText(command.content)}`};
  return ctx.dispatchGroup(
    ['b', 'f', 'c'].map((agentType, at) => ({agentType, content: `x${at}`, messageId: `m-${at}`})),
    {taskGroupId: 'tg-1', policy: 'any', rest: 'cancel'},
  );
};

const echoing: Handle = command => ({content: contentText(command.content)});
/** Waits for one that nobody begins. */
const waiting: Way = {durable: ctx => ctx.call('d', 'y')};

/** Give everything that is left on the streams of these agent types to the next worker, until nothing is. */
async function workOff(store: Store, ways: Readonly<Record<string, Way>>): Promise<void> {
  const length = (type: string) =>
    store.commands.run(redis => redis.xlen(store.keys.ctrlStream(type)), {retryForMs: 1000});
  for (let isQuiet = false; !isQuiet;) {
    isQuiet = true;
    for (const [type, way] of Object.entries(ways)) {
      while ((await length(type)) > 0) {
        isQuiet = false;
        await turn(store, await take(store, type), type, way, NEXT);
      }
    }
  }
}

/** The next worker goes on, and the whole is over as if nobody had died. */
async function endsOnce(
  at: TestStore,
  store: Store,
  entry: ControlEntry,
  handle: Way,
  answer: string,
  callees: number,
) {
  await turn(store, entry, 'a', handle, NEXT);
  const asked: string[] = [];
  for (let n = 0; n < callees; n++) {
    const answering: Handle = command => {
      asked.push(command.header.messageId);
      return {content: contentText(command.content)};
    };
    await turn(store, await take(store, 'b'), 'b', answering, NEXT);
  }
  for (let n = 0; n < callees; n++) await turn(store, await take(store, 'a'), 'a', handle, NEXT);
  await drained(at, store, 'a', 'b');
  await sweepOutboxes(store, 0);
  expect(new Set(asked).size).toBe(callees);
  expect(asked).toHaveLength(callees);
  expect(
    (await sessionExecutions(store, 's')).map(({targetAgentType, status}) => [targetAgentType, status]),
  ).toEqual([['a', 'COMPLETED'], ...Array.from({length: callees}, () => ['b', 'COMPLETED'])]);
  expect((await eventsOf(store)).filter(([, , agentType]) => agentType === 'a')).toEqual([
    ['final', answer, 'a'],
    ['end', '', 'a'],
  ]);
}

describeEachStore('a worker that dies between any two of its commands', at => {
  test('while it calls: the call is made once, and answered once', async () => {
    at.breaksRules('dead-workers');
    const points = await atEveryCrash(
      () => at.open(),
      async store => {
        await send(store, 'a');
        return take(store, 'a');
      },
      (store, entry) => turn(store, entry, 'a', calling),
      (store, entry) => endsOnce(at, store, entry, calling, 'got x', 1),
    );
    expect(points).toBeGreaterThan(2);
  }, 120_000);

  test.each([
    ['one', durably, 'got x', 1],
    ['several', durablyTwice, 'x y', 2],
  ] as const)(
    'while a durable agent calls %s: each call is made once',
    async (_, way, answer, callees) => {
      at.breaksRules('dead-workers');
      const points = await atEveryCrash(
        () => at.open(),
        async store => {
          await send(store, 'a');
          return take(store, 'a');
        },
        (store, entry) => turn(store, entry, 'a', way),
        (store, entry) => endsOnce(at, store, entry, way, answer, callees),
      );
      expect(points).toBeGreaterThan(2);
    },
    120_000,
  );

  test('while it goes on with the answer to a durable agent: it is gone on with once', async () => {
    at.breaksRules('dead-workers');
    const points = await atEveryCrash(
      () => at.open(),
      async store => {
        await send(store, 'a', {messageId: 'msg-a'});
        await turn(store, await take(store, 'a'), 'a', durably);
        await turn(store, await take(store, 'b'), 'b', command => ({content: contentText(command.content)}));
        return take(store, 'a');
      },
      (store, entry) => turn(store, entry, 'a', durably),
      async (store, entry) => {
        await turn(store, entry, 'a', durably, NEXT);
        await drained(at, store, 'a', 'b');
        await sweepOutboxes(store, 0);
        const record = await untilStatus(store, 'a', 'COMPLETED');
        expect(timeline(record).filter(step => step === 'WAITING_AGENT')).toHaveLength(1);
        expect((await eventsOf(store)).slice(-2)).toEqual([
          ['final', 'got x', 'a'],
          ['end', '', 'a'],
        ]);
      },
    );
    expect(points).toBeGreaterThan(1);
  }, 120_000);

  test('while it calls a group: each call is made once', async () => {
    at.breaksRules('dead-workers');
    await atEveryCrash(
      () => at.open(),
      async store => {
        await send(store, 'a');
        return take(store, 'a');
      },
      (store, entry) => turn(store, entry, 'a', scattering),
      (store, entry) => endsOnce(at, store, entry, scattering, 'x y', 2),
    );
  }, 120_000);

  test.each([
    ['a durable agent takes the first of several', choosing],
    ['a durable agent takes the first of several and goes on', choosingTwice],
    ['a group is joined with members missing', picking],
  ] as const)(
    'while %s: the others are cancelled, each once',
    async (_, way) => {
      at.breaksRules('dead-workers');
      const ways = {a: way, b: echoing, c: waiting, d: echoing, f: echoing};
      const all = way === choosingTwice ? {...ways, e: echoing} : ways;
      let tries = 0;
      const points = await atEveryCrash(
        () => at.open(),
        async store => {
          await send(store, 'a', {messageId: 'msg-a'});
          await turn(store, await take(store, 'a'), 'a', way);
          await turn(store, await take(store, 'b'), 'b', echoing);
          await turn(store, await take(store, 'c'), 'c', waiting);
          return take(store, 'a');
        },
        (store, entry) => turn(store, entry, 'a', way),
        async (store, entry) => {
          await sweepOutboxes(store, 0);
          // One that loses may answer before the next worker goes on.
          if (tries++ % 2 === 1) await turn(store, await take(store, 'f'), 'f', echoing, NEXT);
          await turn(store, entry, 'a', way, NEXT);
          await workOff(store, all);
          await drained(at, store, ...Object.keys(all));
          await sweepOutboxes(store, 0);
          const records = await sessionExecutions(store, 's');
          const of = (type: string) => records.filter(one => one.targetAgentType === type);
          expect(of('a').map(({status}) => status)).toEqual(['COMPLETED']);
          const [[won], [late]] = [of('b'), of('f')];
          expect(won?.status).toBe('COMPLETED');
          expect(won?.cancelRequested).toBeFalsy();
          expect(['COMPLETED', 'CANCELLED']).toContain(late?.status);
          for (const record of [...of('c'), ...of('d')]) {
            expect(record.status).toBe('CANCELLED');
            expect(record.cancelReason).toMatch(/^the answer of b \(call \S+\) was enough$/);
            expect(timeline(record).filter(step => step === 'CANCELLED')).toHaveLength(1);
          }
          expect([of('c'), of('d')].map(({length}) => length)).toEqual([1, 1]);
          expect((await eventsOf(store)).filter(([, , agentType]) => agentType === 'a')).toEqual([
            ['final', 'got x0', 'a'],
            ['end', '', 'a'],
          ]);
        },
      );
      expect(points).toBeGreaterThan(4);
    },
    240_000,
  );

  test('while it goes on with an answer: it is gone on with once', async () => {
    at.breaksRules('dead-workers');
    await atEveryCrash(
      () => at.open(),
      async store => {
        await send(store, 'a', {messageId: 'msg-a'});
        const first = await take(store, 'a');
        await turn(store, first, 'a', (_, ctx) =>
          ctx.callAgent({agentType: 'b', content: 'x', policy: 'SEND_ANYWAY'}),
        );
        const b = await workAs(at, store, {b: () => ({content: 'x'})});
        await untilStatus(store, 'b', 'COMPLETED');
        await drained(at, store, 'b');
        await b.stop();
        return take(store, 'a');
      },
      (store, entry) => turn(store, entry, 'a', calling),
      async store => {
        const worker = await workAs(at, store, {a: calling});
        const record = await untilStatus(store, 'a', 'COMPLETED');
        await drained(at, store, 'a');
        await worker.stop();
        expect(timeline(record).filter(step => step === 'WAITING_AGENT')).toHaveLength(1);
        expect((await eventsOf(store)).slice(-2)).toEqual([
          ['final', 'got x', 'a'],
          ['end', '', 'a'],
        ]);
      },
    );
  }, 120_000);

  test('while it counts the last answer of a group: it is counted once, and gone on with once', async () => {
    at.breaksRules('dead-workers');
    const answer = (member: string, content: string) =>
      replyOf(
        {
          ...{messageId: 'msg-a', parentMessageId: member, taskGroupId: 'tg-1'},
          ...{sourceAgentType: 'b', targetAgentType: 'a'},
        },
        content,
      );
    await atEveryCrash(
      () => at.open(),
      async store => {
        await send(store, 'a', {messageId: 'msg-a'});
        await turn(store, await take(store, 'a'), 'a', scattering);
        await put(at, store, 'a', answer('m-0', 'x'));
        await turn(store, await take(store, 'a'), 'a', scattering);
        await put(at, store, 'a', answer('m-1', 'y'));
        return take(store, 'a');
      },
      (store, entry) => turn(store, entry, 'a', scattering),
      async store => {
        const worker = await workAs(at, store, {a: scattering});
        await untilStatus(store, 'a', 'COMPLETED');
        await drained(at, store, 'a');
        await worker.stop();
        expect(await eventsOf(store)).toEqual([
          ['final', 'x y', 'a'],
          ['end', '', 'a'],
        ]);
        expect(await at.redis().hget(store.keys.taskGroup('tg-1'), 'completed')).toBe('2');
      },
    );
  }, 120_000);
});
