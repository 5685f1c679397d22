/** claim.lua and finish.lua edit a record as text where they know it to the letter; it must come out as the long way writes it. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import type {SendRequest} from '../../src/availability/send.js';
import {execField} from '../../src/protocol/execution.js';
import {claimExecution, finishTurn, type ClaimRequest} from '../../src/store/executions.js';
import type {Store} from '../../src/store/store.js';
import {createHeader} from '../../src/protocol/header.js';
import {askersContext} from '../../src/protocol/reply.js';
import {dispatch} from '../../src/worker/dispatch.js';
import {describeEachStore, type TestStore} from '../support/stores.js';

const OWNER = 'w-1#0123456789ab';
const NOW = 1_800_000_000_123;

type Doc = Record<string, unknown>;

async function sent(store: Store, request: Partial<SendRequest> = {}) {
  return new GatewayClient(store).send({
    ...{agentType: 'writer', content: 'x', policy: 'SEND_ANYWAY', ...request},
  });
}

/** What an agent that was sent something calls. */
async function called(store: Store, waitForReply: boolean, metadata: Doc = {}) {
  const caller = await sent(store);
  const {fence} = await claim(store, caller);
  const {sessionId, executionId, messageId} = caller;
  const header = createHeader({messageId, sessionId, traceId: caller.traceId, targetAgentType: 'writer'});
  const call = await dispatch(
    {store, now: () => NOW},
    {
      ...{turn: {sessionId, executionId, fence}, agentType: 'writer', messageId, header},
      ...{depth: 0, deadline: undefined},
    },
    {
      ...{
        agentType: 'critic',
        content: 'x',
        messageId: 'msg-call',
        isNewMessage: true,
        waitForReply,
        metadata,
      },
      policy: 'SEND_ANYWAY',
    },
  );
  const asked = createHeader({
    ...{messageId: 'msg-call', sessionId, traceId: '', parentMessageId: messageId, metadata},
    sourceAgentType: waitForReply ? 'writer' : '',
  });
  return {call, caller, reply: askersContext(asked)};
}

const textOf = async (at: TestStore, store: Store, one: {sessionId: string; executionId: string}) =>
  (await at.redis().hget(store.keys.sessionRegistry(one.sessionId), execField(one.executionId))) ?? '';

/** The same document in other bytes: what is not to the letter as we write it takes the long way. */
async function respell(at: TestStore, store: Store, one: {sessionId: string; executionId: string}) {
  const doc = JSON.parse(await textOf(at, store, one)) as Doc;
  const registry = store.keys.sessionRegistry(one.sessionId);
  await at.redis().hset(registry, execField(one.executionId), JSON.stringify(doc, null, 1));
}

const claim = (
  store: Store,
  one: {sessionId: string; executionId: string; messageId: string},
  more: Partial<ClaimRequest> = {},
) =>
  claimExecution(store, {
    ...{sessionId: one.sessionId, messageId: one.messageId, hint: one.executionId},
    ...{
      newExecutionId: 'exec-new',
      newRecord: () => '{}',
      owner: OWNER,
      workerId: 'w-1',
      entry: 'stream/1-0',
    },
    ...{nowMs: NOW, reopen: false, ask: true, deadOwner: '', maxAttempts: 5},
    ...more,
  });

const finish = (store: Store, one: {sessionId: string; executionId: string}, fence: string, patch: Doc) =>
  finishTurn(store, {
    ...{sessionId: one.sessionId, executionId: one.executionId, fence, patch, events: []},
    ...{renewEvents: false, renewRegistry: false},
  });

/** Without what differs from send to send: ids, and the time of acceptance. */
const anonymous = (
  doc: Doc,
  one: {sessionId: string; executionId: string; messageId: string; traceId: string},
): unknown => {
  const {sessionId, executionId, messageId, traceId} = one;
  const text = [sessionId, executionId, messageId, traceId, String(doc['created_at'])].reduce(
    (all, id) => all.replaceAll(id, '0'),
    JSON.stringify(doc),
  );
  return JSON.parse(text);
};

const requests: readonly [string, Partial<SendRequest>][] = [
  ['to an agent type', {}],
  ['of a user', {userCode: 'u-1', userName: 'Ada "the first" \\ ] }'}],
  ['that quotes a record', {metadata: {note: '"status":"RUNNING","created_at":1'}}],
];

describeEachStore('a record edited as text', at => {
  test.each(requests)('is what decoding would have made of it: a command %s', async (_, request) => {
    const store = at.open();
    const ways = [];
    for (const isLong of [false, true]) {
      const one = await sent(store, request);
      const before = await textOf(at, store, one);
      if (isLong) await respell(at, store, one);
      const begun = await claim(store, one);
      expect(begun.verdict).toBe('started');
      const running = await textOf(at, store, one);
      if (isLong) await respell(at, store, one);
      else {
        // The long way leaves no order: this is how we see which was taken.
        expect(running.startsWith(before.slice(0, before.indexOf('QUEUED')))).toBe(true);
      }
      expect(
        await finish(store, one, begun.fence, {
          status: 'COMPLETED',
          updated_at: NOW + 5,
          finished_at: NOW + 5,
        }),
      ).toBe('ok');
      const ended = await textOf(at, store, one);
      if (!isLong) expect(ended.startsWith(before.slice(0, before.indexOf('QUEUED')))).toBe(true);
      ways.push([anonymous(JSON.parse(running) as Doc, one), anonymous(JSON.parse(ended) as Doc, one)]);
    }
    expect(ways[0]).toEqual(ways[1]);
  });

  test.each([
    ['that waits', true, {}, true],
    ['that hands over', false, {}, true],
    ['whose metadata has a brace', true, {note: '},"x_caller":"exec-1"', x_owner: 'w'}, false],
    ['whose metadata looks like a record', true, {note: '{},"x_caller":"e"', x_owner: 'w'}, true],
  ])('is what decoding would have made of it: a call %s', async (_, waits, metadata, isPlain) => {
    const store = at.open();
    const ways = [];
    for (const isLong of [false, true]) {
      const {call, caller, reply} = await called(store, waits, metadata);
      const before = await textOf(at, store, call);
      if (isLong) await respell(at, store, call);
      const begun = await claim(store, call, reply === undefined ? {} : {reply});
      expect(begun.verdict).toBe('started');
      const running = await textOf(at, store, call);
      expect(running.startsWith(before.slice(0, before.indexOf('QUEUED')))).toBe(!isLong && isPlain);
      const patch = {status: 'COMPLETED', updated_at: NOW, finished_at: NOW};
      expect(await finish(store, call, begun.fence, patch)).toBe('ok');
      const ended = JSON.parse(await textOf(at, store, call)) as Doc;
      const doc = anonymous({...ended, x_caller: '', parent_message_id: ''}, call);
      expect(JSON.parse(running)).toMatchObject({parent_message_id: caller.messageId, x_depth: 1});
      ways.push(JSON.parse(JSON.stringify(doc).replaceAll(caller.messageId, '1')));
    }
    expect(ways[0]).toEqual(ways[1]);
  });

  test('is left to the long way when its caller was cancelled', async () => {
    const store = at.open();
    const {call, caller} = await called(store, true);
    const doc = {...(JSON.parse(await textOf(at, store, caller)) as Doc), cancel_requested: true};
    const registry = store.keys.sessionRegistry(caller.sessionId);
    await at.redis().hset(registry, execField(caller.executionId), JSON.stringify(doc));
    expect(await claim(store, call)).toMatchObject({verdict: 'cancelled'});
  });

  test.each([
    ['it was cancelled', {status: 'CANCELLING', cancel_requested: true}],
    ['a cancel was noted', {cancel_requested: true}],
    ['it runs elsewhere', {status: 'RUNNING', x_owner: 'w-2#0123456789ab', x_entry: 'stream/1-0'}],
    ['it has ended', {status: 'COMPLETED'}],
    ['a retry waits', {x_failures: 1, x_attempt: 1, x_owner: '', x_entry: 'stream/1-0'}],
    ['its message is another', {message_id: 'msg-other'}],
    ['a list in it is empty', {agent_configs: []}],
  ])('is left to the long way when %s', async (_, change) => {
    const store = at.open();
    const verdicts = [];
    for (const isLong of [false, true]) {
      const one = await sent(store);
      const registry = store.keys.sessionRegistry(one.sessionId);
      const doc = {...(JSON.parse(await textOf(at, store, one)) as Doc), ...change};
      await at
        .redis()
        .hset(registry, execField(one.executionId), JSON.stringify(doc, null, isLong ? 1 : undefined));
      const {verdict} = await claim(store, one);
      const after = JSON.parse(await textOf(at, store, one)) as Doc;
      verdicts.push([verdict, anonymous(after, one)]);
    }
    expect(verdicts[0]).toEqual(verdicts[1]);
  });

  test('shows its fence: another one, or one that is over, ends nothing', async () => {
    const store = at.open();
    const one = await sent(store);
    const {fence} = await claim(store, one);
    const patch = {status: 'COMPLETED', updated_at: NOW, finished_at: NOW};
    expect(await finish(store, one, '1@w-2#0123456789ab', patch)).toBe('fenced');
    expect(await finish(store, one, fence, patch)).toBe('ok');
    expect(await finish(store, one, fence, patch)).toBe('terminal');
    expect(await finish(store, one, '', patch)).toBe('terminal');
  });

  test('is written by the claim when the command names an execution nobody recorded', async () => {
    const store = at.open();
    const one = {sessionId: 's-1', executionId: 'exec-lost', messageId: 'm-1'};
    const newRecord = () => JSON.stringify({execution_id: 'exec-new', message_id: 'm-1', status: 'RUNNING'});
    expect(await claim(store, one, {newRecord})).toMatchObject({verdict: 'started', executionId: 'exec-new'});
    expect(await claim(store, one, {newRecord, owner: 'w-2#0123456789ab'})).toMatchObject({verdict: 'held'});
  });
});
