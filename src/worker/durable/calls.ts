/** The calls of a durable agent on their way to the agents called. */
import {ByError} from '../../errors.js';
import {deadlineOf} from '../../protocol/deadline.js';
import {callDepth} from '../../protocol/execution.js';
import type {Claim} from '../../store/executions.js';
import type {ContextFacts} from '../context.js';
import {dispatch} from '../dispatch.js';
import type {RunningTask} from '../running.js';
import type {TurnEnvironment} from '../turn.js';
import type {SendCall} from './context.js';

/** What is no answer of the agent called, and no failure of ours: the code is told. */
const REFUSALS: ReadonlySet<string> = new Set([
  ...['AGENT_TYPE_UNAVAILABLE', 'AGENT_CIRCUIT_OPEN', 'TENANT_QUOTA_EXCEEDED', 'QUEUE_FULL'],
  ...['INVALID_INPUT', 'MESSAGE_TOO_LARGE', 'CALLS_TOO_DEEP'],
]);

export function durableCalls(
  env: TurnEnvironment,
  {claim, task}: {readonly claim: Claim; readonly task: RunningTask},
  facts: ContextFacts,
): SendCall {
  return async (header, {policy = 'SEND_ANYWAY', ...call}) => {
    let back: (() => void) | undefined;
    try {
      const {agentType, messageId} = facts;
      const deadline = deadlineOf(claim.record);
      await dispatch(
        env,
        {turn: task.turn, agentType, messageId, header, deadline, depth: callDepth(claim.record)},
        {
          ...{...call, policy, waitForReply: true, signal: task.signal},
          isNewMessage: claim.attempt === 1,
          // Somebody has to be started first: others may use the slot meanwhile.
          onWakeup: () => (back ??= env.stepAside()),
        },
      );
      return undefined;
    } catch (error) {
      if (error instanceof ByError && REFUSALS.has(error.code)) return error;
      if (error instanceof ByError && error.code === 'FENCED') task.abandon('fenced');
      throw error;
    } finally {
      back?.();
    }
  };
}
