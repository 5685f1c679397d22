/** What to do with a command whose agent type is not simply online: spec §7.2, as a pure decision. */
import {
  isReadableRecord,
  readCircuit,
  readFallback,
  readQuota,
  type RoutePolicy,
  type UnreadableRecords,
} from '../protocol/routing.js';

export interface RouteFacts {
  /** The stored records, as they are; null where there is none. */
  readonly circuit: string | null;
  readonly quota: string | null;
  readonly fallback: string | null;
  readonly online: boolean;
  /** Whether the fallback's agent type is online; false where there is no fallback. */
  readonly fallbackOnline: boolean;
  /** Milliseconds until circuit and quota go by themselves. Default null: nobody knows. */
  readonly circuitMs?: number | null;
  readonly quotaMs?: number | null;
}

export type RouteStep =
  | {readonly kind: 'deliver'}
  | {readonly kind: 'deliver-to'; readonly agentType: string}
  | {readonly kind: 'wake-and-wait'}
  | {readonly kind: 'queue'; readonly wake: boolean}
  | {
      readonly kind: 'reject';
      readonly code: 'AGENT_CIRCUIT_OPEN' | 'TENANT_QUOTA_EXCEEDED' | 'AGENT_TYPE_UNAVAILABLE';
      readonly reason: string;
      /** Milliseconds after which another try makes sense; null where nobody knows. */
      readonly retryAfterMs: number | null;
    };

/** The order is normative: a circuit beats every policy, being online beats fallback and waking. */
export function decideRoute(
  facts: RouteFacts,
  policy: RoutePolicy,
  unreadable: UnreadableRecords = 'allow',
): RouteStep {
  const refuses = (text: string | null) => unreadable === 'refuse' && !isReadableRecord(text);
  const circuit = readCircuit(facts.circuit);
  if (circuit.open || refuses(facts.circuit)) {
    const reason = circuit.open ? circuit.reason : UNREADABLE_REASON;
    const leftMs = facts.circuitMs ?? null;
    // One command is let through before it goes.
    const untilProbeMs = leftMs === null ? 0 : leftMs - (circuit.halfOpen?.ms ?? leftMs);
    const retryAfterMs = untilProbeMs > 0 ? untilProbeMs : leftMs;
    return {kind: 'reject', code: 'AGENT_CIRCUIT_OPEN', reason, retryAfterMs};
  }
  const quota = readQuota(facts.quota);
  if (!quota.available || refuses(facts.quota)) {
    const reason = quota.available ? UNREADABLE_REASON : quota.reason;
    return {kind: 'reject', code: 'TENANT_QUOTA_EXCEEDED', reason, retryAfterMs: facts.quotaMs ?? null};
  }
  if (policy === 'SEND_ANYWAY' || facts.online) return {kind: 'deliver'};
  const fallback = readFallback(facts.fallback);
  if (fallback !== '' && facts.fallbackOnline) return {kind: 'deliver-to', agentType: fallback};
  switch (policy) {
    case 'FAIL_FAST':
      return {kind: 'reject', code: 'AGENT_TYPE_UNAVAILABLE', reason: '', retryAfterMs: null};
    case 'WAKE_AND_WAIT':
      return {kind: 'wake-and-wait'};
    case 'WAKE_AND_QUEUE':
      return {kind: 'queue', wake: true};
    case 'QUEUE_ONLY':
      return {kind: 'queue', wake: false};
  }
}

const UNREADABLE_REASON = 'its record can not be read';

export type AdmissionRecord = 'circuit' | 'quota' | 'fallback';

/** The records that are there and are no JSON objects: somebody must be told. */
export const unreadableRecords = (facts: Pick<RouteFacts, AdmissionRecord>): AdmissionRecord[] =>
  (['circuit', 'quota', 'fallback'] as const).filter(name => !isReadableRecord(facts[name]));
