/**
 * Keys of the run layer. All of one workspace carry its hash tag, so that one script may touch them all, in a Cluster too.
 * They are ours: other SDKs do not know them, and both key schemas have the same.
 */
import {ByError} from '../../errors.js';

export const DEFAULT_WORKSPACE = 'default';
const WORKSPACE = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** @throws {ByError} INVALID_INPUT for what can not name a workspace. */
export function checkWorkspace(workspace: string): void {
  if (WORKSPACE.test(workspace)) return;
  throw new ByError('INVALID_INPUT', `"${workspace.slice(0, 80)}" can not be a workspace.`, {
    hint: 'Use small letters, digits, _ and - (at most 64, beginning with a letter or digit).',
  });
}

/** Every key of the run layer; `w` is the workspace. */
export function createRunKeys({prefix = ''}: {readonly prefix?: string} = {}) {
  const key = (w: string, rest: string) => `${prefix}byorch:v1:{${w}}:${rest}`;
  return {
    /** What its keys begin with. Never written itself. */
    orchBase: (w: string) => key(w, ''),
    orchAgent: (w: string, id: string) => key(w, `agent:${id}`),
    orchAgents: (w: string) => key(w, 'agents'),
    orchAgentKey: (w: string, agentKey: string) => key(w, `agentkey:${agentKey}`),
    orchTask: (w: string, id: string) => key(w, `task:${id}`),
    orchRun: (w: string, id: string) => key(w, `run:${id}`),
    orchAttempt: (w: string, id: string) => key(w, `att:${id}`),
    orchRunAttempts: (w: string, runId: string) => key(w, `atts:${runId}`),
    /** Ids by creation: `tasks`, `tasks:s:<status>`, `tasks:a:<agent type>`; the same of runs. */
    orchIndex: (w: string, index: string) => key(w, `ix:${index}`),
    /** Runs of a session, by creation. */
    orchSessionRuns: (w: string, sessionId: string) => key(w, `sess:runs:${sessionId}`),
    /** Runs that want the session, in their order; the first has it. */
    orchSessionQueue: (w: string, sessionId: string) => key(w, `sess:queue:${sessionId}`),
    orchSessionKey: (w: string, hash: string) => key(w, `sesskey:${hash}`),
    /** The attempt that has the session, and its fence. */
    orchLease: (w: string, sessionId: string) => key(w, `lease:${sessionId}`),
    orchIdempotency: (w: string, scope: string, hash: string) => key(w, `idem:${scope}:${hash}`),
    /** Attempts of a pool that may be sent, best first. */
    orchReady: (w: string, pool: string) => key(w, `ready:${pool}`),
    /** Attempts that wait for a time. */
    orchDelayed: (w: string) => key(w, 'delayed'),
    /** Tasks that are dropped if they have not begun by then. */
    orchExpiring: (w: string) => key(w, 'expiring'),
    orchPool: (w: string, pool: string) => key(w, `inst:${pool}`),
    orchPools: (w: string) => key(w, 'insts'),
    /** Attempts of a pool between their claim and the proven end of what runs them. */
    orchInflight: (w: string, pool: string) => key(w, `inflight:${pool}`),
    orchInputs: (w: string, runId: string) => key(w, `inputs:${runId}`),
    orchEvents: (w: string, runId: string) => key(w, `ev:${runId}`),
    orchSnapshots: (w: string, runId: string) => key(w, `snap:${runId}`),
    orchLog: (w: string, taskId: string) => key(w, `log:${taskId}`),
    /** What is said to an attempt while it works. */
    orchSteering: (w: string, attemptId: string) => key(w, `steer:${attemptId}`),
    orchApproval: (w: string, id: string) => key(w, `apr:${id}`),
    /** Approvals nobody has decided yet, by the end of their time. */
    orchPendingApprovals: (w: string) => key(w, 'aprs:pending'),
    orchRunApprovals: (w: string, runId: string) => key(w, `aprs:run:${runId}`),
    /** What an agent type may run without a question: pattern to who allowed it. */
    orchAllowed: (w: string, agentType: string) => key(w, `allow:${agentType}`),
    /** Sorted set: how runs of schedules' tasks ended, by when; until it is counted at the schedule. */
    orchScheduleEnds: (w: string) => key(w, 'sch:ended'),
    /** What could not be sent. */
    orchUndeliverable: (w: string) => key(w, 'dlq'),
    /** Orchestrators that run, by their last sign of life. Of the deployment, not of a workspace. */
    orchNodes: () => key('_sys', 'nodes'),
    /** What a worker of ours can hold a run to. */
    orchAbilities: (workerId: string) => key('_sys', `caps:${workerId}`),
  };
}
export type RunKeys = ReturnType<typeof createRunKeys>;
