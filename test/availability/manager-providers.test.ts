/** What a manager makes of its provider's behaviour, on every store. */
import {expect, test} from 'vitest';
import {startManager, type ManagerOptions} from '../../src/availability/manager.js';
import type {ProviderDecision} from '../../src/availability/provider.js';
import {silentLogger} from '../../src/log.js';
import {decodeWakeupRequest, type WakeupDecision} from '../../src/protocol/wakeup.js';
import {joinWakeup, requestWakeup} from '../../src/store/control-plane.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until} from '../support/stores.js';

const request = (executionId: string, fields = {}) =>
  decodeWakeupRequest({
    execution_id: executionId,
    target_agent_type: 'ocr',
    policy: 'WAKE_AND_WAIT',
    ...fields,
  });

describeEachStore('a manager and its provider', at => {
  interface Told {
    readonly decision: WakeupDecision;
    readonly deadLetterId: string | undefined;
  }

  async function manage(
    store: Store,
    answers: readonly (() => Promise<ProviderDecision>)[],
    options: Partial<ManagerOptions> = {},
  ): Promise<{told: Told[]; calls: () => number}> {
    const told: Told[] = [];
    let calls = 0;
    const provider = {name: 'test', wakeup: () => answers[Math.min(calls++, answers.length - 1)]!()};
    const manager = await startManager(store, {
      ...{provider, log: silentLogger},
      onWakeup: (_request, decision, _ms, _told, deadLetterId) => told.push({decision, deadLetterId}),
      ...options,
    });
    at.cleanup(() => manager.stop());
    return {told, calls: () => calls};
  }

  const boom = () => Promise.reject(new Error('boom'));
  const no = () => Promise.resolve({status: 'REJECTED', reason: 'not today'} as const);

  test('asks again while it fails, and tells one decision', async () => {
    const store = at.open();
    const {told, calls} = await manage(store, [boom, () => new Promise(() => undefined), no], {
      providerRun: {attempts: 3, attemptTimeoutMs: 50, backoff: {baseMs: 1, maxMs: 1}},
    });
    await requestWakeup(store, request('exec-1'));
    await until(() => told.length === 1);
    expect(told).toEqual([
      {
        decision: expect.objectContaining({status: 'REJECTED', reason: 'not today'}) as object,
        deadLetterId: undefined,
      },
    ]);
    expect(calls()).toBe(3);
  });

  test('a wakeup that failed for good says which dead letter it became', async () => {
    const store = at.open();
    const {told} = await manage(store, [boom]);
    await requestWakeup(store, request('exec-1'));
    await until(() => told.length === 1);
    expect(told[0]?.decision).toMatchObject({status: 'FAILED', reason: 'the provider threw: boom'});
    expect(told[0]?.deadLetterId).toMatch(/^\d+-\d+$/);
  });

  test('others join a wakeup for as long as it is said', async () => {
    const store = at.open();
    const join = async (id: string, dedupeTtlMs = 30_000) =>
      (await joinWakeup(store, request(id), {timeoutMs: 60_000, dedupeTtlMs})).role;
    expect(await join('exec-1', 3000)).toBe('lead');
    expect(await join('exec-2')).toBe('join');
    await until(async () => (await join('exec-3')) === 'lead');
    expect(await join('exec-4')).toBe('join');
  });
});
