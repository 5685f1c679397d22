/** A provider that starts nothing, or one command, and fails on demand: for development and for tests of callers. */
import {sleep} from '../clock.js';
import {ByError} from '../errors.js';
import type {WakeupRequest} from '../protocol/wakeup.js';
import type {Provider, ProviderContext, ProviderDecision} from './provider.js';

export type MockMode =
  | {readonly kind: 'ready'}
  | {readonly kind: 'reject'}
  | {readonly kind: 'fail'}
  | {readonly kind: 'queued'}
  /** Never answers. */
  | {readonly kind: 'timeout'}
  | {readonly kind: 'fallback'; readonly agentType: string}
  /** Fails with this probability, else READY. */
  | {readonly kind: 'flaky'; readonly probability: number}
  /** Each agent type takes the steps that are for it one after the other; the last one stays. */
  | {readonly kind: 'script'; readonly steps: readonly MockStep[]}
  /** Whatever {@link MockOptions.ask} says. */
  | {readonly kind: 'ask'};

export interface MockStep {
  /** Default: every agent type. */
  readonly agentType?: string;
  readonly mode: MockMode;
  /** In place of the delay of the provider, in milliseconds. */
  readonly delayMs?: number;
}

export const MOCK_MODES = 'ready, reject, fail, queued, timeout, fallback:AGENT_TYPE, flaky:0.3';

/**
 * The modes that are one word. A script is read by its caller.
 * @throws {ByError} USAGE, naming the modes.
 */
export function parseMockMode(text: string): MockMode {
  const [kind = '', argument = ''] = text.split(':', 2);
  switch (kind) {
    case 'ready':
    case 'reject':
    case 'fail':
    case 'queued':
    case 'timeout':
      if (argument === '') return {kind};
      break;
    case 'fallback':
      if (argument !== '') return {kind, agentType: argument};
      break;
    case 'flaky': {
      const probability = Number(argument);
      if (argument !== '' && probability >= 0 && probability <= 1) return {kind, probability};
      break;
    }
  }
  throw new ByError('USAGE', `"${text}" is no mode of the mock provider.`, {
    hint: `Modes: ${MOCK_MODES}.`,
  });
}

export interface MockOptions {
  readonly mode: MockMode;
  /** Modes of single agent types. */
  readonly perType?: ReadonlyMap<string, MockMode>;
  /** Milliseconds until it answers. Default 0. */
  readonly delayMs?: number;
  /** Up to this many more, at random. Default 0. */
  readonly jitterMs?: number;
  /** Really starts a worker before READY is said. */
  readonly start?: Provider;
  /** Decides for the mode `ask`; undefined: nobody did, and the wakeup is FAILED. */
  readonly ask?: (request: WakeupRequest, signal: AbortSignal) => Promise<MockMode | undefined>;
  readonly random?: () => number;
}

export function mockProvider(options: MockOptions): Provider {
  const {mode, perType = new Map<string, MockMode>(), start, ask, random = Math.random} = options;
  const {delayMs = 0, jitterMs = 0} = options;
  const nextStep = stepper();
  return {
    name: 'mock',
    async wakeup(request, context): Promise<ProviderDecision> {
      const chosen = nextStep(perType.get(request.targetAgentType) ?? mode, request.targetAgentType);
      await sleep((chosen.delayMs ?? delayMs) + Math.floor(random() * jitterMs), context.signal);
      const asked = chosen.mode.kind === 'ask' ? await ask?.(request, context.signal) : chosen.mode;
      return asked === undefined
        ? {status: 'FAILED', reason: 'mock: nobody decided'}
        : answer(asked, request, context, random, start);
    },
    ...(start?.close ? {close: () => start.close?.() ?? Promise.resolve()} : {}),
  };
}

/** Takes the next step of a script, for each agent type by itself: what one type is asked does not change another's. */
function stepper(): (mode: MockMode, agentType: string) => MockStep {
  const taken = new Map<string, number>();
  return (mode, agentType) => {
    if (mode.kind !== 'script') return {mode};
    const steps = mode.steps.filter(step => step.agentType === undefined || step.agentType === agentType);
    const count = taken.get(agentType) ?? 0;
    taken.set(agentType, count + 1);
    return steps[Math.min(count, steps.length - 1)] ?? {mode: {kind: 'ready'}};
  };
}

async function answer(
  mode: MockMode,
  request: WakeupRequest,
  context: ProviderContext,
  random: () => number,
  start: Provider | undefined,
): Promise<ProviderDecision> {
  switch (mode.kind) {
    case 'ready':
      return ready(request, context, start);
    case 'reject':
      return {status: 'REJECTED', reason: 'mock: reject'};
    case 'fail':
      return {status: 'FAILED', reason: 'mock: fail'};
    case 'queued':
      return {status: 'QUEUED', reason: 'mock: queued'};
    case 'fallback':
      return {status: 'FALLBACK', agentType: mode.agentType};
    case 'flaky':
      if (random() < mode.probability) return {status: 'FAILED', reason: 'mock: flaky'};
      return ready(request, context, start);
    case 'timeout':
      await never(context.signal);
      return {status: 'FAILED', reason: 'mock: timeout'};
    case 'script':
    case 'ask':
      return {status: 'FAILED', reason: `mock: ${mode.kind} inside of another mode`};
  }
}

async function ready(
  request: WakeupRequest,
  context: ProviderContext,
  start: Provider | undefined,
): Promise<ProviderDecision> {
  if (start === undefined) return {status: 'READY'};
  const started = await start.wakeup(request, context);
  if (started.status !== 'READY') return started;
  return {...started, reason: ['spawned', ...(started.workerIds ?? [])].join(' ')};
}

function never(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), {once: true});
  });
}
