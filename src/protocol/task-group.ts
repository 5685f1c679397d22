/** Scatter and gather: one caller waits for several callees. Spec §6.8. */
import {z} from 'zod';
import type {Header} from './header.js';
import {integerOf, textOf} from './fields.js';
import {parseUntrustedObject} from './limits.js';
import {anything, document, text, wire} from './wire.js';

/** Status of the receipt a dispatch returns, and of the execution that waits. */
export const GROUP_QUEUED = 'GROUP_QUEUED';
/** Status of the receipt when there was nothing to dispatch. */
export const GROUP_EMPTY = 'EMPTY';

/** The group's hash. */
export interface TaskGroup {
  readonly total: number;
  readonly completed: number;
  readonly sourceAgentType: string;
}

/** Fields for HSET. */
export function taskGroupToHash(group: TaskGroup): Record<string, string> {
  return {
    total: String(group.total),
    completed: String(group.completed),
    source_agent_type: group.sourceAgentType,
  };
}

/** @returns undefined if the hash names no group: without `total` nobody waits. */
export function taskGroupFromHash(hash: Readonly<Record<string, string>>): TaskGroup | undefined {
  if (hash['total'] === undefined) return undefined;
  return {
    total: integerOf(hash['total'], 0),
    completed: integerOf(hash['completed'], 0),
    sourceAgentType: textOf(hash['source_agent_type']),
  };
}

/**
 * When the caller goes on: when all have answered (`allSettled`, as in the SDKs); when all have succeeded or one can not
 * (`all`); when one has succeeded, or none can (`any`); when so many have, or can not any more (`quorum`).
 */
export type GroupPolicy = 'allSettled' | 'all' | 'any' | {readonly quorum: number};

/** What becomes of calls that nobody waits for any more: they are cancelled with all they started, or run to their end. */
export type RestPolicy = (typeof REST_POLICIES)[number];
export const REST_POLICIES = ['cancel', 'leave'] as const;

export interface NewTaskGroup {
  readonly sourceAgentType: string;
  readonly policy: GroupPolicy;
  readonly rest: RestPolicy;
  /** Message ids of its calls, in order. */
  readonly members: readonly string[];
}

/** Before a member's message id: the field of the group's hash that says where in the order it stands. */
export const MEMBER_FIELD = 'x_member:';

/** Fields of a group that begins. What other SDKs do not know begins with `x_`: join-group.lua. */
export function groupFields({sourceAgentType, policy, rest, members}: NewTaskGroup): Record<string, string> {
  return {
    ...taskGroupToHash({total: members.length, completed: 0, sourceAgentType}),
    x_need: neededSuccesses(policy, members.length),
    ...(rest === 'cancel' ? {x_rest: rest} : {}),
    ...Object.fromEntries(members.map((messageId, at) => [`${MEMBER_FIELD}${messageId}`, String(at)])),
  };
}

/** '' where every answer is waited for, whatever it is. */
function neededSuccesses(policy: GroupPolicy, total: number): string {
  if (policy === 'allSettled') return '';
  if (policy === 'all') return String(total);
  return policy === 'any' ? '1' : String(policy.quorum);
}

/** Whether an answer counts as a success. */
export const isSuccess = (status: string): boolean => ['COMPLETED', 'SUCCESS'].includes(status);

/** What one callee answered: a value of the results hash. */
export const GroupResult = wire(
  z.object({
    status: text(),
    replyData: anything(),
    content: anything(),
    metadata: document(),
    extraPayload: document(),
  }),
);
export type GroupResult = z.output<typeof GroupResult>;

export const encodeGroupResult = (result: GroupResult): string =>
  JSON.stringify(z.encode(GroupResult, result));

/** @throws {ProtocolError} as parseUntrusted; NOT_AN_OBJECT. */
export const readGroupResult = (data: string | Uint8Array): GroupResult =>
  z.decode(GroupResult, {...parseUntrustedObject(data)});

/**
 * Field of the results hash for a reply: the child's message id, so that two replies never share one (R13). Python
 * uses the reply's own id, which is the caller's for all of them, and so keeps only the last result.
 */
export const groupResultField = (reply: Header): string => reply.parentMessageId || reply.messageId;

export interface DispatchedTask {
  readonly messageId: string;
  readonly targetAgentType: string;
}

/** What dispatching a group returns to the handler, as the SDKs spell it. */
export function groupReceipt(taskGroupId: string, tasks: readonly DispatchedTask[]) {
  if (tasks.length === 0) return {status: GROUP_EMPTY, task_group_id: ''};
  return {
    status: GROUP_QUEUED,
    task_group_id: taskGroupId,
    dispatched_tasks: tasks.map(task => ({
      message_id: task.messageId,
      target_agent_type: task.targetAgentType,
    })),
  };
}
