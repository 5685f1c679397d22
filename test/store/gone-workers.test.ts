import {expect, test} from 'vitest';
import {forgetGoneWorkers} from '../../src/store/gone-workers.js';
import {claimLease, heartbeat, knownWorkers, type Lease} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore} from '../support/stores.js';

const lease = (workerId: string): Lease => ({workerId, token: `token-${workerId}`, ipAddress: ''});

async function join(store: Store, workerId: string): Promise<void> {
  await claimLease(store, lease(workerId));
  await heartbeat(store, lease(workerId), {agentTypes: ['echo'], join: true, nowMs: 1});
}

describeEachStore('workers that died', at => {
  test('are remembered for a day, and then taken out, but never one that lives', async () => {
    at.breaksRules('dead-workers');
    const store = at.open();
    const {keys} = store;
    await join(store, 'dead');
    await join(store, 'live');
    const redis = at.redis();
    await redis.del(keys.workerLease('dead'));

    expect(await forgetGoneWorkers(store)).toEqual([]);
    expect(await knownWorkers(store)).toEqual(['dead', 'live']);

    // It comes back, and dies again: its day begins anew.
    await redis.pexpire(keys.goneSince('dead'), 86_400_000);
    await join(store, 'dead');
    expect(await forgetGoneWorkers(store)).toEqual([]);
    await redis.del(keys.workerLease('dead'));
    expect(await forgetGoneWorkers(store)).toEqual([]);

    // A day later.
    await redis.pexpire(keys.goneSince('dead'), 86_400_000);
    expect(await forgetGoneWorkers(store)).toEqual(['dead']);
    expect(await knownWorkers(store)).toEqual(['live']);
    expect(await redis.smembers(keys.members('echo'))).toEqual(['live']);
    expect(await redis.exists(keys.declaredTypes('dead'))).toBe(0);

    await join(store, 'dead');
    expect((await redis.smembers(keys.members('echo'))).sort()).toEqual(['dead', 'live']);
  });
});
