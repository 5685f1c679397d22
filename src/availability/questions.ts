/** Questions that wait for a person: of durable agents, of agents that handle each command, and of other SDKs' agents. */
import {askUserPrompt, eventKind, eventText, readEventEntry, type DataEvent} from '../protocol/events.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {integerOf} from '../protocol/fields.js';
import {readable} from '../protocol/limits.js';
import {announcedQuestion, turnQuestionId, type QuestionTerms} from '../protocol/question.js';
import {approvalQuestion} from '../protocol/orchestration/approval.js';
import {isTerminal} from '../protocol/states.js';
import {approvalsOfMessage, type MessageApprovals} from '../store/approvals.js';
import {eventsBefore} from '../store/data-streams.js';
import {sessionExecutions} from '../store/executions.js';
import {readJournal} from '../store/journal.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {isTurnAnswered} from '../store/user-answers.js';

export interface OpenQuestion extends QuestionTerms {
  readonly sessionId: string;
  readonly executionId: string;
  /** Of the execution that asks. */
  readonly messageId: string;
  readonly agentType: string;
  /** What an answer names; '' from a worker of another SDK. */
  readonly questionId: string;
  /** '' if the event that asked is not among the newest thousands of its session. */
  readonly prompt: string;
  /** Until when an answer is taken, in Unix milliseconds by Redis's clock; 0 as long as it takes. */
  readonly dueAt: number;
}

/** What an execution asked, and whether somebody has answered. */
export interface Asking {
  readonly open: readonly OpenQuestion[];
  /** Questions of a durable agent's run that were answered, or whose time has passed. */
  readonly closed: readonly string[];
}

/**
 * What an execution asks of a person.
 * @param readApprovals for who reads them too; called where they matter.
 */
export async function askingOf(
  store: Store,
  record: ExecutionRecord,
  readApprovals = () => approvalsOfMessage(store, record),
): Promise<Asking> {
  const {entries, outcomes} = await readJournal(store, record);
  if (isTerminal(record.status)) return {open: [], closed: []};
  const approvals = await approvalsAsked(record, readApprovals);
  if (entries.size === 0) return {open: [...approvals, ...(await askedByTurn(store, record))], closed: []};
  const asked = [...entries].filter(([, {kind}]) => kind === 'ask-user').sort(([a], [b]) => a - b);
  // Its timer may go off a moment late; the answer would come too late all the same.
  const now = asked.some(([, {dueAt}]) => dueAt > 0) ? await serverTimeMs(store) : 0;
  const isOver = ([index, {dueAt}]: (typeof asked)[number]) =>
    outcomes.has(index) || (dueAt > 0 && dueAt <= now);
  const open = asked
    .filter(each => !isOver(each))
    .map(([, entry]) => ({
      ...placeOf(record),
      questionId: entry.messageId,
      ...(entry.question ?? {prompt: entry.note}),
      dueAt: entry.dueAt,
    }));
  const closed = asked.filter(isOver).map(([, {messageId}]) => messageId);
  return {open: [...approvals, ...open], closed};
}

/** Every question of a session that waits, oldest execution first. */
export async function openQuestions(store: Store, sessionId: string): Promise<OpenQuestion[]> {
  const records = await sessionExecutions(store, sessionId);
  const waiting = records.filter(({status}) => status === 'WAITING_USER' || status === 'RUNNING');
  const asking = await Promise.all(waiting.map(record => askingOf(store, record)));
  return asking.flatMap(({open}) => open);
}

const placeOf = ({sessionId, executionId, messageId, targetAgentType}: ExecutionRecord) => ({
  ...{sessionId, executionId, messageId},
  agentType: targetAgentType,
});

/** Calls of the turn that runs which a person has to allow. */
async function approvalsAsked(
  record: ExecutionRecord,
  readApprovals: () => Promise<MessageApprovals | undefined>,
): Promise<OpenQuestion[]> {
  if (record.status !== 'RUNNING') return [];
  const asked = await readApprovals();
  return (asked?.open ?? []).map(approval => ({
    ...placeOf(record),
    questionId: approval.approvalId,
    ...approvalQuestion(approval),
    dueAt: approval.expiresAt,
  }));
}

async function askedByTurn(store: Store, record: ExecutionRecord): Promise<OpenQuestion[]> {
  if (record.status !== 'WAITING_USER' || (await isTurnAnswered(store, record))) return [];
  const attempt = integerOf(record.extra['x_attempt'], 0);
  const questionId = attempt > 0 ? turnQuestionId(record.executionId, attempt) : '';
  const event = await eventOf(store, record, questionId);
  if (event === undefined) return [{...placeOf(record), questionId, prompt: '', dueAt: 0}];
  const {questionId: _id, withinMs: _within, ...terms} = announcedQuestion(event.metadata);
  const prompt = askUserPrompt(event)?.prompt ?? eventText(event);
  return [{...placeOf(record), questionId, prompt, ...terms, dueAt: 0}];
}

const PAGE = 500;
const MOST_PAGES = 10;

/** The newest event that asked for this execution. */
async function eventOf(
  store: Store,
  {sessionId, messageId}: ExecutionRecord,
  questionId: string,
): Promise<DataEvent | undefined> {
  let before = '+';
  for (let page = 0; page < MOST_PAGES; page++) {
    const rows = await eventsBefore(store, sessionId, before, PAGE);
    for (const {id, data} of rows) {
      before = id;
      const event = readable(() => readEventEntry(data));
      if (event === undefined || eventKind(event) !== 'ask') continue;
      const named = announcedQuestion(event.metadata).questionId;
      if (named === '' ? event.messageId === messageId : named === questionId) return event;
    }
    if (rows.length < PAGE) return undefined;
  }
  return undefined;
}
