/** A session belongs to the user it was first used for: guarantees.md §2, tenancy. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {encodeCommand} from '../../src/protocol/commands.js';
import {createHeader} from '../../src/protocol/header.js';
import {sessionUser} from '../../src/store/ownership.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const ASK = {agentType: 'echo', content: 'hi', policy: 'SEND_ANYWAY', sessionId: 'sess-1'} as const;

const clients = (store: Store) => {
  const operator = new GatewayClient(store);
  return {operator, ann: operator.forUser('ann'), bob: operator.forUser('bob')};
};

async function serve(at: TestStore, store: Store) {
  const agents = [defineAgent({type: 'echo', run: (_ctx, {text}) => text})];
  const worker = await startWorker(store, {agents, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
}

async function read(client: GatewayClient): Promise<number> {
  let events = 0;
  for await (const _ of client.follow('sess-1', {untilCaughtUp: true})) events++;
  return events;
}

describeEachStore('a session', at => {
  test('of one user is not found by another, whatever they try', async () => {
    const store = at.open();
    const {ann, bob} = clients(store);
    await serve(at, store);
    const sent = await ann.send({...ASK, messageId: 'msg-1'});
    await until(async () => (await ann.find('sess-1', 'msg-1'))?.status === 'COMPLETED');
    const before = await at.redis().hgetall(store.keys.sessionRegistry('sess-1'));

    await expect(bob.send(ASK)).rejects.toMatchObject({code: 'NOT_FOUND', exitCode: 4});
    // Not even that the message is known is told.
    await expect(bob.send({...ASK, messageId: 'msg-1'})).rejects.toMatchObject({code: 'NOT_FOUND'});
    await expect(bob.send({...ASK, policy: 'FAIL_FAST'})).rejects.toMatchObject({code: 'NOT_FOUND'});
    await expect(bob.send({...ASK, agentType: 'none', policy: 'FAIL_FAST'})).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(await bob.find('sess-1', 'msg-1')).toBeUndefined();
    expect(await bob.cancel({sessionId: 'sess-1'})).toMatchObject({status: 'NOT_FOUND', nodes: []});
    await expect(read(bob)).rejects.toMatchObject({code: 'NOT_FOUND'});
    expect(await at.redis().hgetall(store.keys.sessionRegistry('sess-1'))).toEqual(before);

    expect(await ann.send({...ASK, messageId: 'msg-1'})).toMatchObject({
      ...{duplicate: true, executionId: sent.executionId},
    });
    expect(await read(ann)).toBe(2);
    expect(await ann.cancel({sessionId: 'sess-1'})).toMatchObject({status: 'ALREADY_FINISHED'});
  });

  test('is open to operators, who name no user; what they send leaves it whose it is', async () => {
    const store = at.open();
    const {operator, ann, bob} = clients(store);
    await ann.send({...ASK, messageId: 'msg-1'});
    await operator.send(ASK);
    expect(await operator.find('sess-1', 'msg-1')).toBeDefined();
    await ann.send(ASK);
    await expect(bob.send(ASK)).rejects.toMatchObject({code: 'NOT_FOUND'});
    expect(await operator.cancel({sessionId: 'sess-1'})).toMatchObject({cancelledCount: 3});
    expect(await sessionUser(store, 'sess-1')).toBe('ann');
  });

  test('that operators began is no user’s', async () => {
    const {operator, ann} = clients(at.open());
    await operator.send({...ASK, messageId: 'msg-1'});
    await expect(ann.send(ASK)).rejects.toMatchObject({code: 'NOT_FOUND'});
    await expect(ann.send({...ASK, messageId: 'msg-1'})).rejects.toMatchObject({code: 'NOT_FOUND'});
    expect(await ann.find('sess-1', 'msg-1')).toBeUndefined();
  });

  test('that another SDK began becomes the user’s its command names, once we run it', async () => {
    const store = at.open();
    const {ann, bob} = clients(store);
    const header = createHeader({
      ...{messageId: 'msg-1', sessionId: 'sess-1', traceId: 't', targetAgentType: 'echo', userCode: 'ann'},
    });
    const rest = {content: 'hi', waitForReply: false, extraPayload: {}};
    const document = encodeCommand({action: 'ASK_AGENT', header, ...rest});
    await at.redis().xadd(store.keys.ctrlStream('echo'), '*', 'data', document);
    await serve(at, store);
    await until(async () => (await ann.find('sess-1', 'msg-1'))?.status === 'COMPLETED');
    expect(await bob.find('sess-1', 'msg-1')).toBeUndefined();
    await ann.send(ASK);
  });

  test('that many users begin at once goes to one of them', async () => {
    const {operator} = clients(at.open());
    const users = Array.from({length: 20}, (_, i) => operator.forUser(`user-${i}`));
    const sends = await Promise.allSettled(users.map(user => user.send(ASK)));
    expect(sends.filter(({status}) => status === 'fulfilled')).toHaveLength(1);
    const records = await Promise.all(users.map(user => user.cancel({sessionId: 'sess-1'})));
    expect(records.filter(({status}) => status !== 'NOT_FOUND')).toHaveLength(1);
  });

  test('can not be used by a client of one user in the name of another', async () => {
    const {ann} = clients(at.open());
    await expect(ann.send({...ASK, userCode: 'bob'})).rejects.toMatchObject({code: 'DENIED'});
  });
});
