/** A RESUME that answers the form of an approval: it decides that, and begins no turn. */
import {askingOf} from '../availability/questions.js';
import {ByError} from '../errors.js';
import type {Logger} from '../log.js';
import type {ResumeCommand} from '../protocol/commands.js';
import {textOf} from '../protocol/fields.js';
import type {Header} from '../protocol/header.js';
import {decisionIn, isApprovalId} from '../protocol/orchestration/approval.js';
import {approvalsOfMessage, decideApproval, misheardApproval} from '../store/approvals.js';
import type {ControlEntry} from '../store/control-streams.js';
import {findByMessage} from '../store/executions.js';
import type {Store} from '../store/store.js';

/** Whether it may: a person's, that does not say that it answers something else. Nothing is read for others. */
export function mayAnswerApproval({sourceAgentType, metadata}: Header): boolean {
  if (sourceAgentType !== '' || metadata['by_timer'] !== undefined) return false;
  return namedIn(metadata) !== '' || (metadata['by_question'] ?? metadata['by_reply']) === undefined;
}

function namedIn(metadata: Header['metadata']): string {
  const named = [metadata['by_approval'], metadata['by_question']].map(textOf);
  return named.find(isApprovalId) ?? '';
}

/**
 * Decide what it answers. Whoever does it again, because the one before died, finds it done: the approval keeps which entry
 * decided it.
 * @returns false if it answers no approval, and is to be carried out as any RESUME; true: it remains to be settled.
 */
export async function answersApproval(
  store: Store,
  log: Logger,
  {stream, id}: ControlEntry,
  {header, content, replyData}: ResumeCommand,
): Promise<boolean> {
  const named = namedIn(header.metadata);
  const entry = `${stream}/${id}`;
  const facts = {entry: id, session_id: header.sessionId, message_id: header.messageId};
  const asked = await approvalsOfMessage(store, header);
  if (asked === undefined) {
    if (named === '') return false;
    log.warn('an answer to an approval that nobody asked for', {...facts, approval: named});
    return true;
  }
  const {workspace, open, all} = asked;
  if (all.some(({heard, unclear}) => heard === entry || unclear === entry)) return true;
  // The same words may answer a question that is open beside it: nothing is allowed by what may have been meant for that.
  if (named === '' && (await asksSomethingElse(store, header))) return false;
  const decision = decisionIn(content, replyData);
  const [first, ...others] = named === '' ? open : open.filter(({approvalId}) => approvalId === named);
  if (first === undefined) {
    if (named === '' && decision === undefined) return false;
    log.warn('an answer to an approval that does not wait any more', {...facts, approval: named});
    return true;
  }
  const isClear = decision !== undefined && others.length === 0;
  if (!isClear || (decision === 'allow-always' && first.pattern === undefined)) {
    // Whoever waits asks again, of each that may have been meant.
    for (const approval of [first, ...others]) await misheardApproval(workspace, approval, entry);
    log.info('an answer to an approval that is no decision', {...facts, approval: first.approvalId});
    return true;
  }
  const by = textOf(header.metadata['by_user_code']) || header.userCode || 'form';
  try {
    await decideApproval(workspace, first.approvalId, decision, {by, heard: entry});
    log.info('an approval was decided', {...facts, approval: first.approvalId, decision, by});
  } catch (error) {
    if (!(error instanceof ByError) || !DECIDED.has(error.code)) throw error;
    log.warn('an answer to an approval came too late', {
      ...facts,
      approval: first.approvalId,
      error: error.code,
    });
  }
  return true;
}

const DECIDED: ReadonlySet<string> = new Set(['APPROVAL_ALREADY_DECIDED', 'APPROVAL_EXPIRED']);

async function asksSomethingElse(store: Store, {sessionId, messageId}: Header): Promise<boolean> {
  const record = await findByMessage(store, sessionId, messageId);
  if (record === undefined) return true;
  return (await askingOf(store, record)).open.some(({questionId}) => !isApprovalId(questionId));
}
