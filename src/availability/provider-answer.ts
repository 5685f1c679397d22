/** What a provider answered, checked: it is somebody else's code, and may be no TypeScript. */
import {isValidId} from '../ids.js';
import type {ProviderDecision} from './provider.js';

export type ReadAnswer =
  | {readonly ok: true; readonly decision: ProviderDecision}
  /** In words that go on after "the provider answered". */
  | {readonly ok: false; readonly problem: string};

/** Characters of a reason that are kept. */
const MAX_REASON = 1000;

/** Takes what can be understood: ids that are none are left out, reasons are cut. */
export function readAnswer(value: unknown): ReadAnswer {
  if (typeof value !== 'object' || value === null) return unusable('with something that is no decision');
  const {status, reason, workerIds, retryAfterMs, agentType} = value as Record<string, unknown>;
  const why = typeof reason === 'string' ? {reason: reason.slice(0, MAX_REASON)} : {};
  switch (status) {
    case 'READY':
      return {ok: true, decision: {status, workerIds: validIds(workerIds), ...why}};
    case 'STARTING':
    case 'QUEUED':
      return {ok: true, decision: {status, ...why}};
    case 'REJECTED':
    case 'FAILED':
      return {ok: true, decision: {status, reason: 'no reason was given', ...why, ...later(retryAfterMs)}};
    case 'FALLBACK':
      if (typeof agentType !== 'string' || !isValidId(agentType))
        return unusable('FALLBACK without an agent type');
      return {ok: true, decision: {status, agentType}};
    default:
      return unusable(
        typeof status === 'string'
          ? `with the status "${status.slice(0, 40)}", which does not exist`
          : 'without a status',
      );
  }
}

const unusable = (problem: string): ReadAnswer => ({ok: false, problem});

const validIds = (ids: unknown): readonly string[] =>
  Array.isArray(ids) ? ids.filter((id): id is string => typeof id === 'string' && isValidId(id)) : [];

const later = (ms: unknown): {retryAfterMs?: number} =>
  typeof ms === 'number' && Number.isFinite(ms) && ms >= 0 ? {retryAfterMs: Math.round(ms)} : {};
