/** One turn: claim an execution, run the agent, end it. The order and the wire forms follow spec §6.5. */
import {ByError, messageOf} from '../errors.js';
import {newEventId, newExecutionId} from '../ids.js';
import type {Logger} from '../log.js';
import {commandToWire, hasContent, type AskCommand, type ResumeCommand} from '../protocol/commands.js';
import {deadlineOf, deadlineText} from '../protocol/deadline.js';
import {alarmFull, FULL_RETRY_MS} from '../availability/full-letters.js';
import {encodeDeadLetter, entryTimeMs, newDeadLetter, wholeCommand} from '../protocol/deadletter.js';
import {encodeEvent, endOfStreamEvent, finalAnswerEvent, type EventContext} from '../protocol/events.js';
import {
  callDepth,
  cleanCount,
  countedAttempts,
  encodeRecord,
  firstAcceptedAt,
  newExecutionRecord,
  pastAttempts,
  replyContextOf,
  type ReplyContext,
} from '../protocol/execution.js';
import type {Header} from '../protocol/header.js';
import {answerOf, type Journal} from '../protocol/journal.js';
import {announcedQuestion} from '../protocol/question.js';
import {askersContext, encodeReply, noAnswer} from '../protocol/reply.js';
import {finalAnswerText, normalizeResult, type TaskResult} from '../protocol/results.js';
import {isTerminal} from '../protocol/states.js';
import {takeAnswer} from '../store/answers.js';
import type {ControlEntry} from '../store/control-streams.js';
import {
  claimExecution,
  endAttempt,
  executionHint,
  findByMessage,
  findExecution,
  finishTurn,
  type Claim,
  type ClaimRequest,
  type Finish,
} from '../store/executions.js';
import {holderOf} from '../store/recovery.js';
import type {Store} from '../store/store.js';
import type {Handler} from './agent.js';
import {answersApproval, mayAnswerApproval} from './approval-answer.js';
import {TurnCalls, type Refusal} from './calls.js';
import {AgentContext, type ContextFacts} from './context.js';
import type {ExhaustReport} from './status-report.js';
import {durableCalls} from './durable/calls.js';
import {callerHere} from './durable/caller-here.js';
import {answerIn, questionOf, runDurable} from './durable/turn.js';
import {EventWriter} from './event-writer.js';
import type {RenewedSessions} from '../store/renewed-sessions.js';
import {joinAnswer, type Answered} from './resume.js';
import {resumableFields, snapshotAfter} from './snapshots.js';
import {asksForRetry, isRetryableError, retryDelayMs, type RetryPolicy} from './retry.js';
import type {ClaimUnderWay, RunningTask, RunningTasks} from './running.js';
import {isStaleFence, type RunFences} from './run-fences.js';
import type {Settler} from './settler.js';
import type {PluginHost} from '../plugins/host.js';
import {asideOnce} from './slots.js';
import {traceEnded, traceTurn, type TracedTurn} from './turn-trace.js';
import type {SessionFiles} from '../files/file-store.js';
import type {EndedExecution, FrameworkCounts} from '../observe/framework-metrics.js';
import type {Tracer} from '../protocol/tracer.js';
import type {ExecutionEnds} from './execution-ends.js';
import type {HistoryAccess} from '../history/saver.js';
import {TurnHistory} from './turn-history.js';
import {TurnPlugins, type TurnEnd} from './turn-plugins.js';

export interface TurnEnvironment {
  readonly store: Store;
  readonly workerId: string;
  /** Worker id and incarnation: who holds a fence. */
  readonly owner: string;
  readonly group: string;
  readonly now: () => number;
  readonly log: Logger;
  readonly running: RunningTasks;
  readonly fences: Pick<RunFences, 'mayRun' | 'ended'>;
  readonly renewed: RenewedSessions;
  /** Told of turns and calls; undefined: nobody is. */
  readonly tracer?: Tracer | undefined;
  /** Counts executions, and commands that are sent from here. */
  readonly metrics?: FrameworkCounts | undefined;
  readonly settler: Settler;
  /** Told how executions end; absent where no circuit may open by that. */
  readonly ends?: Pick<ExecutionEnds, 'note'> | undefined;
  /** Where what is said is kept; undefined for nowhere. */
  readonly history?: HistoryAccess | undefined;
  /** Told of turns as they begin and end. */
  readonly plugins?: PluginHost | undefined;
  /** Whether settled entries of this stream are deleted: not while another group reads it. */
  deletesEntries(stream: string): boolean;
  /** Aborted when the worker must end its work without finishing it. */
  readonly abandon: AbortSignal;
  /** Milliseconds a cancelled handler gets to stop by itself. */
  readonly cancelGraceMs: number;
  /** Starts an execution has, in all, where its agent says nothing else. */
  readonly maxAttempts: number;
  /** The folder in which sessions have their workspaces. */
  readonly workspaceRoot: string;
  readonly files?: SessionFiles | undefined;
  /** Told when a timer goes off that an execution of this worker waits for; Infinity if there is none. */
  readonly wakeIn?: (ms: number) => void;
  /** Give this turn's slot to others until the returned function is called: it waits for something outside. */
  stepAside(): () => void;
  /** Whether this worker serves an agent type and has a slot for it now. */
  servesNow(agentType: string): boolean;
  /** Whether the process that holds a fence is gone. */
  isGone(owner: string): Promise<boolean>;
  /** Agent code found a quota used up. */
  reportExhausted(report: ExhaustReport): Promise<void>;
}

/** An entry on its way to a slot. */
export interface Delivery {
  readonly entry: ControlEntry;
  /** The agent type whose stream it was on; undefined for the worker's own stream. */
  readonly agentType: string | undefined;
  /** The dead consumer it was taken from; '' if it came to us first. */
  readonly takenFrom: string;
  /** Its execution crashed workers, or was there when others did: nothing else may run beside it. */
  readonly alone: boolean;
}

/** What becomes of an entry whose turn is over here. */
export type TurnOutcome =
  /** Nothing more to do. */
  | {readonly kind: 'over'}
  /** It stays ours and is tried again: without a slot, after `delayMs`. */
  | {readonly kind: 'later'; readonly delayMs: number}
  /** It was not begun, and this worker will not begin it. */
  | {readonly kind: 'unbegun'};

const OVER: TurnOutcome = {kind: 'over'};

export type TurnCommand = AskCommand | ResumeCommand;

/** How a handler ended. */
type Ending =
  | {
      readonly kind: 'result';
      readonly result: TaskResult;
      readonly retryable: boolean;
      /** The handler's result is that nobody took its call. */
      readonly refused?: Refusal | undefined;
    }
  | {readonly kind: 'failed'; readonly error: unknown; readonly retryable: boolean}
  | {readonly kind: 'cancelled'; readonly reason: string}
  /** Its deadline passed: what it answered afterwards nobody waits for. */
  | {readonly kind: 'late'; readonly error: ByError}
  /** It waits, and everything is written; or somebody else has ended it. */
  | {readonly kind: 'parked'; readonly status: string}
  /** The turn is not ours any more, or the worker stops. */
  | {readonly kind: 'abandoned'};

/** The sender has set the registry's lifetime; only work that took long has to renew it. */
const RENEW_REGISTRY_AFTER_MS = 3_600_000;
/** When a command whose execution is busy looks again. */
const BUSY_MS = 100;

/** An execution that is ours to end. */
interface Turn {
  readonly claim: Claim;
  readonly task: RunningTask;
  /** Of a durable execution, if the claim read it. */
  readonly journal?: Journal;
  plugins?: TurnPlugins | undefined;
}

/** Run one command to its end. Never rejects for what agent code does; rejects when Redis can not be reached. */
export async function runTurn(
  env: TurnEnvironment,
  delivery: Delivery,
  command: TurnCommand,
  agentType: string,
  handler: Handler,
): Promise<TurnOutcome> {
  if (command.action === 'RESUME' && mayAnswerApproval(command.header)) {
    if (await answersApproval(env.store, env.log, delivery.entry, command)) {
      env.settler.add(delivery.entry);
      return OVER;
    }
  }
  const maxAttempts = handler.retry.maxAttempts ?? env.maxAttempts;
  const begun = await env.running.whileClaiming(claim =>
    handler.run && command.action === 'RESUME'
      ? goOn(env, delivery, command, agentType, maxAttempts, claim)
      : beginTurn(env, delivery, command, agentType, maxAttempts, claim),
  );
  if ('kind' in begun) return begun;
  const {claim, task} = begun;
  const deadline =
    claim.leftMs === undefined ? undefined : setTimeout(() => task.expire(), Math.max(0, claim.leftMs));
  try {
    return await carryOut(env, delivery, command, agentType, handler, begun);
  } finally {
    clearTimeout(deadline);
    env.fences.ended(task);
    env.running.end(task);
    await begun.plugins?.finish();
  }
}

/** Give a durable execution its answer, and claim it. @returns what becomes of the entry, if no turn begins here. */
async function goOn(
  env: TurnEnvironment,
  delivery: Delivery,
  command: ResumeCommand,
  agentType: string,
  maxAttempts: number,
  underWay: ClaimUnderWay,
): Promise<Turn | TurnOutcome> {
  const {entry} = delivery;
  const request = claimRequest(env, delivery, command, undefined, agentType, maxAttempts);
  const answer = answerIn(command);
  const taken = await takeAnswer(env.store, request, questionOf(command.header), answer);
  switch (taken.kind) {
    case 'begin': {
      const claim = await claimTurn(env, delivery, request, taken.claim);
      const begun = claimed(env, delivery, command, agentType, claim, underWay);
      // One that was claimed by another try has been read without its answers.
      const isRead = 'task' in begun && claim === taken.claim;
      return isRead ? {...begun, journal: taken.journal} : begun;
    }
    case 'kept': {
      const {index, order, at} = taken;
      // As the turns to come will read it.
      env.running.hear(taken.by, {index, outcome: {order, at, value: answerOf(answer)}});
      env.settler.add(entry);
      return OVER;
    }
    case 'early':
      return {kind: 'later', delayMs: BUSY_MS};
    case 'answered':
    case 'unknown':
    case 'terminal':
      env.log.info('an answer nobody waits for', {
        ...{entry: entry.id, session_id: command.header.sessionId, why: taken.kind},
      });
      env.settler.add(entry);
      return OVER;
  }
}

/** Claim the execution. @returns what becomes of the entry, if it is not ours to run now. */
async function beginTurn(
  env: TurnEnvironment,
  delivery: Delivery,
  command: TurnCommand,
  agentType: string,
  maxAttempts: number,
  underWay: ClaimUnderWay,
): Promise<Turn | TurnOutcome> {
  const answers = command.action === 'RESUME' ? await joinAnswer(env.store, command, env.now()) : undefined;
  if (answers === 'nothing') {
    env.settler.add(delivery.entry);
    return OVER;
  }
  const request = claimRequest(env, delivery, command, answers, agentType, maxAttempts);
  return claimed(env, delivery, command, agentType, await claimTurn(env, delivery, request), underWay);
}

/** What follows a claim. */
function claimed(
  env: TurnEnvironment,
  delivery: Delivery,
  command: TurnCommand,
  agentType: string,
  claim: Claim | 'stolen',
  underWay: ClaimUnderWay,
): Turn | TurnOutcome {
  if (claim === 'stolen') return OVER;
  switch (claim.verdict) {
    case 'unawaited':
      env.log.info('an answer nobody waits for', {
        ...{session_id: command.header.sessionId, execution_id: claim.executionId},
        ...{answers: command.header.parentMessageId},
      });
      env.settler.add(delivery.entry);
      return OVER;
    case 'terminal':
      if (claim.isHeld) return heldByFullLetters(env);
      // Who ended it may have died before it told.
      if (delivery.takenFrom !== '')
        traceEnded(
          env,
          tracedTurn(env, command, claim, agentType, false),
          callerOf(command, claim) !== undefined,
        );
      env.settler.add(delivery.entry);
      return OVER;
    case 'busy':
    case 'held':
      return {kind: 'later', delayMs: BUSY_MS};
    case 'started':
    case 'cancelled':
    case 'expired':
    case 'exhausted': {
      const {sessionId} = command.header;
      const turn = {sessionId, executionId: claim.executionId, fence: claim.fence};
      return {claim, task: env.running.begin(turn, claim.record.messageId, underWay)};
    }
  }
}

/** Run the agent under the claim, and end the attempt. */
async function carryOut(
  env: TurnEnvironment,
  {entry}: Delivery,
  command: TurnCommand,
  agentType: string,
  handler: Handler,
  turn: Turn,
): Promise<TurnOutcome> {
  const {claim, task} = turn;
  const {header} = command;
  const maxAttempts = handler.retry.maxAttempts ?? env.maxAttempts;
  const log = env.log.child({
    session_id: header.sessionId,
    message_id: header.messageId,
    execution_id: claim.executionId,
    attempt: claim.attempt,
  });
  const startedAt = env.now();
  const endsAt = claim.leftMs === undefined ? Infinity : performance.now() + claim.leftMs;
  const writer = new EventWriter(
    env.store,
    task.turn,
    () => env.renewed.due(header.sessionId),
    () => task.abandon('fenced'),
  );
  const subAgent = callerOf(command, claim) !== undefined;
  const messageId = claim.record.messageId || header.messageId;
  const deadline = claim.leftMs === undefined ? undefined : startedAt + claim.leftMs;
  const stepAside = asideOnce(() => env.stepAside());
  const trace = traceTurn(env, tracedTurn(env, command, claim, agentType, handler.run !== undefined));
  const parentMessageId = claim.record.parentMessageId || header.parentMessageId;
  const history = new TurnHistory(env.history, {
    ...{sessionId: header.sessionId, executionId: claim.executionId, entryId: entry.id},
    ...{traceId: header.traceId, agentType, messageId, parentMessageId, subAgent},
  });
  const bare: ContextFacts = {
    header,
    executionId: claim.executionId,
    attempt: claim.attempt,
    workerId: env.workerId,
    agentType,
    messageId,
    parentMessageId,
    subAgent,
    task,
    deadline,
    log,
    now: env.now,
    workspaceRoot: env.workspaceRoot,
    store: env.store,
    files: env.files,
    history,
    trace,
    reportExhausted: report => env.reportExhausted(report),
    keptRun: claim.record.extra['x_run'],
  };
  const plugins = env.plugins && (await TurnPlugins.begin(env.plugins, bare, claim.record));
  turn.plugins = plugins;
  const facts: ContextFacts = plugins === undefined ? bare : {...bare, plugins};
  const calls = new TurnCalls(env, {
    ...{turn: task.turn, task, writer, header, agentType, messageId, plugins},
    ...{deadline: deadlineOf(claim.record), localDeadline: deadline, depth: callDepth(claim.record)},
    entry: `${entry.stream}/${entry.id}`,
    isFirstStart: claim.attempt === 1,
    stepAside,
    span: trace.span,
  });
  log.info('started', {agent_type: agentType});
  // An execution begins once, however many turns it has.
  if (claim.attempt === 1) {
    env.metrics?.started(agentType, queuedMs(claim.record));
  }
  // The worker may have been told to stop while the claim was under way.
  if (env.abandon.aborted) task.abandon('worker stops');
  const decided = decidedAtClaim(claim, maxAttempts);
  if (decided === undefined && command.action === 'ASK_AGENT')
    history.saveAsk(command.content, header.sourceAgentType);
  let ending =
    decided ??
    (await runHandler(
      env,
      task,
      writer,
      () => trace.within(() => runCode(env, entry, command, handler, turn, writer, facts, calls, stepAside)),
      calls,
      handler.retry,
      command.action === 'ASK_AGENT' && !hasContent(command.content),
      log,
    ));
  if (ending.kind === 'parked') {
    writer.refuse();
    if (ending.status === 'TERMINAL') env.settler.add(entry);
    else {
      history.saveAnswer(ending.status);
      plugins?.ended({kind: 'done', status: ending.status});
    }
    trace.left(ending.status);
    log.info(ending.status.toLowerCase(), {duration_ms: env.now() - startedAt, events: writer.count});
    return OVER;
  }
  if (ending.kind === 'abandoned') {
    log.warn('abandoned', {reason: task.abandonReason ?? 'worker stops'});
    trace.left('ABANDONED');
    if (task.abandonReason !== 'fenced' && task.abandonReason !== 'lease lost')
      await handBack(env, task, writer);
    // What its code goes on to say belongs to nobody.
    writer.refuse();
    return OVER;
  }
  const {crashes, failures} = countedAttempts(claim.record);
  const isLast = crashes + failures + 1 >= maxAttempts;
  const mayRetry = wantsRetry(ending);
  if (mayRetry && !isLast) {
    const error = failureText(ending);
    const delayMs = retryDelayMs(handler.retry, failures + 1);
    if (performance.now() + delayMs < endsAt) {
      const noted = await endAttempt(
        env.store,
        {
          ...{...task.turn, ended: 'failed', workerId: env.workerId, error},
          ...{nowMs: env.now(), retryAtMs: env.now() + delayMs},
          ...(await writer.close()),
        },
        30_000,
      );
      log.warn('failed, to be tried again', {delay_ms: delayMs, error});
      if (noted === 'ok')
        plugins?.ended({kind: 'failed', error: errorOf(ending) ?? new Error(error), willRetry: true});
      trace.left('FAILED', errorOf(ending) ?? new Error(error));
      if (noted === 'terminal') env.settler.add(entry);
      return noted === 'ok' ? {kind: 'later', delayMs} : OVER;
    }
    // Waiting would be of no use: nobody wants an answer that late.
    ending = late(`the next attempt would begin after it, and the last one failed: ${error}`);
  }
  const exhausted = claim.verdict === 'exhausted' || (mayRetry && isLast && maxAttempts > 1);
  const ended = {
    ...{entry, command, header, claim, agentType, writer, calls, subAgent, ending, exhausted, plugins},
    noted: trace.noted(),
  };
  const endsFrom = env.now();
  let outcome = await endTurn(env, ended);
  if (outcome.status === 'CANCELLING') {
    const reason = await cancelReasonOf(env, header.sessionId, claim.executionId);
    ending = {kind: 'cancelled', reason};
    outcome = await endTurn(env, {...ended, ending, exhausted: false});
  }
  const {status} = outcome;
  if (outcome.isWritten) {
    history.saveAnswer(status, wholeAnswer(ending));
    plugins?.ended(toldOf(ending));
  }
  if (isTerminal(status)) {
    env.metrics?.ended(measuredEnd(claim.record, agentType, status, ending, env.now()));
    trace.ended({
      ...{status, error: errorOf(ending), events: writer.count},
      ...(ending.kind === 'result' ? {output: ending.result.content || ending.result.replyData} : {}),
      ...(outcome.hasReplied ? {repliedFrom: endsFrom} : {}),
    });
  } else trace.left(status);
  // What expired before it began says nothing about the agent.
  if (claim.verdict !== 'expired') env.ends?.note(agentType, outcome.status);
  // A handler that was given up, or forgot what it began, learns that nobody takes what it says.
  if (task.stopReason !== undefined) writer.refuse();
  log.info(outcome.status === 'TERMINAL' ? 'had been ended from outside' : outcome.status.toLowerCase(), {
    duration_ms: env.now() - startedAt,
    events: writer.count,
  });
  return outcome.isHeld ? heldByFullLetters(env) : OVER;
}

/** The RESUME that goes on with it may be anybody's: what its turn is held to is known from here. */
const runFields = ({metadata: {by_run: run}}: Header): {readonly x_run?: unknown} =>
  run === undefined ? {} : {x_run: run};

/** The result of an agent as text; '' for a turn that waits, or has none. */
function wholeAnswer(ending: Finished): string {
  if (ending.kind !== 'result' || ending.refused !== undefined || !isTerminal(ending.result.status))
    return '';
  return finalAnswerText(ending.result) ?? '';
}

const tracedTurn = (
  {workerId}: TurnEnvironment,
  command: TurnCommand,
  {record, attempt, executionId}: Claim,
  agentType: string,
  isDurable: boolean,
): TracedTurn => ({
  ...{command, record, attempt, executionId, agentType, workerId, isDurable},
  messageId: record.messageId || command.header.messageId,
});

/** What the claim already says about the end: nothing of the agent runs. */
function decidedAtClaim(claim: Claim, maxAttempts: number): Finished | undefined {
  if (claim.verdict === 'cancelled' || claim.record.status === 'CANCELLING')
    return {kind: 'cancelled', reason: claim.record.cancelReason ?? ''};
  if (claim.verdict === 'expired') {
    const last = pastAttempts(claim.record).at(-1);
    return late(last === undefined ? '' : `its last attempt ended: ${last.error}`);
  }
  if (claim.verdict === 'exhausted')
    return {kind: 'failed', error: exhaustedError(claim, maxAttempts), retryable: false};
  return undefined;
}

/** The end of an execution whose deadline has passed. @param more what is known beside, for people. */
function late(more = ''): Finished {
  const error = new ByError('DEADLINE_EXCEEDED', deadlineText(more), {
    hint: 'Send it again with a later deadline if the answer is still wanted.',
  });
  return {kind: 'late', error};
}

async function cancelReasonOf(env: TurnEnvironment, sessionId: string, executionId: string): Promise<string> {
  return (await findExecution(env.store, sessionId, executionId))?.cancelReason ?? '';
}

/** The execution has ended, but there is no room for its dead letter: the entry must not be acknowledged before there is. */
function heldByFullLetters({store, log}: TurnEnvironment): TurnOutcome {
  alarmFull(store, log);
  return {kind: 'later', delayMs: FULL_RETRY_MS};
}

function claimRequest(
  env: TurnEnvironment,
  {entry, takenFrom}: Delivery,
  command: TurnCommand,
  answers: Answered | undefined,
  agentType: string,
  maxAttempts: number,
): ClaimRequest {
  const {header} = command;
  const isResume = command.action === 'RESUME';
  const reply = isResume ? undefined : askersContext(header);
  const newId = newExecutionId();
  const newRecord = () =>
    encodeRecord(
      newExecutionRecord({
        executionId: newId,
        messageId: header.messageId,
        sessionId: header.sessionId,
        traceId: header.traceId,
        parentMessageId: header.parentMessageId,
        sourceAgentType: header.sourceAgentType,
        targetAgentType: agentType,
        streamName: entry.stream,
        // Nobody noted that it was queued: its life begins with this turn.
        status: 'RUNNING',
        now: env.now(),
        extra: {redis_message_id: entry.id, cancel_requested: false, cancel_reason: ''},
      }),
    );
  return {
    sessionId: header.sessionId,
    messageId: header.messageId,
    hint: executionHint(command),
    newExecutionId: newId,
    newRecord,
    owner: env.owner,
    workerId: env.workerId,
    entry: `${entry.stream}/${entry.id}`,
    nowMs: env.now(),
    reopen: isResume && header.sourceAgentType === '',
    ask: !isResume,
    deadOwner: takenFrom,
    maxAttempts,
    ...(reply === undefined ? {} : {reply}),
    userCode: header.userCode,
    ...(answers === undefined ? {} : {answers}),
    ...(isResume && header.sourceAgentType !== '' ? {callee: header.parentMessageId} : {}),
    ...(isResume ? {question: announcedQuestion(header.metadata).questionId} : {}),
  };
}

/**
 * Take the execution. @returns the claim, or 'stolen' if another worker has taken the entry from us.
 * @param first what the claim was told, if it was tried.
 */
async function claimTurn(
  env: TurnEnvironment,
  {entry, takenFrom}: Delivery,
  request: ClaimRequest,
  first: Claim | 'unknown' = 'unknown',
): Promise<Claim | 'stolen'> {
  let claim = first === 'unknown' ? await claimExecution(env.store, request) : first;
  for (let deadOwner = takenFrom; claim.verdict === 'held';) {
    // A worker that was stopped for long may hold a reply whose entries were taken from it meanwhile.
    if ((await holderOf(env.store, env.group, entry)) !== env.owner) return 'stolen';
    const owner = claim.record.extra['x_owner'];
    if (typeof owner !== 'string' || owner === deadOwner || !(await env.isGone(owner))) return claim;
    deadOwner = owner;
    claim = await claimExecution(env.store, {...request, deadOwner});
  }
  return claim;
}

/** Give an attempt back that this worker can not end. What can not be noted now counts as a crash later. */
async function handBack(env: TurnEnvironment, task: RunningTask, writer: EventWriter): Promise<void> {
  const attempt = {
    ...{...task.turn, ended: 'handed_back' as const, workerId: env.workerId},
    ...{error: 'the worker stopped', nowMs: env.now(), retryAtMs: 0},
    ...(await writer.close()),
  };
  await endAttempt(env.store, attempt, 1000);
}

type Finished = Exclude<Ending, {kind: 'abandoned' | 'parked'}>;

function wantsRetry(ending: Finished): boolean {
  return 'retryable' in ending && ending.retryable;
}

/** Why an attempt failed, in one line for people. */
function failureText(ending: Finished): string {
  if (ending.kind === 'failed' || ending.kind === 'late') return messageOf(ending.error).slice(0, 1024);
  if (ending.kind === 'cancelled') return ending.reason;
  return (finalAnswerText(ending.result) ?? 'the agent answered FAILED').slice(0, 1024);
}

/** Milliseconds a command waited; undefined where nobody noted when it was accepted. */
const queuedMs = ({createdAt, startedAt}: Claim['record']): number | undefined =>
  createdAt === 0 || startedAt === 0 ? undefined : startedAt - createdAt;

function measuredEnd(
  record: Claim['record'],
  agentType: string,
  status: string,
  ending: Finished,
  now: number,
): EndedExecution {
  const {createdAt, startedAt} = record;
  return {
    ...{agentType, status, errorType: errorTypeOf(ending), queueMs: queuedMs(record)},
    runMs: startedAt === 0 ? undefined : now - startedAt,
    totalMs: createdAt === 0 ? undefined : now - createdAt,
  };
}

/** What a failed ending is told as. */
function errorOf(ending: Finished): unknown {
  if (ending.kind === 'failed' || ending.kind === 'late') return ending.error;
  if (ending.kind !== 'result' || ending.result.status !== 'FAILED') return undefined;
  return ending.refused
    ? Object.assign(new Error(ending.refused.error), {code: ending.refused.error_code})
    : new Error(failureText(ending));
}

function exhaustedError({record}: Claim, maxAttempts: number): ByError {
  const {crashes, failures} = countedAttempts(record);
  return new ByError(
    'ATTEMPTS_EXHAUSTED',
    `Started ${crashes + failures} of ${maxAttempts} times without an end: ${crashes} crashed their worker, ${failures} failed.`,
    {hint: 'Repair what the attempts say, then replay the dead letter.'},
  );
}

/** What came of the agent's code. */
type Handled =
  | {readonly value: unknown}
  /** Its turn has ended, and that is written: the status it waits with, or `TERMINAL`. */
  | {readonly parked: string}
  | {readonly cancelled: string};

/** Run the agent's code, whichever way it is written. */
async function runCode(
  env: TurnEnvironment,
  entry: ControlEntry,
  command: TurnCommand,
  handler: Handler,
  {claim, task, journal}: Turn,
  writer: EventWriter,
  facts: ContextFacts,
  calls: TurnCalls,
  stepAside: () => () => void,
): Promise<Handled> {
  await facts.plugins?.start();
  if (handler.run === undefined) {
    // An answer does not say whose run it goes on with; the record does.
    const {by_run: run = facts.keptRun} = command.header.metadata;
    if (!(await env.fences.mayRun(task, {by_run: run}))) return {cancelled: task.cancelReason ?? ''};
    return {value: await handler.handle(command, new AgentContext(facts, writer, calls))};
  }
  const send = durableCalls(env, {claim, task}, facts, writer, stepAside);
  const end = await runDurable(
    env,
    {entry, command, claim, journal, task, identity: task.turn, writer, facts, send, stepAside},
    handler.run,
  );
  switch (end.kind) {
    case 'value':
      return {value: end.value};
    case 'error':
      throw end.error;
    case 'suspended':
      return {parked: end.waiting.status};
    case 'refused':
      if (end.verdict === 'terminal') return {parked: 'TERMINAL'};
      if (end.verdict === 'cancelling')
        return {
          cancelled:
            task.cancelReason ?? (await cancelReasonOf(env, facts.header.sessionId, claim.executionId)),
        };
      task.abandon('fenced');
      return {value: undefined};
  }
}

async function runHandler(
  env: TurnEnvironment,
  task: ReturnType<RunningTasks['begin']>,
  writer: EventWriter,
  handle: () => Promise<Handled>,
  calls: TurnCalls,
  retry: RetryPolicy,
  isEmptyAsk: boolean,
  log: Logger,
): Promise<Ending> {
  let isOver = false;
  const work = (async (): Promise<Ending> => {
    if (task.abandonReason !== undefined) return {kind: 'abandoned'};
    try {
      // Other SDKs refuse to send it; one that arrives all the same is answered, not dropped (spec §10, C3).
      if (isEmptyAsk) throw new TypeError('the ASK has no content');
      const handled = await handle();
      if ('parked' in handled) return {kind: 'parked', status: handled.parked};
      if ('cancelled' in handled) return {kind: 'cancelled', reason: handled.cancelled};
      const {value} = handled;
      const refused = calls.refusedBy(value);
      const result = refused ? noAnswer('FAILED', {...refused}) : calls.ending(value, normalizeResult(value));
      if (writer.error) throw writer.error;
      return {
        kind: 'result',
        result,
        refused,
        retryable: result.status === 'FAILED' && asksForRetry(value),
      };
    } catch (error) {
      return {kind: 'failed', error, retryable: isRetryableError(error, retry)};
    }
  })().finally(() => (isOver = true));
  const ending = await Promise.race([work, task.stopped(env.cancelGraceMs)]);
  if (ending === 'stopped' && task.abandonReason !== 'worker stops') {
    // Whoever stops at once has done so when the event loop turns.
    await new Promise(resolve => setImmediate(resolve));
    if (!(isOver as boolean)) giveUp(work, log);
  }
  // What is written is written, whatever we were told meanwhile.
  if (ending !== 'stopped' && ending.kind === 'parked') return ending;
  if (task.abandonReason !== undefined || env.abandon.aborted) return {kind: 'abandoned'};
  // A handler that was asked to stop and did, by throwing or by returning, was cancelled.
  if (task.cancelReason !== undefined) return {kind: 'cancelled', reason: task.cancelReason};
  if (task.isLate) return late();
  return ending === 'stopped' ? {kind: 'abandoned'} : ending;
}

/** Stop waiting for a handler. Its slot is free, but it can not be ended: say so, for it still uses the process. */
function giveUp(work: Promise<unknown>, log: Logger): void {
  const since = performance.now();
  log.warn('the handler did not stop when it was asked to: it runs on, and nothing it writes is accepted');
  void work.then(() =>
    log.info('a handler that was given up has ended', {duration_ms: Math.round(performance.now() - since)}),
  );
}

interface Ended {
  readonly entry: ControlEntry;
  readonly command: TurnCommand;
  readonly header: Header;
  readonly claim: Claim;
  readonly agentType: string;
  readonly writer: EventWriter;
  readonly calls: TurnCalls;
  readonly subAgent: boolean;
  readonly ending: Finished;
  /** It was started as often as it may be. */
  readonly exhausted: boolean;
  readonly plugins: TurnPlugins | undefined;
  /** Fields of its record if it waits. */
  readonly noted: Readonly<Record<string, unknown>>;
}

/**
 * Write the end of a turn in one step.
 * @returns the status it ended with (if nothing was written, why: FENCED, TERMINAL, CANCELLING), whether it was written,
 *   whether its dead letter waits for room, and whether its caller was answered.
 */
async function endTurn(
  env: TurnEnvironment,
  turn: Ended,
): Promise<{
  readonly status: string;
  readonly isWritten: boolean;
  readonly isHeld: boolean;
  readonly hasReplied: boolean;
}> {
  const {entry, header, claim, agentType, writer, ending} = turn;
  const now = env.now();
  const result = resultOf(ending);
  const terminal = isTerminal(result.status);
  const caller = callerOf(turn.command, claim);
  const {events: rest, unsure = 0} = await writer.close();
  const events = [...rest];
  if (writer.error) env.renewed.forget(header.sessionId);
  const emitter: EventContext = {
    traceId: header.traceId,
    sessionId: header.sessionId,
    sourceAgentType: agentType,
    messageId: claim.record.messageId || header.messageId,
    parentMessageId: claim.record.parentMessageId || header.parentMessageId,
    subAgent: turn.subAgent,
    now: env.now,
    newEventId,
  };
  const {handedOver} = turn.calls;
  const isAnswer = ending.kind === 'result' && ending.refused === undefined;
  const answer = isAnswer && terminal ? finalAnswerText(result) : undefined;
  if (answer !== undefined) events.push(encodeEvent(finalAnswerEvent(emitter, answer)));
  if (terminal && caller === undefined && !writer.endEmitted && handedOver.length === 0)
    events.push(encodeEvent(endOfStreamEvent(emitter)));

  const patch: Record<string, unknown> = {
    status: result.status,
    updated_at: now,
    ...(terminal ? {finished_at: now} : {finished_at: 0}),
    ...errorFields(ending),
    ...(turn.exhausted ? {error_code: 'ATTEMPTS_EXHAUSTED'} : {}),
    ...(terminal ? {} : cleanCount(claim.record)),
    ...(handedOver.length === 0 ? {} : {x_handed_over: handedOver}),
    ...(terminal ? {} : turn.calls.waitingFields(claim.record, env.workerId)),
    ...turn.plugins?.recordFields(terminal),
    ...(terminal ? {} : resumableFields(claim.executionId, turn.plugins?.config.version)),
    ...(terminal ? {} : turn.noted),
    ...(terminal ? {} : runFields(header)),
  };
  const answersCaller = terminal && caller !== undefined;
  const reply = answersCaller ? await replyTo(env, caller, turn, result) : {};
  const end: Finish = {
    ...{sessionId: header.sessionId, executionId: claim.executionId, fence: claim.fence},
    patch,
    ...{events, unsure},
    // Asked only where something is written: answering yes counts as done.
    renewEvents: events.length > 0 && env.renewed.due(header.sessionId),
    ...snapshotAfter(
      env.store.keys,
      {...claim.record, executionId: claim.executionId},
      terminal,
      turn.plugins?.config.version,
    ),
    // It lives for days: by which clock the hour is counted changes nothing.
    renewRegistry: now - claim.record.createdAt > RENEW_REGISTRY_AFTER_MS,
    // One that waits must not be delivered again: it would ask its question twice. One that has ended may.
    ...(terminal
      ? {}
      : {
          settle: {
            stream: entry.stream,
            group: env.group,
            entryId: entry.id,
            deleteEntry: env.deletesEntries(entry.stream),
          },
        }),
    ...reply,
    // Who set a deadline has said that nobody wants the answer later: it is no dead letter (decisions/0008).
    ...(ending.kind === 'failed' || turn.exhausted ? {deadLetter: deadLetterOf(turn, env, now)} : {}),
  };
  const write = () => finishTurn(env.store, end);
  const outcome =
    turn.plugins === undefined || !answersCaller || reply.reply === undefined
      ? await write()
      : await turn.plugins.returning(
          {
            ...{callerAgentType: caller.context.source_agent_type, status: result.status},
            ...{content: result.content, data: result.replyData},
          },
          write,
        );
  const isHeld = outcome === 'held';
  const isWritten = outcome === 'ok' || isHeld;
  if (!isWritten) env.renewed.forget(header.sessionId);
  if (outcome === 'terminal' || (outcome === 'ok' && terminal)) env.settler.add(entry);
  const hasReplied = isWritten && 'reply' in reply;
  return {status: isWritten ? result.status : outcome.toUpperCase(), isWritten, isHeld, hasReplied};
}

/** The end as plugins are told it. */
function toldOf(ending: Finished): TurnEnd {
  switch (ending.kind) {
    case 'result':
      if (ending.result.status === 'FAILED')
        return {kind: 'failed', error: new Error(failureText(ending)), willRetry: false};
      return {
        ...{kind: 'done', status: ending.result.status},
        ...{content: ending.result.content, data: ending.result.replyData},
      };
    case 'failed':
    case 'late':
      return {kind: 'failed', error: ending.error, willRetry: false};
    case 'cancelled':
      return ending;
  }
}

function resultOf(ending: Ended['ending']): TaskResult {
  switch (ending.kind) {
    case 'result':
      return ending.result;
    case 'failed':
    case 'late':
      return noAnswer('FAILED', {error: messageOf(ending.error)});
    case 'cancelled':
      return noAnswer('CANCELLED', {reason: ending.reason});
  }
}

function errorFields(ending: Ended['ending']): Record<string, unknown> {
  if (ending.kind === 'late') return {error_code: ending.error.code, error_message: messageOf(ending.error)};
  if (ending.kind === 'result' && ending.refused)
    return {error_code: ending.refused.error_code, error_message: ending.refused.error};
  // Who cancels an execution says why in its record; here nobody did.
  if (ending.kind === 'cancelled' && isStaleFence(ending.reason)) return {cancel_reason: ending.reason};
  if (ending.kind !== 'failed') return {};
  return {
    error_type: ending.error instanceof Error ? ending.error.name : typeof ending.error,
    error_message: messageOf(ending.error).slice(0, 4096),
    failed_stage: 'process_command',
    ...errorCode(ending.error),
  };
}

/** Codes as programs write them: what retries and quotas go by. */
const ERROR_CODE = /^[A-Z0-9][A-Z0-9_]{1,63}$/;

/** Of ours, or of an error of the agent's own that has one. */
function errorCode(error: unknown): {readonly error_code?: string} {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && ERROR_CODE.test(code) ? {error_code: code} : {};
}

/** What went wrong, in a word: a code of ours, or the name of the error. '' if nothing did. */
function errorTypeOf(ending: Ended['ending']): string {
  const {error_code: code, error_type: type} = errorFields(ending);
  return typeof code === 'string' ? code : typeof type === 'string' ? type : '';
}

/** Who waits for a reply, and the message it answers. Nobody for a root. */
interface Caller {
  readonly messageId: string;
  readonly context: ReplyContext;
}

/** The ASK's source; in a later turn, whom the first one noted in the record. */
function callerOf(command: TurnCommand, claim: Claim): Caller | undefined {
  const {header} = command;
  if (command.action === 'RESUME') {
    const context = replyContextOf(claim.record);
    return context && {messageId: claim.record.messageId, context};
  }
  const context = askersContext(header);
  return context && {messageId: header.messageId, context};
}

/** The reply to the caller; none if the execution was cancelled and its caller too: it waits for nothing. */
async function replyTo(
  env: TurnEnvironment,
  {messageId, context}: Caller,
  {header, claim, agentType, ending}: Ended,
  result: TaskResult,
): Promise<Pick<Finish, 'reply'>> {
  const {sessionId, traceId} = header;
  // A call of ours was accepted from a turn of ours, which is all that its record could tell.
  const isOurs = typeof claim.record.extra['x_caller'] === 'string';
  const caller =
    context.parent_message_id === '' || (isOurs && ending.kind !== 'cancelled')
      ? undefined
      : await findByMessage(env.store, sessionId, context.parent_message_id);
  if (ending.kind === 'cancelled' && caller?.cancelRequested === true) return {};
  const document = encodeReply({
    ...{executionId: claim.executionId, sessionId, traceId, agentType, askMessageId: messageId},
    ...{context, caller, result},
  });
  const here = callerHere(env.running, claim.record.extra['x_caller'], document);
  const stream = env.store.keys.ctrlStream(context.source_agent_type);
  return {reply: {stream, document, ...(here === undefined ? {} : {callerHere: here})}};
}

/** A failed execution, kept whole: guarantees.md G5. */
function deadLetterOf(
  {entry, command, header, claim, agentType, ending}: Ended,
  env: TurnEnvironment,
  now: number,
): string {
  const reason = failureText(ending);
  const past = pastAttempts(claim.record);
  // The step that ends an execution whose starts are used up is no attempt.
  const attempts =
    claim.verdict === 'exhausted'
      ? past
      : [...past, {attempt: claim.attempt, workerId: env.workerId, ended: 'failed', error: reason, at: now}];
  const whole = wholeCommand(entry.data, header);
  return encodeDeadLetter(
    newDeadLetter({
      source: 'execution',
      reason,
      executionId: claim.executionId,
      targetAgentType: agentType,
      commandPayload: Object.keys(whole).length > 0 ? whole : {...commandToWire({...command, header})},
      deliveryStream: env.store.keys.ctrlStream(agentType),
      attempts,
      firstFailedAt: attempts[0]?.at ?? now,
      firstAcceptedAt: firstAcceptedAt(claim.record, entryTimeMs(entry.id)),
      xStream: entry.stream,
      xEntryId: entry.id,
    }),
  );
}
