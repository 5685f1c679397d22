/** Lifecycle of workers as an operator sets it: spec §5.5. The hash rules; the commands only make workers look sooner. */
import {newHexUuid} from '../ids.js';
import {integerOf} from './fields.js';
import {createHeader, type Header} from './header.js';

export const LIFECYCLES = ['active', 'suspended', 'evicted'] as const;
export type Lifecycle = (typeof LIFECYCLES)[number];

export interface AdminState {
  readonly lifecycle: Lifecycle;
  readonly reason: string;
  /** Unix milliseconds; 0 if nobody ever set anything. */
  readonly updatedAt: number;
}

/** Fields for HSET. */
export function adminToHash({lifecycle, reason, updatedAt}: AdminState): Record<string, string> {
  return {lifecycle, reason, updated_at: String(updatedAt)};
}

/** An absent hash is active; so is a lifecycle we do not know, as in every SDK. */
export function adminFromHash(hash: Readonly<Record<string, string>>): AdminState {
  return {
    lifecycle: LIFECYCLES.find(lifecycle => lifecycle === hash['lifecycle']) ?? 'active',
    reason: hash['reason'] ?? '',
    updatedAt: integerOf(hash['updated_at'], 0),
  };
}

/** Header of SUSPEND_WORKER, RESUME_WORKER and EVICT_WORKER: spec §3.7. */
export function adminHeader(newId: () => string = newHexUuid): Header {
  return createHeader({messageId: newId(), traceId: newId(), sessionId: 'admin'});
}
