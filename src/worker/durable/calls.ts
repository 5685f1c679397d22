/** The calls of a durable agent on their way to the agents called. */
import {ByError} from '../../errors.js';
import {deadlineOf} from '../../protocol/deadline.js';
import {MAX_CALL_DEPTH} from '../../protocol/journal.js';
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

/** How many calls this one is below the first; in `metadata.by_depth`. */
const depthOf = (metadata: Readonly<Record<string, unknown>>): number =>
  Number(metadata['by_depth'] ?? 0) || 0;

export function durableCalls(
  env: TurnEnvironment,
  {claim, task}: {readonly claim: Claim; readonly task: RunningTask},
  facts: ContextFacts,
): SendCall {
  return async (header, {metadata, policy = 'SEND_ANYWAY', ...call}) => {
    const depth = depthOf(header.metadata) + 1;
    let back: (() => void) | undefined;
    try {
      if (depth > MAX_CALL_DEPTH) throw tooDeep(call.agentType);
      const {agentType, messageId} = facts;
      const deadline = deadlineOf(claim.record);
      await dispatch(
        env,
        {turn: task.turn, agentType, messageId, header, deadline},
        {
          ...{...call, policy, waitForReply: true, signal: task.signal},
          metadata: {...metadata, by_depth: depth},
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

const tooDeep = (agentType: string) =>
  new ByError('CALLS_TOO_DEEP', `"${agentType}" would be called ${MAX_CALL_DEPTH} calls below the first.`, {
    hint: 'Agents that call each other in a ring never end: see who calls whom with `by exec tree`.',
  });
