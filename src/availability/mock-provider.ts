/** A provider that starts nothing, or one command, and fails on demand: for development and for tests of callers. */
import {sleep} from '../clock.js';
import {ByError} from '../errors.js';
import type {WakeupRequest} from '../protocol/wakeup.js';
import type {Provider, ProviderDecision} from './provider.js';

export type MockMode =
  | {readonly kind: 'ready'}
  | {readonly kind: 'reject'}
  | {readonly kind: 'fail'}
  | {readonly kind: 'queued'}
  /** Never answers. */
  | {readonly kind: 'timeout'}
  | {readonly kind: 'fallback'; readonly agentType: string}
  /** Fails with this probability, else READY. */
  | {readonly kind: 'flaky'; readonly probability: number};

/** @throws {ByError} USAGE, naming the modes. */
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
    hint: 'Modes: ready, reject, fail, queued, timeout, fallback:AGENT_TYPE, flaky:0.3.',
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
  readonly random?: () => number;
}

export function mockProvider(options: MockOptions): Provider {
  const {
    mode,
    perType = new Map<string, MockMode>(),
    delayMs = 0,
    jitterMs = 0,
    start,
    random = Math.random,
  } = options;
  return {
    name: 'mock',
    async wakeup(request, context): Promise<ProviderDecision> {
      const chosen = perType.get(request.targetAgentType) ?? mode;
      await sleep(delayMs + Math.floor(random() * jitterMs), context.signal);
      switch (chosen.kind) {
        case 'ready':
          return start ? start.wakeup(request, context) : {status: 'READY'};
        case 'reject':
          return {status: 'REJECTED', reason: 'mock: reject'};
        case 'fail':
          return {status: 'FAILED', reason: 'mock: fail'};
        case 'queued':
          return {status: 'QUEUED', reason: 'mock: queued'};
        case 'fallback':
          return {status: 'FALLBACK', agentType: chosen.agentType};
        case 'flaky':
          if (random() < chosen.probability) return {status: 'FAILED', reason: 'mock: flaky'};
          return start ? start.wakeup(request, context) : {status: 'READY'};
        case 'timeout':
          await never(context.signal);
          return {status: 'FAILED', reason: 'mock: timeout'};
      }
    },
    ...(start?.close ? {close: () => start.close?.() ?? Promise.resolve()} : {}),
  };
}

function never(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), {once: true});
  });
}

/** What a request asks for, in a few words. */
export const describeRequest = (request: WakeupRequest): string =>
  `${request.targetAgentType} ${request.executionId} ${request.policy.toLowerCase().replaceAll('_', '-')} ${request.timeoutMs}ms`;
