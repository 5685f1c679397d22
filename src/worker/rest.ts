/** Calls that nobody waits for any more, and what becomes of them: docs/decisions/0011, 0012. */
import {cancelCalls} from '../availability/cancel.js';
import type {Clock} from '../clock.js';
import {ByError} from '../errors.js';
import {REST_POLICIES, type RestPolicy} from '../protocol/task-group.js';
import {endGroupRest, type GroupRest} from '../store/task-groups.js';
import type {Store} from '../store/store.js';

/** Callers in plain JavaScript may write anything. @throws {ByError} INVALID_INPUT */
export function checkRest(rest: RestPolicy): void {
  if (REST_POLICIES.includes(rest)) return;
  throw new ByError('INVALID_INPUT', `"${rest}" is not what can become of the rest of several calls.`, {
    hint: "Use 'cancel' or 'leave'.",
  });
}

/** A call whose answer decided; its agent type is '' where that is not known. */
export interface Decided {
  readonly messageId: string;
  readonly agentType: string;
  readonly succeeded: boolean;
}

/** For people: why a call was not waited for. @param needed answers that had to be there. */
export function whyDecided({messageId, agentType, succeeded}: Decided, needed: number): string {
  const call = agentType === '' ? `call ${messageId}` : `${agentType} (call ${messageId})`;
  if (!succeeded) return `${call} did not complete: the others are not needed`;
  return needed === 1
    ? `the answer of ${call} was enough`
    : `the answers of ${needed} calls were enough, that of ${call} the last`;
}

/** Cancel what a group does not wait for any more; safe to repeat, and not repeated once it is done. */
export async function cancelGroupRest(
  store: Store,
  now: Clock,
  group: {
    readonly sessionId: string;
    readonly groupId: string;
    /** Of the agent that made the group. */
    readonly requestedBy: string;
    /** Agent type of the call whose answer decided, or ''. */
    readonly decider: string;
  },
  {missing, decidedBy: messageId, succeeded, needed}: GroupRest,
): Promise<void> {
  const {sessionId, groupId, requestedBy, decider: agentType} = group;
  const reason = whyDecided({messageId, agentType, succeeded}, needed);
  await cancelCalls(store, now, {sessionId, messageIds: missing, reason, requestedBy});
  await endGroupRest(store, groupId);
}
