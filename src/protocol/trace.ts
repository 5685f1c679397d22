/** Trace records in Redis: spec §9.4. Writing them is best effort and must never fail a request. */
import {createHash} from 'node:crypto';
import {flagOf, integerOf, objectOf, textOf} from './fields.js';
import {isObject} from './limits.js';
import {isSensitive, REDACTED} from './redaction.js';

/** Lifetime of every trace key, in seconds, renewed on each write. */
export const TRACE_TTL_S = 900;
export const MAX_SPANS_PER_TRACE = 1000;
export const METADATA_LIMIT = 256;
export const IO_LIMIT = 4096;
const LIST_LIMIT = 50;
const TRUNCATED = '...[TRUNCATED]';

/** Span ids: who writes a span decides its id, so that others can name it as their parent. */
export const spanIds = {
  dispatch: (messageId: string) => `${messageId}:client.dispatch`,
  execute: (executionId: string) => `${executionId}:worker.execute`,
  agentReturn: (executionId: string) => `${executionId}:agent.return`,
  cancel: (executionId: string) => `${executionId}:agent.cancel`,
  dispatchGroup: (groupId: string) => `${groupId}:agent.dispatch_group`,
} as const;

/** Trace id as OpenTelemetry wants it: 32 hex digits. */
export function traceIdHex(traceId: string): string {
  if (/^[0-9a-fA-F]{32}$/.test(traceId)) return traceId.toLowerCase();
  return createHash('md5').update(traceId).digest('hex');
}

/** @returns 0 to 1, the same for a trace in every SDK. */
export function samplingBucket(traceId: string): number {
  const digest = createHash('md5').update(traceId).digest('hex');
  return Number.parseInt(digest.slice(0, 8), 16) / 0xffff_ffff;
}

/** @param rate 0 keeps nothing, 1 everything. */
export function isSampled(traceId: string, rate: number): boolean {
  return rate >= 1 || samplingBucket(traceId) < rate;
}

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly operation: string;
  /** Default: the operation. */
  readonly name?: string;
  readonly component?: string;
  readonly kind?: string;
  /** Unix milliseconds; an end before the start counts as the start. */
  readonly startTs: number;
  readonly endTs: number;
  readonly status: string;
  readonly input?: unknown;
  readonly output?: unknown;
  readonly tokens?: Readonly<Record<string, unknown>>;
  readonly cost?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly sessionId?: string;
  readonly executionId?: string;
  readonly messageId?: string;
  readonly parentMessageId?: string;
  readonly workerId?: string;
  readonly sourceAgentType?: string;
  readonly targetAgentType?: string;
  readonly errorType?: string;
  readonly errorMessage?: string;
  readonly errorCode?: string;
  readonly failedStage?: string;
  readonly retryable?: boolean;
  readonly routePolicy?: string;
  readonly routeStatus?: string;
  readonly queueWaitMs?: number;
  readonly chunkCount?: number;
  readonly eventType?: string;
}

/** One element of the spans list: sanitised; keys whose value is '' or null are left out. */
export function spanToWire(span: Span): Record<string, unknown> {
  const endTs = Math.max(span.startTs, span.endTs);
  const doc = {
    trace_id: span.traceId,
    span_id: span.spanId,
    parent_span_id: span.parentSpanId,
    name: span.name ?? span.operation,
    operation: span.operation,
    component: span.component,
    kind: span.kind,
    start_ts: span.startTs,
    end_ts: endTs,
    duration_ms: endTs - span.startTs,
    status: span.status,
    input: span.input === undefined ? undefined : sanitizeIo(span.input),
    output: span.output === undefined ? undefined : sanitizeIo(span.output),
    tokens: span.tokens ?? {},
    cost: span.cost ?? {},
    metadata: sanitize(span.metadata ?? {}, METADATA_LIMIT),
    source: 'redis',
    session_id: span.sessionId,
    execution_id: span.executionId,
    message_id: span.messageId,
    parent_message_id: span.parentMessageId,
    worker_id: span.workerId,
    source_agent_type: span.sourceAgentType,
    target_agent_type: span.targetAgentType,
    error_type: span.errorType,
    error_message: span.errorMessage === undefined ? undefined : sanitize(span.errorMessage, METADATA_LIMIT),
    error_code: span.errorCode,
    failed_stage: span.failedStage,
    retryable: span.retryable ?? false,
    route_policy: span.routePolicy,
    route_status: span.routeStatus,
    queue_wait_ms: span.queueWaitMs ?? 0,
    chunk_count: span.chunkCount ?? 0,
    event_type: span.eventType,
  };
  return Object.fromEntries(
    Object.entries(doc).filter(([, value]) => value !== undefined && value !== null && value !== ''),
  );
}

/** Read a span any SDK wrote; what is not there stays undefined. */
export function spanFromWire(doc: Readonly<Record<string, unknown>>): Span {
  const startTs = integerOf(doc['start_ts'], 0);
  const operation = textOf(doc['operation']) || textOf(doc['name']);
  const optional: Record<string, unknown> = {};
  for (const [field, name, read] of OPTIONAL_SPAN_FIELDS) {
    const value = doc[name];
    if (value !== undefined && value !== null) optional[field] = read(value);
  }
  return {
    ...optional,
    traceId: textOf(doc['trace_id']),
    spanId: textOf(doc['span_id']),
    operation,
    startTs,
    endTs: integerOf(doc['end_ts'], startTs),
    status: textOf(doc['status']),
  };
}

const wholeNumber = (value: unknown) => integerOf(value, 0);

const OPTIONAL_SPAN_FIELDS: readonly [keyof Span, string, (value: unknown) => unknown][] = [
  ['parentSpanId', 'parent_span_id', textOf],
  ['name', 'name', textOf],
  ['component', 'component', textOf],
  ['kind', 'kind', textOf],
  ['input', 'input', value => value],
  ['output', 'output', value => value],
  ['tokens', 'tokens', objectOf],
  ['cost', 'cost', objectOf],
  ['metadata', 'metadata', objectOf],
  ['sessionId', 'session_id', textOf],
  ['executionId', 'execution_id', textOf],
  ['messageId', 'message_id', textOf],
  ['parentMessageId', 'parent_message_id', textOf],
  ['workerId', 'worker_id', textOf],
  ['sourceAgentType', 'source_agent_type', textOf],
  ['targetAgentType', 'target_agent_type', textOf],
  ['errorType', 'error_type', textOf],
  ['errorMessage', 'error_message', textOf],
  ['errorCode', 'error_code', textOf],
  ['failedStage', 'failed_stage', textOf],
  ['retryable', 'retryable', flagOf],
  ['routePolicy', 'route_policy', textOf],
  ['routeStatus', 'route_status', textOf],
  ['queueWaitMs', 'queue_wait_ms', wholeNumber],
  ['chunkCount', 'chunk_count', wholeNumber],
  ['eventType', 'event_type', textOf],
];

export interface TraceRoot {
  readonly traceId: string;
  readonly sessionId: string;
  readonly rootMessageId: string;
  /** Also the trace's name. */
  readonly rootAgentType: string;
  readonly input: unknown;
  /** Unix milliseconds. */
  readonly startTs: number;
}

/** Fields of the trace hash when a root request is sent. */
export function traceRootStart(root: TraceRoot): Record<string, string> {
  return hashFields({
    trace_id: root.traceId,
    name: root.rootAgentType,
    session_id: root.sessionId,
    root_message_id: root.rootMessageId,
    root_agent_type: root.rootAgentType,
    input: sanitizeIo(root.input),
    status: 'QUEUED',
    start_ts: root.startTs,
    end_ts: 0,
    metadata: {},
    updated_at: root.startTs,
  });
}

/** Fields that change when the request ends; not `start_ts`, which Python destroys here. */
export function traceRootEnd(end: {status: string; endTs: number; output?: unknown; error?: string}) {
  return hashFields({
    status: end.status,
    end_ts: end.endTs,
    output: end.output === undefined ? undefined : sanitizeIo(end.output),
    metadata:
      end.error === undefined || end.error === '' ? undefined : {error: sanitize(end.error, METADATA_LIMIT)},
    updated_at: end.endTs,
  });
}

/**
 * Fields of the trace hash that come with a span.
 *
 * @param known What the hash holds: the earliest start and the latest update win.
 */
export function traceMetaOfSpan(
  span: Span,
  known: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const endTs = Math.max(span.startTs, span.endTs);
  const starts = [Number(known['start_ts']), span.startTs].filter(start => start > 0);
  const fields: Record<string, string> = {
    trace_id: span.traceId,
    session_id: span.sessionId ?? '',
    status: span.status,
    start_ts: String(starts.length === 0 ? 0 : Math.min(...starts)),
    updated_at: String(Math.max(Number(known['updated_at'] ?? 0) || 0, endTs)),
  };
  if (span.operation.startsWith('client.dispatch')) {
    fields['name'] = span.name ?? span.operation;
    fields['root_agent_type'] = span.targetAgentType ?? '';
    fields['root_message_id'] = span.messageId ?? '';
  }
  return fields;
}

/** Inputs and outputs of traces. */
export const sanitizeIo = (value: unknown): unknown => sanitize(value, IO_LIMIT);

/**
 * Values under sensitive keys, and text that holds a sensitive word, become `[REDACTED]`; long text is cut, so are
 * lists.
 */
export function sanitize(value: unknown, limit: number): unknown {
  if (typeof value === 'string') {
    if (isSensitive(value)) return REDACTED;
    return value.length > limit ? `${value.slice(0, limit)}${TRUNCATED}` : value;
  }
  if (Array.isArray(value))
    return (value as unknown[]).slice(0, LIST_LIMIT).map(item => sanitize(item, limit));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, isSensitive(key) ? REDACTED : sanitize(item, limit)]),
  );
}

/** Strings as they are, everything else as compact JSON; empty and null are left out. */
function hashFields(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  const hash: Record<string, string> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null || value === '') continue;
    hash[name] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  return hash;
}
