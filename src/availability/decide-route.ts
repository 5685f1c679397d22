/** What to do with a command whose agent type is not simply online: spec §7.2, as a pure decision. */
import {readCircuit, readFallback, readQuota, type RoutePolicy} from '../protocol/routing.js';

export interface RouteFacts {
  /** The stored records, as they are; null where there is none. */
  readonly circuit: string | null;
  readonly quota: string | null;
  readonly fallback: string | null;
  readonly online: boolean;
  /** Whether the fallback's agent type is online; false where there is no fallback. */
  readonly fallbackOnline: boolean;
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
    };

/** The order is normative: a circuit beats every policy, being online beats fallback and waking. */
export function decideRoute(facts: RouteFacts, policy: RoutePolicy): RouteStep {
  const circuit = readCircuit(facts.circuit);
  if (circuit.open) return {kind: 'reject', code: 'AGENT_CIRCUIT_OPEN', reason: circuit.reason};
  const quota = readQuota(facts.quota);
  if (!quota.available) return {kind: 'reject', code: 'TENANT_QUOTA_EXCEEDED', reason: quota.reason};
  if (policy === 'SEND_ANYWAY' || facts.online) return {kind: 'deliver'};
  const fallback = readFallback(facts.fallback);
  if (fallback !== '' && facts.fallbackOnline) return {kind: 'deliver-to', agentType: fallback};
  switch (policy) {
    case 'FAIL_FAST':
      return {kind: 'reject', code: 'AGENT_TYPE_UNAVAILABLE', reason: ''};
    case 'WAKE_AND_WAIT':
      return {kind: 'wake-and-wait'};
    case 'WAKE_AND_QUEUE':
      return {kind: 'queue', wake: true};
    case 'QUEUE_ONLY':
      return {kind: 'queue', wake: false};
  }
}
