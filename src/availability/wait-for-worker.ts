/** What providers do that start something elsewhere: wait for its worker, and not longer than the caller does. */
import {sleep} from '../clock.js';
import type {WakeupRequest} from '../protocol/wakeup.js';
import type {ProviderContext, ProviderDecision} from './provider.js';

export interface WaitForWorker {
  /** Milliseconds after which STARTING is the answer. */
  readonly waitMs: number;
  /** Says in words that what was started has ended, or undefined. Asked every half second. */
  readonly hasEnded?: () => Promise<string | undefined>;
  /** The reason that goes with STARTING. */
  readonly starting: string;
}

const POLL_MS = 50;
const LOOK_MS = 500;
/** Longest wait for a worker: the callers look for it themselves. */
const MAX_WAIT_MS = 60_000;

/** A little less than the caller has, so that it hears STARTING in time and goes on waiting. */
export const waitFor = ({timeoutMs}: WakeupRequest): number => Math.min(MAX_WAIT_MS, timeoutMs * 0.9);

/** READY once a worker is online, FAILED if what was started has ended, STARTING if neither happens in time. */
export async function untilOnline(
  {isOnline, onlineWorkers, signal}: ProviderContext,
  {waitMs, hasEnded, starting}: WaitForWorker,
): Promise<ProviderDecision> {
  const endsAt = performance.now() + waitMs;
  let lookedAt = performance.now();
  for (;;) {
    if (await isOnline()) return {status: 'READY', workerIds: (await onlineWorkers?.()) ?? []};
    if (signal.aborted || performance.now() >= endsAt) return {status: 'STARTING', reason: starting};
    if (hasEnded !== undefined && performance.now() - lookedAt >= LOOK_MS) {
      const ended = await hasEnded();
      if (ended !== undefined) return {status: 'FAILED', reason: ended};
      lookedAt = performance.now();
    }
    await sleep(Math.min(POLL_MS, Math.max(1, endsAt - performance.now())), signal);
  }
}
