/** The caller's side of WAKE_AND_WAIT: ask for a worker, and wait until one is there, somebody says no, or time is up. */
import {sleep} from '../clock.js';
import {ByError} from '../errors.js';
import type {WakeupDecision, WakeupRequest} from '../protocol/wakeup.js';
import type {Connection} from '../store/connection.js';
import {readDecisions, requestWakeup} from '../store/control-plane.js';
import {routableMembers} from '../store/routable.js';
import type {Store} from '../store/store.js';

export type WakeupOutcome = {
  /** The last entry read of the result stream: where another wait of the same execution goes on. */
  readonly lastId: string;
} & WakeupEnd;

type WakeupEnd =
  | {
      readonly kind: 'online';
      readonly workerIds: readonly string[];
      readonly decision: string;
    }
  | {readonly kind: 'fallback'; readonly agentType: string}
  | {readonly kind: 'rejected'; readonly reason: string; readonly retryAfterMs: number | null}
  | {
      readonly kind: 'timeout';
      readonly claimedReady: boolean;
      /** Reason of the last decision that asked to keep waiting, or ''. */
      readonly lastReason: string;
    };

export interface AwaitWakeupOptions {
  readonly signal?: AbortSignal;
  /** Told about every decision as it arrives, also those that only mean "keep waiting". */
  readonly onDecision?: (decision: WakeupDecision) => void;
  /** Entries of the result stream up to this one are known. Default: none. */
  readonly after?: string;
}

/** Workers also come up without a decision (started by hand, or by a manager that died): spec §7.5. */
const POLL_MS = 1000;
/** After a READY the worker should be there; its first heartbeat may be a moment behind. */
const POLL_AFTER_READY_MS = 50;

/**
 * Both the decision stream and the online check end the wait, so a manager that only starts a worker is enough.
 * A READY is believed when a worker of the agent type is really online within the caller's time.
 */
export async function awaitWakeup(
  store: Store,
  request: WakeupRequest,
  {signal, onDecision, after = '0-0'}: AwaitWakeupOptions = {},
): Promise<WakeupOutcome> {
  const deadline = performance.now() + request.timeoutMs;
  const connection = store.blocking('wakeup', store.keys.wakeupResult(request.executionId));
  const stop = () => connection.close();
  signal?.addEventListener('abort', stop, {once: true});
  let lastId = after;
  let claimedReady = false;
  let last: WakeupDecision | undefined;
  const timeout = () => ({kind: 'timeout' as const, claimedReady, lastReason: last?.reason ?? '', lastId});
  try {
    await requestWakeup(store, request);
    while (!signal?.aborted) {
      const remaining = Math.ceil(deadline - performance.now());
      if (remaining <= 0) return timeout();
      const waitMs = Math.min(remaining, claimedReady ? POLL_AFTER_READY_MS : POLL_MS);
      const read = await readOrPause(store, connection, {executionId: request.executionId, lastId, waitMs});
      lastId = read.lastId;
      for (const decision of read.decisions) {
        if (decision.executionId !== '' && decision.executionId !== request.executionId) continue;
        onDecision?.(decision);
        last = decision;
        const end = endOf(decision);
        if (end !== undefined) return {...end, lastId};
        claimedReady ||= decision.status === 'READY';
      }
      const {online, workerIds} = await routableMembers(store, request.targetAgentType);
      if (online) return {kind: 'online', workerIds, decision: last?.status ?? 'NONE', lastId};
    }
    return timeout();
  } finally {
    signal?.removeEventListener('abort', stop);
    connection.close();
  }
}

/** @returns how the wait ends with this decision; undefined if it goes on. */
function endOf({status, selectedAgentType, reason, retryAfterMs}: WakeupDecision): WakeupEnd | undefined {
  switch (status) {
    case 'STARTING':
    case 'QUEUED':
    // Whether it is true is looked at, until time is up.
    case 'READY':
      return undefined;
    case 'FALLBACK':
      // An empty selection would name an empty stream: spec §7.5, hazard.
      if (selectedAgentType !== '') return {kind: 'fallback', agentType: selectedAgentType};
      return {kind: 'rejected', reason: 'fallback to no agent type', retryAfterMs};
    default:
      return {kind: 'rejected', reason: reason || `wakeup ${status}`, retryAfterMs};
  }
}

/** A connection lost while waiting costs a moment, not the wakeup: the decision stays in its stream. */
async function readOrPause(
  store: Store,
  connection: Connection,
  {executionId, lastId, waitMs}: {executionId: string; lastId: string; waitMs: number},
): ReturnType<typeof readDecisions> {
  try {
    return await readDecisions(store, connection, executionId, lastId, waitMs);
  } catch (error) {
    if (!(error instanceof ByError) || !error.retryable) throw error;
    await sleep(Math.min(waitMs, 200));
    return {decisions: [], lastId};
  }
}
