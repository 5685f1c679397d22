/**
 * Execution records: fields `exec:{execution id}` of a session's registry. Spec §5.6.
 *
 * Other SDKs read, merge and write the whole JSON, so whatever we do not know stays in `extra` and is written back.
 * Our own fields start with `x_` and live there too.
 */
import {flagOf, integerOf, objectOf, textOf} from './fields.js';
import {encodeJson, isObject, parseUntrustedObject, readable} from './limits.js';
import {isTerminal} from './states.js';

export interface TimelineStep {
  readonly status: string;
  /** Unix milliseconds. */
  readonly timestamp: number;
}

export interface ExecutionRecord {
  readonly executionId: string;
  readonly messageId: string;
  readonly sessionId: string;
  readonly traceId: string;
  readonly parentMessageId: string;
  /** `client`, the caller's agent type when it waits for a reply, or '' for a hand-off. */
  readonly sourceAgentType: string;
  /** The effective agent type, after fallback. */
  readonly targetAgentType: string;
  /** Where the command was put; '' if it was refused. */
  readonly streamName: string;
  /** Any text: other SDKs store what a handler returned. */
  readonly status: string;
  /** The last worker that started a turn; '' before. */
  readonly workerId: string;
  /** Times are Unix milliseconds; 0 means not yet. */
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly timeline: readonly TimelineStep[];

  readonly routePolicy?: string;
  readonly routeStatus?: string;
  readonly selectedAgentType?: string;
  readonly availabilityErrorCode?: string;
  readonly availabilityError?: string;
  readonly errorType?: string;
  readonly errorMessage?: string;
  readonly errorCode?: string;
  readonly failedStage?: string;
  readonly retryable?: boolean;
  readonly cancelRequested?: boolean;
  readonly cancelReason?: string;
  readonly agentConfigsVersion?: number;
  readonly agentConfigsSnapshotKey?: string;
  readonly redisMessageId?: string;

  /** Everything else, under its wire name. Ours: see {@link OwnFields}. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** Fields only we write, in `extra`. */
export interface OwnFields {
  /** How many turns were begun, counting repeats after a crash. */
  readonly x_attempt: number;
  /** Worker id and incarnation of the turn that runs. */
  readonly x_owner: string;
  /** `{attempt}@{owner}`: every later write of the turn must show it. */
  readonly x_fence: string;
  /** `{stream}/{entry id}` of the command whose turn was begun last, and of the one whose turn ended last. */
  readonly x_entry: string;
  readonly x_ended: string;
  /** Attempts that neither ended nor were handed back, and attempts that failed and were tried again. */
  readonly x_crashes: number;
  readonly x_failures: number;
  /** The last attempts that did not end the execution, oldest first. */
  readonly x_attempts: readonly unknown[];
  /** Unix milliseconds about when a failed attempt is tried again. */
  readonly x_retry_at: number;
  /** Noted when the execution is first claimed, where somebody waits for a reply. */
  readonly x_reply: ReplyContext;
  /** The execution that called this one and waits for it. */
  readonly x_caller: string;
  /** Which calls it goes on for: message id to task group or '', and the worker that noted them. */
  readonly x_waiting: {readonly worker_id: string; readonly calls: Readonly<Record<string, string>>};
  /** Answers it has gone on with where nothing noted what it waits for. */
  readonly x_answered: Readonly<Record<string, true>>;
  /** Message ids of the calls that answer in its place. */
  readonly x_handed_over: readonly string[];
  /** Unix milliseconds by Redis's clock: when its cancel was asked for, when a user continued it after its end, and after which nobody wants an answer. */
  readonly x_cancelled_at: number;
  readonly x_reopened_at: number;
  readonly x_deadline: number;
  /** 16 hex digits: the span that sent an execution that waits, where it does not follow from its message id. */
  readonly x_trace_parent: string;
  /** `by_run` of the command that began an execution that waits. */
  readonly x_run: Readonly<Record<string, unknown>>;
}

/** What a reply needs, kept because the execution may end in a turn the ASK did not start (§6.7). */
export interface ReplyContext {
  readonly source_agent_type: string;
  /** The caller's own message id. */
  readonly parent_message_id: string;
  readonly task_group_id: string;
  readonly user_code: string;
  readonly user_name: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Handed on as it came. */
  readonly langfuse_parent_observation_id?: string;
}

/** An attempt that did not end its execution. */
export interface PastAttempt {
  /** Which try it was, from 1. */
  readonly attempt: number;
  readonly workerId: string;
  readonly ended: string;
  readonly error: string;
  /** Unix milliseconds when its end was noted. */
  readonly at: number;
}

/** What a record says about earlier attempts, oldest first. */
export function pastAttempts(record: ExecutionRecord): PastAttempt[] {
  const rows = record.extra['x_attempts'];
  if (!Array.isArray(rows)) return [];
  return (rows as unknown[]).filter(isObject).map(row => ({
    attempt: integerOf(row['attempt'], 0),
    workerId: textOf(row['worker_id']),
    ended: textOf(row['ended']),
    error: textOf(row['error']),
    at: integerOf(row['at'], 0),
  }));
}

/**
 * When the command was first accepted: what a replay carried over, else the earlier of the record and its entry.
 * @param entryMs when Redis took the entry: the clock of whoever wrote the record may be wrong.
 */
export function firstAcceptedAt(record: ExecutionRecord | undefined, entryMs: number): number {
  const carried = integerOf(record?.extra['x_first_accepted_at'], 0);
  if (carried > 0) return carried;
  const known = [record?.createdAt ?? 0, entryMs].filter(at => at > 0);
  return known.length === 0 ? 0 : Math.min(...known);
}

/** Attempts that count against the execution. */
export function countedAttempts(record: ExecutionRecord): {
  readonly crashes: number;
  readonly failures: number;
} {
  return {
    crashes: integerOf(record.extra['x_crashes'], 0),
    failures: integerOf(record.extra['x_failures'], 0),
  };
}

/** Record fields of an execution whose turn got somewhere: what comes next starts with a clean count. */
export function cleanCount(record: ExecutionRecord): {readonly x_crashes?: 0; readonly x_failures?: 0} {
  const {crashes, failures} = countedAttempts(record);
  return crashes + failures === 0 ? {} : {x_crashes: 0, x_failures: 0};
}

/** Field of a session's registry: the user it belongs to. */
export const OWNER_FIELD = 'x_user_code';
export const execField = (executionId: string): string => `exec:${executionId}`;
export const msgMapField = (messageId: string): string => `msg_map:${messageId}`;
export const fenceOf = (attempt: number, owner: string): string => `${attempt}@${owner}`;

/** Wire names of the fields that are always there, in the order they are written. */
const CORE = {
  executionId: 'execution_id',
  messageId: 'message_id',
  sessionId: 'session_id',
  traceId: 'trace_id',
  parentMessageId: 'parent_message_id',
  sourceAgentType: 'source_agent_type',
  targetAgentType: 'target_agent_type',
  streamName: 'stream_name',
  status: 'status',
  workerId: 'worker_id',
  createdAt: 'created_at',
  updatedAt: 'updated_at',
  startedAt: 'started_at',
  finishedAt: 'finished_at',
  timeline: 'timeline',
} as const satisfies Partial<Record<keyof ExecutionRecord, string>>;

/** Wire names of the fields that may be absent, with the reader of each. */
const OPTIONAL = {
  routePolicy: ['route_policy', textOf],
  routeStatus: ['route_status', textOf],
  selectedAgentType: ['selected_agent_type', textOf],
  availabilityErrorCode: ['availability_error_code', textOf],
  availabilityError: ['availability_error', textOf],
  errorType: ['error_type', textOf],
  errorMessage: ['error_message', textOf],
  errorCode: ['error_code', textOf],
  failedStage: ['failed_stage', textOf],
  retryable: ['retryable', flagOf],
  cancelRequested: ['cancel_requested', flagOf],
  cancelReason: ['cancel_reason', textOf],
  agentConfigsVersion: ['agent_configs_version', (value: unknown) => integerOf(value, 0)],
  agentConfigsSnapshotKey: ['agent_configs_snapshot_key', textOf],
  redisMessageId: ['redis_message_id', textOf],
} as const satisfies Partial<Record<keyof ExecutionRecord, readonly [string, (value: unknown) => unknown]>>;

type OptionalFields = {-readonly [K in keyof typeof OPTIONAL]?: ExecutionRecord[K]};

const optionalEntries = Object.entries(OPTIONAL) as [
  keyof typeof OPTIONAL,
  readonly [string, (v: unknown) => unknown],
][];
const coreNames: ReadonlySet<string> = new Set(Object.values(CORE));
const optionalByName = new Map(optionalEntries.map(([field, [name, read]]) => [name, {field, read}]));

export interface NewRecord {
  readonly executionId: string;
  readonly messageId: string;
  readonly sessionId: string;
  readonly traceId: string;
  readonly parentMessageId?: string;
  readonly sourceAgentType: string;
  readonly targetAgentType: string;
  readonly streamName: string;
  readonly status?: string;
  /** Unix milliseconds. */
  readonly now: number;
  /** Absent for group dispatch. */
  readonly route?: {
    readonly policy: string;
    /** Router status, or `DIRECT_WORKER`. */
    readonly status: string;
    readonly selectedAgentType?: string;
    readonly errorCode?: string;
    readonly error?: string;
  };
  /** Why the route was refused; the status is then FAILED. */
  readonly refusal?: {readonly errorCode: string; readonly errorMessage: string};
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** The record a sender writes before it sends: first table of §5.6. */
export function newExecutionRecord(fields: NewRecord): ExecutionRecord {
  const {route, refusal, now} = fields;
  const status = fields.status ?? (refusal ? 'FAILED' : 'QUEUED');
  return {
    executionId: fields.executionId,
    messageId: fields.messageId,
    sessionId: fields.sessionId,
    traceId: fields.traceId,
    parentMessageId: fields.parentMessageId ?? '',
    sourceAgentType: fields.sourceAgentType,
    targetAgentType: fields.targetAgentType,
    streamName: fields.streamName,
    status,
    workerId: '',
    createdAt: now,
    updatedAt: now,
    startedAt: 0,
    // 0 even for a refused command: it never ran, and the SDKs write it so.
    finishedAt: 0,
    timeline: [{status, timestamp: now}],
    ...(route && {
      routePolicy: route.policy,
      routeStatus: route.status,
      selectedAgentType: route.selectedAgentType ?? '',
      availabilityErrorCode: route.errorCode ?? '',
      availabilityError: route.error ?? '',
    }),
    ...(refusal && {
      errorCode: refusal.errorCode,
      errorMessage: refusal.errorMessage,
      failedStage: 'availability',
    }),
    extra: fields.extra ?? {},
  };
}

/** The wire document: core fields, then the optional ones that are set, then what we do not know. */
export function recordToWire(record: ExecutionRecord): Record<string, unknown> {
  const doc: Record<string, unknown> = {
    execution_id: record.executionId,
    message_id: record.messageId,
    session_id: record.sessionId,
    trace_id: record.traceId,
    parent_message_id: record.parentMessageId,
    source_agent_type: record.sourceAgentType,
    target_agent_type: record.targetAgentType,
    stream_name: record.streamName,
    status: record.status,
    created_at: record.createdAt,
    updated_at: record.updatedAt,
    started_at: record.startedAt,
    finished_at: record.finishedAt,
    timeline: record.timeline,
  };
  // Python writes no worker before there is one; an empty one would say that a worker had it.
  if (record.workerId !== '') doc[CORE.workerId] = record.workerId;
  for (const [field, [name]] of optionalEntries) {
    const value = record[field];
    if (value !== undefined) doc[name] = value;
  }
  // A known field that was null came in with the rest; a value it has by now wins.
  for (const name of Object.keys(record.extra)) {
    if (!Object.hasOwn(doc, name)) doc[name] = record.extra[name];
  }
  return doc;
}

export function encodeRecord(record: ExecutionRecord): string {
  return encodeJson(recordToWire(record));
}

/** @returns undefined if the text is no record: readers pass over such fields (§5.6). */
export function decodeRecord(text: string): ExecutionRecord | undefined {
  const doc = readable(() => parseUntrustedObject(text));
  return doc && recordFromWire(doc);
}

/** Any field may be missing (§5.6). */
export function recordFromWire(doc: Readonly<Record<string, unknown>>): ExecutionRecord {
  const optional: OptionalFields = {};
  const extra: Record<string, unknown> = {};
  for (const name of Object.keys(doc)) {
    if (coreNames.has(name)) continue;
    const known = optionalByName.get(name);
    const value = doc[name];
    if (!known || value === null) extra[name] = value;
    else (optional as Record<string, unknown>)[known.field] = known.read(value);
  }
  return {
    executionId: textOf(doc['execution_id']),
    messageId: textOf(doc['message_id']),
    sessionId: textOf(doc['session_id']),
    traceId: textOf(doc['trace_id']),
    parentMessageId: textOf(doc['parent_message_id']),
    sourceAgentType: textOf(doc['source_agent_type']),
    targetAgentType: textOf(doc['target_agent_type']),
    streamName: textOf(doc['stream_name']),
    status: textOf(doc['status']),
    workerId: textOf(doc['worker_id']),
    createdAt: integerOf(doc['created_at'], 0),
    updatedAt: integerOf(doc['updated_at'], 0),
    startedAt: integerOf(doc['started_at'], 0),
    finishedAt: integerOf(doc['finished_at'], 0),
    timeline: timelineOf(doc['timeline']),
    ...optional,
    extra,
  };
}

/** Lua's cjson writes an empty list as an empty object, so anything but a list is an empty timeline. */
function timelineOf(value: unknown): TimelineStep[] {
  if (!Array.isArray(value)) return [];
  return (value as unknown[])
    .filter(isObject)
    .map(step => ({...step, status: textOf(step['status']), timestamp: integerOf(step['timestamp'], 0)}));
}

/** @returns what a later reply needs, or undefined if nobody waits for one. */
export function replyContextOf(record: ExecutionRecord): ReplyContext | undefined {
  const doc = record.extra['x_reply'];
  if (!isObject(doc)) return undefined;
  const sourceAgentType = textOf(doc['source_agent_type']);
  if (sourceAgentType === '') return undefined;
  return {
    source_agent_type: sourceAgentType,
    parent_message_id: textOf(doc['parent_message_id']),
    task_group_id: textOf(doc['task_group_id']),
    user_code: textOf(doc['user_code']),
    user_name: textOf(doc['user_name']),
    metadata: objectOf(doc['metadata']),
    langfuse_parent_observation_id: textOf(doc['langfuse_parent_observation_id']),
  };
}

/** @returns the messages that answer in its place; none if it answers itself. */
export function handedOverTo(record: ExecutionRecord): string[] {
  const ids = record.extra['x_handed_over'];
  return Array.isArray(ids) ? ids.filter(id => typeof id === 'string') : [];
}

/** Agents that called each other, one above the other. */
export const MAX_CALL_DEPTH = 32;

/** How many calls an execution is below one that nobody called; as far as our workers called. */
export const callDepth = ({extra}: ExecutionRecord): number => integerOf(extra['x_depth'], 0);

/** What a status means for what may come next. Unknown texts of other SDKs count as suspended. */
export type StatusKind = 'queued' | 'running' | 'suspended' | 'cancelling' | 'terminal';

export function statusKind(status: string): StatusKind {
  if (isTerminal(status)) return 'terminal';
  switch (status) {
    case 'QUEUED':
    case '':
      return 'queued';
    case 'RUNNING':
    case 'STARTING':
    case 'RESUMED':
    case 'CALLING_AGENT':
      return 'running';
    case 'CANCELLING':
      return 'cancelling';
    default:
      return 'suspended';
  }
}

/**
 * Which kind may follow which: spec §5.6 WRITE, guarantees.md. Nothing follows terminal, except the turn a user asks
 * for with a RESUME of the finished execution (R11).
 */
export const TRANSITIONS: Readonly<Record<StatusKind, readonly StatusKind[]>> = {
  queued: ['queued', 'running', 'cancelling', 'terminal'],
  // Back to queued: an attempt that failed or was handed back waits for the next.
  running: ['queued', 'running', 'suspended', 'cancelling', 'terminal'],
  suspended: ['suspended', 'running', 'cancelling', 'terminal'],
  cancelling: ['cancelling', 'terminal'],
  terminal: [],
};

/** @param by Who asks: only a user's RESUME may take an execution out of a terminal state, and only to run again. */
export function canTransition(from: string, to: string, by: 'program' | 'user-resume' = 'program'): boolean {
  const kind = statusKind(from);
  if (kind === 'terminal') return by === 'user-resume' && statusKind(to) === 'running';
  return TRANSITIONS[kind].includes(statusKind(to));
}

/** The thirty keys the dashboards of all SDKs read: spec §5.7. */
export function executionSnapshot(record: ExecutionRecord) {
  return {
    execution_id: record.executionId,
    message_id: record.messageId,
    session_id: record.sessionId,
    trace_id: record.traceId,
    worker_id: record.workerId,
    source_agent_type: record.sourceAgentType,
    target_agent_type: record.targetAgentType,
    stream_name: record.streamName,
    redis_message_id: record.redisMessageId ?? '',
    status: record.status,
    created_at: record.createdAt,
    started_at: record.startedAt,
    finished_at: record.finishedAt,
    updated_at: record.updatedAt,
    parent_message_id: record.parentMessageId,
    cancel_requested: record.cancelRequested ?? false,
    cancel_reason: record.cancelReason ?? '',
    route_policy: record.routePolicy ?? '',
    route_status: record.routeStatus ?? '',
    selected_agent_type: record.selectedAgentType ?? '',
    availability_error_code: record.availabilityErrorCode ?? '',
    availability_error: record.availabilityError ?? '',
    error_type: record.errorType ?? '',
    error_message: record.errorMessage ?? '',
    error_code: record.errorCode ?? '',
    failed_stage: record.failedStage ?? '',
    retryable: record.retryable ?? false,
    agent_configs_version: record.agentConfigsVersion ?? 0,
    agent_configs_snapshot_key: record.agentConfigsSnapshotKey ?? '',
    agent_config_audit: record.extra['agent_config_audit'] ?? null,
  };
}
