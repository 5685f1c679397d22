/** A person's decision, and what waits for it. */
import type {Approval, Decision} from '../protocol/orchestration/approval.js';
import {decideApproval} from '../store/approvals.js';
import type {Workspace} from '../store/orchestration.js';
import {unblocked} from './approving.js';
import {decideOn} from './decide.js';
import {isBegun} from './ending.js';

/**
 * Decide. A call that waits in a worker looks by itself; a run that was not sent yet is sent, or ended, at once.
 * @throws {ByError} APPROVAL_NOT_FOUND, APPROVAL_ALREADY_DECIDED, APPROVAL_EXPIRED, INVALID_INPUT.
 */
export async function approve(
  workspace: Workspace,
  approvalId: string,
  decision: Decision,
  who: {readonly by: string; readonly note?: string | undefined},
): Promise<Approval> {
  const approval = await decideApproval(workspace, approvalId, decision, who);
  // If this is not done any more, the attempt looks for the decision when the person's time is over.
  if (approval.kind === 'run') {
    await decideOn(workspace, 'att', approval.attemptId, work => {
      const decided = isBegun(work) ? unblocked(work, approval) : undefined;
      return decided === undefined ? undefined : {decision: decided};
    });
  }
  return approval;
}
