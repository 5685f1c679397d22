/** Circuits, quotas and fallbacks: what operators write, what managers write by themselves, and what senders make of it. */
import {expect, test} from 'vitest';
import {judgeWakeup, opensForMs} from '../../src/availability/circuits.js';
import {startManager} from '../../src/availability/manager.js';
import {GatewayClient} from '../../src/client/client.js';
import type {SendProgress} from '../../src/availability/send.js';
import {silentLogger} from '../../src/log.js';
import {
  clearCircuit,
  clearFallback,
  clearQuota,
  listAdmission,
  readCircuit,
  readFallback,
  readQuota,
  setCircuit,
  setFallback,
  setQuota,
} from '../../src/store/admission.js';
import {claimLease, heartbeat} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until} from '../support/stores.js';

async function bringOnline(store: Store, agentType: string) {
  const lease = {workerId: `w-${agentType}`, token: 't', ipAddress: '', ttlMs: 25_000};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes: [agentType], join: true, nowMs: 1});
}

test('a circuit opens after so many failures in a row, each time for twice as long, up to a limit', () => {
  const rules = {failures: 3, openMs: 1000, maxOpenMs: 3000};
  expect([1, 2, 3, 4, 5, 1000].map(count => opensForMs(count, rules))).toEqual([
    ...[undefined, undefined, 1000, 2000, 3000, 3000],
  ]);
});

describeEachStore('admission', at => {
  test('is set, read, listed and cleared; senders are refused with the reason and the time', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    await bringOnline(store, 'ocr');
    await setCircuit(store, 'ocr', {reason: 'maintenance', forMs: 60_000});
    await setQuota(store, 'u-1', {reason: 'monthly cap'});
    await setFallback(store, 'away', {selectedAgentType: 'ocr'});
    expect(await readCircuit(store, 'ocr')).toMatchObject({
      open: true,
      reason: 'maintenance',
      source: 'manual',
    });
    expect((await readCircuit(store, 'ocr'))?.expiresInMs).toBeGreaterThan(0);
    expect(await readQuota(store, 'u-1')).toMatchObject({available: false, expiresInMs: null});
    expect(await readFallback(store, 'away')).toMatchObject({selectedAgentType: 'ocr', readable: true});
    const all = await listAdmission(store);
    expect(all.circuits.map(one => one.agentType)).toEqual(['ocr']);
    expect(all.quotas.map(one => one.userCode)).toEqual(['u-1']);
    expect(all.fallbacks.map(one => one.agentType)).toEqual(['away']);

    await expect(client.send({agentType: 'ocr', content: 'x'})).rejects.toMatchObject({
      code: 'AGENT_CIRCUIT_OPEN',
      details: {retryAfterMs: expect.any(Number) as number},
    });
    expect(await clearCircuit(store, 'ocr')).toBe(true);
    expect(await clearCircuit(store, 'ocr')).toBe(false);
    await expect(client.send({agentType: 'ocr', content: 'x', userCode: 'u-1'})).rejects.toMatchObject({
      code: 'TENANT_QUOTA_EXCEEDED',
      details: {retryAfterMs: null},
    });
    await clearQuota(store, 'u-1');
    expect(await client.send({agentType: 'away', content: 'x', userCode: 'u-1'})).toMatchObject({
      status: 'FALLBACK_TO_OTHER_AGENT_TYPE',
      selectedAgentType: 'ocr',
    });
    await clearFallback(store, 'away');
    await expect(client.send({agentType: 'away', content: 'x'})).rejects.toMatchObject({
      code: 'AGENT_TYPE_UNAVAILABLE',
    });
    expect(await listAdmission(store)).toEqual({circuits: [], quotas: [], fallbacks: []});
  });

  test('that can not be read is told, and ignored or refused as the operator chose', async () => {
    const store = at.open();
    await bringOnline(store, 'ocr');
    await at.redis().set(store.keys.circuit('ocr'), 'OPEN');
    const told: SendProgress[] = [];
    const request = {agentType: 'ocr', content: 'x', onProgress: (one: SendProgress) => void told.push(one)};
    expect(await new GatewayClient(store).send(request)).toMatchObject({status: 'DELIVER_NOW'});
    expect(told).toEqual([{kind: 'unreadable-record', record: 'circuit', of: 'ocr'}]);
    const strict = new GatewayClient({...store, unreadableRecords: 'refuse'});
    await expect(strict.send(request)).rejects.toMatchObject({code: 'AGENT_CIRCUIT_OPEN'});
    expect((await listAdmission(store)).circuits).toMatchObject([{open: false, readable: false}]);
  });

  test('a fallback that is offline, or names no agent type, takes nothing', async () => {
    const store = at.open();
    const client = new GatewayClient(store);
    for (const text of ['{"selected_agent_type":"alt"}', '{"selected_agent_type":"../x"}', '{}', '"alt"']) {
      await at.redis().set(store.keys.fallback('away'), text);
      await expect(client.send({agentType: 'away', content: 'x'})).rejects.toMatchObject({
        code: 'AGENT_TYPE_UNAVAILABLE',
      });
    }
  });

  test('of a refused route is read in one round trip, where one server holds everything', async () => {
    if (at.kind === 'cluster') return;
    const store = at.open();
    await setFallback(store, 'away', {selectedAgentType: 'ocr'});
    await bringOnline(store, 'ocr');
    let trips = 0;
    const counted = Object.create(store.commands) as Store['commands'];
    counted.run = (issue, options) => {
      trips++;
      return store.commands.run(issue, options);
    };
    const sent = await new GatewayClient({...store, commands: counted}).send({
      agentType: 'away',
      content: 'x',
    });
    expect(sent.status).toBe('FALLBACK_TO_OTHER_AGENT_TYPE');
    // Looking at everything, and writing.
    expect(trips).toBe(2);
  });
});

describeEachStore('a circuit of a manager', at => {
  const failed = {targetAgentType: 'ocr', status: 'FAILED', reason: 'no node'};
  const rules = {failures: 2, openMs: 60_000};

  test('opens after failures in a row, for a time, and closes when a wakeup succeeds', async () => {
    const store = at.open();
    expect(await judgeWakeup(store, failed, rules)).toBeUndefined();
    expect(await judgeWakeup(store, {...failed, status: 'REJECTED'}, rules)).toBeUndefined();
    expect(await judgeWakeup(store, failed, rules)).toBe(60_000);
    expect(await readCircuit(store, 'ocr')).toMatchObject({open: true, source: 'auto'});
    expect((await readCircuit(store, 'ocr'))?.reason).toContain('no node');
    await judgeWakeup(store, {...failed, status: 'READY'}, rules);
    expect(await readCircuit(store, 'ocr')).toBeUndefined();
    expect(await judgeWakeup(store, failed, rules)).toBeUndefined();
  });

  test('is opened again, for longer, by the first failure after its time', async () => {
    const store = at.open();
    await judgeWakeup(store, failed, rules);
    await judgeWakeup(store, failed, rules);
    await at.redis().del(store.keys.circuit('ocr'));
    expect(await judgeWakeup(store, failed, rules)).toBe(120_000);
  });

  test('never takes the place of what an operator wrote', async () => {
    const store = at.open();
    await setCircuit(store, 'ocr', {open: false, reason: 'I look after it'});
    await judgeWakeup(store, failed, rules);
    expect(await judgeWakeup(store, failed, rules)).toBeUndefined();
    await setCircuit(store, 'ocr', {reason: 'stopped by hand'});
    await judgeWakeup(store, {...failed, status: 'READY'}, rules);
    expect(await readCircuit(store, 'ocr')).toMatchObject({reason: 'stopped by hand'});
  });

  test('stops senders, once its manager saw enough', async () => {
    const store = at.open();
    const provider = {name: 'broken', wakeup: () => Promise.reject(new Error('no node'))};
    const manager = await startManager(store, {provider, log: silentLogger, circuit: rules});
    at.cleanup(() => manager.stop());
    const client = new GatewayClient(store);
    const request = {agentType: 'ocr', content: 'x', policy: 'WAKE_AND_WAIT'} as const;
    await expect(client.send(request)).rejects.toThrow(/no node/);
    await expect(client.send(request)).rejects.toThrow(/no node/);
    await until(async () => (await readCircuit(store, 'ocr'))?.open === true);
    await expect(client.send({...request, policy: 'SEND_ANYWAY'})).rejects.toMatchObject({
      code: 'AGENT_CIRCUIT_OPEN',
    });
  });
});
