/** Which execution a RESUME continues, and with which answer: spec §6.7 and §6.8. */
import type {ResumeCommand} from '../protocol/commands.js';
import type {Header} from '../protocol/header.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {groupResultField} from '../protocol/task-group.js';
import {findByMessage, findExecution} from '../store/executions.js';
import type {Store} from '../store/store.js';
import {joinGroup, noteGroupWait, type Join} from '../store/task-groups.js';

/** What a RESUME continues. */
export interface Resumed {
  /** The execution's own message; of a RESUME that belongs to none, the RESUME's. */
  readonly messageId: string;
  /** '' if there is none yet. */
  readonly executionId: string;
  /** The call that is answered, and the group that is done with it, or ''; absent if a person answers. */
  readonly answers?: {readonly messageId: string; readonly groupId: string};
}

/**
 * Find what a RESUME continues. An agent's names its question, the callee's message: the callee's record says who
 * called, if one of ours did. Else it is the execution of the RESUME's own message (Python, people), else that of the
 * callee's parent (TypeScript, Java). What belongs to none runs as an execution of its own: nothing is dropped.
 */
export async function resumedRecord(store: Store, header: Header): Promise<ExecutionRecord | undefined> {
  const {sessionId, messageId} = header;
  const ofMessage = (id: string) => (id === '' ? undefined : findByMessage(store, sessionId, id));
  if (header.sourceAgentType === '') return ofMessage(messageId);
  const [named, callee] = await Promise.all([ofMessage(messageId), ofMessage(header.parentMessageId)]);
  return (await callerNotedIn(store, callee)) ?? named ?? (await ofMessage(callee?.parentMessageId ?? ''));
}

/** What a RESUME of a message agent continues, and with which answer. */
export async function resolveResume(store: Store, {header}: ResumeCommand): Promise<Resumed> {
  const record = await resumedRecord(store, header);
  const isAgents = header.sourceAgentType !== '' && header.parentMessageId !== '';
  return {
    messageId: record?.messageId || header.messageId,
    executionId: record?.executionId ?? '',
    ...(isAgents ? {answers: {messageId: header.parentMessageId, groupId: ''}} : {}),
  };
}

async function callerNotedIn(
  store: Store,
  callee: ExecutionRecord | undefined,
): Promise<ExecutionRecord | undefined> {
  const caller = callee?.extra['x_caller'];
  return callee === undefined || typeof caller !== 'string'
    ? undefined
    : findExecution(store, callee.sessionId, caller);
}

/**
 * Count the answer in its group, if it has one.
 * @returns what the answer is to the caller; undefined if nothing is to be done with it now: others are waited for, or
 *   nobody waits any more.
 */
export async function joinAnswer(
  store: Store,
  command: ResumeCommand,
  resumed: Resumed,
  nowMs: number,
): Promise<Resumed | undefined> {
  const {header} = command;
  const groupId = header.taskGroupId;
  if (groupId === '' || resumed.answers === undefined) return resumed;
  const join = await joinGroup(store, groupId, {
    member: groupResultField(header),
    succeeded: ['COMPLETED', 'SUCCESS'].includes(command.status),
    result: {
      status: command.status,
      replyData: command.replyData ?? null,
      content: command.content,
      metadata: header.metadata,
      extraPayload: command.extraPayload,
    },
  });
  return afterJoin(
    store,
    join,
    {...resumed, answers: {...resumed.answers, groupId}},
    header.sessionId,
    nowMs,
  );
}

async function afterJoin(
  store: Store,
  join: Join,
  resumed: Resumed,
  sessionId: string,
  nowMs: number,
): Promise<Resumed | undefined> {
  switch (join) {
    case 'none':
    case 'done':
      return resumed;
    case 'waiting':
      await noteGroupWait(store, {sessionId, executionId: resumed.executionId}, nowMs);
      return undefined;
    case 'late':
    case 'stranger':
      return undefined;
  }
}
