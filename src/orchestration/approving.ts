/** Waiting for a person's word: a whole run before it is sent, or a call while it runs. Pure. */
import type {Approval} from '../protocol/orchestration/approval.js';
import {isFinalAttempt} from '../protocol/orchestration/states.js';
import type {Decision, NewEvent} from './decision.js';
import {ended, pendingOf, type Begun} from './ending.js';

export const requestedEvent = ({runId, attemptId, approvalId, kind, tool, summary}: Approval): NewEvent => ({
  ...{type: 'approval_requested', kind: 'control', runId, attemptId},
  data: {approval_id: approvalId, of: kind, tool, summary},
});

export const decidedEvent = ({runId, attemptId, approvalId, state, decidedBy, note}: Approval): NewEvent => ({
  ...{type: 'approval_decided', kind: 'control', runId, attemptId},
  data: {
    ...{approval_id: approvalId, state},
    ...(decidedBy === undefined ? {} : {decided_by: decidedBy}),
    ...(note === undefined ? {} : {note}),
  },
});

/** The attempt lets go of its session and its pool, and waits for as long as a person has. */
export function blocked(work: Begun, approval: Approval): Decision | undefined {
  const {nowMs, task, run, attempt} = work;
  if (attempt.dispatchPhase !== 'claimed' || isFinalAttempt(attempt.status)) return undefined;
  return {
    task: {...task, status: 'waiting'},
    runs: [{...run, interaction: {...run.interaction, state: 'waiting_for_approval', updatedAt: nowMs}}],
    attempts: [
      {
        ...attempt,
        ...{status: 'blocked', statusReason: 'APPROVAL_REQUIRED', place: 'delayed'},
        ...{dispatchPhase: 'none', phaseAt: nowMs, notBeforeAt: approval.expiresAt},
      },
    ],
    releases: attempt.attemptId,
    events: [requestedEvent(approval)],
  };
}

/** It has been decided, or its time is over: the dispatcher looks at it again. */
export function unblocked(work: Begun, approval?: Approval): Decision | undefined {
  const {nowMs, task, run, attempt} = work;
  if (attempt.status !== 'blocked') return undefined;
  return {
    task: {...task, status: run.startedAt === undefined ? 'queued' : 'running'},
    runs: [
      {
        ...run,
        interaction: {...run.interaction, state: 'working', pendingCount: pendingOf(work), updatedAt: nowMs},
      },
    ],
    attempts: [{...attempt, status: 'pending', statusReason: undefined, notBeforeAt: nowMs}],
    events: approval === undefined ? [] : [decidedEvent(approval)],
  };
}

/** Nobody allowed it. */
export function refused(work: Begun, {state}: Approval): Decision | undefined {
  if (work.attempt.dispatchPhase !== 'claimed' || isFinalAttempt(work.attempt.status)) return undefined;
  const isDenied = state === 'denied';
  return ended(work, {
    ...{status: 'error', errorClass: 'policy', isPermanent: true, isProven: true},
    error: {
      code: isDenied ? 'APPROVAL_DENIED' : 'APPROVAL_EXPIRED',
      message: isDenied ? 'A person refused the run.' : 'Nobody decided in time.',
    },
  });
}
