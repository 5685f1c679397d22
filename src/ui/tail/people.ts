/** The person at `by tail`: what waits for an answer in the session, and answering it. */
import {ByError, messageOf} from '../../errors.js';
import {sleep, systemClock} from '../../clock.js';
import {openQuestions, type OpenQuestion} from '../../availability/questions.js';
import {reply} from '../../availability/reply.js';
import {promptOf} from '../../cli/question-text.js';
import {serverTimeMs, type Store} from '../../store/store.js';
import type {People} from './app.js';

export interface Person {
  readonly sessionId: string;
  /** For whom they act; undefined for an operator. */
  readonly userCode?: string | undefined;
}

export const personAtTail = (store: Store, person: Person): People => ({
  async questions() {
    const open = await openQuestions(store, person.sessionId);
    if (open.every(({dueAt}) => dueAt === 0)) return open.map(question => shown(question, 0));
    const ahead = systemClock() - (await serverTimeMs(store));
    return open.map(question => shown(question, ahead));
  },
  async reply({question, text}) {
    try {
      await answerAs(store, person, question, text);
      return `answered ${question.agentType}: ${text}`;
    } catch (error) {
      return error instanceof ByError ? `${error.code}  ${error.message} ${error.hint}` : messageOf(error);
    }
  },
});

/** @throws {ByError} as reply(). */
export async function answerAs(
  store: Store,
  {sessionId, userCode}: Person,
  {executionId, questionId}: Pick<OpenQuestion, 'executionId' | 'questionId'>,
  content: string,
): Promise<void> {
  await reply(store, systemClock, {
    ...{sessionId, executionId, content},
    ...(questionId === '' ? {} : {questionId}),
    ...(userCode === undefined ? {} : {userCode}),
  });
}

/** How often a tail with answers at hand looks for questions. */
const LOOK_EVERY_MS = 250;

/** Give answers to the questions of a session as they come, in order, until all are given. @throws {ByError} as reply(). */
export async function answerInOrder(
  store: Store,
  person: Person,
  answers: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const text of answers) {
    for (;;) {
      if (signal.aborted) return;
      const [question] = await openQuestions(store, person.sessionId);
      if (question !== undefined && (await isTaken(answerAs(store, person, question, text)))) break;
      await sleep(LOOK_EVERY_MS, signal);
    }
  }
}

/** @returns false if somebody else was first, or its time has passed: the answer is for the next question. */
async function isTaken(answering: Promise<void>): Promise<boolean> {
  try {
    await answering;
    return true;
  } catch (error) {
    if (error instanceof ByError && ['ALREADY_ANSWERED', 'ANSWER_TOO_LATE'].includes(error.code))
      return false;
    throw error;
  }
}

/** @param ahead how far this process's clock is ahead of Redis's, in milliseconds. */
const shown = (question: OpenQuestion, ahead: number) => ({
  ...question,
  prompt: promptOf(question),
  dueAt: question.dueAt === 0 ? 0 : question.dueAt + ahead,
});
