import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import type {DepthLimits} from '../../src/config/connection.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const echo = defineAgent({type: 'echo', run: (_, ask) => ({content: ask.text})});

function limited(at: TestStore, limits: Partial<DepthLimits>) {
  const opened = at.open();
  const store = {...opened, limits: {...opened.limits, ...limits}};
  return {store, client: new GatewayClient(store)};
}

describeEachStore('how much may wait', at => {
  test('a full agent type refuses before anything is written, and takes work again when some is done', async () => {
    const {store, client} = limited(at, {perAgentType: 3});
    const send = (messageId: string) =>
      client.send({agentType: 'echo', content: 'hi', policy: 'SEND_ANYWAY', sessionId: 's', messageId});
    for (const id of ['m-1', 'm-2', 'm-3']) await send(id);
    await expect(send('m-4')).rejects.toMatchObject({code: 'QUEUE_FULL', exitCode: 5, retryable: true});
    expect(await client.find('s', 'm-4')).toBeUndefined();
    expect(await at.redis().xlen(store.keys.ctrlStream('echo'))).toBe(3);
    // A repeat of what was accepted is no new work.
    expect(await send('m-3')).toMatchObject({duplicate: true});

    const worker = await startWorker(store, {agents: [echo], log: silentLogger});
    at.cleanup(() => worker.stop({drainMs: 0}));
    await until(async () => (await at.redis().xlen(store.keys.ctrlStream('echo'))) === 0);
    expect(await send('m-4')).toMatchObject({duplicate: false});
  });

  test('pending deliveries count too', async () => {
    const {client} = limited(at, {perAgentType: 2});
    const send = () => client.send({agentType: 'echo', content: 'hi', policy: 'QUEUE_ONLY'});
    await send();
    await send();
    await expect(send()).rejects.toMatchObject({code: 'QUEUE_FULL'});
  });

  test('a user is held to a number of unfinished commands, others are not', async () => {
    const {store, client} = limited(at, {perUser: 2});
    const send = (userCode: string) =>
      client.send({agentType: 'echo', content: 'hi', policy: 'SEND_ANYWAY', userCode});
    const first = await send('u-1');
    const second = await send('u-1');
    await expect(send('u-1')).rejects.toMatchObject({code: 'QUEUE_FULL', details: {userCode: 'u-1'}});
    await send('u-2');

    const worker = await startWorker(store, {agents: [echo], log: silentLogger});
    at.cleanup(() => worker.stop({drainMs: 0}));
    for (const sent of [first, second])
      await until(async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED');
    await send('u-1');
    expect(await at.redis().scard(store.keys.userOpen('u-1'))).toBeLessThanOrEqual(2);
  });
});
