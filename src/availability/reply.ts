/** Answering an agent's question: a RESUME on the execution that asks. Spec §6.9 and §8.2. */
import {sleep, type Clock} from '../clock.js';
import {ByError} from '../errors.js';
import {isValidId, newReplyId, spanIdHex} from '../ids.js';
import {once} from '../once.js';
import {encodeSendable, hasContent, type Content, type ResumeCommand} from '../protocol/commands.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {createHeader} from '../protocol/header.js';
import {approvalQuestion, decisionIn, isApprovalId} from '../protocol/orchestration/approval.js';
import {isTerminal} from '../protocol/states.js';
import {approvalsOfMessage, decideApproval, type MessageApprovals} from '../store/approvals.js';
import {findByMessage, findExecution} from '../store/executions.js';
import {notTheirs, requireOwn, sessionUser} from '../store/ownership.js';
import type {Store} from '../store/store.js';
import {acceptAnswer, wasAccepted, type AnswerOutcome, type EarlierAnswer} from '../store/user-answers.js';
import {askingOf, type Asking, type OpenQuestion} from './questions.js';

export interface ReplyRequest {
  readonly sessionId: string;
  /** The execution that asks; or name its message. */
  readonly executionId?: string;
  readonly messageId?: string;
  /** The answer: text, or an array of objects. May be empty with a status. */
  readonly content?: Content;
  /** Default none, which counts as COMPLETED. A durable agent's `askUser` throws for any other. */
  readonly status?: string;
  /** Any JSON. What a durable agent gets when the content is empty. */
  readonly data?: unknown;
  /** Passed to the agent beside the content. */
  readonly extraPayload?: Readonly<Record<string, unknown>>;
  /** Which question; needed only where an execution asks several at once. */
  readonly questionId?: string;
  /** Whether it may decide an approval that it does not name. Default true. */
  readonly mayDecide?: boolean;
  /** Give your own to make the reply idempotent: the same id in a session is accepted once. Default: a new one. */
  readonly replyId?: string;
  /** Who answers; the session must be theirs. Without one the sender is an operator. */
  readonly userCode?: string;
  readonly userName?: string;
  /** Go on with an execution that has ended: the agent runs again, with this as its command. Default false. */
  readonly continues?: boolean;
  readonly signal?: AbortSignal;
}

export interface ReplyResult {
  readonly sessionId: string;
  readonly executionId: string;
  readonly messageId: string;
  readonly agentType: string;
  readonly replyId: string;
  /** What was answered; '' of a worker of another SDK, and of what had ended. */
  readonly questionId: string;
  /** Entry id on the agent type's stream. '' for a duplicate, and for the decision of an approval. */
  readonly streamId: string;
  /** This reply id had been accepted before: nothing was sent. */
  readonly duplicate: boolean;
}

/** A question is seen before the turn that asked has ended; so long it is waited for. */
const TURN_ENDS_MS = 5000;
const LOOK_EVERY_MS = 25;

/**
 * Answer once, or learn why not: the first answer of all wins, whoever else answers at the same moment.
 * @throws {ByError} NOT_FOUND, also for a session of another user; ALREADY_ANSWERED; ANSWER_TOO_LATE; NOT_WAITING for what
 *   does not ask, or asks something else; INVALID_INPUT for what is not among the choices, or with several questions
 *   open; MESSAGE_TOO_LARGE, and what Redis answers.
 */
export async function reply(store: Store, now: Clock, request: ReplyRequest): Promise<ReplyResult> {
  checkIds(request);
  if (!hasContent(request.content ?? '') && (request.status ?? '') === '' && (request.data ?? null) === null)
    throw new ByError('INVALID_INPUT', 'The answer is empty.', {hint: 'Give some text, data, or a status.'});
  const {sessionId, userCode = '', signal} = request;
  await requireOwn(store, sessionId, userCode);
  const replyId = request.replyId ?? newReplyId();
  const giveUpAt = performance.now() + TURN_ENDS_MS;
  const user = userCode || (await sessionUser(store, sessionId));
  for (;;) {
    const record = await findAsker(store, request);
    if (request.replyId !== undefined && (await wasAccepted(store, record, request.replyId)))
      return {...placeOf(record, request.replyId), questionId: '', streamId: '', duplicate: true};
    const readApprovals = once(() => approvalsOfMessage(store, record));
    const decided =
      request.replyId === undefined ? undefined : decidedBy(await readApprovals(), replyId)?.approvalId;
    if (decided !== undefined)
      return {...placeOf(record, replyId), questionId: decided, streamId: '', duplicate: true};
    const continues = request.continues === true && isTerminal(record.status);
    const asking = asked(request, await askingOf(store, record, readApprovals));
    const questionId = continues ? '' : questionOf(request, record, asking);
    if (isApprovalId(questionId))
      return decide(await readApprovals(), request, record, {replyId, approvalId: questionId});
    if (!continues)
      checkChoice(
        request,
        asking.open.find(open => open.questionId === questionId),
      );
    const command = resumeOf(request, record, {replyId, questionId, user, now: now()});
    const outcome = await acceptAnswer(store, {
      ...{sessionId, executionId: record.executionId, replyId, questionId, continues, userCode},
      answer: {
        status: command.status === '' ? 'COMPLETED' : command.status,
        content: command.content,
        data: command.replyData,
        metadata: command.header.metadata,
      },
      stream: store.keys.ctrlStream(command.header.targetAgentType),
      document: encodeSendable(command),
    });
    const isPassing = outcome.kind === 'running' || outcome.kind === 'open';
    if (isPassing && performance.now() < giveUpAt) {
      await sleep(LOOK_EVERY_MS, signal);
      continue;
    }
    if (outcome.kind !== 'accepted' && outcome.kind !== 'known')
      throw refusal(outcome, {record, questionId, replyId, userCode});
    return {
      ...placeOf(record, replyId),
      questionId,
      streamId: outcome.kind === 'accepted' ? outcome.entryId : '',
      // Of an id that was made here, only a lost reply of the server can say that.
      duplicate: outcome.kind === 'known' && request.replyId !== undefined,
    };
  }
}

/** @returns the approval that a reply decided before: its repeat must not decide the next one. */
const decidedBy = (approvals: MessageApprovals | undefined, replyId: string) =>
  approvals?.all.find(({heard}) => heard === heardAs(replyId));

const heardAs = (replyId: string): string => `reply/${replyId}`;

/** What a reply may answer. */
const asked = ({mayDecide = true}: ReplyRequest, {open, closed}: Asking): Asking => ({
  open: mayDecide ? open : open.filter(({questionId}) => !isApprovalId(questionId)),
  closed,
});

/** An approval is decided here and now: the turn that waits for it runs, and looks by itself. */
async function decide(
  approvals: MessageApprovals | undefined,
  request: ReplyRequest,
  record: ExecutionRecord,
  {replyId, approvalId}: {readonly replyId: string; readonly approvalId: string},
): Promise<ReplyResult> {
  const approval = approvals?.all.find(one => one.approvalId === approvalId);
  if (approvals === undefined || approval === undefined)
    throw refusal(
      {kind: 'unasked', status: record.status},
      {record, questionId: approvalId, replyId, userCode: request.userCode ?? ''},
    );
  const place = {...placeOf(record, replyId), questionId: approvalId, streamId: ''};
  const {choices} = approvalQuestion(approval);
  const decision = decisionIn(request.content, request.data);
  if (decision === undefined)
    throw new ByError('INVALID_INPUT', `This is no decision: ${choices.join(', ')}.`, {
      hint: 'Answer with one of them.',
      details: {choices},
    });
  const by = request.userCode || 'form';
  await decideApproval(approvals.workspace, approvalId, decision, {by, heard: heardAs(replyId)});
  return {...place, duplicate: false};
}

const placeOf = ({sessionId, executionId, messageId, targetAgentType}: ExecutionRecord, replyId: string) => ({
  ...{sessionId, executionId, messageId, replyId},
  agentType: targetAgentType,
});

function checkIds(request: ReplyRequest): void {
  const {sessionId, executionId, messageId, replyId, userCode} = request;
  const named = {'session id': sessionId, 'execution id': executionId, 'message id': messageId};
  for (const [what, id] of Object.entries({
    ...named,
    'reply id': replyId,
    'user code': userCode || undefined,
  })) {
    if (id === undefined || isValidId(id)) continue;
    throw new ByError('INVALID_INPUT', `"${id.slice(0, 80)}" can not be a ${what}.`, {
      hint: `Use letters, digits and . _ : @ - (at most 128, beginning with a letter or digit).`,
    });
  }
  if ((executionId === undefined) === (messageId === undefined)) {
    throw new ByError('INVALID_INPUT', 'A reply is for one execution.', {
      hint: 'Give either its executionId or its messageId.',
    });
  }
}

async function findAsker(store: Store, request: ReplyRequest): Promise<ExecutionRecord> {
  const {sessionId, executionId, messageId = ''} = request;
  const record = await (executionId === undefined
    ? findByMessage(store, sessionId, messageId)
    : findExecution(store, sessionId, executionId));
  if (record !== undefined) return record;
  throw new ByError('NOT_FOUND', `Session "${sessionId}" has no execution "${executionId ?? messageId}".`, {
    hint: `Check the id; see them with \`by exec list --session ${sessionId}\`.`,
  });
}

/** The question that is meant: the one that is named, or the only one. */
function questionOf({questionId}: ReplyRequest, record: ExecutionRecord, {open, closed}: Asking): string {
  if (questionId !== undefined) return questionId;
  const [first, ...others] = open;
  // Whoever comes too late is told what became of the question.
  if (first === undefined) return closed.at(-1) ?? '';
  if (others.length === 0) return first.questionId;
  throw severalQuestions(open, `Execution "${record.executionId}"`);
}

/** @param who asks, for people. */
export function severalQuestions(open: readonly OpenQuestion[], who: string): ByError {
  return new ByError('INVALID_INPUT', `${who} asks ${open.length} questions.`, {
    hint: 'Say which one is answered.',
    next: open.map(question => replyCommand(question)),
    details: {questions: open},
  });
}

/** The command that answers. */
export const replyCommand = ({sessionId, executionId, questionId, choices}: OpenQuestion): string =>
  `by reply ${executionId} ${choices?.[0] === undefined || !/^[\w.-]+$/.test(choices[0]) ? '"…"' : choices[0]} --session ${sessionId}${questionId === '' ? '' : ` --question ${questionId}`}`;

function checkChoice({content = '', status = ''}: ReplyRequest, question: OpenQuestion | undefined): void {
  const choices = question?.choices;
  // Who answers with another status than success does not choose.
  if (choices === undefined || (status !== '' && status !== 'COMPLETED')) return;
  if (typeof content === 'string' && choices.includes(content)) return;
  const given = typeof content === 'string' ? `"${content.slice(0, 80)}"` : 'This';
  throw new ByError('INVALID_INPUT', `${given} is not among the choices: ${choices.join(', ')}.`, {
    hint: 'Answer with one of them, to the letter.',
    details: {choices},
  });
}

function resumeOf(
  request: ReplyRequest,
  record: ExecutionRecord,
  made: {readonly replyId: string; readonly questionId: string; readonly user: string; readonly now: number},
): ResumeCommand {
  const {content = '', data = null, extraPayload = {}, userCode = '', userName = ''} = request;
  const {sessionId, messageId, traceId, parentMessageId, targetAgentType} = record;
  const span = spanIdHex(`${messageId}:client.dispatch`);
  return {
    action: 'RESUME',
    header: createHeader({
      ...{sessionId, messageId, traceId, parentMessageId, targetAgentType, userName},
      // Whoever answers, the agent goes on for whom it works.
      userCode: made.user,
      metadata: {
        by_reply: made.replyId,
        ...(made.questionId === '' ? {} : {by_question: made.questionId}),
        ...(userCode === '' ? {} : {by_user_code: userCode}),
        by_sent_at: made.now,
      },
      ...{traceParentSpanId: span, langfuseParentObservationId: span},
    }),
    // Data alone is an answer, and a RESUME without text needs a status.
    status: request.status ?? (hasContent(content) ? '' : 'COMPLETED'),
    ...{content, replyData: data, extraPayload},
  };
}

interface Refused {
  readonly record: ExecutionRecord;
  readonly questionId: string;
  readonly replyId: string;
  readonly userCode: string;
}

function refusal(
  outcome: Exclude<AnswerOutcome, {kind: 'accepted' | 'known'}>,
  {record, questionId, replyId, userCode}: Refused,
): ByError {
  const {sessionId, executionId} = record;
  const details = {sessionId, executionId, ...(questionId === '' ? {} : {questionId}), replyId};
  const next = [`by tail ${sessionId}`];
  const notWaiting = (message: string, hint: string, status: string) =>
    new ByError('NOT_WAITING', message, {hint, next, details: {...details, status}});
  switch (outcome.kind) {
    case 'answered':
      return new ByError('ALREADY_ANSWERED', `Somebody else has answered${byWhom(outcome.by)}.`, {
        hint: 'The first answer counts; see what came of it.',
        next,
        details: {...details, answered: outcome.by},
      });
    case 'late':
      return new ByError('ANSWER_TOO_LATE', 'Its time has passed: nobody takes the answer any more.', {
        hint: 'See what the agent did without it.',
        ...{next, details},
      });
    case 'ended':
      return notWaiting(
        `Execution "${executionId}" has ended (${outcome.status}): it waits for no answer.`,
        'To go on with it all the same, say so: --continue, or `continues` of the library.',
        outcome.status,
      );
    case 'open':
      return notWaiting(
        `Execution "${executionId}" has not ended (${outcome.status}).`,
        'Answer what it asks, or wait for its end.',
        outcome.status,
      );
    case 'unasked':
      return notWaiting(
        `Execution "${executionId}" does not wait for this answer (${outcome.status}).`,
        'See what it asks now: `by reply SESSION` lists it.',
        outcome.status,
      );
    case 'running':
      return notWaiting(
        `Execution "${executionId}" runs, and asks nothing.`,
        'Answer once it has asked.',
        record.status,
      );
    case 'foreign':
      return notTheirs(sessionId, userCode);
    case 'missing':
      return new ByError('NOT_FOUND', `Session "${sessionId}" has no execution "${executionId}" any more.`, {
        hint: 'Sessions are kept for seven days.',
      });
    case 'reused':
      return new ByError('CONFLICT', `The reply id "${replyId}" was another execution's.`, {
        hint: 'Use a new id for each answer.',
        details,
      });
  }
}

const byWhom = ({at, userCode}: EarlierAnswer): string =>
  `${userCode === '' ? '' : ` ("${userCode}")`}${at === 0 ? '' : ` at ${new Date(at).toISOString()}`}`;
