/** A cancel covers what the cancelled goes on to start, whoever sends it: decisions/0008. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {encodeCommand} from '../../src/protocol/commands.js';
import {execField, msgMapField} from '../../src/protocol/execution.js';
import {createHeader} from '../../src/protocol/header.js';
import {sessionExecutions} from '../../src/store/executions.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const sendTo = (store: Store, messageId: string, parentMessageId?: string) =>
  new GatewayClient(store).send({
    ...{agentType: 'echo', content: messageId, policy: 'SEND_ANYWAY', sessionId: 'sess-1', messageId},
    ...(parentMessageId === undefined ? {} : {parentMessageId}),
  });

async function serve(at: TestStore, store: Store): Promise<string[]> {
  const seen: string[] = [];
  const agents = [defineAgent({type: 'echo', run: (_ctx, {text}) => void seen.push(text)})];
  const worker = await startWorker(store, {agents, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return seen;
}

const settled = (at: TestStore, store: Store) => {
  const redis = at.redis();
  return until(async () => (await redis.xlen(store.keys.ctrlStream('echo'))) === 0);
};

describeEachStore('a cancelled tree', at => {
  test('takes no more children, also below a child; a message sent before is still known', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    await sendTo(store, 'root');
    const child = await sendTo(store, 'child', 'root');
    expect(await client.cancel({sessionId: 'sess-1', messageId: 'root'})).toMatchObject({cancelledCount: 2});
    for (const parent of ['root', 'child']) {
      await expect(sendTo(store, `late-${parent}`, parent)).rejects.toMatchObject({
        ...{code: 'PARENT_CANCELLED', exitCode: 7},
      });
    }
    expect(await sendTo(store, 'child', 'root')).toMatchObject({
      ...{duplicate: true, executionId: child.executionId},
    });
    await sendTo(store, 'other');
    await sendTo(store, 'other-child', 'other');
    expect(await sessionExecutions(store, 'sess-1')).toHaveLength(4);
    const seen = await serve(at, store);
    await settled(at, store);
    expect(seen.sort()).toEqual(['other', 'other-child']);
  });

  test('ends what other SDKs send to it when a worker takes it, and tells nobody who does not wait', async () => {
    const store = at.open();
    const redis = at.redis();
    await sendTo(store, 'root');
    await new GatewayClient(store).cancel({sessionId: 'sess-1', messageId: 'root'});
    const header = (messageId: string, sourceAgentType: string) =>
      createHeader({
        ...{messageId, sessionId: 'sess-1', traceId: 't', targetAgentType: 'echo', sourceAgentType},
        parentMessageId: 'root',
      });
    const stream = store.keys.ctrlStream('echo');
    // One whose sender wrote a record, and one whose sender did not.
    const record = {
      ...{execution_id: 'x-1', message_id: 'msg-1', session_id: 'sess-1', parent_message_id: 'root'},
      ...{source_agent_type: 'boss', target_agent_type: 'echo', status: 'QUEUED', timeline: []},
    };
    await redis.hset(store.keys.sessionRegistry('sess-1'), {
      [execField('x-1')]: JSON.stringify(record),
      [msgMapField('msg-1')]: 'x-1',
    });
    for (const [id, source] of [
      ['msg-1', 'boss'],
      ['msg-2', ''],
    ] as const) {
      const rest = {content: id, waitForReply: source !== '', extraPayload: {}};
      const document = encodeCommand({action: 'ASK_AGENT', header: header(id, source), ...rest});
      await redis.xadd(stream, '*', 'data', document);
    }
    const seen = await serve(at, store);
    await settled(at, store);
    expect(seen).toEqual([]);
    for (const record of await sessionExecutions(store, 'sess-1'))
      expect(record).toMatchObject({status: 'CANCELLED', cancelRequested: true});
    expect(await redis.xlen(store.keys.ctrlStream('boss'))).toBe(0);
  });

  test('leaves no child behind that was sent while it was cancelled', async () => {
    for (let round = 0; round < 15; round++) {
      const store = at.open();
      const client = new GatewayClient(store);
      await sendTo(store, 'root');
      const refused: Promise<unknown>[] = [];
      const errorOf = (sending: Promise<unknown>) =>
        sending.then(
          () => undefined,
          (error: unknown) => error,
        );
      for (let i = 0; i < 12; i++) {
        refused.push(errorOf(sendTo(store, `child-${i}`, i % 3 === 2 ? `child-${i - 1}` : 'root')));
        await new Promise(resolve => setImmediate(resolve));
        if (i === round % 12) refused.push(errorOf(client.cancel({sessionId: 'sess-1', messageId: 'root'})));
      }
      for (const error of await Promise.all(refused))
        if (error !== undefined) expect(error).toMatchObject({code: 'PARENT_CANCELLED'});
      const open = (await sessionExecutions(store, 'sess-1')).filter(({status}) => status !== 'CANCELLED');
      // A grandchild may have come before its parent was there: then it is nobody's child yet, and stays out.
      const known = new Set((await sessionExecutions(store, 'sess-1')).map(({messageId}) => messageId));
      expect(open.filter(({parentMessageId}) => known.has(parentMessageId))).toEqual([]);
    }
  });
});
