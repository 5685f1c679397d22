/** Durable agents: what they asked for is there when they run again, and nothing is done twice. */
import {expect, test} from 'vitest';
import {silentLogger} from '../../src/log.js';
import {GatewayClient} from '../../src/client/client.js';
import {replayExecution} from '../../src/client/replay-execution.js';
import {encodeSendable} from '../../src/protocol/commands.js';
import {createHeader} from '../../src/protocol/header.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {findExecution, sessionExecutions} from '../../src/store/executions.js';
import {followSession} from '../../src/store/data-streams.js';
import {stopExecution} from '../../src/store/stop.js';
import {MAX_JOURNAL_BYTES} from '../../src/protocol/journal.js';
import {readJournal} from '../../src/store/journal.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent, type Ask} from '../../src/worker/agent.js';
import type {DurableContext} from '../../src/worker/durable/context.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {timersDue} from '../support/timers.js';

const TYPE = 'durable';
const HOUR = 3_600_000;

async function work(
  at: TestStore,
  store: Store,
  run: (ctx: DurableContext, ask: Ask) => unknown,
  options: Partial<WorkerOptions> = {},
): Promise<WorkerHandle> {
  const agents = [defineAgent({type: TYPE, run}), ...(options.agents ?? [])];
  const worker = await startWorker(store, {log: silentLogger, ...options, agents});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

const send = (store: Store, content = 'go') =>
  new GatewayClient(store).send({agentType: TYPE, content, policy: 'SEND_ANYWAY'});

type Sent = Awaited<ReturnType<typeof send>>;

const withStatus = (store: Store, {sessionId, executionId}: Sent, status: string) =>
  until(async () => {
    const record = await findExecution(store, sessionId, executionId);
    return record?.status === status && record;
  });

/** The person's answer, as any SDK sends it. */
async function answer(store: Store, sent: Sent, content: string, question?: string): Promise<void> {
  const document = encodeSendable({
    action: 'RESUME',
    header: createHeader({
      messageId: sent.messageId,
      sessionId: sent.sessionId,
      traceId: sent.traceId,
      targetAgentType: TYPE,
      ...(question === undefined ? {} : {metadata: {by_question: question}}),
    }),
    ...{content, status: '', replyData: null, extraPayload: {}},
  });
  await store.commands.run(redis => redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', document));
}

async function told(store: Store, {sessionId}: Sent): Promise<string[]> {
  const lines: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event') lines.push(`${eventKind(item.event)} ${eventText(item.event)}`.trim());
  return lines;
}

describeEachStore('a durable agent', at => {
  test('that asks nothing leaves no journal', async () => {
    const store = at.open();
    await work(at, store, async ctx => {
      await ctx.emitChunk('hello');
      return {content: 'done'};
    });
    const sent = await send(store);
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent)).toEqual(['answer hello', 'final done', 'end']);
    expect((await readJournal(store, sent)).entries.size).toBe(0);
  });

  test('sleeps without a slot, and its step before it runs once', async () => {
    const store = at.open();
    const steps: string[] = [];
    let turns = 0;
    const worker = await work(at, store, async ctx => {
      turns++;
      await ctx.emitChunk('before ');
      const one = await ctx.step('one', () => {
        steps.push('one');
        return {n: 1};
      });
      await ctx.sleep(HOUR);
      await ctx.emitChunk('after');
      return {content: `${one.n} ${ctx.uuid().length}`};
    });
    const sent = await send(store);
    await withStatus(store, sent, 'SLEEPING');
    await until(() => worker.running === 0);
    await timersDue(store, sent);
    await withStatus(store, sent, 'COMPLETED');
    expect({steps, turns}).toEqual({steps: ['one'], turns: 2});
    expect(await told(store, sent)).toEqual(['answer before', 'answer after', 'final 1 36', 'end']);
  });

  test('gets the answer of a person in the same execution, and asks each question once', async () => {
    const store = at.open();
    await work(at, store, async ctx => {
      const name = await ctx.askUser('Your name?');
      const town = await ctx.askUser({prompt: 'Your town?', choices: ['Rome', 'Oslo']});
      return {content: `${String(name)} of ${String(town)}`};
    });
    const sent = await send(store);
    await withStatus(store, sent, 'WAITING_USER');
    await answer(store, sent, 'Ada');
    await until(async () => (await readJournal(store, sent)).outcomes.size === 1);
    await until(async () => (await told(store, sent)).length === 2);
    await withStatus(store, sent, 'WAITING_USER');
    await answer(store, sent, 'Oslo');
    await withStatus(store, sent, 'COMPLETED');
    const lines = await told(store, sent);
    expect(lines.map(line => line.split(' ')[0])).toEqual(['ask', 'ask', 'final', 'end']);
    expect(lines[2]).toBe('final Ada of Oslo');
  });

  test('goes on with the default when nobody answers in time', async () => {
    const store = at.open();
    await work(at, store, async ctx => ({
      content: String(await ctx.askUser({prompt: 'Publish?', deadlineMs: 200, default: 'no'})),
    }));
    const sent = await send(store);
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent)).toContain('final no');
  });

  test('tries a step again by its own policy, and what it throws in the end can be caught', async () => {
    const store = at.open();
    let tries = 0;
    await work(at, store, async ctx => {
      const value = await ctx.step(
        'flaky',
        ({attempt}) => {
          tries++;
          if (attempt < 3) throw new Error('not yet');
          return attempt;
        },
        {retry: {maxAttempts: 3, baseMs: 1, maxMs: 2}},
      );
      const failed = await ctx
        .step('broken', () => {
          throw new RangeError('never');
        })
        .catch((error: unknown) => error as Error);
      return {content: `${value} ${failed instanceof Error ? `${failed.name}: ${failed.message}` : ''}`};
    });
    const sent = await send(store);
    await withStatus(store, sent, 'COMPLETED');
    expect(tries).toBe(3);
    expect(await told(store, sent)).toContain('final 3 StepFailed: never');
  });

  test('runs steps side by side, and makes the same choice after a wait as before it', async () => {
    const store = at.open();
    const winners: unknown[] = [];
    await work(at, store, async ctx => {
      const slow = ctx.step('slow', () => new Promise(done => setTimeout(() => done('slow'), 60)));
      const fast = ctx.step('fast', () => new Promise(done => setTimeout(() => done('fast'), 5)));
      winners.push(await Promise.race([slow, fast]));
      await Promise.all([slow, fast]);
      await ctx.sleep(50);
      return {content: 'x'};
    });
    const sent = await send(store);
    await withStatus(store, sent, 'COMPLETED');
    expect(winners).toEqual(['fast', 'fast']);
  });

  test('whose code does something else than its journal says ends with JOURNAL_MISMATCH', async () => {
    const store = at.open();
    let turns = 0;
    await work(at, store, async ctx => {
      if (++turns === 1) await ctx.step('one', () => 1);
      else await ctx.step('other', () => 2);
      await ctx.sleep(50);
      return {content: 'x'};
    });
    const sent = await send(store);
    const record = await withStatus(store, sent, 'FAILED');
    expect(record.errorCode).toBe('JOURNAL_MISMATCH');
    expect(record.errorMessage).toContain('Entry 0 of the journal is the step "one"');
    at.breaksRules('dead-letters');
  });

  test('is told by name when something else than ctx made it go on', async () => {
    const store = at.open();
    const errors: unknown[] = [];
    let goOn: () => void = () => undefined;
    const elsewhere = new Promise<void>(resolve => (goOn = resolve));
    const worker = await work(at, store, async ctx => {
      await Promise.race([ctx.askUser('?'), elsewhere]);
      await ctx.step('late', () => 1).catch((error: unknown) => errors.push(error));
    });
    const sent = await send(store);
    await withStatus(store, sent, 'WAITING_USER');
    await until(() => worker.running === 0);
    goOn();
    await until(() => errors.length > 0);
    expect(errors[0]).toMatchObject({code: 'SUSPENSION_SWALLOWED'});
  });

  test('that is cancelled while it waits ends, and what it waited for is not asked again', async () => {
    const store = at.open();
    let turns = 0;
    await work(at, store, async ctx => {
      turns++;
      await ctx.askUser('?');
    });
    const sent = await send(store);
    await withStatus(store, sent, 'WAITING_USER');
    const question = (await readJournal(store, sent)).entries.get(0)?.messageId;
    await new GatewayClient(store).cancel(sent);
    await withStatus(store, sent, 'CANCELLED');
    await answer(store, sent, 'too late', question);
    await until(async () => (await at.redis().xlen(store.keys.ctrlStream(TYPE))) === 0);
    expect(turns).toBe(1);
  });

  test('that has ended can be continued by a person, with a journal of its own', async () => {
    const store = at.open();
    const asked: string[] = [];
    await work(at, store, async (ctx, ask) => {
      const one = await ctx.step(`look at ${ask.text}`, () => ask.text);
      await ctx.sleep(20);
      asked.push(one);
      return {content: `saw ${one}`};
    });
    const sent = await send(store, 'first');
    await withStatus(store, sent, 'COMPLETED');
    await answer(store, sent, 'second');
    await until(async () => (await told(store, sent)).includes('final saw second'));
    await withStatus(store, sent, 'COMPLETED');
    expect(asked).toEqual(['first', 'second']);
  });

  test('calls agents that call agents, and gets each answer once', async () => {
    const store = at.open();
    const turns = {durable: 0, b: 0, c: 0};
    const b = defineAgent({
      type: 'b',
      async run(ctx, ask) {
        turns.b++;
        await ctx.emitChunk(`b hears ${ask.text} `);
        return {content: `b(${String(await ctx.call('c', ask.text))})`};
      },
    });
    const c = defineAgent({
      type: 'c',
      run(_ctx, ask) {
        turns.c++;
        return {content: `c(${ask.text})`};
      },
    });
    await work(
      at,
      store,
      async (ctx, ask) => {
        turns.durable++;
        const first = await ctx.call('b', ask.text);
        const second = await ctx.call('c', String(first));
        return {content: String(second)};
      },
      {agents: [b, c]},
    );
    const sent = await send(store, 'x');
    await withStatus(store, sent, 'COMPLETED');
    const lines = await told(store, sent);
    expect(lines.at(-2)).toBe('final c(b(c(x)))');
    expect(lines.filter(line => line.endsWith('b hears x'))).toHaveLength(1);
    expect(turns.c).toBe(2);
    // An answer that comes before the turn has ended needs no other.
    expect(turns.durable).toBeLessThanOrEqual(3);
    expect(turns.b).toBeLessThanOrEqual(2);
  });

  test('calls a hundred at once, and is not run again for each answer', async () => {
    const store = at.open();
    let turns = 0;
    const square = defineAgent({
      type: 'square',
      run: (_ctx, ask) => ({content: String(Number(ask.text) ** 2)}),
    });
    await work(
      at,
      store,
      async ctx => {
        turns++;
        const numbers = Array.from({length: 100}, (_, i) => i);
        const squares = await Promise.all(numbers.map(n => ctx.call('square', String(n))));
        return {content: String(squares.map(Number).reduce((sum, n) => sum + n, 0))};
      },
      {agents: [square]},
    );
    const sent = await send(store);
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent)).toContain('final 328350');
    expect(turns).toBeLessThan(100);
  });

  test('hears an answer while it does something else, without a turn for it', async () => {
    const store = at.open();
    const callee = defineAgent({type: 'callee', run: () => ({content: 'yes'})});
    let turns = 0;
    await work(
      at,
      store,
      async ctx => {
        turns++;
        let heard: () => void = () => undefined;
        const answered = new Promise<void>(resolve => (heard = resolve));
        const answer = ctx.call('callee', 'x').then(text => (heard(), String(text)));
        const step = ctx.step('long', () => answered.then(() => 'done'));
        return {content: (await Promise.all([answer, step])).join(' ')};
      },
      {agents: [callee]},
    );
    const sent = await send(store);
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent)).toContain('final yes done');
    expect(turns).toBe(1);
    const {outcomes} = await readJournal(store, sent);
    expect([0, 1].map(index => outcomes.get(index)?.order)).toEqual([1, 2]);
  });

  test('is told in the same worker what it called answers, and nothing is sent; another worker sends it', async () => {
    for (const isElsewhere of [false, true]) {
      const store = at.open();
      const callee = defineAgent({type: 'near', run: () => ({content: 'x'})});
      let ended: () => void = () => undefined;
      const hasEnded = new Promise<void>(resolve => (ended = resolve));
      const worker = await work(
        at,
        store,
        async ctx => {
          // Its turn runs when the answer comes.
          const [value] = await Promise.all([ctx.call('near', 'hi'), ctx.step('hold', () => hasEnded)]);
          return {content: String(value)};
        },
        isElsewhere ? {} : {agents: [callee]},
      );
      const other = isElsewhere ? await startWorker(store, {log: silentLogger, agents: [callee]}) : undefined;
      const sent = await send(store);
      await until(async () =>
        (await sessionExecutions(store, sent.sessionId)).some(
          ({targetAgentType, status}) => targetAgentType === 'near' && status === 'COMPLETED',
        ),
      );
      const journal = store.keys.journal(sent.sessionId, sent.executionId);
      await until(async () => (await at.redis().hexists(journal, 'd:0')) === 1);
      ended();
      expect((await withStatus(store, sent, 'COMPLETED')).status).toBe('COMPLETED');
      const info = (await at.redis().call('XINFO', 'STREAM', store.keys.ctrlStream(TYPE))) as unknown[];
      const added = info[info.indexOf('entries-added') + 1];
      expect(added).toBe(isElsewhere ? 2 : 1);
      await worker.stop();
      await other?.stop();
    }
  });

  test('whose journal is full calls nobody', async () => {
    const store = at.open();
    const called: string[] = [];
    const callee = defineAgent({
      type: 'callee',
      run: () => {
        called.push('callee');
      },
    });
    await work(
      at,
      store,
      async ctx => {
        await ctx.step('first', () => 1);
        const journal = store.keys.journal(ctx.sessionId, ctx.executionId);
        await at.redis().hset(journal, 'bytes', String(MAX_JOURNAL_BYTES));
        return ctx.call('callee', 'x');
      },
      {agents: [callee]},
    );
    const sent = await send(store);
    const record = await withStatus(store, sent, 'FAILED');
    expect(record.errorMessage).toMatch(/journal/i);
    const records = await sessionExecutions(store, sent.sessionId);
    expect(records.map(({targetAgentType}) => targetAgentType)).toEqual([TYPE]);
    expect(called).toEqual([]);
  });

  test('once cancelled, calls nobody, also before its worker has heard of it', async () => {
    const store = at.open();
    const called: string[] = [];
    const callee = defineAgent({
      type: 'callee',
      run: () => {
        called.push('callee');
        return 'ok';
      },
    });
    const sent = await send(store);
    await work(
      at,
      store,
      async ctx => {
        const record = await findExecution(store, sent.sessionId, sent.executionId);
        const stop = {kind: 'cancel', reason: 'enough', force: false, requestedBy: 't', tell: false} as const;
        if (record !== undefined) await stopExecution(store, record, stop, 1);
        return ctx.call('callee', 'x');
      },
      {agents: [callee]},
    );
    expect(await withStatus(store, sent, 'CANCELLED')).toMatchObject({cancelReason: 'enough'});
    expect(called).toEqual([]);
  });

  test('asks in the same order again where one of its parts waited and another did not', async () => {
    const store = at.open();
    let isAsked = false;
    await work(
      at,
      store,
      async ctx => {
        const slow = async () => {
          await ctx.step('slow', () => until(() => isAsked));
          return ctx.call('echo', 'slow');
        };
        const chatty = async () => {
          for (const word of ['one ', 'two ', 'three']) await ctx.emitChunk(word);
          isAsked = true;
          return ctx.call('echo', 'chatty');
        };
        return {content: (await Promise.all([slow(), chatty()])).join(' ')};
      },
      {agents: [defineAgent({type: 'echo', run: (_ctx, ask) => ask.text})]},
    );
    const sent = await send(store);
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent)).toContain('final slow chatty');
  });

  test('has one slot to give away while several of its calls wait for wakeups', async () => {
    const store = at.open();
    const types = ['one', 'two', 'three'];
    const worker = await work(
      at,
      store,
      async ctx => {
        const options = {policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 60_000} as const;
        const all = await Promise.all(types.map(type => ctx.call(type, 'x', options)));
        return {content: all.join(' ')};
      },
      {concurrency: 1},
    );
    const sent = await send(store);
    await until(async () => (await at.redis().xlen(store.keys.wakeup())) === 3);
    expect(worker.running).toBe(0);
    const agents = types.map(type => defineAgent({type, run: () => type}));
    const other = await startWorker(store, {agents, log: silentLogger});
    at.cleanup(() => other.stop({drainMs: 0}));
    await withStatus(store, sent, 'COMPLETED');
    await until(() => worker.running === 0);
    at.breaksRules('wakeup');
  });

  test('calls fifteen agents one after the other where one slot serves all of them', async () => {
    const store = at.open();
    const echo = defineAgent({type: 'echo', run: (_ctx, ask) => ({content: ask.text})});
    await work(
      at,
      store,
      async ctx => {
        let sum = 0;
        for (let i = 1; i <= 15; i++) sum += Number(await ctx.call('echo', String(i)));
        return {content: String(sum)};
      },
      {agents: [echo, defineAgent({type: 'idle', run: () => ''})], concurrency: 1},
    );
    const sent = await send(store);
    // Within the test's own time: a reader that listens to one agent type for long does not hear the other.
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent)).toContain('final 120');
  });

  test('is told which agent failed and why, and may go on', async () => {
    const store = at.open();
    const broken = defineAgent({type: 'broken', run: () => Promise.reject(new Error('no ink'))});
    await work(
      at,
      store,
      async ctx => {
        const failed = await ctx.call('broken', 'x').catch((error: unknown) => error as Error);
        const refused = await ctx
          .call('nobody', 'x', {policy: 'FAIL_FAST'})
          .catch((error: unknown) => error as Error);
        return {content: [failed, refused].map(error => (error as Error).message).join(' / '), data: {}};
      },
      {agents: [broken]},
    );
    const sent = await send(store);
    await withStatus(store, sent, 'COMPLETED');
    const final = (await told(store, sent)).find(line => line.startsWith('final'));
    expect(final).toContain('no ink / No worker is online for "nobody"');
    at.breaksRules('dead-letters');
  });

  test('takes the first of several, as many as it needs, or what is there in time', async () => {
    const store = at.open();
    const quick = defineAgent({type: 'quick', run: (_ctx, ask) => ({content: ask.text})});
    const asleep = defineAgent({
      type: 'asleep',
      async run(ctx) {
        await ctx.sleep(HOUR);
      },
    });
    await work(
      at,
      store,
      async ctx => {
        const any = await ctx.callAny([
          ['asleep', 'x'],
          ['quick', 'a'],
        ]);
        const two = await ctx.callAll(
          [
            ['quick', 'b'],
            ['asleep', 'x'],
            ['quick', 'c'],
          ],
          {policy: {quorum: 2}},
        );
        const settled = await ctx.callAll(
          [
            ['quick', 'd'],
            ['asleep', 'x'],
          ],
          {policy: 'allSettled', deadlineMs: HOUR},
        );
        return {content: `${String(any)} ${String(two)} ${settled.map(({status}) => status).join(',')}`};
      },
      {agents: [quick, asleep]},
    );
    const sent = await send(store);
    // The time is over once the answer that counts is there, however long that takes.
    await until(async () => {
      const {entries, outcomes} = await readJournal(store, sent);
      return [...entries].some(([index, {note}]) => note === 'd' && outcomes.has(index));
    });
    await timersDue(store, sent);
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent)).toContain('final a b,c completed,failed');
  });

  test('that calls itself for ever is stopped', async () => {
    const store = at.open();
    await work(at, store, async (ctx, ask) => ({content: String(await ctx.call(TYPE, ask.text))}));
    const sent = await send(store);
    const record = await withStatus(store, sent, 'FAILED');
    expect(record.errorMessage).toContain('32 calls below the first');
    at.breaksRules('dead-letters');
  });
});

describeEachStore('a durable execution', at => {
  test('is started again from an entry of its journal: what came before is given, the rest done anew', async () => {
    const store = at.open();
    const done: string[] = [];
    await work(at, store, async (ctx, ask) => {
      for (const name of ['one', 'two', 'three']) await ctx.step(name, () => done.push(name));
      await ctx.emitChunk('all done');
      return {content: `${ask.text}: ${done.length}`};
    });
    const sent = await send(store);
    const record = await withStatus(store, sent, 'COMPLETED');
    const again = await replayExecution({store, now: Date.now}, {record, from: 1, policy: 'FAIL_FAST'});
    expect(again).toMatchObject({kept: 1, sessionId: sent.sessionId});
    expect(again.executionId).not.toBe(sent.executionId);
    await withStatus(store, again, 'COMPLETED');
    expect(done).toEqual(['one', 'two', 'three', 'two', 'three']);
    expect((await told(store, sent)).filter(line => line === 'answer all done')).toHaveLength(2);
    await expect(
      replayExecution({store, now: Date.now}, {record, from: 4, policy: 'FAIL_FAST'}),
    ).rejects.toMatchObject({code: 'INVALID_INPUT'});
  });
});
