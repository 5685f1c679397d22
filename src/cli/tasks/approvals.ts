/** `by run approve` and `by run allowlist …`. */
import {serverNowMs} from '../../store/store.js';
import {userInfo} from 'node:os';
import {ByError} from '../../errors.js';
import {approve} from '../../orchestration/approve.js';
import {onlyOne} from '../../orchestration/find.js';
import {
  AllowEntry,
  Approval,
  type ApprovalState,
  type Decision,
} from '../../protocol/orchestration/approval.js';
import {isIdStart} from '../../protocol/orchestration/ids.js';
import {recordDocument} from '../../protocol/orchestration/record.js';
import {allow, allowedPatterns, disallow, pendingApprovals} from '../../store/approvals.js';
import {openWorkspace} from '../../store/orchestration.js';
import {formatDuration} from '../duration.js';
import {opaque} from '../json.js';
import {paint} from '../printer.js';
import type {At} from './tasks.js';

const workspaceOf = ({store, workspace}: At) => openWorkspace(store, workspace);

/** Who decides, if nobody says otherwise. */
export const osUser = (): string => userInfo().username;

export async function listApprovalsForPeople(at: At, output: string) {
  const {printer} = at;
  const ws = workspaceOf(at);
  const nowMs = await serverNowMs(ws.store);
  const waiting = (await pendingApprovals(ws)).filter(({expiresAt}) => expiresAt > nowMs);
  if (output === 'name') for (const {approvalId} of waiting) printer.out(approvalId);
  else
    printer.table(waiting, [
      {header: 'APPROVAL', value: one => one.approvalId},
      {header: 'RUN', value: one => one.runId},
      {header: 'TOOL', value: one => (one.kind === 'run' ? 'whole run' : one.tool)},
      {header: 'SUBJECT', value: one => one.summary, shrink: true},
      {header: 'ASKED', value: one => formatDuration(nowMs - one.createdAt), align: 'right'},
      {header: 'EXPIRES', value: one => formatDuration(one.expiresAt - nowMs), align: 'right'},
    ]);
  if (waiting.length === 0) printer.note('Nothing waits for an approval.');
  else if (output !== 'name')
    printer.note(paint.dim('decide with by run approve APPROVAL --once, --always or --deny'));
  return {approvals: waiting.map(one => opaque(recordDocument(Approval, one)))};
}

const SAID: Readonly<Record<ApprovalState, string>> = {
  ...{pending: 'waits', allowed_once: 'allowed once', allowed_always: 'allowed always', denied: 'denied'},
  ...{expired: 'expired', cancelled: 'not needed any more'},
};

export interface DecisionRequest {
  readonly decision: Decision;
  readonly by: string;
  readonly note: string | undefined;
}

export async function decideForPeople(at: At, text: string, {decision, by, note}: DecisionRequest) {
  const {printer} = at;
  const ws = workspaceOf(at);
  const approval = await approve(ws, await wholeId(at, text), decision, {by, note});
  printer.out(SAID[approval.state], ` by ${by} `, paint.dim('(claimed identity, not authenticated)'));
  if (approval.state === 'allowed_always')
    printer.note(`${approval.agentType} may now use ${approval.pattern ?? ''} without a question.`);
  return {approval: opaque(recordDocument(Approval, approval))};
}

/** An approval that waits may be named by how its id begins. */
async function wholeId(at: At, text: string): Promise<string> {
  if (!isIdStart('approval', text)) return text;
  const waiting = (await pendingApprovals(workspaceOf(at))).map(({approvalId}) => approvalId);
  const found = waiting.filter(id => id.startsWith(text));
  return onlyOne('approval', text, found) ?? text;
}

export async function listAllowedForPeople(at: At, agentType: string) {
  const {printer} = at;
  const ws = workspaceOf(at);
  const [patterns, nowMs] = await Promise.all([allowedPatterns(ws, agentType), serverNowMs(ws.store)]);
  printer.table(patterns, [
    {header: 'PATTERN', value: one => one.pattern, shrink: true},
    {header: 'BY', value: one => one.addedBy},
    {header: 'SINCE', value: one => formatDuration(nowMs - one.addedAt), align: 'right'},
  ]);
  if (patterns.length === 0) printer.note(`${agentType} may use nothing without a question.`);
  return {
    agent_type: agentType,
    patterns: patterns.map(({pattern, ...entry}) => ({pattern, ...recordDocument(AllowEntry, entry)})),
  };
}

export async function allowForPeople(at: At, agentType: string, pattern: string, by: string) {
  await allow(workspaceOf(at), agentType, pattern, by);
  at.printer.out(`${agentType} may use ${pattern} without a question`);
  return {agent_type: agentType, pattern, added_by: by};
}

export async function disallowForPeople(at: At, agentType: string, pattern: string) {
  const wasThere = await disallow(workspaceOf(at), agentType, pattern);
  if (!wasThere) {
    throw new ByError('NOT_FOUND', `"${pattern.slice(0, 100)}" is not on the allowlist of ${agentType}.`, {
      hint: 'Write it as it is shown there.',
      next: [`by run allowlist list ${agentType}`],
    });
  }
  at.printer.out(`${agentType} may use ${pattern} no more without a question`);
  return {agent_type: agentType, pattern};
}
