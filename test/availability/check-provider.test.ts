/** The contract a provider is held to: one that keeps it, and one for each way of breaking it. */
import {expect, test} from 'vitest';
import {checkProvider, type CheckProvider} from '../../src/availability/check-provider.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import type {Provider, ProviderContext, ProviderDecision} from '../../src/availability/provider.js';
import {sleep} from '../../src/clock.js';
import type {WakeupRequest} from '../../src/protocol/wakeup.js';

const good = async (
  {targetAgentType}: WakeupRequest,
  {isOnline, signal}: ProviderContext,
): Promise<ProviderDecision> => {
  if (targetAgentType !== 'ocr') return {status: 'REJECTED', reason: 'not mine'};
  while (!signal.aborted && !(await isOnline())) await sleep(5, signal);
  return signal.aborted ? {status: 'FAILED', reason: 'not in time'} : {status: 'READY'};
};

const findings = async (
  wakeup: (...args: never[]) => unknown,
  options: CheckProvider = {},
  more: object = {},
) => {
  const provider = {name: 'mine', wakeup, ...more} as unknown as Provider;
  const checks = await checkProvider(provider, {agentType: 'ocr', timeoutMs: 300, graceMs: 100, ...options});
  return checks.filter(({level}) => level !== 'ok').map(({level, name}) => `${level}: ${name}`);
};

test('one that keeps the contract passes all of it', async () => {
  expect(await findings(good)).toEqual([]);
  let closes = 0;
  const close = async () => {
    closes++;
  };
  expect(await findings(good, {}, {close})).toEqual([]);
  expect(closes).toBe(2);
  const checks = await checkProvider(mockProvider({mode: {kind: 'queued'}}), {agentType: 'ocr'});
  expect(checks.filter(({level}) => level === 'problem')).toEqual([]);
});

test('without an agent type it starts, less can be said', async () => {
  const checks = await checkProvider({name: 'mine', wakeup: good}, {timeoutMs: 300, graceMs: 100});
  expect(checks.find(({name}) => name === 'answers')).toMatchObject({
    level: 'warning',
    fix: expect.stringContaining('--agent') as string,
  });
});

const hang = () => new Promise(() => undefined);
let calls = 0;
test.each<[string, (...args: never[]) => unknown, string]>([
  ['throws', () => Promise.reject(new Error('no')), 'problem: answers'],
  ['never answers', hang, 'problem: answers'],
  ['does not start what it should', async () => ({status: 'FAILED', reason: 'broken'}), 'problem: answers'],
  [
    'changes its mind',
    async () => ({status: calls++ % 2 ? 'READY' : 'REJECTED', reason: 'x'}),
    'problem: repeats',
  ],
  [
    'does not know when to stop',
    (request: WakeupRequest, context: ProviderContext) =>
      good(request, {...context, signal: new AbortController().signal}),
    'problem: stops',
  ],
  [
    'throws for types it does not know',
    (request: WakeupRequest, context: ProviderContext) =>
      request.targetAgentType === 'ocr' ? good(request, context) : Promise.reject(new Error('who?')),
    'problem: unknown types',
  ],
  ['is READY for anybody', async () => ({status: 'READY'}), 'warning: unknown types'],
  [
    'needs a user',
    (request: WakeupRequest, context: ProviderContext) => {
      if (request.userCode === '') throw new Error('no user');
      return good(request, context);
    },
    'problem: odd requests',
  ],
  ['answers what does not exist', async () => ({status: 'DONE'}), 'problem: decisions'],
  ['refuses without a reason', async () => ({status: 'REJECTED'}), 'problem: decisions'],
  [
    'answers worker ids that are none',
    async () => ({status: 'READY', workerIds: 'w-1'}),
    'problem: decisions',
  ],
  [
    'changes the request',
    async (request: WakeupRequest, context: ProviderContext) => {
      Object.assign(request.metadata, {seen: true});
      return good(request, context);
    },
    'problem: requests',
  ],
  [
    'repeats what the command says',
    async ({commandPayload}: WakeupRequest) => ({status: 'QUEUED', reason: JSON.stringify(commandPayload)}),
    'problem: secrets',
  ],
])('is found: one that %s', async (_what, wakeup, finding) => {
  expect(await findings(wakeup)).toContain(finding);
});

test('is found: one that says a password, cannot be closed, or leaves errors behind', async () => {
  expect(await findings(good, {printed: () => 'url redis://:hunter22@x', secrets: ['hunter22']})).toEqual([
    'problem: secrets',
  ]);
  expect(await findings(good, {}, {close: hang})).toEqual(['problem: closes']);
  let closed = false;
  const once = () => (closed ? Promise.reject(new Error('twice')) : Promise.resolve((closed = true)));
  expect(await findings(good, {}, {close: once})).toEqual(['problem: closes']);
  expect(await findings(good, {strayErrors: () => ['lost']})).toEqual(['problem: stray errors']);
});
