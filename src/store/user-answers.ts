/** Answers of people: accepted once, and only while they are waited for (guarantees rule 10). */
import type {ExecutionRecord} from '../protocol/execution.js';
import {integerOf, objectOf, textOf} from '../protocol/fields.js';
import {encodeAnswer, type Answer} from '../protocol/journal.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {parseUntrustedObject, readable} from '../protocol/limits.js';
import {TERMINAL_STATES} from '../protocol/states.js';
import {encodeOutboxItem, flushOutbox, forgetOutbox, noteOutbox} from './outbox.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

const RETRY = {retryForMs: 5000};

const replyScript = defineScript({
  file: 'reply.lua',
  keys: ['registry', 'journal', 'stream'],
  args: [
    ...['executionId', 'replyId', 'question', 'continues', 'answer'],
    ...['document', 'userCode', 'terminal', 'ttlS'],
  ],
  reply: texts,
});

export interface UserAnswer {
  readonly sessionId: string;
  readonly executionId: string;
  readonly replyId: string;
  /** What is answered; '' of a worker of another SDK. */
  readonly questionId: string;
  /** The execution has ended, and this goes on with it. */
  readonly continues: boolean;
  readonly answer: Answer;
  /** The RESUME, and where it goes. */
  readonly stream: string;
  readonly document: string;
  /** Whose the session must be; '' for an operator. */
  readonly userCode: string;
}

/** Who answered before; what is not known is '' or 0. */
export interface EarlierAnswer {
  /** Unix milliseconds by Redis's clock. */
  readonly at: number;
  readonly userCode: string;
  readonly replyId: string;
}

/** What reply.lua says; its header tells what each means. */
export type AnswerOutcome =
  | {readonly kind: 'accepted'; readonly entryId: string}
  | {readonly kind: 'answered'; readonly by: EarlierAnswer}
  | {readonly kind: 'ended' | 'open' | 'unasked'; readonly status: string}
  | {readonly kind: 'known'}
  | {readonly kind: 'late' | 'running' | 'foreign' | 'missing' | 'reused'};

/** One step on a single server; in a Cluster those of outbox.ts. Safe to repeat by its reply id. */
export async function acceptAnswer(store: Store, answer: UserAnswer): Promise<AnswerOutcome> {
  const {keys} = store;
  const {sessionId, stream, document} = answer;
  const isCluster = await store.commands.isCluster();
  const note = isCluster ? await noteOutbox(store, sessionId) : undefined;
  const reply = await replyScript(
    store.commands,
    {
      keys: {
        registry: keys.sessionRegistry(sessionId),
        journal: keys.journal(sessionId, answer.executionId),
        stream: isCluster ? keys.sessionOutbox(sessionId) : stream,
      },
      args: {
        executionId: answer.executionId,
        replyId: answer.replyId,
        question: answer.questionId,
        continues: answer.continues ? '1' : '0',
        answer: encodeAnswer(answer.answer),
        document: isCluster ? encodeOutboxItem({stream, document}) : document,
        userCode: answer.userCode,
        terminal: JSON.stringify([...TERMINAL_STATES]),
        ttlS: SESSION_TTL_S,
      },
    },
    RETRY,
  );
  const outcome = outcomeOf(reply);
  if (note === undefined) return outcome;
  // Also what an earlier try left there.
  const delivered = await flushOutbox(store, sessionId);
  await forgetOutbox(store, note).catch(() => undefined);
  return outcome.kind === 'accepted'
    ? {kind: 'accepted', entryId: delivered.get(outcome.entryId) ?? ''}
    : outcome;
}

function outcomeOf([kind = '', detail = '']: readonly string[]): AnswerOutcome {
  switch (kind) {
    case 'accepted':
      return {kind, entryId: detail};
    case 'answered':
      return {kind, by: earlierAnswer(detail)};
    case 'ended':
    case 'open':
    case 'unasked':
      return {kind, status: detail};
    case 'known':
    case 'late':
    case 'running':
    case 'foreign':
    case 'missing':
    case 'reused':
      return {kind};
    default:
      throw new TypeError(`reply.lua answered "${kind}"`);
  }
}

function earlierAnswer(text: string): EarlierAnswer {
  const doc = objectOf(readable(() => parseUntrustedObject(text)));
  return {
    at: integerOf(doc['at'], 0),
    userCode: textOf(doc['user_code']),
    replyId: textOf(doc['reply_id']),
  };
}

/** Whether an execution was given the answer of this id before. */
export async function wasAccepted(
  store: Store,
  {sessionId, executionId}: Pick<ExecutionRecord, 'sessionId' | 'executionId'>,
  replyId: string,
): Promise<boolean> {
  const registry = store.keys.sessionRegistry(sessionId);
  const known = await store.commands.run(redis => redis.hget(registry, `x_reply:${replyId}`), RETRY);
  // What a sender left on its way in a Cluster goes on now.
  if (known === executionId && (await store.commands.isCluster())) await flushOutbox(store, sessionId);
  return known === executionId;
}

/** Whether somebody has answered the turn that waits now: of an execution without a journal. */
export async function isTurnAnswered(store: Store, record: ExecutionRecord): Promise<boolean> {
  const registry = store.keys.sessionRegistry(record.sessionId);
  const text = await store.commands.run(
    redis => redis.hget(registry, `x_answer:${record.executionId}`),
    RETRY,
  );
  const turn = `${integerOf(record.extra['x_attempt'], 0)}/${record.timeline.length}`;
  return text !== null && readable(() => parseUntrustedObject(text))?.['turn'] === turn;
}
