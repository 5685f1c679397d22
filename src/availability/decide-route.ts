/** What to do with a command whose agent type is not simply online: spec §7.2, as a pure decision. */
import {
  isReadableRecord,
  readCircuit,
  readFallback,
  readQuota,
  type RoutePolicy,
  type UnreadableRecords,
} from '../protocol/routing.js';
import type {Exhausted} from '../store/routable.js';

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
  /** Who is online has used up a quota, and can do nothing. Default null: that is not why nobody takes it. */
  readonly exhausted?: Exhausted | null;
}

export type RouteStep =
  | {readonly kind: 'deliver'}
  | {readonly kind: 'deliver-to'; readonly agentType: string}
  | {readonly kind: 'wake-and-wait'}
  /** The first exhausted worker may work again then, and nobody new can be woken. */
  | {readonly kind: 'wait-for-recovery'; readonly exhausted: Exhausted}
  | {readonly kind: 'queue'; readonly wake: boolean}
  | {
      readonly kind: 'reject';
      readonly code:
        'AGENT_CIRCUIT_OPEN' | 'TENANT_QUOTA_EXCEEDED' | 'AGENT_TYPE_UNAVAILABLE' | 'AGENT_TYPE_EXHAUSTED';
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
  if (facts.exhausted) return whileExhausted(facts.exhausted, policy);
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

/** Waking somebody makes sense only where somebody is away: another start of who is there has the same quota. */
function whileExhausted(exhausted: Exhausted, policy: Exclude<RoutePolicy, 'SEND_ANYWAY'>): RouteStep {
  const wakes = exhausted.offline > 0;
  switch (policy) {
    case 'FAIL_FAST':
      return {
        ...{kind: 'reject', code: 'AGENT_TYPE_EXHAUSTED'},
        ...{reason: exhaustedReason(exhausted), retryAfterMs: exhausted.recoverMs},
      };
    case 'WAKE_AND_WAIT':
      return wakes ? {kind: 'wake-and-wait'} : {kind: 'wait-for-recovery', exhausted};
    case 'WAKE_AND_QUEUE':
      return {kind: 'queue', wake: wakes};
    case 'QUEUE_ONLY':
      return {kind: 'queue', wake: false};
  }
}

export const exhaustedReason = ({workers, offline}: Exhausted): string =>
  `${workers} exhausted${offline === 0 ? '' : `, ${offline} offline`}`;

const UNREADABLE_REASON = 'its record can not be read';

export type AdmissionRecord = 'circuit' | 'quota' | 'fallback';

/** The records that are there and are no JSON objects: somebody must be told. */
export const unreadableRecords = (facts: Pick<RouteFacts, AdmissionRecord>): AdmissionRecord[] =>
  (['circuit', 'quota', 'fallback'] as const).filter(name => !isReadableRecord(facts[name]));
