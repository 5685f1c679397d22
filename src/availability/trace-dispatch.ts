/** What a tracer is told of a command on its way: from the moment it is sent until it is accepted or refused. */
import {ByError} from '../errors.js';
import type {AskCommand} from '../protocol/commands.js';
import {spanIds, traceIdHex} from '../protocol/trace.js';
import {
  errorFacts,
  parentOf,
  type LiveSpan,
  type SpanEnd,
  type SpanParent,
  type Tracer,
} from '../protocol/tracer.js';
import type {Draft, Router, SendRequest, SendResult} from './send.js';

const ROOT: SpanParent = {spanId: '', hex: ''};

/** A request that is made inside a span of whatever library belongs to that trace, unless it names its own. */
export function inActiveTrace(tracer: Tracer | undefined, request: SendRequest): SendRequest {
  const active = request.traceId === undefined ? tracer?.active() : undefined;
  return active === undefined ? request : {...request, traceId: active.traceId};
}

/** Route a command, and tell it. Without a tracer, or for a trace nobody keeps, it is only routed. */
export function traceDispatch(
  router: Router,
  draft: Draft,
  send: (draft: Draft) => Promise<SendResult>,
): Promise<SendResult> {
  const {metrics} = router;
  if (metrics === undefined) return toldDispatch(router, draft, send);
  const {policy} = draft;
  const {targetAgentType} = draft.command.header;
  const from = performance.now();
  return toldDispatch(router, draft, send).then(
    sent => {
      metrics.routed(targetAgentType, policy, sent.status, performance.now() - from);
      return sent;
    },
    (error: unknown) => {
      const status = error instanceof ByError ? error.code : 'ERROR';
      metrics.routed(targetAgentType, policy, status, performance.now() - from);
      throw error;
    },
  );
}

async function toldDispatch(
  router: Router,
  draft: Draft,
  send: (draft: Draft) => Promise<SendResult>,
): Promise<SendResult> {
  const {tracer, now} = router;
  if (tracer?.keeps(draft.command.header.traceId) !== true) return send(draft);
  const span = beginDispatch(tracer, draft.command, now(), draft.caller?.span, draft.isNewTrace);
  const command = namedBy(span, draft.command, draft.isNewTrace === true);
  const route = tracer.start({
    ...facts(command, draft.caller !== undefined),
    spanId: `${command.header.messageId}:client.route`,
    parent: {spanId: spanIds.dispatch(command.header.messageId), hex: span.hex},
    operation: 'client.route',
    startTs: now(),
  });
  const end = (facts: Omit<SpanEnd, 'endTs'>) => {
    const whole = {...facts, endTs: now(), routePolicy: draft.policy};
    route.end(whole);
    span.end(whole);
  };
  try {
    const sent = await span.within(() => send({...draft, command}));
    end({
      status: 'COMPLETED',
      routeStatus: sent.status,
      attributes: {
        'by.selected_agent_type': sent.selectedAgentType,
        'by.duplicate': sent.duplicate || undefined,
        'by.wakeup_decision': sent.wakeup?.decision,
        'by.wakeup_ms': sent.wakeup?.elapsedMs,
      },
    });
    return sent;
  } catch (error) {
    end({status: 'FAILED', ...errorFacts(error), failedStage: 'availability', routeStatus: 'REJECT'});
    throw error;
  }
}

/**
 * Begin the span of a command that is sent.
 * @param caller the execution that calls; absent for a client, whose span belongs to what is active around it.
 */
export function beginDispatch(
  tracer: Tracer,
  command: AskCommand,
  startTs: number,
  caller?: SpanParent,
  isNewTrace = false,
): LiveSpan {
  const {header} = command;
  return tracer.start({
    ...facts(command, caller !== undefined),
    spanId: spanIds.dispatch(header.messageId),
    parent: caller ?? parentOfClient(tracer, command),
    operation: 'client.dispatch',
    kind: 'producer',
    ...{startTs, isNewTrace},
    ...(tracer.takesContent ? {input: command.content} : {}),
  });
}

const facts = ({header}: AskCommand, isCall: boolean) => ({
  traceId: header.traceId,
  component: isCall ? 'agent_context' : 'client',
  sessionId: header.sessionId,
  messageId: header.messageId,
  parentMessageId: header.parentMessageId,
  sourceAgentType: isCall ? header.sourceAgentType : 'client',
  targetAgentType: header.targetAgentType,
  userCode: header.userCode,
});

/** A sender may name its own span in the metadata, which went to the header. */
function parentOfClient(tracer: Tracer, {header}: AskCommand): SpanParent {
  const own = parentOf(spanIds.dispatch(header.messageId)).hex;
  const named = header.traceParentSpanId;
  if (named !== '' && named !== own) return {spanId: '', hex: named};
  const active = tracer.active();
  return active?.traceId === traceIdHex(header.traceId) ? {spanId: '', hex: active.hex} : ROOT;
}

/** The command with the ids the span really got: those of a foreign set-up of OpenTelemetry are its own. */
export function namedBy(span: LiveSpan, command: AskCommand, isNewTrace: boolean): AskCommand {
  const {header} = command;
  const own = parentOf(spanIds.dispatch(header.messageId)).hex;
  if (span.isStable || header.traceParentSpanId !== own) return command;
  const {hex} = span;
  const {langfuseParentObservationId: observation, metadata} = header;
  return {
    ...command,
    header: {
      ...header,
      traceParentSpanId: hex,
      langfuseParentObservationId: observation === own ? hex : observation,
      metadata:
        metadata['trace_parent_span_id'] === own ? {...metadata, trace_parent_span_id: hex} : metadata,
      ...(isNewTrace ? {traceId: span.traceId} : {}),
    },
  };
}
