/**
 * Before an attempt is sent: whether those who may take it hold to its policy. A worker of ours asks a person for each call
 * by itself; one of another SDK does not, so the whole run is asked about before it begins (orchestration.md §10.3).
 */
import {ByError} from '../errors.js';
import {APPROVAL_MS, type Approval} from '../protocol/orchestration/approval.js';
import type {RunExecutionPolicy} from '../protocol/orchestration/policy.js';
import {subjectHash} from '../sandbox/allowlist.js';
import {unenforceable} from '../sandbox/enforcement.js';
import {abilitiesOf} from '../store/abilities.js';
import {approvalsOfRun, askApproval, settleApproval} from '../store/approvals.js';
import {onlineMembers} from '../store/presence.js';
import {blocked, refused} from './approving.js';
import type {Decision} from './decision.js';
import type {OrchestratorDeps} from './deps.js';
import type {Begun} from './ending.js';

/** Most runs need none, and nothing is read for them. */
export const needsGate = ({ask, requireEnforcement}: RunExecutionPolicy): boolean =>
  ask !== 'off' || requireEnforcement.length > 0;

/**
 * @returns what to decide in place of sending it; undefined: send it.
 * @throws {ByError} POLICY_UNENFORCEABLE if something required is not enforced by everybody who may take it.
 */
export async function gate(
  {workspace}: OrchestratorDeps,
  work: Begun,
): Promise<((work: Begun) => Decision | undefined) | undefined> {
  const {agentType, policy} = work.task;
  const {ask, requireEnforcement, resources} = policy;
  const {workerIds} = await onlineMembers(workspace.store, agentType);
  const workers = await abilitiesOf(workspace.store, workerIds);
  const missing = unenforceable(requireEnforcement, workers, resources);
  if (missing.length > 0) {
    const who = workerIds.filter((_, i) => unenforceable(missing, [workers[i]], resources).length > 0);
    throw new ByError(
      'POLICY_UNENFORCEABLE',
      `${missing.join(', ')} would not be enforced by every worker.`,
      {
        hint:
          who.length === 0
            ? `No worker serves "${agentType}" now.`
            : `Stop ${who.slice(0, 5).join(', ')}, or start workers that can: by worker run --sandbox.`,
        details: {fields: missing, workers: who.slice(0, 20), retryAfterMs: LOOK_AGAIN_MS},
      },
    );
  }
  if (ask === 'off' || workers.every(worker => worker !== undefined)) return undefined;
  const approval = await approvalOf(workspace, work);
  switch (approval.state) {
    case 'pending':
      return now => blocked(now, approval);
    case 'allowed_once':
    case 'allowed_always':
      return undefined;
    case 'expired':
      return policy.askFallback === 'allow' ? undefined : now => refused(now, approval);
    case 'denied':
    case 'cancelled':
      return now => refused(now, approval);
  }
}

const LOOK_AGAIN_MS = 5000;

/** The one of this attempt, made if there is none yet. */
async function approvalOf(workspace: OrchestratorDeps['workspace'], work: Begun): Promise<Approval> {
  const {nowMs, task, run, attempt} = work;
  const {taskId, agentType, sessionId} = task;
  const {attemptId} = attempt;
  const known = (await approvalsOfRun(workspace, run.runId)).findLast(
    one => one.kind === 'run' && one.attemptId === attemptId,
  );
  if (known === undefined) {
    const message = attempt.message ?? task.message;
    return askApproval(
      workspace,
      {
        ...{kind: 'run', runId: run.runId, taskId, attemptId, agentType, sessionId, tool: agentType},
        subjectHash: subjectHash({tool: agentType, argsHash: message}, {agentType, sessionId}),
        summary: `approves the whole run; individual tools are not controlled: ${message.slice(0, 300)}`,
      },
      APPROVAL_MS,
    );
  }
  if (known.state !== 'pending' || nowMs < known.expiresAt) return known;
  return (await settleApproval(workspace, known.approvalId, {state: 'expired'}))?.approval ?? known;
}
