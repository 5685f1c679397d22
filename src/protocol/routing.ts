/** What routing reads and answers: spec §7.1 and §7.2. The decision itself is made in src/availability. */
import {textOf} from './fields.js';
import {parseUntrustedObject, readable} from './limits.js';

export const ROUTE_POLICIES = [
  'FAIL_FAST',
  'SEND_ANYWAY',
  'WAKE_AND_WAIT',
  'WAKE_AND_QUEUE',
  'QUEUE_ONLY',
] as const;
export type RoutePolicy = (typeof ROUTE_POLICIES)[number];
export const DEFAULT_ROUTE_POLICY: RoutePolicy = 'FAIL_FAST';

export const AVAILABILITY_STATUSES = [
  'DELIVER_NOW',
  'WAIT_AND_DELIVER',
  'QUEUE_PENDING',
  'REJECT',
  'FALLBACK_TO_OTHER_AGENT_TYPE',
] as const;
export type AvailabilityStatus = (typeof AVAILABILITY_STATUSES)[number];

/** Route status of a command sent to one worker, and of a task of a group: no router was asked. */
export const DIRECT_WORKER = 'DIRECT_WORKER';
export const GROUP_DISPATCH = 'GROUP_DISPATCH';

export const AVAILABILITY_ERRORS = [
  'AGENT_TYPE_UNAVAILABLE',
  'AGENT_CIRCUIT_OPEN',
  'TENANT_QUOTA_EXCEEDED',
  'WORKER_NOT_ONLINE',
  'AGENT_TYPE_EXHAUSTED',
  'WORKER_EXHAUSTED',
  'WORKER_RESERVED',
  'REGISTRY_NOT_SET',
] as const;
export type AvailabilityError = (typeof AVAILABILITY_ERRORS)[number];

/** What a sender asks the router; stays in memory. */
export interface DeliveryIntent {
  readonly executionId: string;
  readonly messageId: string;
  readonly sessionId: string;
  readonly traceId: string;
  /** `client`, or the calling agent type. */
  readonly source: string;
  readonly targetAgentType: string;
  readonly userCode: string;
  readonly region: string;
  readonly priority: number;
  readonly policy: RoutePolicy;
  /** How long to wait for a decision, in milliseconds; 0 means not at all. */
  readonly timeoutMs: number;
  /** The complete command document of §3. */
  readonly commandPayload: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface AvailabilityResult {
  readonly status: AvailabilityStatus;
  /** Where to put the command; '' when it is refused. */
  readonly streamName: string;
  readonly targetWorkerId: string;
  readonly error: string;
  readonly errorCode: string;
  /** The fallback's agent type, or ''. */
  readonly selectedAgentType: string;
  readonly executionId: string;
}

/** Reads `WAKE_AND_WAIT` and `wake-and-wait`. @returns undefined for any other text: validate before routing (A2). */
export function parseRoutePolicy(text: string): RoutePolicy | undefined {
  const name = text.trim().toUpperCase().replaceAll('-', '_');
  return ROUTE_POLICIES.find(policy => policy === name);
}

/** Java puts `ERR_` before the code, TypeScript has a name of its own (A3). */
export function canonicalErrorCode(code: string): string {
  const bare = code.startsWith('ERR_') ? code.slice('ERR_'.length) : code;
  return bare === 'AGENT_TYPE_NOT_FOUND' ? 'AGENT_TYPE_UNAVAILABLE' : bare;
}

export interface Circuit {
  readonly open: boolean;
  /** '' if nobody gave one. */
  readonly reason: string;
  /** Of one that opened because executions failed: once no more than `ms` of its lifetime are left, one command may try. */
  readonly halfOpen?: {readonly ms: number; readonly opening: string};
  /** Of one that opened because every worker is exhausted: when the first recovers, in Unix milliseconds. */
  readonly exhaustedUntil?: number;
}

/** It becomes part of a key. */
const OPENING = /^[0-9-]{1,40}$/;

/** Open only for a JSON object whose `state` is OPEN in any case; every other value is no circuit. */
export function readCircuit(text: string | null): Circuit {
  const doc = controlDoc(text);
  const open = textOf(doc['state']).toUpperCase() === 'OPEN';
  const {x_half_open_ms: ms, x_opening: opening, x_exhausted_until: until} = doc;
  const isOurs = open && typeof ms === 'number' && typeof opening === 'string' && OPENING.test(opening);
  return {
    ...{open, reason: open ? textOf(doc['reason']) : ''},
    ...(isOurs ? {halfOpen: {ms, opening}} : {}),
    ...(open && typeof until === 'number' ? {exhaustedUntil: until} : {}),
  };
}

export interface Quota {
  readonly available: boolean;
  /** '' if nobody gave one. */
  readonly reason: string;
}

/** Used up only for a JSON object whose `available` is exactly `false`; 0 does not count. */
export function readQuota(text: string | null): Quota {
  const doc = controlDoc(text);
  const available = doc['available'] !== false;
  return {available, reason: available ? '' : textOf(doc['reason'])};
}

/** So many commands of a user are accepted in a window. Ours alone: quota-window.lua counts in it. */
export interface QuotaLimit {
  /** At least 1. */
  readonly limit: number;
  /** Milliseconds. A window begins with the first command after the last one. */
  readonly windowMs: number;
  /** Shown to whoever is turned away. */
  readonly reason: string;
  /** Commands in the window that was counted in last. */
  readonly used: number;
  /** When that window ends, in Unix milliseconds by Redis's clock; 0 before the first. */
  readonly endsAt: number;
}

export const encodeQuotaLimit = ({limit, windowMs, reason, used, endsAt}: QuotaLimit): string =>
  JSON.stringify({limit, window_ms: windowMs, reason, used, ends_at: endsAt});

/** @returns undefined for what is no limit. */
export function readQuotaLimit(text: string): QuotaLimit | undefined {
  const doc = controlDoc(text);
  const {limit, window_ms: windowMs, used, ends_at: endsAt} = doc;
  if (typeof limit !== 'number' || typeof windowMs !== 'number') return undefined;
  return {
    limit,
    windowMs,
    reason: textOf(doc['reason']),
    used: Number(used ?? 0),
    endsAt: Number(endsAt ?? 0),
  };
}

/** @returns the agent type that stands in, or ''. */
export function readFallback(text: string | null): string {
  const doc = controlDoc(text);
  return textOf(doc['selected_agent_type']) || textOf(doc['agent_type']) || textOf(doc['target_agent_type']);
}

/**
 * What a circuit or a quota that can not be read does: `allow` ignores it, as every SDK does; `refuse` takes it for an
 * open circuit or a used-up quota. It is reported either way.
 */
export const UNREADABLE_RECORDS = ['allow', 'refuse'] as const;
export type UnreadableRecords = (typeof UNREADABLE_RECORDS)[number];

/** Who wrote a circuit or a quota: an operator; or a manager, worker or sender that saw too many failures or commands. */
export type RecordSource = 'manual' | 'auto';

/** Of other SDKs' records, and of those written by hand: manual. */
export const readSource = (text: string | null): RecordSource =>
  controlDoc(text)['x_source'] === 'auto' ? 'auto' : 'manual';

/** Whether a stored record is what it should be, a JSON object; where there is none, nothing is unreadable. */
export const isReadableRecord = (text: string | null): boolean =>
  text === null || readable(() => parseUntrustedObject(text)) !== undefined;

export const encodeCircuit = (circuit: Circuit & {readonly source: RecordSource}): string =>
  JSON.stringify({
    state: circuit.open ? 'OPEN' : 'CLOSED',
    reason: circuit.reason,
    x_source: circuit.source,
    x_exhausted_until: circuit.exhaustedUntil,
  });

export const encodeQuota = ({available, reason}: Quota): string => JSON.stringify({available, reason});

export const encodeFallback = (selectedAgentType: string): string =>
  JSON.stringify({selected_agent_type: selectedAgentType});

/** Operators write these keys by hand: what is not a JSON object is ignored, as in every SDK. */
function controlDoc(text: string | null): Readonly<Record<string, unknown>> {
  return (text === null ? undefined : readable(() => parseUntrustedObject(text))) ?? {};
}
