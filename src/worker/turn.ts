/** One turn: claim an execution, run the agent, end it. The order and the wire forms follow spec §6.5. */
import {ByError, messageOf} from '../errors.js';
import {newEventId, newExecutionId, newMessageId, spanIdHex} from '../ids.js';
import type {Logger} from '../log.js';
import {
  commandToWire,
  encodeCommand,
  hasContent,
  type AskCommand,
  type ResumeCommand,
} from '../protocol/commands.js';
import {alarmFull, FULL_RETRY_MS} from '../availability/full-letters.js';
import {encodeDeadLetter, entryTimeMs, newDeadLetter, wholeCommand} from '../protocol/deadletter.js';
import {encodeEvent, endOfStreamEvent, finalAnswerEvent, type EventContext} from '../protocol/events.js';
import {
  countedAttempts,
  encodeRecord,
  firstAcceptedAt,
  newExecutionRecord,
  pastAttempts,
  replyContextOf,
  type ReplyContext,
} from '../protocol/execution.js';
import {createHeader, type Header} from '../protocol/header.js';
import {finalAnswerText, normalizeResult, type TaskResult} from '../protocol/results.js';
import {isTerminal} from '../protocol/states.js';
import type {ControlEntry} from '../store/control-streams.js';
import {
  claimExecution,
  endAttempt,
  executionHint,
  findByMessage,
  finishTurn,
  type Claim,
} from '../store/executions.js';
import {holderOf} from '../store/recovery.js';
import type {Store} from '../store/store.js';
import type {Handler} from './agent.js';
import {AgentContext} from './context.js';
import {EventWriter} from './event-writer.js';
import type {RenewedSessions} from '../store/renewed-sessions.js';
import {asksForRetry, isRetryableError, retryDelayMs, type RetryPolicy} from './retry.js';
import type {RunningTask, RunningTasks} from './running.js';
import type {Settler} from './settler.js';

export interface TurnEnvironment {
  readonly store: Store;
  readonly workerId: string;
  /** Worker id and incarnation: who holds a fence. */
  readonly owner: string;
  readonly group: string;
  readonly now: () => number;
  readonly log: Logger;
  readonly running: RunningTasks;
  readonly renewed: RenewedSessions;
  readonly settler: Settler;
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
  /** Whether the process that holds a fence is gone. */
  isGone(owner: string): Promise<boolean>;
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
  | {readonly kind: 'result'; readonly result: TaskResult; readonly retryable: boolean}
  | {readonly kind: 'failed'; readonly error: unknown; readonly retryable: boolean}
  | {readonly kind: 'cancelled'; readonly reason: string}
  /** The turn is not ours any more, or the worker stops. */
  | {readonly kind: 'abandoned'};

/** The sender has set the registry's lifetime; only work that took long has to renew it. */
const RENEW_REGISTRY_AFTER_MS = 3_600_000;
/** When a command whose execution is busy looks again. */
const BUSY_MS = 100;

/** Run one command to its end. Never rejects for what agent code does; rejects when Redis can not be reached. */
export async function runTurn(
  env: TurnEnvironment,
  delivery: Delivery,
  command: TurnCommand,
  agentType: string,
  handler: Handler,
): Promise<TurnOutcome> {
  const {header} = command;
  const {entry} = delivery;
  const maxAttempts = handler.retry.maxAttempts ?? env.maxAttempts;
  const claim = await claimTurn(env, delivery, command, agentType, maxAttempts);
  if (claim === 'stolen') return OVER;
  switch (claim.verdict) {
    case 'terminal':
      if (claim.isHeld) return heldByFullLetters(env);
      env.settler.add(entry);
      return OVER;
    case 'busy':
    case 'held':
      return {kind: 'later', delayMs: BUSY_MS};
    case 'started':
    case 'cancelled':
    case 'exhausted':
      break;
  }

  const log = env.log.child({
    session_id: header.sessionId,
    message_id: header.messageId,
    execution_id: claim.executionId,
  });
  const turn = {sessionId: header.sessionId, executionId: claim.executionId, fence: claim.fence};
  const task = env.running.begin(turn, claim.record.messageId);
  const writer = new EventWriter(
    env.store,
    turn,
    () => env.renewed.due(header.sessionId),
    () => task.abandon('fenced'),
  );
  const subAgent = command.action === 'ASK_AGENT' && header.sourceAgentType !== '';
  const ctx = new AgentContext(
    {
      header,
      executionId: claim.executionId,
      attempt: claim.attempt,
      workerId: env.workerId,
      agentType,
      messageId: claim.record.messageId || header.messageId,
      parentMessageId: claim.record.parentMessageId || header.parentMessageId,
      subAgent,
      signal: task.signal,
      log,
      now: env.now,
      workspaceRoot: env.workspaceRoot,
    },
    writer,
  );
  const startedAt = env.now();
  log.info('started', {agent_type: agentType, attempt: claim.attempt});
  try {
    // The worker may have been told to stop while the claim was under way.
    if (env.abandon.aborted) task.abandon('worker stops');
    const wasCancelled = claim.verdict === 'cancelled' || claim.record.status === 'CANCELLING';
    const ending: Ending = wasCancelled
      ? {kind: 'cancelled', reason: claim.record.cancelReason ?? ''}
      : claim.verdict === 'exhausted'
        ? {kind: 'failed', error: exhaustedError(claim, maxAttempts), retryable: false}
        : await runHandler(
            env,
            task,
            writer,
            () => handler.handle(command, ctx),
            ctx,
            handler.retry,
            command.action === 'ASK_AGENT' && !hasContent(command.content),
          );
    if (ending.kind === 'abandoned') {
      log.warn('abandoned', {reason: task.abandonReason ?? 'worker stops'});
      if (task.abandonReason !== 'fenced' && task.abandonReason !== 'lease lost')
        await handBack(env, task, writer);
      return OVER;
    }
    const {crashes, failures} = countedAttempts(claim.record);
    const isLast = crashes + failures + 1 >= maxAttempts;
    const mayRetry = wantsRetry(ending);
    if (mayRetry && !isLast) {
      const delayMs = retryDelayMs(handler.retry, failures + 1);
      const noted = await endAttempt(
        env.store,
        {
          ...{...turn, ended: 'failed', workerId: env.workerId, error: failureText(ending)},
          ...{nowMs: env.now(), retryAtMs: env.now() + delayMs, events: await writer.close()},
        },
        30_000,
      );
      log.warn('failed, to be tried again', {
        attempt: claim.attempt,
        delay_ms: delayMs,
        error: failureText(ending),
      });
      if (noted === 'terminal') env.settler.add(entry);
      return noted === 'ok' ? {kind: 'later', delayMs} : OVER;
    }
    const exhausted = claim.verdict === 'exhausted' || (mayRetry && maxAttempts > 1);
    const outcome = await endTurn(env, {
      ...{entry, command, header, claim, agentType, writer, subAgent, ending, exhausted},
    });
    log.info(outcome.status.toLowerCase(), {duration_ms: env.now() - startedAt, events: writer.count});
    return outcome.isHeld ? heldByFullLetters(env) : OVER;
  } finally {
    env.running.end(task);
  }
}

/** The execution has ended, but there is no room for its dead letter: the entry must not be acknowledged before there is. */
function heldByFullLetters({store, log}: TurnEnvironment): TurnOutcome {
  alarmFull(store, log);
  return {kind: 'later', delayMs: FULL_RETRY_MS};
}

/** Take the execution. @returns the claim, or 'stolen' if another worker has taken the entry from us. */
async function claimTurn(
  env: TurnEnvironment,
  {entry, takenFrom}: Delivery,
  command: TurnCommand,
  agentType: string,
  maxAttempts: number,
): Promise<Claim | 'stolen'> {
  const {header} = command;
  const newId = newExecutionId();
  const newRecord = encodeRecord(
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
  for (let deadOwner = takenFrom; ;) {
    const claim = await claimExecution(env.store, {
      sessionId: header.sessionId,
      messageId: header.messageId,
      hint: executionHint(command),
      newExecutionId: newId,
      newRecord,
      owner: env.owner,
      workerId: env.workerId,
      entry: `${entry.stream}/${entry.id}`,
      nowMs: env.now(),
      reopen: command.action === 'RESUME' && header.sourceAgentType === '',
      ask: command.action === 'ASK_AGENT',
      deadOwner,
      maxAttempts,
    });
    if (claim.verdict !== 'held') return claim;
    // A worker that was stopped for long may hold a reply whose entries were taken from it meanwhile.
    if ((await holderOf(env.store, env.group, entry)) !== env.owner) return 'stolen';
    const owner = claim.record.extra['x_owner'];
    if (typeof owner !== 'string' || owner === deadOwner || !(await env.isGone(owner))) return claim;
    deadOwner = owner;
  }
}

/** Give an attempt back that this worker can not end. What can not be noted now counts as a crash later. */
async function handBack(env: TurnEnvironment, task: RunningTask, writer: EventWriter): Promise<void> {
  const attempt = {
    ...{...task.turn, ended: 'handed_back' as const, workerId: env.workerId},
    ...{error: 'the worker stopped', nowMs: env.now(), retryAtMs: 0, events: await writer.close()},
  };
  await endAttempt(env.store, attempt, 1000);
}

type Finished = Exclude<Ending, {kind: 'abandoned'}>;

function wantsRetry(ending: Finished): boolean {
  return ending.kind !== 'cancelled' && ending.retryable;
}

/** Why an attempt failed, in one line for people. */
function failureText(ending: Finished): string {
  if (ending.kind === 'failed') return messageOf(ending.error).slice(0, 1024);
  if (ending.kind === 'cancelled') return ending.reason;
  return (finalAnswerText(ending.result) ?? 'the agent answered FAILED').slice(0, 1024);
}

function exhaustedError({record}: Claim, maxAttempts: number): ByError {
  const {crashes, failures} = countedAttempts(record);
  return new ByError(
    'ATTEMPTS_EXHAUSTED',
    `Started ${crashes + failures} of ${maxAttempts} times without an end: ${crashes} crashed their worker, ${failures} failed.`,
    {hint: 'Repair what the attempts say, then replay the dead letter.'},
  );
}

async function runHandler(
  env: TurnEnvironment,
  task: ReturnType<RunningTasks['begin']>,
  writer: EventWriter,
  handle: () => unknown,
  ctx: AgentContext,
  retry: RetryPolicy,
  isEmptyAsk: boolean,
): Promise<Ending> {
  const work = (async (): Promise<Ending> => {
    if (task.abandonReason !== undefined) return {kind: 'abandoned'};
    try {
      // Other SDKs refuse to send it; one that arrives all the same is answered, not dropped (spec §10, C3).
      if (isEmptyAsk) throw new TypeError('the ASK has no content');
      const value = await handle();
      const result = normalizeResult(value);
      if (writer.error) throw writer.error;
      const suspended = ctx.suspension !== undefined && isTerminal(result.status) && value === undefined;
      return {
        kind: 'result',
        result: suspended ? {...result, status: ctx.suspension ?? result.status} : result,
        retryable: result.status === 'FAILED' && asksForRetry(value),
      };
    } catch (error) {
      return {kind: 'failed', error, retryable: isRetryableError(error, retry)};
    }
  })();
  const ending = await Promise.race([work, task.stopped(env.cancelGraceMs)]);
  if (task.abandonReason !== undefined || env.abandon.aborted) return {kind: 'abandoned'};
  // A handler that was asked to stop and did, by throwing or by returning, was cancelled.
  if (task.cancelReason !== undefined) return {kind: 'cancelled', reason: task.cancelReason};
  return ending === 'stopped' ? {kind: 'abandoned'} : ending;
}

interface Ended {
  readonly entry: ControlEntry;
  readonly command: TurnCommand;
  readonly header: Header;
  readonly claim: Claim;
  readonly agentType: string;
  readonly writer: EventWriter;
  readonly subAgent: boolean;
  readonly ending: Finished;
  /** It was started as often as it may be. */
  readonly exhausted: boolean;
}

/** Write the end of a turn in one step. @returns the status it ended with, and whether its dead letter waits for room. */
async function endTurn(
  env: TurnEnvironment,
  turn: Ended,
): Promise<{readonly status: string; readonly isHeld: boolean}> {
  const {entry, header, claim, agentType, writer, ending} = turn;
  const now = env.now();
  const result = resultOf(ending);
  const terminal = isTerminal(result.status);
  const caller = callerOf(turn);
  const events = [...(await writer.close())];
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
  const answer = ending.kind === 'result' && terminal ? finalAnswerText(result) : undefined;
  if (answer !== undefined) events.push(encodeEvent(finalAnswerEvent(emitter, answer)));
  if (terminal && caller === undefined && !writer.endEmitted)
    events.push(encodeEvent(endOfStreamEvent(emitter)));

  const patch: Record<string, unknown> = {
    status: result.status,
    updated_at: now,
    ...(terminal ? {finished_at: now} : {finished_at: 0}),
    ...errorFields(ending),
    ...(turn.exhausted ? {error_code: 'ATTEMPTS_EXHAUSTED'} : {}),
    // It got somewhere: what comes next starts with a clean count.
    ...(!terminal && hasCounted(claim) ? {x_crashes: 0, x_failures: 0} : {}),
    ...(terminal || caller === undefined ? {} : {x_reply: caller.context}),
  };
  const outcome = await finishTurn(env.store, {
    ...{sessionId: header.sessionId, executionId: claim.executionId, fence: claim.fence},
    patch,
    events,
    // Asked only where something is written: answering yes counts as done.
    renewEvents: events.length > 0 && env.renewed.due(header.sessionId),
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
    ...(terminal && caller !== undefined ? await replyTo(env, caller, turn, result) : {}),
    ...(ending.kind === 'failed' || turn.exhausted ? {deadLetter: deadLetterOf(turn, env, now)} : {}),
  });
  const isHeld = outcome === 'held';
  const isWritten = outcome === 'ok' || isHeld;
  if (!isWritten) env.renewed.forget(header.sessionId);
  if (outcome === 'terminal' || (outcome === 'ok' && terminal)) env.settler.add(entry);
  return {status: isWritten ? result.status : outcome.toUpperCase(), isHeld};
}

function hasCounted({record}: Claim): boolean {
  const {crashes, failures} = countedAttempts(record);
  return crashes + failures > 0;
}

function resultOf(ending: Ended['ending']): TaskResult {
  const empty = {content: '', metadata: {}, extraPayload: {}};
  switch (ending.kind) {
    case 'result':
      return ending.result;
    case 'failed':
      return {...empty, status: 'FAILED', replyData: {error: messageOf(ending.error)}};
    case 'cancelled':
      return {...empty, status: 'CANCELLED', replyData: {reason: ending.reason}};
  }
}

function errorFields(ending: Ended['ending']): Record<string, unknown> {
  if (ending.kind !== 'failed') return {};
  return {
    error_type: ending.error instanceof Error ? ending.error.name : typeof ending.error,
    error_message: messageOf(ending.error).slice(0, 4096),
    failed_stage: 'process_command',
    ...(ending.error instanceof ByError ? {error_code: ending.error.code} : {}),
  };
}

/** Who waits for a reply, and the message it answers. Nobody for a root. */
interface Caller {
  readonly messageId: string;
  readonly context: ReplyContext;
}

/** The ASK's source; in a later turn, whom the first one noted in the record. */
function callerOf({command, header, claim}: Ended): Caller | undefined {
  if (command.action === 'RESUME') {
    const context = replyContextOf(claim.record);
    return context && {messageId: claim.record.messageId, context};
  }
  if (header.sourceAgentType === '') return undefined;
  return {
    messageId: header.messageId,
    context: {
      source_agent_type: header.sourceAgentType,
      parent_message_id: header.parentMessageId,
      task_group_id: header.taskGroupId,
      user_code: header.userCode,
      user_name: header.userName,
      metadata: withoutOurs(header.metadata),
    },
  };
}

/** Extras of ours concern one command: copied into another they would lie. */
function withoutOurs(metadata: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(metadata).filter(([name]) => !name.startsWith('by_')));
}

/** The RESUME for the caller, in the caller's dialect: spec §6.7. */
async function replyTo(
  env: TurnEnvironment,
  {messageId, context}: Caller,
  {header, claim, agentType}: Ended,
  result: TaskResult,
): Promise<{reply: {stream: string; document: string}}> {
  const span = spanIdHex(`${claim.executionId}:agent.return`);
  const command: ResumeCommand = {
    action: 'RESUME',
    header: createHeader({
      messageId: await replyMessageId(env, header.sessionId, context.parent_message_id),
      sessionId: header.sessionId,
      traceId: header.traceId,
      sourceAgentType: agentType,
      targetAgentType: context.source_agent_type,
      parentMessageId: messageId,
      taskGroupId: context.task_group_id,
      userCode: context.user_code,
      userName: context.user_name,
      metadata: {
        ...context.metadata,
        ...result.metadata,
        framework_parent_span_id: `${claim.executionId}:agent.return`,
        trace_parent_span_id: span,
      },
      traceParentSpanId: span,
    }),
    status: result.status,
    content: result.content,
    replyData: result.replyData,
    extraPayload: result.extraPayload,
  };
  return {
    reply: {stream: env.store.keys.ctrlStream(context.source_agent_type), document: encodeCommand(command)},
  };
}

/** Python callers resume by their own message id; ts and java callers, known by a record without snapshot, by a fresh one. */
async function replyMessageId(
  env: TurnEnvironment,
  sessionId: string,
  callersMessageId: string,
): Promise<string> {
  if (callersMessageId === '') return newMessageId();
  const record = await findByMessage(env.store, sessionId, callersMessageId);
  if (record === undefined || (record.agentConfigsSnapshotKey ?? '') !== '') return callersMessageId;
  return record.extra['x_attempt'] === undefined ? newMessageId() : callersMessageId;
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
