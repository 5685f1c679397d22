/** `by reply`: find the question that is meant, and answer it. */
import {systemClock} from '../clock.js';
import {askingOf, openQuestions, type OpenQuestion} from '../availability/questions.js';
import {
  reply,
  replyCommand,
  severalQuestions,
  type ReplyRequest,
  type ReplyResult,
} from '../availability/reply.js';
import {ByError} from '../errors.js';
import {execField, type ExecutionRecord} from '../protocol/execution.js';
import {isTerminal} from '../protocol/states.js';
import {findByMessage, findExecution, sessionExecutions} from '../store/executions.js';
import {requireOwn} from '../store/ownership.js';
import {findSessions} from '../store/sessions.js';
import {checkServer, serverTimeMs, type Store} from '../store/store.js';
import {chosenSession, LOOK_AT_KEYS, type SessionChoice} from './choose-session.js';
import {checkedId} from './ids.js';
import {paint, type Printer} from './printer.js';
import {leftMs, promptOf, showQuestion} from './question-text.js';

/** Asks the person at the terminal. @returns undefined if they left, or `signal` said that nobody waits any more. */
export type AskPerson = (
  question: OpenQuestion,
  options: {readonly leftMs: number; readonly signal: AbortSignal},
) => Promise<string | undefined>;

export type GivenAnswer = Pick<
  ReplyRequest,
  'status' | 'data' | 'questionId' | 'replyId' | 'userCode' | 'userName' | 'continues'
>;

export interface RunReply extends SessionChoice {
  /** An execution, a message or a session. */
  readonly target: string | undefined;
  /** undefined if none was given. */
  readonly text: string | undefined;
  readonly given: GivenAnswer;
  readonly signal: AbortSignal;
  /** undefined where nobody can be asked. */
  readonly ask: AskPerson | undefined;
}

/** @throws {ByError} as reply(); NOT_WAITING if nothing is asked, USAGE and NOT_FOUND for what is not there. */
export async function runReply(
  store: Store,
  printer: Printer,
  run: RunReply,
): Promise<ReplyResult | {readonly questions: readonly OpenQuestion[]}> {
  await checkServer(store);
  const {sessionId, record} = await placeOf(store, run);
  await requireOwn(store, sessionId, run.given.userCode ?? '');
  const content = run.text;
  const isAnswer = content !== undefined || run.given.status !== undefined || run.given.data !== undefined;
  const open =
    record === undefined ? await openQuestions(store, sessionId) : (await askingOf(store, record)).open;
  const meant = run.given.questionId;
  const one = meant === undefined ? only(open) : open.find(question => question.questionId === meant);
  if (!isAnswer) {
    if (one === undefined || run.ask === undefined) return list(store, printer, sessionId, open);
    const told = await askUntilDue(store, run.ask, one, run.signal);
    if (told.kind === 'answer')
      return done(printer, one, told.text, await send(store, run, sessionId, one.executionId, told.text));
    if (told.kind === 'left')
      throw new ByError('INPUT_NEEDED', 'Nothing was answered.', {
        hint: 'Give the answer after the id, or answer the question.',
        next: [replyCommand(one)],
      });
    throw new ByError('NOT_WAITING', 'Somebody else has answered, or its time has passed.', {
      hint: 'See what came of it.',
      next: [`by tail ${sessionId}`],
    });
  }
  if (record === undefined && open.length > 1 && meant === undefined)
    throw severalQuestions(open, `Session "${sessionId}"`);
  const executionId =
    record?.executionId ?? one?.executionId ?? (await silentExecution(store, run, sessionId));
  return done(printer, one, content ?? '', await send(store, run, sessionId, executionId, content ?? ''));
}

const only = (open: readonly OpenQuestion[]): OpenQuestion | undefined =>
  open.length === 1 ? open[0] : undefined;

const send = (
  store: Store,
  {given, signal}: RunReply,
  sessionId: string,
  executionId: string,
  content: string,
): Promise<ReplyResult> => reply(store, systemClock, {...given, sessionId, executionId, content, signal});

/** What came of asking: who leaves answers nothing; what is closed, somebody else answered, or its time has passed. */
export type Told = {readonly kind: 'answer'; readonly text: string} | {readonly kind: 'left' | 'closed'};

/** Ask the person, until nobody waits for the answer any more. */
export async function askUntilDue(
  store: Store,
  ask: AskPerson,
  question: OpenQuestion,
  signal: AbortSignal,
): Promise<Told> {
  const closed = new AbortController();
  const watch = setInterval(() => {
    isOpen(store, question).then(
      open => {
        if (!open) closed.abort();
      },
      () => {
        // Redis is away; the answer itself will say so.
      },
    );
  }, LOOK_EVERY_MS);
  const now = await serverTimeMs(store);
  try {
    const options = {leftMs: leftMs(question, now), signal: AbortSignal.any([signal, closed.signal])};
    const text = await ask(question, options);
    if (text !== undefined) return {kind: 'answer', text};
    return {kind: closed.signal.aborted ? 'closed' : 'left'};
  } finally {
    clearInterval(watch);
  }
}

const LOOK_EVERY_MS = 1000;

async function isOpen(store: Store, {sessionId, executionId, questionId}: OpenQuestion): Promise<boolean> {
  const record = await findExecution(store, sessionId, executionId);
  if (record === undefined) return false;
  return (await askingOf(store, record)).open.some(open => open.questionId === questionId);
}

function done(
  printer: Printer,
  question: OpenQuestion | undefined,
  answer: string,
  result: ReplyResult,
): ReplyResult {
  const asked = question === undefined ? result.executionId : (promptOf(question).split(/\r?\n/)[0] ?? '');
  const verb = result.duplicate ? 'had been answered' : 'answered';
  const [first = ''] = answer.split(/\r?\n/);
  printer.out(
    paint.green(printer.symbol('ok')),
    ` ${verb}  `,
    paint.bold(result.agentType),
    `  ${asked}  `,
    first,
  );
  printer.note(`watch it with  `, paint.cyan(`by tail ${result.sessionId}`));
  return result;
}

/** @throws {ByError} NOT_WAITING if there is none. */
async function list(
  store: Store,
  printer: Printer,
  sessionId: string,
  questions: readonly OpenQuestion[],
): Promise<{readonly questions: readonly OpenQuestion[]}> {
  if (questions.length === 0) throw nothingAsked(sessionId);
  const now = await serverTimeMs(store);
  for (const question of questions) {
    showQuestion(printer, question, now);
    printer.note('  answer with  ', paint.cyan(replyCommand(question)));
  }
  return {questions};
}

/** The one execution that is meant, of a session that asks nothing: to go on with its end, or to learn who was first. */
async function silentExecution(store: Store, {given}: RunReply, sessionId: string): Promise<string> {
  const roots = (await sessionExecutions(store, sessionId)).filter(
    ({status, sourceAgentType}) =>
      sourceAgentType === 'client' && (given.continues !== true || isTerminal(status)),
  );
  const [first, ...others] = roots;
  if (first !== undefined && others.length === 0) return first.executionId;
  if (given.continues !== true) throw nothingAsked(sessionId);
  throw new ByError('USAGE', `Session "${sessionId}" has ${roots.length} executions that have ended.`, {
    hint: 'Name the one to go on with in place of the session.',
    next: [`by exec list --session ${sessionId}`],
  });
}

const nothingAsked = (sessionId: string): ByError =>
  new ByError('NOT_WAITING', `Nothing in session "${sessionId}" waits for a person.`, {
    hint: 'See what it does now.',
    next: [`by session show ${sessionId}`],
  });

interface Place {
  readonly sessionId: string;
  /** undefined if the whole session was named. */
  readonly record: ExecutionRecord | undefined;
}

/** @throws {ByError} USAGE, NOT_FOUND. */
async function placeOf(store: Store, run: RunReply): Promise<Place> {
  const chosen = await chosenSession(store, run);
  const {target} = run;
  if (target === undefined) {
    if (chosen !== undefined) return {sessionId: chosen, record: undefined};
    throw new ByError('USAGE', 'Answer what?', {
      hint: 'Name an execution or a session, or say --last for the session heard of last.',
      next: ['by session list'],
    });
  }
  checkedId(target, 'execution or session id');
  if (chosen !== undefined) {
    if (chosen === target) return {sessionId: chosen, record: undefined};
    const record =
      (await findExecution(store, chosen, target)) ?? (await findByMessage(store, chosen, target));
    if (record !== undefined) return {sessionId: chosen, record};
    throw new ByError('NOT_FOUND', `Session "${chosen}" has no execution or message "${target}".`, {
      hint: 'Check the ids.',
      next: [`by exec list --session ${chosen}`],
    });
  }
  const registry = store.keys.sessionRegistry(target);
  const isSession = await store.commands.run(redis => redis.exists(registry), {retryForMs: 5000});
  if (isSession > 0) return {sessionId: target, record: undefined};
  return placeOfExecution(store, target);
}

/** Sessions that are asked in one go. */
const BATCH = 200;

/** The protocol has no index of executions: the sessions of the server are asked one by one. */
async function placeOfExecution(store: Store, executionId: string): Promise<Place> {
  const {sessionIds, isComplete} = await findSessions(store, LOOK_AT_KEYS);
  for (let from = 0; from < sessionIds.length; from += BATCH) {
    const batch = sessionIds.slice(from, from + BATCH);
    const found = await store.commands.run(
      redis =>
        Promise.all(batch.map(id => redis.hexists(store.keys.sessionRegistry(id), execField(executionId)))),
      {retryForMs: 5000},
    );
    const sessionId = batch[found.indexOf(1)];
    const record = sessionId === undefined ? undefined : await findExecution(store, sessionId, executionId);
    if (record !== undefined) return {sessionId: record.sessionId, record};
  }
  throw new ByError('NOT_FOUND', `There is no execution or session "${executionId}" here.`, {
    hint: isComplete
      ? 'Check the id; sessions are kept for seven days.'
      : 'Not all sessions were looked at: name its session with --session.',
    next: ['by session list'],
  });
}
