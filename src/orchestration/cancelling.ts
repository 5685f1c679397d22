/** Cancelling a run and its task. Pure. */
import {isFinalRun} from '../protocol/orchestration/states.js';
import type {Decision} from './decision.js';
import {ended, type Begun} from './ending.js';
import {stopping} from './watching.js';

export interface CancelOptions {
  /** `force` ends what runs here and now. Default graceful. */
  readonly mode?: 'graceful' | 'force';
  readonly reason?: string;
}

export interface CancelStep {
  readonly decision: Decision;
  /** What runs is to be stopped so; undefined: nothing runs. */
  readonly stop?: 'graceful' | 'force';
}

/** @returns undefined if it has ended, or nothing is added to an earlier cancel. */
export function cancelled(
  work: Begun,
  {mode = 'graceful', reason = ''}: CancelOptions,
): CancelStep | undefined {
  const {nowMs, run, attempt} = work;
  if (isFinalRun(run.status)) return undefined;
  const isRepeated =
    run.cancelRequestedAt !== undefined && (mode === 'graceful' || attempt.stopMode === 'force');
  if (isRepeated) return undefined;
  const asked = {...run, cancelRequestedAt: run.cancelRequestedAt ?? nowMs};
  const event = {
    ...({type: 'cancel_requested', kind: 'control', runId: run.runId, attemptId: attempt.attemptId} as const),
    data: {mode, ...(reason === '' ? {} : {reason})},
  };
  if (attempt.place !== 'inflight') {
    const over = ended(
      {...work, run: asked},
      {
        ...{status: 'cancelled', errorClass: 'cancelled', isProven: true},
        error: {code: 'CANCELLED', message: reason},
      },
    );
    return {decision: {...over, events: [event, ...(over.events ?? [])]}};
  }
  const {decision} = stopping(work, mode, 'cancelled');
  return {decision: {...decision, runs: [asked], events: [event]}, stop: mode};
}
