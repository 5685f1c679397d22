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
import {withCallHooks} from '../turn-plugins.js';
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
  return async (header, {policy = 'SEND_ANYWAY', ...call}, noting) => {
    let back: (() => void) | undefined;
    try {
      // In a Cluster a call takes several steps, and the look at the journal is not the first.
      const isCluster = router.store.commands.knownCluster ?? (await router.store.commands.isCluster());
      if (noting !== undefined && isCluster && !(await noting.isNoted)) return undefined;
      const {agentType, messageId} = facts;
      const deadline = deadlineOf(claim.record);
      await withCallHooks(facts.plugins, call, ({metadata}) =>
        dispatch(
          router,
          {
            ...{turn: task.turn, agentType, messageId, header, deadline, depth: callDepth(claim.record)},
            span: facts.trace.span,
          },
          {
            ...{...call, metadata, policy, waitForReply: true, signal: task.signal},
            isNewMessage: claim.attempt === 1,
            ...(noting === undefined || isCluster ? {} : {noting}),
            // Somebody has to be started first: others may use the slot meanwhile.
            onWakeup: () => (back ??= stepAside()),
          },
        ),
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
