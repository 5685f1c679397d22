import {describe, expect, test} from 'vitest';
import {extractLeaseExecutionID} from '../../../src/protocol/orchestration/attempt.js';
import {newOrchestrationId, isOrchestrationId} from '../../../src/protocol/orchestration/ids.js';
import {
  defaultRunExecutionPolicy,
  executionClassKey,
  materialisedPolicy,
  normalizeRunExecutionPolicy,
  normalizeRunRetryPolicy,
  retryDelayMs,
  retryPolicyOrDefault,
  RunExecutionPolicy,
  stricterPolicy,
  validateRunExecutionPolicy,
} from '../../../src/protocol/orchestration/policy.js';
import {readRecord, writeRecord} from '../../../src/protocol/orchestration/record.js';
import {
  ATTEMPT_MOVES,
  isFinalAttempt,
  isFinalRun,
  mayMove,
  RUN_MOVES,
  RUN_STATES,
  TASK_MOVES,
  type RunState,
} from '../../../src/protocol/orchestration/states.js';
import fc from '../../support/properties.js';

describe('ids', () => {
  test('rise within one millisecond and when the clock is put back, and say what they name', () => {
    const now = Date.now() + 1000;
    const ids = Array.from({length: 1000}, (_, i) => newOrchestrationId('task', now - i));
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(1000);
    expect(ids.every(id => isOrchestrationId('task', id) && id.length === 31)).toBe(true);
    expect(isOrchestrationId('run', ids[0]!)).toBe(false);
  });
});

describe('policies', () => {
  test('blanks are filled in, and what is wrong is said by name', () => {
    expect(normalizeRunExecutionPolicy(null)).toEqual(defaultRunExecutionPolicy());
    expect(normalizeRunRetryPolicy({maxAttempts: 0, delayMs: -5})).toEqual({maxAttempts: 2, delayMs: 0});
    expect(normalizeRunRetryPolicy({maxAttempts: 99, delayMs: 1e12})).toEqual({
      maxAttempts: 20,
      delayMs: 86_400_000,
    });
    expect(retryPolicyOrDefault(null)).toEqual({maxAttempts: 2, delayMs: 0});
    for (const [wrong, field] of [
      [{host: 'gateway'}, 'host'],
      [{resources: {cpuMillicores: 0}}, 'resources.cpuMillicores'],
      [{resources: {cores: 2}}, 'resources'],
      [{retry: {retryOn: ['never']}}, 'retry.retryOn.0'],
    ] as const)
      expect(() => validateRunExecutionPolicy(normalizeRunExecutionPolicy(wrong as never))).toThrow(
        expect.objectContaining({
          code: 'POLICY_INVALID',
          message: expect.stringContaining(field) as string,
        }) as Error,
      );
  });

  test('the stricter of two wins, whichever way round', () => {
    const strict = normalizeRunExecutionPolicy({
      security: 'deny',
      networkEnabled: false,
      resources: {cpuMillicores: 500},
    });
    const loose = normalizeRunExecutionPolicy({
      security: 'full',
      ask: 'always',
      workspaceAccess: 'ro',
      resources: {cpuMillicores: 900},
    });
    for (const [a, b] of [
      [strict, loose],
      [loose, strict],
    ] as const)
      expect(stricterPolicy(a, b)).toMatchObject({
        ...{security: 'deny', ask: 'always', workspaceAccess: 'ro', networkEnabled: false},
        resources: {cpuMillicores: 500},
      });
  });

  test('questions are allowed where nobody said otherwise, and refused for good where an agent refuses them', () => {
    const of = (interactive?: boolean) => normalizeRunExecutionPolicy({interactive});
    expect([undefined, true, false].map(said => materialisedPolicy(of(said)).interactive)).toEqual([
      ...[true, true, false],
    ]);
    expect(of()).not.toHaveProperty('interactive');
    expect(stricterPolicy(of(false), of(true)).interactive).toBe(false);
    expect(stricterPolicy(of(true), of()).interactive).toBeUndefined();
    expect(stricterPolicy(of(), of(false)).interactive).toBe(false);
  });

  test('runs share a pool by what matters to it, not by their tries', () => {
    const key = (over: object, agent = 'a', lane: string | null = null) =>
      executionClassKey('w', agent, lane, normalizeRunExecutionPolicy(over));
    expect(key({})).toMatch(/^execclass_[0-9a-f]{32}$/);
    expect(key({retry: {maxAttempts: 7}})).toBe(key({}));
    expect(
      new Set([
        key({}),
        key({ask: 'always'}),
        key({}, 'b'),
        key({}, 'a', 'cron'),
        key({resources: {gpuCount: 1}}),
      ]).size,
    ).toBe(5);
  });

  test('waits double where that is asked for, up to their bound', () => {
    expect(
      [1, 2, 3, 4].map(tries =>
        retryDelayMs({maxAttempts: 9, delayMs: 100, backoff: 'exponential', maxDelayMs: 500}, tries),
      ),
    ).toEqual([100, 200, 400, 500]);
  });
});

test('a record keeps what a newer program added, and speaks snake_case', () => {
  const text = writeRecord(RunExecutionPolicy, defaultRunExecutionPolicy());
  expect(JSON.parse(text)).toMatchObject({runtime_type: 'gvisor', retry: {max_attempts: 2, delay_ms: 0}});
  const newer = JSON.stringify({...(JSON.parse(text) as object), tomorrow_field: {a: 1}});
  const read = readRecord(RunExecutionPolicy, newer)!;
  expect(JSON.parse(writeRecord(RunExecutionPolicy, {...read, ask: 'always'}))).toMatchObject({
    ...{ask: 'always', tomorrow_field: {a: 1}},
  });
  expect(readRecord(RunExecutionPolicy, '{"host":"moon"}')).toBeUndefined();
  expect(readRecord(RunExecutionPolicy, 'no json')).toBeUndefined();
});

test('the execution in the owner of a lease stands behind the last colon', () => {
  expect(['w:1:exec-2', '?:exec-1', 'none', 'w:'].map(extractLeaseExecutionID)).toEqual([
    'exec-2',
    'exec-1',
    '',
    '',
  ]);
});

test('nothing follows an end, by whatever way it was reached', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...RUN_STATES), {maxLength: 12}), wanted => {
      let at: RunState = RUN_STATES[0];
      let ended: RunState | undefined;
      for (const next of wanted) {
        if (mayMove(RUN_MOVES, at, next)) at = next;
        if (ended !== undefined && at !== ended) return false;
        if (isFinalRun(at)) ended = at;
      }
      return true;
    }),
  );
  expect(
    Object.entries(ATTEMPT_MOVES).every(
      ([state, next]) => isFinalAttempt(state as never) === (next.length === 0),
    ),
  ).toBe(true);
  expect(TASK_MOVES.dropped).toEqual([]);
});
