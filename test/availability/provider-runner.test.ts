/** Whatever a provider does, a wakeup gets one decision. */
import {describe, expect, test} from 'vitest';
import {admit, CLOSED, settle, type CircuitState} from '../../src/availability/provider-circuit.js';
import {ProviderRunner, type ProviderRunOptions} from '../../src/availability/provider-runner.js';
import type {Provider, ProviderContext, ProviderDecision} from '../../src/availability/provider.js';
import {loggerTo} from '../../src/log.js';
import {decodeWakeupRequest, type WakeupRequest} from '../../src/protocol/wakeup.js';
import {until} from '../support/stores.js';

const request = (agentType = 'ocr') =>
  decodeWakeupRequest({execution_id: 'exec-1', target_agent_type: agentType, metadata: {deep: [1]}});
const open = () => new AbortController();
const context = (signal = open().signal): ProviderContext => ({signal, isOnline: async () => false});
const atOnce = {baseMs: 1, maxMs: 1};

function runner(wakeup: (...args: never[]) => unknown, options: ProviderRunOptions = {}) {
  const logged: string[] = [];
  const log = loggerTo((_level, message) => logged.push(message));
  const provider: Provider = {name: 'test', wakeup: wakeup as Provider['wakeup']};
  return {logged, run: new ProviderRunner(provider, {backoff: atOnce, log, ...options})};
}

describe('a provider', () => {
  test.each([
    [
      'throws at once',
      () => {
        throw new Error('boom');
      },
      /threw: boom/,
    ],
    [
      'rejects',
      async () => {
        throw new Error('boom');
      },
      /threw: boom/,
    ],
    [
      'rejects with no error',
      () => ({then: (_: never, no: (reason: string) => void) => no('boom')}),
      /threw: boom/,
    ],
    ['answers nothing', async () => undefined, /no decision/],
    ['answers no status', async () => ({}), /without a status/],
    ['answers an unknown status', async () => ({status: 'FINE'}), /"FINE", which does not exist/],
    ['falls back to nobody', async () => ({status: 'FALLBACK', agentType: '../x'}), /without an agent type/],
    [
      'answers what throws when it is read',
      async () => ({
        get status() {
          throw new Error('trap');
        },
      }),
      /trap/,
    ],
  ])('that %s has failed', async (_what, wakeup, reason) => {
    const {run} = runner(wakeup);
    expect(await run.wakeup(request(), context())).toEqual({
      status: 'FAILED',
      reason: expect.stringMatching(reason) as string,
    });
  });

  test('that says more than is understood is understood as far as it goes', async () => {
    const odd = {status: 'READY', workerIds: ['w-1', 7, '../w'], reason: 'x'.repeat(2000), extra: {}};
    const answer = await runner(async () => odd).run.wakeup(request(), context());
    expect(answer).toEqual({status: 'READY', workerIds: ['w-1'], reason: 'x'.repeat(1000)});
    const rejected = runner(async () => ({status: 'REJECTED', retryAfterMs: -1})).run;
    expect(await rejected.wakeup(request(), context())).toEqual({
      status: 'REJECTED',
      reason: 'no reason was given',
    });
  });

  test('that hangs is left alone when the caller has gone, and its answer then is ignored', async () => {
    const caller = open();
    let answer: (decision: ProviderDecision) => void = () => undefined;
    const {run, logged} = runner(() => {
      caller.abort();
      return new Promise(resolve => (answer = resolve));
    });
    expect(await run.wakeup(request(), context(caller.signal))).toEqual({
      status: 'FAILED',
      reason: 'the provider did not answer in time',
    });
    answer({status: 'READY'});
    await until(() => logged.includes('an answer came too late and was ignored'));
  });

  test('that was told to stop may still say why', async () => {
    const caller = open();
    const {run} = runner(async (_request: never, {signal}: ProviderContext) => {
      queueMicrotask(() => caller.abort());
      await new Promise(resolve => signal.addEventListener('abort', resolve));
      return {status: 'FAILED', reason: 'the disk was slow'};
    });
    expect(await run.wakeup(request(), context(caller.signal))).toMatchObject({reason: 'the disk was slow'});
  });

  test('gets a request of its own: what it does to it is not kept', async () => {
    const mine = request();
    const {run} = runner(async (given: WakeupRequest) => {
      Object.assign(given, {executionId: 'other'});
      (given.metadata['deep'] as number[]).push(2);
      return {status: 'READY'};
    });
    await run.wakeup(mine, context());
    expect(mine).toEqual(request());
  });
});

describe('attempts', () => {
  test('are made until one succeeds, each with a signal of its own', async () => {
    const signals = new Set<AbortSignal>();
    const outcomes = ['throw', 'hang', 'FAILED', 'READY'];
    const {run, logged} = runner(
      async (_request: never, {signal}: ProviderContext) => {
        signals.add(signal);
        const outcome = outcomes.shift();
        if (outcome === 'throw') throw new Error('boom');
        if (outcome === 'hang') return new Promise(() => undefined);
        return {status: outcome, reason: 'x'};
      },
      {attempts: 5, attemptTimeoutMs: 20},
    );
    expect(await run.wakeup(request(), context())).toMatchObject({status: 'READY'});
    expect(signals.size).toBe(4);
    expect(logged).toEqual(Array(3).fill('the provider failed and is asked again'));
  });

  test('end with their number, and with an answer that is no failure', async () => {
    const count = async (status: string, attempts?: number) => {
      let calls = 0;
      const {run} = runner(async () => ({status, reason: `call ${++calls}`}), {...(attempts && {attempts})});
      const answer = await run.wakeup(request(), context());
      return [calls, 'reason' in answer && answer.reason];
    };
    expect(await count('FAILED', 3)).toEqual([3, 'call 3']);
    expect(await count('FAILED')).toEqual([1, 'call 1']);
    for (const final of ['REJECTED', 'QUEUED', 'STARTING'])
      expect(await count(final, 3)).toEqual([1, 'call 1']);
  });

  test('end when the caller goes, also while one is waited for', async () => {
    const caller = open();
    let calls = 0;
    const {run} = runner(
      async () => {
        calls++;
        setTimeout(() => caller.abort(), 5);
        return {status: 'FAILED', reason: 'busy', retryAfterMs: 3_600_000};
      },
      {attempts: 5},
    );
    expect(await run.wakeup(request(), context(caller.signal))).toMatchObject({reason: 'busy'});
    expect(calls).toBe(1);
  });
});

describe('the circuit', () => {
  test('opens after failures in a row, is tried by one, and closes when that succeeds', () => {
    const options = {failures: 2, openMs: 100};
    let state: CircuitState = settle(CLOSED, 'failure', 0, options);
    state = settle(settle(state, 'success', 0, options), 'failure', 0, options);
    expect(admit(state, 0)).toMatchObject({admitted: true});
    state = settle(state, 'neutral', 0, options);
    state = settle(state, 'failure', 0, options);
    expect(admit(state, 60)).toEqual({admitted: false, retryAfterMs: 40});
    const first = admit(state, 100);
    expect(first).toEqual({admitted: true, next: {kind: 'half-open'}});
    expect(admit({kind: 'half-open'}, 100)).toMatchObject({admitted: false});
    expect(admit(settle({kind: 'half-open'}, 'failure', 100, options), 199)).toMatchObject({admitted: false});
    expect(admit(settle({kind: 'half-open'}, 'neutral', 100, options), 100)).toMatchObject({admitted: true});
    expect(settle({kind: 'half-open'}, 'success', 100, options)).toEqual(CLOSED);
    // Those that were under way when it opened.
    expect(settle(state, 'failure', 50, options)).toEqual(state);
  });

  test('keeps one agent type from a provider that fails for it, and no other', async () => {
    let calls = 0;
    let isWell = false;
    const {run, logged} = runner(
      async ({targetAgentType}: WakeupRequest) => {
        calls++;
        return isWell || targetAgentType === 'well' ? {status: 'READY'} : {status: 'FAILED', reason: 'x'};
      },
      {circuit: {failures: 3, openMs: 1000}},
    );
    for (let i = 0; i < 5; i++) await run.wakeup(request(), context());
    expect(calls).toBe(3);
    expect(logged).toEqual(['the circuit of a provider is open']);
    const refused = await run.wakeup(request(), context());
    expect(refused).toMatchObject({status: 'FAILED', reason: expect.stringMatching(/circuit/) as string});
    expect('retryAfterMs' in refused && refused.retryAfterMs).toBeGreaterThan(0);
    expect(await run.wakeup(request('well'), context())).toMatchObject({status: 'READY'});
    isWell = true;
    await until(async () => (await run.wakeup(request(), context())).status === 'READY');
  });

  test('is not opened by callers who had no time', async () => {
    let calls = 0;
    const {run} = runner(
      () => {
        calls++;
        return new Promise(() => undefined);
      },
      {circuit: {failures: 1}},
    );
    for (let i = 0; i < 3; i++) await run.wakeup(request(), context(AbortSignal.timeout(5)));
    expect(calls).toBe(3);
  });

  test('can be left out', async () => {
    let calls = 0;
    const {run} = runner(async () => ({status: 'FAILED', reason: String(++calls)}), {circuit: false});
    for (let i = 0; i < 20; i++) await run.wakeup(request(), context());
    expect(calls).toBe(20);
  });
});
