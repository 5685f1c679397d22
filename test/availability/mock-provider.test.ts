/** The provider that starts nothing and fails on demand. */
import {expect, test} from 'vitest';
import {
  mockProvider,
  parseMockMode,
  type MockMode,
  type MockOptions,
} from '../../src/availability/mock-provider.js';
import {decodeWakeupRequest} from '../../src/protocol/wakeup.js';

const ask = (options: MockOptions) => {
  const provider = mockProvider(options);
  return async (type = 'ocr', signal = new AbortController().signal) =>
    provider.wakeup(decodeWakeupRequest({execution_id: 'e', target_agent_type: type}), {
      signal,
      isOnline: async () => false,
    });
};

test('a script is taken step by step, by each agent type for itself, and its last step stays', async () => {
  const mode: MockMode = {
    kind: 'script',
    steps: [
      {mode: {kind: 'ready'}},
      {mode: {kind: 'reject'}, agentType: 'ocr'},
      {mode: {kind: 'queued'}, agentType: 'other'},
      {mode: {kind: 'fail'}},
    ],
  };
  const wake = ask({mode});
  const said: string[] = [];
  for (const type of ['ocr', 'other', 'ocr', 'third', 'ocr', 'other', 'ocr', 'third', 'third'])
    said.push(`${type} ${(await wake(type)).status}`);
  expect(said).toEqual([
    ...[
      'ocr READY',
      'other READY',
      'ocr REJECTED',
      'third READY',
      'ocr FAILED',
      'other QUEUED',
      'ocr FAILED',
    ],
    ...['third FAILED', 'third FAILED'],
  ]);
});

test('an asked person decides, unless the agent type has a mode of its own', async () => {
  const wake = ask({
    mode: {kind: 'ask'},
    perType: new Map([['other', {kind: 'queued'}]]),
    ask: async ({targetAgentType}) => parseMockMode(`fallback:${targetAgentType}2`),
  });
  expect(await wake()).toEqual({status: 'FALLBACK', agentType: 'ocr2'});
  expect(await wake('other')).toMatchObject({status: 'QUEUED'});
  expect(await ask({mode: {kind: 'ask'}})()).toMatchObject({status: 'FAILED'});
});

test('flaky fails as often as it says, and the same again with the same numbers', async () => {
  const numbers = [0.1, 0.5, 0.29, 0.3];
  const random = () => numbers.shift() ?? 1;
  const wake = ask({mode: {kind: 'flaky', probability: 0.3}, random, jitterMs: 0});
  // Each wakeup draws once for the jitter, once for itself.
  numbers.splice(0, numbers.length, 0, 0.1, 0, 0.5, 0, 0.29, 0, 0.3);
  const said = [];
  for (let i = 0; i < 4; i++) said.push((await wake()).status);
  expect(said).toEqual(['FAILED', 'READY', 'FAILED', 'READY']);
});

test('says whom it spawned', async () => {
  const start = {name: 's', wakeup: async () => ({status: 'READY', workerIds: ['worker-1']}) as const};
  expect(await ask({mode: {kind: 'ready'}, start})()).toEqual({
    ...{status: 'READY', workerIds: ['worker-1']},
    reason: 'spawned worker-1',
  });
});

test('timeout ends with the caller', async () => {
  const gone = AbortSignal.timeout(5);
  expect(await ask({mode: {kind: 'timeout'}})('ocr', gone)).toMatchObject({status: 'FAILED'});
});
