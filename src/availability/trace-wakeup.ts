/** What a tracer is told of a wakeup: that a manager carried it out, for the command that asked for it. */
import {isObject} from '../protocol/limits.js';
import {spanIds} from '../protocol/trace.js';
import {parentOf, tellSpan, type SpanParent, type Tracer} from '../protocol/tracer.js';
import type {WakeupDecision, WakeupRequest} from '../protocol/wakeup.js';

export interface EndedWakeup {
  readonly request: WakeupRequest;
  readonly decision: WakeupDecision;
  /** Unix milliseconds. */
  readonly startTs: number;
  readonly endTs: number;
  /** How many waited for it. */
  readonly told: number;
  readonly managerId: string;
}

/** Others that wait for the same wakeup have no span of it: it happened once, in the trace of the first. */
export function traceWakeup(tracer: Tracer | undefined, wakeup: EndedWakeup): void {
  const {request, decision, startTs, endTs, told, managerId} = wakeup;
  const {traceId, executionId, sessionId, messageId, targetAgentType} = request;
  if (tracer === undefined || traceId === '' || !tracer.keeps(traceId)) return;
  const isGood = decision.status === 'READY' || decision.status === 'FALLBACK';
  tellSpan(
    tracer,
    {
      ...{traceId, executionId, sessionId, messageId, targetAgentType, startTs},
      ...{spanId: `${executionId}:manager.wakeup`, operation: 'manager.wakeup', component: 'manager'},
      ...{parent: askerOf(request), sourceAgentType: request.source, userCode: request.userCode},
    },
    {
      ...{endTs, status: isGood ? 'COMPLETED' : 'FAILED', routePolicy: request.policy},
      ...(isGood ? {} : {errorMessage: decision.reason, failedStage: 'wakeup'}),
      attributes: {
        'by.wakeup_decision': decision.status,
        'by.wakeup_reason': decision.reason || undefined,
        'by.wakeup_told': told,
        'by.manager_id': managerId,
        'by.selected_agent_type': decision.selectedAgentType || undefined,
      },
    },
  );
}

/** The span of the command that asked: as its header says, for a foreign set-up of OpenTelemetry gives it an id of its own. */
function askerOf({commandPayload, messageId}: WakeupRequest): SpanParent {
  const header: unknown = commandPayload['header'];
  const hex = isObject(header) ? header['trace_parent_span_id'] : undefined;
  const own = parentOf(spanIds.dispatch(messageId));
  return typeof hex === 'string' && /^[0-9a-f]{16}$/.test(hex) && hex !== own.hex ? {spanId: '', hex} : own;
}
