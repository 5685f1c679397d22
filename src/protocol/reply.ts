/** The RESUME that brings the end of an execution to its caller, in the caller's dialect: spec §6.7. */
import {newMessageId, spanIdHex} from '../ids.js';
import {encodeCommand} from './commands.js';
import type {ExecutionRecord, ReplyContext} from './execution.js';
import {createHeader, type Header} from './header.js';
import type {TaskResult} from './results.js';

export interface Reply {
  /** Of the execution that ended. */
  readonly executionId: string;
  readonly sessionId: string;
  readonly traceId: string;
  readonly agentType: string;
  /** Of the ASK that is answered. */
  readonly askMessageId: string;
  readonly context: ReplyContext;
  /** The caller's record, where it has one. */
  readonly caller: ExecutionRecord | undefined;
  readonly result: TaskResult;
}

/** @returns the command as JSON, for the caller's control stream. */
export function encodeReply(reply: Reply): string {
  const {context, result} = reply;
  const span = spanIdHex(`${reply.executionId}:agent.return`);
  const observation = context.langfuse_parent_observation_id ?? '';
  return encodeCommand({
    action: 'RESUME',
    header: createHeader({
      messageId: replyMessageId(context.parent_message_id, reply.caller),
      sessionId: reply.sessionId,
      traceId: reply.traceId,
      sourceAgentType: reply.agentType,
      targetAgentType: context.source_agent_type,
      parentMessageId: reply.askMessageId,
      taskGroupId: context.task_group_id,
      userCode: context.user_code,
      userName: context.user_name,
      metadata: {
        ...context.metadata,
        ...result.metadata,
        framework_parent_span_id: `${reply.executionId}:agent.return`,
        trace_parent_span_id: span,
        ...(observation === '' ? {} : {langfuse_parent_observation_id: observation}),
      },
      traceParentSpanId: span,
      langfuseParentObservationId: observation,
    }),
    status: result.status,
    content: result.content,
    replyData: result.replyData,
    extraPayload: result.extraPayload,
  });
}

/** Python callers resume by their own message id; ts and java callers, known by a record without snapshot, by a fresh one. */
function replyMessageId(callersMessageId: string, caller: ExecutionRecord | undefined): string {
  if (callersMessageId === '') return newMessageId();
  if (caller === undefined || (caller.agentConfigsSnapshotKey ?? '') !== '') return callersMessageId;
  return caller.extra['x_attempt'] === undefined ? newMessageId() : callersMessageId;
}

/** What a reply to the sender of an ASK needs; undefined if nobody waits for one. */
export function askersContext(header: Header): ReplyContext | undefined {
  if (header.sourceAgentType === '') return undefined;
  return {
    source_agent_type: header.sourceAgentType,
    parent_message_id: header.parentMessageId,
    task_group_id: header.taskGroupId,
    user_code: header.userCode,
    user_name: header.userName,
    metadata: withoutOurs(header.metadata),
    ...(header.langfuseParentObservationId === ''
      ? {}
      : {langfuse_parent_observation_id: header.langfuseParentObservationId}),
  };
}

/**
 * Noted with a call when it is sent: who waits for it, so that its caller hears of its end also if nobody ever begins
 * it, and which execution that is.
 */
export function calledExtra(
  header: Header,
  callerExecutionId: string,
  depth: number,
): {x_reply?: ReplyContext; x_caller?: string; x_depth: number} {
  const context = askersContext(header);
  return {
    x_depth: depth,
    ...(context === undefined ? {} : {x_reply: context, x_caller: callerExecutionId}),
  };
}

/** Extras of ours concern one command: copied into another they would lie. */
function withoutOurs(metadata: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(metadata).filter(([name]) => !name.startsWith('by_')));
}

/** The result of an execution that ended without its agent's word. */
export const noAnswer = (status: string, replyData: Readonly<Record<string, unknown>>): TaskResult => ({
  ...{status, content: '', metadata: {}, replyData, extraPayload: {}},
});
