/**
 * Calls of agents by agents: spec §6.7 and §6.8. A call goes through the same router as a client's send, and is accepted
 * only while the turn that makes it owns its execution (G3), in the same step.
 */
import {checkRoutable, route, type Draft, type Router, type SendResult} from '../availability/send.js';
import {ByError} from '../errors.js';
import {newExecutionId, spanIdHex} from '../ids.js';
import {encodeSendable, type AskCommand, type Content} from '../protocol/commands.js';
import {encodeRecord, MAX_CALL_DEPTH, newExecutionRecord} from '../protocol/execution.js';
import {createHeader, type Header} from '../protocol/header.js';
import type {SpanParent} from '../protocol/tracer.js';
import {calledExtra} from '../protocol/reply.js';
import {DEFAULT_ROUTE_POLICY, type RoutePolicy} from '../protocol/routing.js';
import type {DispatchedTask, GroupPolicy, RestPolicy} from '../protocol/task-group.js';
import type {Noting} from '../store/acceptance.js';
import {noteDeadline, noteDeadlineAt} from '../store/deadlines.js';
import {openGroup, sendGroup, type GroupCall} from '../store/task-groups.js';
import type {EventWriter, TurnIdentity} from './event-writer.js';
import type {RunningTask} from './running.js';
import {traceGroup, type GroupTrace} from './trace-group.js';

/** The turn that calls. */
export interface CallingTurn {
  readonly turn: TurnIdentity;
  readonly agentType: string;
  /** Of the execution's ASK. */
  readonly messageId: string;
  /** Of the command this turn runs: trace and user are handed down. */
  readonly header: Header;
  /** How many calls its execution is below the first: callDepth. */
  readonly depth: number;
  /** When the execution must have ended, in Unix milliseconds by Redis's clock; undefined without a deadline. */
  readonly deadline: number | undefined;
  /** The execution's span, where one is told. */
  readonly span?: SpanParent | undefined;
}

export interface Call {
  readonly agentType: string;
  /** Text, or an array of objects; never empty. */
  readonly content: Content;
  /** The same id is the same call, accepted once however often it is made. */
  readonly messageId: string;
  /** The id was made just now. */
  readonly isNewMessage: boolean;
  readonly extraPayload?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** false hands the question over: the callee answers the person, and nobody hears of it here. */
  readonly waitForReply: boolean;
  /** Default: the execution's own message. */
  readonly parentMessageId?: string;
  /** What to do when nobody is online. Default FAIL_FAST. */
  readonly policy?: RoutePolicy;
  /** Milliseconds WAKE_AND_WAIT waits. Default 30,000; never past the deadline. */
  readonly availabilityTimeoutMs?: number;
  readonly region?: string;
  readonly priority?: number;
  /** Milliseconds after which the answer is not wanted any more. Default: as long as the caller's own is. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** It is being noted in the caller's journal. Absent if it is noted, or need not be. */
  readonly noting?: Noting;
  /** Told when the router begins to wait for a wakeup. */
  readonly onWakeup?: () => void;
}

/** Errors of a call that say why it was not taken, and nothing about the caller: its code is told. */
export const CALL_REFUSALS = [
  'AGENT_TYPE_UNAVAILABLE',
  'AGENT_CIRCUIT_OPEN',
  'TENANT_QUOTA_EXCEEDED',
  'AGENT_TYPE_EXHAUSTED',
  'QUEUE_FULL',
  'CALLS_TOO_DEEP',
] as const;

/** What says that a turn may not call any more also ends it. */
export function stopIfNotOurs(error: unknown, task: RunningTask, writer: EventWriter): void {
  if (!(error instanceof ByError)) return;
  if (error.code === 'FENCED') {
    writer.refuse();
    task.abandon('fenced');
  }
  const reason = error.details['reason'];
  if (error.code === 'PARENT_CANCELLED' && typeof reason === 'string') task.cancel(reason, false);
}

/**
 * Make one call.
 * @throws {ByError} AGENT_TYPE_UNAVAILABLE, AGENT_CIRCUIT_OPEN, TENANT_QUOTA_EXCEEDED when it was refused (a FAILED
 *   record says so); QUEUE_FULL; FENCED and PARENT_CANCELLED when the caller may not call any more; INVALID_INPUT,
 *   MESSAGE_TOO_LARGE.
 */
export async function dispatch(router: Router, caller: CallingTurn, call: Call): Promise<SendResult> {
  const policy = call.policy ?? DEFAULT_ROUTE_POLICY;
  checkRoutable({...call, policy});
  const draft = await withDeadline(router, caller, call, {
    ...compose(router, caller, call, ''),
    policy,
    request: {
      ...options(call),
      ...(call.onWakeup === undefined
        ? {}
        : {onProgress: ({kind}) => (kind === 'wakeup-requested' ? call.onWakeup?.() : undefined)}),
    },
    freshMessage: call.isNewMessage,
    // What counts is what the user sends, not what it takes to answer.
    counts: false,
    caller: {
      ...caller.turn,
      ...{agentType: caller.agentType, depth: caller.depth + 1},
      ...(call.noting === undefined ? {} : {noting: call.noting}),
      ...(caller.span === undefined ? {} : {span: caller.span}),
    },
  });
  return route(router, draft);
}

const options = ({availabilityTimeoutMs, region, priority, signal}: Call) => ({
  ...(availabilityTimeoutMs === undefined ? {} : {availabilityTimeoutMs}),
  ...(region === undefined ? {} : {region}),
  ...(priority === undefined ? {} : {priority}),
  ...(signal === undefined ? {} : {signal}),
});

function compose(
  {now}: Router,
  caller: CallingTurn,
  call: Call,
  taskGroupId: string,
): {readonly command: AskCommand; readonly executionId: string} {
  const {header} = caller;
  if (caller.depth >= MAX_CALL_DEPTH) throw tooDeep(call.agentType);
  const executionId = newExecutionId();
  const span = `${call.messageId}:client.dispatch`;
  const {wait_for_reply: _flag, ...extraPayload} = call.extraPayload ?? {};
  const command: AskCommand = {
    action: 'ASK_AGENT',
    header: createHeader({
      messageId: call.messageId,
      sessionId: header.sessionId,
      traceId: header.traceId,
      sourceAgentType: call.waitForReply ? caller.agentType : '',
      targetAgentType: call.agentType,
      parentMessageId: call.parentMessageId ?? caller.messageId,
      taskGroupId,
      userCode: header.userCode,
      userName: header.userName,
      metadata: {
        ...call.metadata,
        trace_parent_span_id: spanIdHex(span),
        framework_parent_span_id: span,
        by_execution_id: executionId,
        by_sent_at: now(),
      },
      traceParentSpanId: spanIdHex(span),
      langfuseParentObservationId: header.langfuseParentObservationId,
    }),
    content: call.content,
    waitForReply: call.waitForReply,
    extraPayload,
  };
  return {command, executionId};
}

const tooDeep = (agentType: string) =>
  new ByError('CALLS_TOO_DEEP', `"${agentType}" would be called ${MAX_CALL_DEPTH} calls below the first.`, {
    hint: 'Agents that call each other in a ring never end: see who calls whom with `by exec tree`.',
  });

/** A call must have ended when its caller must; noted before it is accepted, so that nothing accepted is forgotten. */
async function withDeadline(
  {store}: Router,
  caller: CallingTurn,
  call: Pick<Call, 'deadlineMs'>,
  draft: Draft,
): Promise<Draft> {
  const target = {sessionId: caller.turn.sessionId, executionId: draft.executionId};
  const {deadline: inherited} = caller;
  const own = call.deadlineMs === undefined ? undefined : await noteDeadline(store, target, call.deadlineMs);
  if (own !== undefined && (inherited === undefined || own <= inherited)) return {...draft, deadline: own};
  if (inherited === undefined) return draft;
  await noteDeadlineAt(store, target, inherited);
  return {...draft, deadline: inherited};
}

export interface Group {
  /** The same id is the same group, sent once however often it is made. */
  readonly groupId: string;
  readonly calls: readonly Pick<Call, 'agentType' | 'content' | 'messageId' | 'extraPayload' | 'metadata'>[];
  readonly waitForReply: boolean;
  readonly policy: GroupPolicy;
  readonly rest: RestPolicy;
  /** Milliseconds after which its calls end FAILED, which answers them. Default: as long as the caller's own is. */
  readonly deadlineMs?: number;
}

/** More in one step would hold the server for too long. */
export const MAX_GROUP = 1000;

/**
 * Make several calls, all or none. Nobody has to be online: they wait on their streams (spec §6.8).
 * @throws {ByError} INVALID_INPUT, MESSAGE_TOO_LARGE, QUEUE_FULL, FENCED, PARENT_CANCELLED; then none was made.
 */
export async function dispatchGroup(
  router: Router,
  caller: CallingTurn,
  group: Group,
): Promise<readonly DispatchedTask[]> {
  const {store} = router;
  checkGroup(group);
  const trace = traceGroup(router, caller, group.groupId);
  const calls = await Promise.all(group.calls.map(call => prepare(router, caller, group, call, trace)));
  if (group.waitForReply) {
    await openGroup(store, group.groupId, {
      sourceAgentType: caller.agentType,
      policy: group.policy,
      rest: group.rest,
      members: calls.map(call => call.messageId),
    });
  }
  await trace.told(() => sendGroup(store, caller.turn.sessionId, caller.turn, calls));
  return calls.map(({messageId, agentType: targetAgentType}) => ({messageId, targetAgentType}));
}

function checkGroup({calls, policy, deadlineMs}: Group): void {
  for (const call of calls)
    checkRoutable({
      ...call,
      policy: 'SEND_ANYWAY',
      ...(deadlineMs === undefined ? {} : {deadlineMs}),
    });
  if (calls.length > MAX_GROUP) {
    throw new ByError(
      'INVALID_INPUT',
      `A group of ${calls.length} calls is too large: ${MAX_GROUP} are the most.`,
      {
        hint: 'Make several groups.',
      },
    );
  }
  if (new Set(calls.map(call => call.messageId)).size < calls.length) {
    throw new ByError('INVALID_INPUT', 'Two calls of a group have the same message id.', {
      hint: 'Give each its own, or none.',
    });
  }
  if (typeof policy !== 'object') return;
  const {quorum} = policy;
  if (Number.isSafeInteger(quorum) && quorum >= 1 && quorum <= calls.length) return;
  throw new ByError('INVALID_INPUT', `${quorum} of ${calls.length} calls can not be a quorum.`, {
    hint: 'Give a whole number from 1 to the number of calls.',
  });
}

/** One call of a group, as it is stored and sent. */
async function prepare(
  router: Router,
  caller: CallingTurn,
  group: Group,
  call: Group['calls'][number],
  trace: GroupTrace,
): Promise<GroupCall> {
  const {store, now} = router;
  const full = {...call, isNewMessage: false, waitForReply: group.waitForReply};
  const composed = compose(router, caller, full, group.waitForReply ? group.groupId : '');
  const {command, executionId, deadline} = await withDeadline(router, caller, group, {
    ...composed,
    command: trace.begin(composed.command),
    ...{policy: 'SEND_ANYWAY', request: {}, freshMessage: false, counts: false},
  });
  const {header} = command;
  const record = newExecutionRecord({
    executionId,
    messageId: header.messageId,
    sessionId: header.sessionId,
    traceId: header.traceId,
    parentMessageId: header.parentMessageId,
    sourceAgentType: header.sourceAgentType,
    targetAgentType: header.targetAgentType,
    streamName: store.keys.ctrlStream(header.targetAgentType),
    now: now(),
    extra: {
      ...(deadline === undefined ? {} : {x_deadline: deadline}),
      ...calledExtra(header, caller.turn.executionId, caller.depth + 1),
    },
  });
  return {
    executionId,
    messageId: header.messageId,
    record: encodeRecord(record),
    agentType: header.targetAgentType,
    document: encodeSendable(command),
  };
}
