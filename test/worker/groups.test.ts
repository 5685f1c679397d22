/** Scatter and gather: groups of calls, joined one answer at a time. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {execField} from '../../src/protocol/execution.js';
import {isTerminal} from '../../src/protocol/states.js';
import type {GroupPolicy} from '../../src/protocol/task-group.js';
import {sessionExecutions} from '../../src/store/executions.js';
import {serverTimeMs, type Store} from '../../src/store/store.js';
import {contentText} from '../../src/worker/agent.js';
import type {GroupReceipt, MemberResult} from '../../src/worker/calls.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {
  drained,
  eventsOf,
  ofType,
  put,
  replyOf,
  send,
  timeline,
  untilStatus,
  workAs,
  type Handle,
} from './calls.js';

const short = (results: readonly MemberResult[]) =>
  results.map(({message_id, status, content}) => [message_id, status, content]);

const task = (agentType: string, messageId: string, content = messageId) => ({agentType, messageId, content});

/** Asks two workers of `b`, and keeps what it collects. */
function gathering(collected: unknown[], policy: GroupPolicy = 'allSettled', tasks = ['m-1', 'm-2']): Handle {
  return async (command, ctx) => {
    if (command.action === 'ASK_AGENT')
      return ctx.dispatchGroup(
        tasks.map(id => task('b', id)),
        {policy, taskGroupId: 'tg-1'},
      );
    collected.push(short(await ctx.collectGroupResults()));
    return {content: 'gathered'};
  };
}

const answer = (member: string, content: string, status = 'COMPLETED', messageId = 'msg-a') =>
  replyOf(
    {
      ...{messageId, parentMessageId: member, taskGroupId: 'tg-1'},
      ...{sourceAgentType: 'b', targetAgentType: 'a'},
    },
    content,
    status,
  );

/** Whoever looks at deadlines has done what it began. */
const outboxesEmpty = (at: TestStore, store: Store) =>
  until(async () => (await at.redis().xlen(store.keys.openOutboxes())) === 0);

describeEachStore('a group of calls', at => {
  test('is answered when all of it is, and its answers are kept apart and in order', async () => {
    const store = at.open();
    const collected: unknown[] = [];
    await workAs(at, store, {
      a: gathering(collected),
      b: command => ({content: `did ${contentText(command.content)}`}),
    });
    await send(store, 'a', {messageId: 'msg-a'});
    const record = await untilStatus(store, 'a', 'COMPLETED');
    expect(collected).toEqual([
      [
        ['m-1', 'COMPLETED', 'did m-1'],
        ['m-2', 'COMPLETED', 'did m-2'],
      ],
    ]);
    expect(timeline(record).filter(step => step === 'RUNNING')).toHaveLength(2);
    const members = (await sessionExecutions(store, 's')).filter(one => one.targetAgentType === 'b');
    for (const member of members)
      expect(member).toMatchObject({sourceAgentType: 'a', parentMessageId: 'msg-a', status: 'COMPLETED'});
    expect((await eventsOf(store)).slice(-2)).toEqual([
      ['final', 'gathered', 'a'],
      ['end', '', 'a'],
    ]);
    await drained(at, store, 'a', 'b');
    expect(await at.redis().hmget(store.keys.taskGroup('tg-1'), 'total', 'completed')).toEqual(['2', '2']);
  });

  test('says that it waits for the rest, and counts each member once', async () => {
    const store = at.open();
    const collected: unknown[] = [];
    await workAs(at, store, {a: gathering(collected)});
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'a', 'GROUP_QUEUED');
    // In the dialects of the SDKs: under the caller's own message id, and under a fresh one.
    await put(at, store, 'a', answer('m-2', 'two', 'COMPLETED', 'msg-fresh'));
    await put(at, store, 'a', answer('m-2', 'two again'));
    await put(at, store, 'a', answer('m-9', 'nobody asked'));
    await drained(at, store, 'a');
    const waiting = await ofType(store, 'a');
    expect(waiting && timeline(waiting)).toEqual([
      ...['QUEUED', 'RUNNING', 'GROUP_QUEUED', 'QUEUED: waiting_for_group'],
    ]);
    for (const text of ['one', 'one again']) await put(at, store, 'a', answer('m-1', text, 'FAILED'));
    await untilStatus(store, 'a', 'COMPLETED');
    await drained(at, store, 'a');
    expect(collected).toEqual([
      [
        ['m-1', 'FAILED', 'one'],
        ['m-2', 'COMPLETED', 'two'],
      ],
    ]);
  });

  test.for<[string, GroupPolicy, readonly [string, string][], number]>([
    [
      'any: with the first that succeeds',
      'any',
      [
        ['m-1', 'FAILED'],
        ['m-2', 'COMPLETED'],
        ['m-3', 'COMPLETED'],
      ],
      2,
    ],
    [
      'any: when none can',
      'any',
      [
        ['m-1', 'FAILED'],
        ['m-2', 'CANCELLED'],
        ['m-3', 'FAILED'],
      ],
      3,
    ],
    [
      'all: with the first that fails',
      'all',
      [
        ['m-2', 'COMPLETED'],
        ['m-1', 'FAILED'],
        ['m-3', 'COMPLETED'],
      ],
      2,
    ],
    [
      'all: when all have succeeded',
      'all',
      [
        ['m-2', 'COMPLETED'],
        ['m-1', 'COMPLETED'],
        ['m-3', 'COMPLETED'],
      ],
      3,
    ],
    [
      'quorum: with enough',
      {quorum: 2},
      [
        ['m-3', 'COMPLETED'],
        ['m-1', 'COMPLETED'],
        ['m-2', 'FAILED'],
      ],
      2,
    ],
    [
      'quorum: when it can not be',
      {quorum: 2},
      [
        ['m-3', 'FAILED'],
        ['m-1', 'FAILED'],
        ['m-2', 'COMPLETED'],
      ],
      2,
    ],
  ])('goes on by its policy, once; %s', async ([, policy, answers, enough]) => {
    const store = at.open();
    const collected: [string, string, string][][] = [];
    await workAs(at, store, {a: gathering(collected, policy, ['m-1', 'm-2', 'm-3'])});
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'a', 'GROUP_QUEUED');
    for (const [member, status] of answers.slice(0, enough - 1)) {
      await put(at, store, 'a', answer(member, 'x', status));
      await drained(at, store, 'a');
    }
    expect(collected).toEqual([]);
    for (const [member, status] of answers.slice(enough - 1)) {
      await put(at, store, 'a', answer(member, 'x', status));
      await drained(at, store, 'a');
    }
    expect(collected.map(results => results.map(([member]) => member))).toEqual([
      answers
        .slice(0, enough)
        .map(([member]) => member)
        .sort(),
    ]);
    expect((await ofType(store, 'a'))?.status).toBe('COMPLETED');
  });

  test('may hold groups: answers go to whoever asked', async () => {
    const store = at.open();
    const seen: unknown[] = [];
    const scatter =
      (to: string): Handle =>
      async (command, ctx) => {
        if (command.action === 'ASK_AGENT')
          return ctx.dispatchGroup(
            [1, 2].map(n => ({agentType: to, content: `${contentText(command.content)}${n}`})),
          );
        const results = await ctx.collectGroupResults();
        seen.push(ctx.agentType);
        return {content: `(${results.map(result => String(result.content)).join(' ')})`};
      };
    await workAs(at, store, {
      a: scatter('b'),
      b: scatter('c'),
      c: command => ({content: contentText(command.content)}),
    });
    await send(store, 'a', {content: 'x'});
    await untilStatus(store, 'a', 'COMPLETED');
    expect(seen.sort()).toEqual(['a', 'b', 'b']);
    expect((await eventsOf(store)).slice(-2)).toEqual([
      ['final', '((x11 x12) (x21 x22))', 'a'],
      ['end', '', 'a'],
    ]);
  });

  test('has members that fail, ask a person, are cancelled, or run out of time', async () => {
    const store = at.open();
    const collected: unknown[] = [];
    await workAs(
      at,
      store,
      {
        a: async (command, ctx) => {
          if (command.action === 'ASK_AGENT')
            return ctx.dispatchGroup(
              [task('boom', 'm-1'), task('asks', 'm-2'), task('nobody', 'm-3'), task('slow', 'm-4')],
              {deadlineMs: 3_600_000},
            );
          collected.push(
            (await ctx.collectGroupResults()).map(({status, reply_data}) => [status, reply_data]),
          );
          return 'done';
        },
        boom: () => {
          throw new Error('no luck');
        },
        asks: (command, ctx) => (command.action === 'ASK_AGENT' ? ctx.askUser('?') : {content: 'ok'}),
      },
      {leaseMs: 1500},
    );
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'asks', 'WAITING_USER');
    await put(at, store, 'asks', replyOf({messageId: 'm-2', targetAgentType: 'asks'}, 'yes', ''));
    await new GatewayClient(store).cancel({sessionId: 's', messageId: 'm-3', reason: 'no'});
    await until(
      async () => (await sessionExecutions(store, 's')).filter(({status}) => isTerminal(status)).length === 3,
    );
    // Its time runs out once the others have ended, however long they took.
    const field = execField((await ofType(store, 'slow'))!.executionId);
    const redis = at.redis();
    const registry = store.keys.sessionRegistry('s');
    const record = JSON.parse((await redis.hget(registry, field)) ?? '') as object;
    const deadline = Math.floor(await serverTimeMs(store)) + 500;
    await redis.hset(registry, field, JSON.stringify({...record, x_deadline: deadline}));
    await workAs(at, store, {
      slow: (_, ctx) => new Promise(resolve => ctx.signal.addEventListener('abort', resolve)),
    });
    await untilStatus(store, 'a', 'COMPLETED');
    expect(collected).toMatchObject([
      [
        ['FAILED', {error: 'no luck'}],
        ['COMPLETED', null],
        ['CANCELLED', {reason: 'no'}],
        ['FAILED', {error: expect.stringContaining('deadline') as unknown}],
      ],
    ]);
    await outboxesEmpty(at, store);
  });

  test('of which nobody begins a call ends by its deadline', async () => {
    const store = at.open();
    const collected: unknown[] = [];
    await workAs(
      at,
      store,
      {
        a: async (command, ctx) => {
          if (command.action === 'ASK_AGENT')
            return ctx.dispatchGroup([task('nobody', 'm-1')], {deadlineMs: 500});
          collected.push((await ctx.collectGroupResults()).map(({status}) => status));
          return 'done';
        },
      },
      {leaseMs: 600},
    );
    await send(store, 'a');
    await untilStatus(store, 'a', 'COMPLETED');
    expect(collected).toEqual([['FAILED']]);
    await outboxesEmpty(at, store);
  });

  test('that is handed over is waited for by nobody; an empty one is nothing', async () => {
    const store = at.open();
    const receipts: GroupReceipt[] = [];
    await workAs(at, store, {
      a: async (_, ctx) => {
        receipts.push(await ctx.dispatchGroup([]));
        receipts.push(await ctx.dispatchGroup([task('b', 'm-1')], {waitForReply: false}));
      },
      b: () => ({content: 'B'}),
    });
    await send(store, 'a');
    await untilStatus(store, 'a', 'COMPLETED');
    await untilStatus(store, 'b', 'COMPLETED');
    expect(receipts).toMatchObject([
      {status: 'EMPTY', task_group_id: ''},
      {status: 'GROUP_QUEUED', dispatched_tasks: [{message_id: 'm-1', target_agent_type: 'b'}]},
    ]);
    await until(async () => (await eventsOf(store)).length === 2);
    expect(await eventsOf(store)).toEqual([
      ['final', 'B', 'b'],
      ['end', '', 'b'],
    ]);
  });

  test('is made whole or not at all', async () => {
    const store = at.open();
    const errors: unknown[] = [];
    const wrong = [
      [[task('b', 'm-1'), task('b', 'm-1')], {}],
      [[task('b', 'm-1'), task('b', 'm-2', ' ')], {}],
      [[task('b', 'm-1')], {policy: {quorum: 2}}],
      [Array.from({length: 1001}, (_, n) => task('b', `m-${n}`)), {}],
    ] as const;
    await workAs(at, store, {
      a: async (_, ctx) => {
        for (const [tasks, options] of wrong)
          await ctx
            .dispatchGroup(tasks, options)
            .catch((error: unknown) => errors.push((error as {code: string}).code));
        return 'done';
      },
    });
    await send(store, 'a');
    await untilStatus(store, 'a', 'COMPLETED');
    expect(errors).toEqual(wrong.map(() => 'INVALID_INPUT'));
    expect(await sessionExecutions(store, 's')).toHaveLength(1);
  });

  test('may be gathered in the turn that made it, also by a worker with one slot', async () => {
    const store = at.open();
    const worker = await workAs(
      at,
      store,
      {
        a: async (command, ctx) => {
          if (command.action === 'RESUME') return {content: 'a second time'};
          const receipt = await ctx.dispatchGroup([task('b', 'm-1'), task('b', 'm-2')]);
          return {content: short(await ctx.collectGroupResults(receipt.task_group_id)).join(' ')};
        },
        b: command => ({content: contentText(command.content)}),
      },
      {concurrency: 1},
    );
    await send(store, 'a');
    await untilStatus(store, 'a', 'COMPLETED');
    await drained(at, store, 'a', 'b');
    expect((await eventsOf(store)).filter(([, , agentType]) => agentType === 'a')).toEqual([
      ['final', 'm-1,COMPLETED,m-1 m-2,COMPLETED,m-2', 'a'],
      ['end', '', 'a'],
    ]);
    await until(() => worker.running === 0);
  });
});
