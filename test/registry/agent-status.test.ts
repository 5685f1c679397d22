import {describe, expect, test} from 'vitest';
import {ByError} from '../../src/errors.js';
import {AGENT_STATUSES, exhaustReasonOf, type AgentStatus} from '../../src/protocol/orchestration/status.js';
import {
  AgentStatusError,
  checkExhaustedRecovery,
  checkHeartbeatTimeout,
  DEFAULT_RECOVERY_MS,
  HEARTBEAT_TIMEOUT_MS,
  recordHeartbeat,
  transitionToBusy,
  transitionToExhausted,
  transitionToIdle,
  transitionToOffline,
  type AgentStatusState,
} from '../../src/registry/agent-status.js';

const NOW = 1_800_000_000_000;
const EXHAUSTION = {exhaustedAt: 11, recoveryAt: 22, exhaustReason: 'billing'} as const;
const NONE = {exhaustedAt: null, recoveryAt: null, exhaustReason: null} as const;

const agent = (status: AgentStatus, over: Partial<AgentStatusState> = {}): AgentStatusState => ({
  ...{agent: 'res-1', status, lastHeartbeatAt: 5},
  ...NONE,
  ...over,
});

/** What a transition throws. */
function refusal(act: () => unknown): AgentStatusError {
  try {
    act();
  } catch (error) {
    if (error instanceof AgentStatusError) return error;
    throw error;
  }
  throw new Error('it was allowed');
}

describe('transitionToBusy', () => {
  test('an idle agent gets busy, and that is a sign of life', () => {
    expect(transitionToBusy(agent('idle'), {slotType: 'work', now: NOW})).toEqual(
      agent('busy', {lastHeartbeatAt: NOW}),
    );
    expect(transitionToBusy(agent('idle'), {slotType: 'system', now: NOW}).status).toBe('busy');
  });

  test('on-call work makes it on call', () => {
    expect(transitionToBusy(agent('idle'), {slotType: 'on_call', now: NOW})).toEqual(
      agent('on_call', {lastHeartbeatAt: NOW}),
    );
  });

  test.each(AGENT_STATUSES.filter(status => status !== 'idle'))('from %s it is refused by name', status => {
    const error = refusal(() => transitionToBusy(agent(status), {slotType: 'work', now: NOW}));
    expect(error).toBeInstanceOf(ByError);
    expect(error.code).toBe('STATUS_TRANSITION_INVALID');
    expect(error.exitCode).toBe(11);
    expect(error.message).toBe(`"res-1" is ${status}, and can only become busy from idle.`);
    expect(error).toMatchObject({agent: 'res-1', actual: status, expected: ['idle']});
  });

  test('a refused on-call transition says what it would have been', () => {
    const error = refusal(() => transitionToBusy(agent('busy'), {slotType: 'on_call', now: NOW}));
    expect(error.message).toBe('"res-1" is busy, and can only become on_call from idle.');
  });
});

describe('transitionToIdle', () => {
  test.each(['busy', 'on_call', 'exhausted', 'offline'] as const)(
    'from %s it forgets the exhaustion, and is heard now',
    status => {
      expect(transitionToIdle(agent(status, EXHAUSTION), {now: NOW})).toEqual(
        agent('idle', {lastHeartbeatAt: NOW}),
      );
    },
  );

  test('somebody else who says so is no sign of life', () => {
    const idle = transitionToIdle(agent('exhausted', EXHAUSTION), {now: NOW, bumpHeartbeat: false});
    expect(idle).toEqual(agent('idle', {lastHeartbeatAt: 5}));
  });

  test('from idle it is refused', () => {
    const error = refusal(() => transitionToIdle(agent('idle'), {now: NOW}));
    expect(error.message).toBe(
      '"res-1" is idle, and can only become idle from busy, on_call, exhausted, offline.',
    );
  });
});

describe('transitionToOffline', () => {
  test.each(AGENT_STATUSES)('from %s, keeping what is known of an exhaustion', status => {
    const known = status === 'exhausted' ? EXHAUSTION : NONE;
    expect(transitionToOffline(agent(status, known))).toEqual(agent('offline', known));
  });

  test('who is offline stays the same', () => {
    const offline = agent('offline', EXHAUSTION);
    expect(transitionToOffline(offline)).toBe(offline);
  });
});

describe('transitionToExhausted', () => {
  test.each(AGENT_STATUSES)('from %s, and no heartbeat is made of it', status => {
    expect(
      transitionToExhausted(agent(status), {reason: 'rate_limit', recoveryAt: NOW + 1, now: NOW}),
    ).toEqual(agent('exhausted', {exhaustedAt: NOW, recoveryAt: NOW + 1, exhaustReason: 'rate_limit'}));
  });

  test('without an end it lasts five hours', () => {
    const {recoveryAt} = transitionToExhausted(agent('busy'), {reason: 'billing', now: NOW});
    expect(recoveryAt).toBe(NOW + 5 * 3_600_000);
    expect(DEFAULT_RECOVERY_MS).toBe(5 * 3_600_000);
  });

  test('a second time overwrites the first, even by a shorter one', () => {
    const first = transitionToExhausted(agent('busy'), {reason: 'billing', now: NOW});
    const second = transitionToExhausted(first, {reason: 'rate_limit', recoveryAt: NOW + 9, now: NOW + 3});
    expect(second).toMatchObject({exhaustedAt: NOW + 3, recoveryAt: NOW + 9, exhaustReason: 'rate_limit'});
  });
});

describe('checkHeartbeatTimeout', () => {
  test('exactly 120 s of silence is alive, one millisecond more is not', () => {
    const silent = agent('busy', {lastHeartbeatAt: NOW - HEARTBEAT_TIMEOUT_MS});
    expect(HEARTBEAT_TIMEOUT_MS).toBe(120_000);
    expect(checkHeartbeatTimeout(silent, NOW)).toEqual({state: silent, changed: false});
    const late = checkHeartbeatTimeout(silent, NOW + 1);
    expect(late).toEqual({state: {...silent, status: 'offline'}, changed: true});
  });

  test('who was never heard is offline at once', () => {
    const {state, changed} = checkHeartbeatTimeout(agent('idle', {lastHeartbeatAt: null}), NOW);
    expect([state.status, changed]).toEqual(['offline', true]);
  });

  test('an exhausted agent that falls silent is offline, and its exhaustion is still known', () => {
    const {state} = checkHeartbeatTimeout(agent('exhausted', {...EXHAUSTION, lastHeartbeatAt: 0}), NOW);
    expect(state).toEqual(agent('offline', {...EXHAUSTION, lastHeartbeatAt: 0}));
  });

  test('who is offline does not change', () => {
    const offline = agent('offline', {lastHeartbeatAt: null});
    expect(checkHeartbeatTimeout(offline, NOW)).toEqual({state: offline, changed: false});
  });
});

describe('checkExhaustedRecovery', () => {
  const exhausted = agent('exhausted', {...EXHAUSTION, recoveryAt: NOW});

  test('it is over when the time has come, not before', () => {
    expect(checkExhaustedRecovery(exhausted, NOW - 1)).toEqual({state: exhausted, changed: false});
    expect(checkExhaustedRecovery(exhausted, NOW)).toEqual({
      state: agent('idle', {lastHeartbeatAt: NOW}),
      changed: true,
    });
  });

  test('without an end it does not end by itself', () => {
    const endless = agent('exhausted', {...EXHAUSTION, recoveryAt: null});
    expect(checkExhaustedRecovery(endless, NOW).changed).toBe(false);
  });

  test.each(AGENT_STATUSES.filter(status => status !== 'exhausted'))('%s has nothing to end', status => {
    const state = agent(status, {recoveryAt: 1});
    expect(checkExhaustedRecovery(state, NOW)).toEqual({state, changed: false});
  });
});

describe('recordHeartbeat', () => {
  test('who was offline is idle, and its exhaustion is forgotten', () => {
    expect(recordHeartbeat(agent('offline', EXHAUSTION), NOW)).toEqual(agent('idle', {lastHeartbeatAt: NOW}));
  });

  test.each(AGENT_STATUSES.filter(status => status !== 'offline'))('%s stays what it is', status => {
    const known = agent(status, EXHAUSTION);
    expect(recordHeartbeat(known, NOW)).toEqual({...known, lastHeartbeatAt: NOW});
  });
});

test('no function changes the state it is given', () => {
  const state = Object.freeze(agent('offline', EXHAUSTION));
  recordHeartbeat(state, NOW);
  transitionToIdle(state, {now: NOW});
  transitionToExhausted(state, {reason: 'billing', now: NOW});
  expect(state).toEqual(agent('offline', EXHAUSTION));
});

describe('which error codes mean a used-up quota', () => {
  test.each(['RATE_LIMIT', 'rate_limited', 'Quota_Exceeded', '429', 429])('%s: a rate limit', code =>
    expect(exhaustReasonOf(code)).toBe('rate_limit'),
  );

  test.each(['BILLING', 'insufficient_quota', '402', 402])('%s: no money', code =>
    expect(exhaustReasonOf(code)).toBe('billing'),
  );

  test.each(['', 'RATE_LIMIT: slow down', 'error 429', 'TIMEOUT', 'constructor', null, undefined, {}, 4290])(
    'not %s',
    code => expect(exhaustReasonOf(code)).toBeUndefined(),
  );
});
