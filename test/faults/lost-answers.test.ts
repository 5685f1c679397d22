/** Writes of a turn whose answer is lost are not made twice. */
import {expect, test} from 'vitest';
import {encodeRecord, newExecutionRecord, pastAttempts} from '../../src/protocol/execution.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {followSession} from '../../src/store/data-streams.js';
import {claimExecution, endAttempt, findExecution} from '../../src/store/executions.js';
import {openStore, type Store} from '../../src/store/store.js';
import {startFaultProxy} from '../support/fault-proxy.js';
import {describeEachServer, until, type TestStore} from '../support/stores.js';
import {send, settled, withStatus, work} from './support.js';

/** What was said in a session, each event's kind and text. */
async function said(store: Store, sessionId: string): Promise<string[]> {
  const all: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event') all.push(`${eventKind(item.event)} ${eventText(item.event)}`.trim());
  return all;
}

/** A worker whose attempt says something, hears no answer to that, and fails. */
async function unheard(at: TestStore, store: Store, maxAttempts: number) {
  const proxy = await startFaultProxy(at.url());
  at.cleanup(() => proxy.close());
  const through = openStore({...store.options, url: proxy.url});
  at.cleanup(() => through.close());
  await work(
    at,
    through,
    async (ctx, text) => {
      if (ctx.attempt > 1) return text;
      await ctx.emitChunk('one ');
      await until(async () => (await said(store, ctx.sessionId)).length === 1);
      proxy.loseReplies();
      await ctx.emitChunk('two ');
      await until(async () => (await said(store, ctx.sessionId)).length === 2);
      await ctx.emitChunk('three ');
      proxy.heal();
      proxy.cut();
      throw Object.assign(new Error('passing'), {retryable: true});
    },
    {maxAttempts, retry: {baseMs: 1}},
  );
}

describeEachServer('what an attempt said, and heard no answer to,', at => {
  test('is there once after the next attempt', async () => {
    const store = at.open();
    await unheard(at, store, 2);
    const sent = await send(store, 'done');
    await withStatus(store, sent, 'COMPLETED');
    expect(await said(store, sent.sessionId)).toEqual([
      ...['answer one', 'answer two', 'answer three', 'final done'],
      'end',
    ]);
    await settled(at, store);
  });

  test('is there once when that was the last attempt', async () => {
    const store = at.open();
    await unheard(at, store, 1);
    const sent = await send(store, 'done');
    await withStatus(store, sent, 'FAILED');
    expect(await said(store, sent.sessionId)).toEqual(['answer one', 'answer two', 'answer three', 'end']);
    await settled(at, store);
  });
});

describeEachServer('the end of an attempt that is told again', at => {
  test('is a success, and noted once', async () => {
    const store = at.open();
    const ids = {sessionId: 's', messageId: 'm'};
    const record = newExecutionRecord({
      ...{...ids, executionId: 'x', traceId: 't', parentMessageId: '', sourceAgentType: 'client'},
      ...{targetAgentType: 'writer', streamName: 'a', now: 1},
    });
    const {fence} = await claimExecution(store, {
      ...{...ids, hint: '', newExecutionId: 'x', newRecord: () => encodeRecord(record)},
      ...{owner: 'w#1', workerId: 'w', entry: 'a/1-0', nowMs: 2, reopen: false, ask: true},
      ...{deadOwner: '', maxAttempts: 5},
    });
    const ended = {
      ...({sessionId: 's', executionId: 'x', fence, ended: 'failed', workerId: 'w'} as const),
      ...{error: 'passing', nowMs: 3, retryAtMs: 0, events: ['{"said":1}']},
    };
    expect(await endAttempt(store, ended, 0)).toBe('ok');
    expect(await endAttempt(store, ended, 0)).toBe('ok');
    // Of another attempt it is not.
    expect(await endAttempt(store, {...ended, fence: '2@w#1'}, 0)).toBe('fenced');
    const after = await findExecution(store, 's', 'x');
    expect(after && pastAttempts(after)).toHaveLength(1);
    expect(await at.redis().xlen(store.keys.sessionDataStream('s'))).toBe(1);
  });
});
