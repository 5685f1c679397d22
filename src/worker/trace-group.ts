/** What a tracer is told of a group of calls: one span for the group, one for each call. */
import {beginDispatch, namedBy} from '../availability/trace-dispatch.js';
import type {AskCommand} from '../protocol/commands.js';
import type {Header} from '../protocol/header.js';
import {spanIds} from '../protocol/trace.js';
import {errorFacts, tellSpan, type LiveSpan, type SpanParent, type Tracer} from '../protocol/tracer.js';

export interface GroupTrace {
  /** A call that goes with the group. @returns it as it is to be sent. */
  begin(command: AskCommand): AskCommand;
  /** Send them all, and tell it. */
  told(send: () => Promise<void>): Promise<void>;
}

const UNTOLD: GroupTrace = {begin: command => command, told: send => send()};

interface Caller {
  readonly header: Header;
  readonly agentType: string;
  readonly span?: SpanParent | undefined;
  readonly turn: {readonly executionId: string; readonly sessionId: string};
}

export function traceGroup(
  {tracer, now}: {readonly tracer?: Tracer | undefined; readonly now: () => number},
  {header, agentType, span, turn}: Caller,
  groupId: string,
): GroupTrace {
  if (span === undefined || tracer?.keeps(header.traceId) !== true) return UNTOLD;
  const startTs = now();
  const calls: LiveSpan[] = [];
  return {
    begin(command) {
      const call = beginDispatch(tracer, command, startTs, span);
      calls.push(call);
      return namedBy(call, command, false);
    },
    async told(send) {
      let failure: object = {};
      try {
        await send();
      } catch (error) {
        failure = {...errorFacts(error), status: 'FAILED'};
        throw error;
      } finally {
        const end = {status: 'COMPLETED', routeStatus: 'GROUP_DISPATCH', endTs: now(), ...failure};
        for (const call of calls) call.end(end);
        const {sessionId, executionId} = turn;
        tellSpan(
          tracer,
          {
            ...{traceId: header.traceId, sessionId, executionId, messageId: header.messageId},
            ...{spanId: spanIds.dispatchGroup(groupId), parent: span, component: 'agent_context'},
            ...{operation: 'agent.dispatch_group', startTs, sourceAgentType: agentType},
            attributes: {'by.task_group_id': groupId, 'by.calls': calls.length},
          },
          end,
        );
      }
    },
  };
}
