/** Calls that nobody waits for any more: cancelled with what they started where that is asked for, left alone where not. */
import {expect, test} from 'vitest';
import {replayExecution} from '../../src/client/replay-execution.js';
import {silentLogger} from '../../src/log.js';
import type {ExecutionRecord} from '../../src/protocol/execution.js';
import type {GroupPolicy} from '../../src/protocol/task-group.js';
import {isTerminal} from '../../src/protocol/states.js';
import {sessionExecutions} from '../../src/store/executions.js';
import {readJournal} from '../../src/store/journal.js';
import type {Store} from '../../src/store/store.js';
import {joinGroup} from '../../src/store/task-groups.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import type {Call, CallAllOptions, DurableContext} from '../../src/worker/durable/context.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {timersDue} from '../support/timers.js';
import {drained, eventsOf, ofType, send, timeline, untilStatus, workAs, type Handle} from './calls.js';

const HOUR = 3_600_000;

async function work(at: TestStore, store: Store, ...agents: Agent[]): Promise<void> {
  const worker = await startWorker(store, {agents, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
}

const durable = (type: string, run: (ctx: DurableContext) => unknown): Agent => defineAgent({type, run});

/** Waits for an agent that sleeps. */
const idle = durable('idle', ctx => ctx.call('asleep', 'x'));
const asleep = durable('asleep', ctx => ctx.sleep(HOUR));
/** Works until it is told to stop. */
const busy = durable('busy', ctx => new Promise(resolve => ctx.signal.addEventListener('abort', resolve)));
const failing = defineAgent({
  type: 'failing',
  run: () => ({status: 'FAILED', content: 'no', retryable: false}),
});

/** Answers once the others are at work. */
const quick = (store: Store, ...begun: (readonly [agentType: string, status: string])[]): Agent =>
  defineAgent({
    type: 'quick',
    run: async (_ctx, ask) => {
      for (const [agentType, status] of begun) await untilStatus(store, agentType, status);
      return {content: ask.text};
    },
  });

const statuses = async (store: Store) =>
  Object.fromEntries(
    (await sessionExecutions(store, 's')).map(record => [record.targetAgentType, record.status]),
  );

const othersEnded = (store: Store) =>
  until(async () => (await sessionExecutions(store, 's')).every(({status}) => isTerminal(status)));

const cancelledAt = (record: ExecutionRecord | undefined) => record?.extra['x_cancelled_at'];

describeEachStore('calls of a durable agent that nobody waits for any more', at => {
  test('are cancelled with all they started, also where the agent returns at once', async () => {
    const store = at.open();
    const choosing = durable('a', async ctx => ({
      content: await ctx.callAny(
        [
          ['idle', 'x'],
          ['busy', 'x'],
          ['quick', 'first'],
        ],
        {rest: 'cancel'},
      ),
    }));
    const begun = [
      ['asleep', 'SLEEPING'],
      ['busy', 'RUNNING'],
    ] as const;
    await work(at, store, choosing, idle, asleep, busy, quick(store, ...begun));
    await send(store, 'a');
    await untilStatus(store, 'a', 'COMPLETED');
    await othersEnded(store);
    expect(await statuses(store)).toEqual({
      ...{a: 'COMPLETED', quick: 'COMPLETED'},
      ...{idle: 'CANCELLED', asleep: 'CANCELLED', busy: 'CANCELLED'},
    });
    for (const type of ['idle', 'asleep', 'busy']) {
      const record = await ofType(store, type);
      expect(record?.cancelReason).toMatch(/^the answer of quick \(call msg-[0-9a-f]+-2\) was enough$/);
      expect(record && timeline(record).filter(step => step === 'CANCELLED')).toHaveLength(1);
    }
    expect((await ofType(store, 'quick'))?.cancelRequested).toBeFalsy();
    await drained(at, store, 'a', 'idle', 'busy');
    expect((await eventsOf(store)).slice(-2)).toEqual([
      ['final', 'first', 'a'],
      ['end', '', 'a'],
    ]);
  });

  test('run on where nothing is said', async () => {
    const store = at.open();
    const choosing = durable('a', async ctx => ({
      content: await ctx.callAny([
        ['asleep', 'x'],
        ['quick', 'first'],
      ]),
    }));
    await work(at, store, choosing, asleep, quick(store, ['asleep', 'SLEEPING']));
    const sent = await send(store, 'a');
    await untilStatus(store, 'a', 'COMPLETED');
    const loser = await ofType(store, 'asleep');
    expect(loser).toMatchObject({status: 'SLEEPING'});
    expect(loser?.cancelRequested).toBeFalsy();
    const {entries} = await readJournal(store, sent);
    expect([...entries.values()].map(({kind}) => kind)).toEqual(['call', 'call']);
  });

  test.for<[string, Omit<CallAllOptions, 'rest'>, readonly string[], string, RegExp]>([
    ['the first that fails', {}, ['failing', 'asleep'], 'no', /-0\) did not complete/],
    ['enough', {policy: {quorum: 2}}, ['quick', 'asleep', 'quick'], 'x,x', /answers of 2 calls were enough/],
    ['too few left', {policy: {quorum: 2}}, ['failing', 'asleep'], 'Fewer than 2', /-0\) did not complete/],
    ['a deadline, all settled', {policy: 'allSettled', deadlineMs: HOUR}, ['quick', 'asleep'], '', /in time/],
    ['a deadline, any', {policy: 'any', deadlineMs: HOUR}, ['failing', 'asleep'], 'in time', /in time/],
    ['a deadline, all', {deadlineMs: HOUR}, ['quick', 'asleep'], 'in time', /in time/],
  ])('are cancelled after %s', async ([, options, types, said, reason]) => {
    const store = at.open();
    const calls = types.map((type): Call => [type, 'x']);
    const joining = durable('a', async ctx => {
      const joined = (ctx.callAll as (calls: readonly Call[], options: CallAllOptions) => Promise<unknown>)
        .call(ctx, calls, {...options, rest: 'cancel'})
        .catch((error: unknown) => (error as Error).message);
      return {content: String(await joined)};
    });
    await work(at, store, joining, asleep, failing, quick(store, ['asleep', 'SLEEPING']));
    const sent = await send(store, 'a');
    if (options.deadlineMs !== undefined) {
      // It passes once the others have answered, however long that takes.
      await until(async () => (await readJournal(store, sent)).outcomes.has(0));
      await timersDue(store, sent);
    }
    await untilStatus(store, 'a', 'COMPLETED');
    await othersEnded(store);
    expect((await eventsOf(store)).find(([kind]) => kind === 'final')?.[1]).toContain(said);
    const loser = await ofType(store, 'asleep');
    expect(loser).toMatchObject({
      status: 'CANCELLED',
      cancelReason: expect.stringMatching(reason) as unknown,
    });
    for (const {targetAgentType, cancelRequested} of await sessionExecutions(store, 's'))
      expect(cancelRequested ?? false).toBe(targetAgentType === 'asleep');
  });

  test('are cancelled once: a later turn does not do it again', async () => {
    const store = at.open();
    const outcomes: unknown[] = [];
    const going = durable('a', async ctx => {
      const calls: Call[] = [
        ['asleep', 'x'],
        ['quick', 'first'],
      ];
      const first = await ctx.callAny(calls, {rest: 'cancel'});
      outcomes.push(first, await ctx.callAll([['quick', 'second']], {rest: 'cancel'}));
      await ctx.sleep(300);
      return {content: 'done'};
    });
    await work(at, store, going, asleep, quick(store));
    const sent = await send(store, 'a');
    // Once that is noted, the cancel has been carried out.
    await until(async () => {
      const {entries, outcomes: kept} = await readJournal(store, sent);
      return [...entries].some(([index, {kind}]) => kind === 'cancel' && kept.has(index));
    });
    const at1 = cancelledAt(await untilStatus(store, 'asleep', 'CANCELLED'));
    await untilStatus(store, 'a', 'COMPLETED');
    expect(cancelledAt(await ofType(store, 'asleep'))).toBe(at1);
    const {entries, outcomes: kept} = await readJournal(store, sent);
    // Where all have answered there is nothing to cancel.
    const cancels = [...entries].filter(([, {kind}]) => kind === 'cancel');
    expect(cancels).toHaveLength(1);
    expect(cancels.every(([index]) => kept.has(index))).toBe(true);
    expect(new Set(outcomes.map(String))).toEqual(new Set(['first', 'second']));
  });

  test('are cancelled once they arrive, where one still waits for its worker', async () => {
    const store = at.open();
    const choosing = durable('a', async ctx => ({
      content: await ctx.callAny(
        [
          ['asleep', 'x', {policy: 'WAKE_AND_WAIT'}],
          ['quick', 'first'],
        ],
        {rest: 'cancel'},
      ),
    }));
    await work(at, store, choosing, quick(store));
    const sent = await send(store, 'a');
    await until(async () =>
      [...(await readJournal(store, sent)).entries.values()].some(({kind}) => kind === 'cancel'),
    );
    expect(await ofType(store, 'asleep')).toBeUndefined();
    await work(at, store, asleep);
    await untilStatus(store, 'a', 'COMPLETED');
    await untilStatus(store, 'asleep', 'CANCELLED');
  });

  test('are cancelled also where it is started again from a later entry', async () => {
    const store = at.open();
    const choosing = durable('a', async ctx => {
      const calls: Call[] = [
        ['asleep', 'x'],
        ['quick', 'first'],
      ];
      const first = await ctx.callAny(calls, {rest: 'cancel'});
      return {content: await ctx.step('after', () => first)};
    });
    await work(at, store, choosing, asleep, quick(store));
    await send(store, 'a');
    const record = await untilStatus(store, 'a', 'COMPLETED');
    const {outcomes} = await readJournal(store, {sessionId: 's', executionId: record.executionId});
    const again = await replayExecution({store, now: Date.now}, {record, from: 4, policy: 'SEND_ANYWAY'});
    await until(async () =>
      (await sessionExecutions(store, 's')).some(
        ({executionId, status}) => executionId === again.executionId && status === 'COMPLETED',
      ),
    );
    await othersEnded(store);
    const others = (await sessionExecutions(store, 's')).filter(one => one.targetAgentType === 'asleep');
    // It is called again if its answer was not there when the first ended.
    expect(others).toHaveLength(outcomes.has(0) ? 1 : 2);
    for (const other of others) expect(other.status).toBe('CANCELLED');
  });

  test('are asked about in words that are known', async () => {
    const store = at.open();
    const wrong = {rest: 'kill' as 'cancel'};
    await work(
      at,
      store,
      durable('a', async ctx => {
        const codes = [];
        for (const ask of [() => ctx.callAny([['asleep', 'x']], wrong), () => ctx.callAll([], wrong)])
          codes.push(await (async () => ask())().catch((error: unknown) => (error as {code: string}).code));
        return {content: codes.join()};
      }),
    );
    await send(store, 'a');
    await untilStatus(store, 'a', 'COMPLETED');
    expect((await eventsOf(store))[0]).toEqual(['final', 'INVALID_INPUT,INVALID_INPUT', 'a']);
    expect(await sessionExecutions(store, 's')).toHaveLength(1);
  });
});

describeEachStore('members of a group that nobody waits for any more', at => {
  const tasks = ['idle', 'busy', 'quick', 'failing'];
  const scattering =
    (policy: GroupPolicy, types: readonly string[], rest?: 'cancel'): Handle =>
    async (command, ctx) => {
      if (command.action === 'ASK_AGENT')
        return ctx.dispatchGroup(
          types.map(agentType => ({agentType, content: 'x', messageId: `m-${agentType}`})),
          {policy, taskGroupId: 'tg-1', ...(rest === undefined ? {} : {rest})},
        );
      const results = await ctx.collectGroupResults();
      const completed = results.filter(({status}) => status === 'COMPLETED');
      return {content: completed.map(({message_id}) => message_id).join()};
    };
  const begun = [
    ['asleep', 'SLEEPING'],
    ['busy', 'RUNNING'],
  ] as const;

  test.for<[string, GroupPolicy, string, RegExp]>([
    ['the first that succeeds', 'any', 'm-quick', /^the answer of quick \(call m-quick\) was enough$/],
    ['the first that fails', 'all', '', /^failing \(call m-failing\) did not complete/],
    ['too few that are left', {quorum: 4}, '', /^failing \(call m-failing\) did not complete/],
  ])('are cancelled with all they started, after %s', async ([, policy, answer, reason]) => {
    const store = at.open();
    const types = policy === 'any' ? tasks.slice(0, 3) : tasks.filter(type => type !== 'quick');
    const last = defineAgent({
      type: 'failing',
      run: async () => {
        for (const [agentType, status] of begun) await untilStatus(store, agentType, status);
        return {status: 'FAILED', content: 'no', retryable: false};
      },
    });
    const wanted = typeof policy === 'object' ? {quorum: types.length} : policy;
    await workAs(at, store, {a: scattering(wanted, types, 'cancel')});
    await work(at, store, idle, asleep, busy, last, quick(store, ...begun));
    await send(store, 'a', {messageId: 'msg-a'});
    const record = await untilStatus(store, 'a', 'COMPLETED');
    await othersEnded(store);
    expect(await statuses(store)).toMatchObject({
      ...{idle: 'CANCELLED', asleep: 'CANCELLED', busy: 'CANCELLED'},
    });
    for (const type of ['idle', 'asleep', 'busy'])
      expect((await ofType(store, type))?.cancelReason).toMatch(reason);
    await drained(at, store, 'a', 'idle', 'busy');
    expect((await eventsOf(store)).filter(([, , agentType]) => agentType === 'a')).toEqual([
      ...(answer === '' ? [] : [['final', answer, 'a']]),
      ['end', '', 'a'],
    ]);
    expect(timeline(record).filter(step => step === 'RUNNING')).toHaveLength(2);
    expect(await at.redis().hexists(store.keys.taskGroup('tg-1'), 'x_rest')).toBe(0);
  });

  test('run on where nothing is said', async () => {
    const store = at.open();
    await workAs(at, store, {a: scattering('any', ['asleep', 'quick'])});
    await work(at, store, asleep, quick(store, ['asleep', 'SLEEPING']));
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'a', 'COMPLETED');
    const loser = await ofType(store, 'asleep');
    expect(loser).toMatchObject({status: 'SLEEPING'});
    expect(loser?.cancelRequested).toBeFalsy();
  });

  test('are cancelled by the turn that collects, if whoever counted the answer did not come to it', async () => {
    const store = at.open();
    const counted = {status: 'COMPLETED', replyData: null, content: 'x', metadata: {}, extraPayload: {}};
    await workAs(at, store, {
      a: async (_, ctx) => {
        const options = {policy: 'any', taskGroupId: 'tg-1', rest: 'cancel'} as const;
        await ctx.dispatchGroup(
          ['m-1', 'm-2'].map(messageId => ({agentType: 'nobody', content: 'x', messageId})),
          options,
        );
        await joinGroup(store, 'tg-1', {member: 'm-1', succeeded: true, result: counted});
        const results = await ctx.collectGroupResults('tg-1');
        return {content: results.map(({message_id}) => message_id).join()};
      },
    });
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'a', 'COMPLETED');
    const members = await sessionExecutions(store, 's');
    expect(members.find(({messageId}) => messageId === 'm-2')?.status).toBe('CANCELLED');
    expect(members.find(({messageId}) => messageId === 'm-1')?.status).toBe('QUEUED');
  });

  test('are asked about in words that are known', async () => {
    const store = at.open();
    let code = '';
    await workAs(at, store, {
      a: (_, ctx) =>
        ctx
          .dispatchGroup([{agentType: 'b', content: 'x'}], {rest: 'kill' as 'cancel'})
          .catch((error: unknown) => void (code = (error as {code: string}).code)),
    });
    await send(store, 'a');
    await untilStatus(store, 'a', 'COMPLETED');
    expect(code).toBe('INVALID_INPUT');
    expect(await sessionExecutions(store, 's')).toHaveLength(1);
  });
});
