/** What the sweeper sees of an attempt under way: its time is over, its worker is gone, nobody picks it up. Pure. */
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import {isFinalAttempt, isFinalRun} from '../protocol/orchestration/states.js';
import type {Decision} from './decision.js';
import {ended, type Begun} from './ending.js';
import {TIMED_OUT, WORKER_LOST} from './observing.js';

/** Times of the run layer, in milliseconds. */
export interface WatchTimes {
  /** A worker without a lease is given up. Default 120,000. */
  readonly lostAfterMs: number;
  /** From asking an attempt to stop to ending it by force, and from that to giving up on it. Default 10,000. */
  readonly stopGraceMs: number;
  /** What is sent and not begun after this is said to be slow. Default 120,000. */
  readonly slowPickupMs: number;
}
export const WATCH_TIMES: WatchTimes = {lostAfterMs: 120_000, stopGraceMs: 10_000, slowPickupMs: 120_000};

export interface Signs {
  /** The record says that a worker runs it. */
  readonly isRunning: boolean;
  /** That worker has a lease. */
  readonly hasLease: boolean;
}

export interface Order {
  /** To write first; undefined: nothing. */
  readonly decision?: Decision;
  /** How to stop the execution then; undefined: not at all. */
  readonly stop?: 'graceful' | 'force';
}

const NOTHING: Order = {};

export function watched(work: Begun, signs: Signs, times: WatchTimes): Order {
  const {attempt} = work;
  if (attempt.place !== 'inflight' || attempt.dispatchPhase === 'claimed') return NOTHING;
  const lost = lostOrder(work, signs, times);
  if (lost !== undefined) return lost;
  if (isFinalAttempt(attempt.status)) return NOTHING;
  return timeOrder(work, times) ?? slowOrder(work, times) ?? NOTHING;
}

function lostOrder(work: Begun, {isRunning, hasLease}: Signs, times: WatchTimes): Order | undefined {
  const {nowMs, attempt} = work;
  const isGone = isRunning && !hasLease;
  if (!isGone)
    return attempt.lostSinceAt === undefined ? undefined : keep(work, {...attempt, lostSinceAt: undefined});
  if (attempt.lostSinceAt === undefined) return keep(work, {...attempt, lostSinceAt: nowMs});
  if (nowMs - attempt.lostSinceAt < times.lostAfterMs) return undefined;
  // Stopped by force first: should its worker come back, what it still writes must not count. A worker of another SDK can
  // only be asked, and one that is gone does not answer.
  if (attempt.stopMode === 'force')
    return nowMs - (attempt.stopRequestedAt ?? nowMs) < times.stopGraceMs
      ? {stop: 'force'}
      : {decision: ended(work, {...WORKER_LOST, isProven: true})};
  const stopClass = attempt.stopClass ?? 'worker_lost';
  return {
    ...keep(work, {
      ...attempt,
      stopClass,
      stopMode: 'force',
      stopRequestedAt: attempt.stopRequestedAt ?? nowMs,
    }),
    stop: 'force',
  };
}

function timeOrder(work: Begun, times: WatchTimes): Order | undefined {
  const {nowMs, attempt} = work;
  const {deadlineAt, waitingSinceAt, stopRequestedAt, stopMode, stopClass} = attempt;
  if (stopRequestedAt === undefined) {
    if (deadlineAt === undefined || waitingSinceAt !== undefined || nowMs < deadlineAt) return undefined;
    return stopping(work, 'graceful', 'timeout');
  }
  // Who cancels says how; only what we stop ourselves is followed up.
  const isOurs = stopClass === 'timeout' || stopClass === 'superseded';
  if (!isOurs || nowMs - stopRequestedAt < times.stopGraceMs) return undefined;
  if (stopMode === 'graceful') return stopping(work, 'force', stopClass);
  // Whoever interrupts waits for the proof, or does not.
  if (stopClass === 'superseded') return {stop: 'force'};
  if (nowMs - stopRequestedAt < 2 * times.stopGraceMs) return {stop: 'force'};
  if (isFinalRun(work.run.status)) return undefined;
  return {decision: ended(work, {...TIMED_OUT, isProven: false})};
}

function slowOrder(work: Begun, {slowPickupMs}: WatchTimes): Order | undefined {
  const {nowMs, attempt, run} = work;
  const isSlow = attempt.dispatchPhase === 'sent' && attempt.status === 'pending';
  if (!isSlow || attempt.statusReason === SLOW || nowMs - attempt.phaseAt < slowPickupMs) return undefined;
  const {attemptId} = attempt;
  const {decision} = keep(work, {...attempt, statusReason: SLOW});
  return {
    decision: {...decision, events: [{type: 'pickup_slow', kind: 'lifecycle', runId: run.runId, attemptId}]},
  };
}

const SLOW = 'pickup_slow';

const keep = ({task}: Begun, attempt: RunAttempt): {readonly decision: Decision} => ({
  decision: {task, attempts: [attempt]},
});

/** Ask it to stop, and remember why. */
export function stopping(
  work: Begun,
  stop: 'graceful' | 'force',
  stopClass: NonNullable<RunAttempt['stopClass']>,
): Order & {readonly decision: Decision} {
  const {nowMs, attempt} = work;
  const next: RunAttempt = {
    ...attempt,
    ...{stopMode: stop, stopClass},
    stopRequestedAt: attempt.stopRequestedAt ?? nowMs,
  };
  return {...keep(work, next), stop};
}
