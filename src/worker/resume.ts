/** What a message agent's RESUME answers: spec §6.7 and §6.8. */
import type {ResumeCommand} from '../protocol/commands.js';
import {groupResultField, isSuccess} from '../protocol/task-group.js';
import type {Store} from '../store/store.js';
import {joinGroup, noteGroupWait, readGroup} from '../store/task-groups.js';
import {cancelGroupRest} from './rest.js';

/** The call that is answered, and the group that is done with it, or ''. */
export interface Answered {
  readonly messageId: string;
  readonly groupId: string;
}

/**
 * Count the answer in its group, if it has one.
 * @returns what the answer is to the caller, undefined if a person gave it; 'nothing' if nothing is to be done with it now:
 *   others are waited for, or nobody waits any more.
 */
export async function joinAnswer(
  store: Store,
  command: ResumeCommand,
  nowMs: number,
): Promise<Answered | undefined | 'nothing'> {
  const {header} = command;
  const messageId = header.parentMessageId;
  if (header.sourceAgentType === '' || messageId === '') return undefined;
  const groupId = header.taskGroupId;
  if (groupId === '') return {messageId, groupId};
  const join = await joinGroup(store, groupId, {
    member: groupResultField(header),
    succeeded: isSuccess(command.status),
    result: {
      status: command.status,
      replyData: command.replyData ?? null,
      content: command.content,
      metadata: header.metadata,
      extraPayload: command.extraPayload,
    },
  });
  switch (join) {
    case 'rest': {
      // Before its turn begins, so that whoever dies in between is followed by somebody who is told the same.
      const group = await readGroup(store, groupId);
      const {sessionId, targetAgentType: requestedBy, sourceAgentType: decider} = header;
      if (group?.rest !== undefined)
        await cancelGroupRest(store, () => nowMs, {sessionId, groupId, requestedBy, decider}, group.rest);
      return {messageId, groupId};
    }
    case 'none':
    case 'done':
      return {messageId, groupId};
    case 'waiting':
      await noteGroupWait(store, header, nowMs);
      return 'nothing';
    case 'late':
    case 'stranger':
      return 'nothing';
  }
}
