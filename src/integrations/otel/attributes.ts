/** A span in the attributes of OpenTelemetry: its conventions where they have a name, `by.*` where they have none. */
import type {Attributes} from '@opentelemetry/api';
import {METADATA_LIMIT, sanitize, sanitizeIo} from '../../protocol/trace.js';
import type {SpanEnd, SpanStart} from '../../protocol/tracer.js';

export function startAttributes(span: SpanStart): Attributes {
  return filled({
    'by.operation': span.operation,
    'session.id': span.sessionId,
    'gen_ai.conversation.id': span.sessionId,
    'user.id': span.userCode,
    'messaging.system': span.kind === 'producer' || span.kind === 'consumer' ? 'redis' : undefined,
    'messaging.message.id': span.messageId,
    'by.message_id': span.messageId,
    'by.parent_message_id': span.parentMessageId,
    'by.execution_id': span.executionId,
    'by.worker_id': span.workerId,
    'by.source_agent_type': span.sourceAgentType,
    'by.target_agent_type': span.targetAgentType,
    'input.value': contentText(span.input),
    ...span.attributes,
  });
}

export function endAttributes(end: SpanEnd): Attributes {
  return filled({
    'by.status': end.status,
    'error.type': end.errorCode || end.errorType,
    'by.failed_stage': end.failedStage,
    'by.route_policy': end.routePolicy,
    'by.route_status': end.routeStatus,
    'by.queue_wait_ms': end.queueWaitMs,
    'by.events': end.chunkCount,
    'output.value': contentText(end.output),
    ...end.attributes,
  });
}

/** What went wrong, by the rules for what is shown of an error. */
export const errorText = ({errorMessage = ''}: SpanEnd): string =>
  String(sanitize(errorMessage, METADATA_LIMIT));

function contentText(content: unknown): string | undefined {
  if (content === undefined || content === null || content === '') return undefined;
  const clean = sanitizeIo(content);
  return typeof clean === 'string' ? clean : JSON.stringify(clean);
}

/** Text is cut and cleared of secrets like everything that leaves in a span; what is empty is left out. */
function filled(values: SpanStart['attributes'] & object): Attributes {
  const found: Attributes = {};
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === '') continue;
    const isContent = name.endsWith('put.value');
    if (typeof value === 'string') found[name] = isContent ? value : String(sanitize(value, METADATA_LIMIT));
    else if (typeof value === 'object')
      found[name] = value.map(text => String(sanitize(text, METADATA_LIMIT)));
    else found[name] = value;
  }
  return found;
}
