/** The calls of a durable agent on their way to the agents called. */
import type {Router} from '../../availability/send.js';
import {ByError} from '../../errors.js';
import {deadlineOf} from '../../protocol/deadline.js';
import {callDepth} from '../../protocol/execution.js';
import type {Claim} from '../../store/executions.js';
import type {ContextFacts} from '../context.js';
import {CALL_REFUSALS, dispatch, stopIfNotOurs} from '../dispatch.js';
import type {EventWriter} from '../event-writer.js';
import type {RunningTask} from '../running.js';
import type {SendCall} from './context.js';

/** What is no answer of the agent called, and no failure of ours: the code is told. */
const REFUSALS: ReadonlySet<string> = new Set([...CALL_REFUSALS, 'INVALID_INPUT', 'MESSAGE_TOO_LARGE']);

export function durableCalls(
  router: Router,
  {claim, task}: {readonly claim: Claim; readonly task: RunningTask},
  facts: ContextFacts,
  writer: EventWriter,
  stepAside: () => () => void,
): SendCall {
  return async (header, {policy = 'SEND_ANYWAY', ...call}) => {
    let back: (() => void) | undefined;
    try {
      const {agentType, messageId} = facts;
      const deadline = deadlineOf(claim.record);
      await dispatch(
        router,
        {
          ...{turn: task.turn, agentType, messageId, header, deadline, depth: callDepth(claim.record)},
          span: facts.trace.span,
        },
        {
          ...{...call, policy, waitForReply: true, signal: task.signal},
          isNewMessage: claim.attempt === 1,
          // Somebody has to be started first: others may use the slot meanwhile.
          onWakeup: () => (back ??= stepAside()),
        },
      );
      return undefined;
    } catch (error) {
      if (error instanceof ByError && REFUSALS.has(error.code)) return error;
      stopIfNotOurs(error, task, writer);
      throw error;
    } finally {
      back?.();
    }
  };
}
