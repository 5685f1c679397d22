/** The lease of a session, as the worker that runs its attempt sees it. It is given and let go by orchestration.ts. */
import {leaseOwner} from '../protocol/orchestration/attempt.js';
import type {Workspace} from './orchestration.js';
import {defineScript, texts} from './script.js';

const RETRY = {retryForMs: 5000};

const renewScript = defineScript({
  file: 'orch-renew-lease.lua',
  keys: ['lease'],
  args: ['attemptId', 'fence', 'owner', 'ttlMs'],
  reply: texts,
});

export interface LeaseHolder {
  readonly sessionId: string;
  readonly attemptId: string;
  readonly fence: number;
  readonly workerId: string;
  readonly executionId: string;
}

export type LeaseState =
  | {readonly kind: 'held' | 'free'}
  /** An attempt with this higher fence has the session, or had it. */
  | {readonly kind: 'superseded'; readonly fence: number};

/** @param ttlMs so long nobody need look whether the attempt is still at work. */
export async function renewSessionLease(
  {store, keys, name}: Workspace,
  {sessionId, attemptId, fence, workerId, executionId}: LeaseHolder,
  ttlMs: number,
): Promise<LeaseState> {
  const [kind, higher] = await renewScript(
    store.commands,
    {
      keys: {lease: keys.orchLease(name, sessionId)},
      args: {attemptId, fence, owner: leaseOwner(workerId, executionId), ttlMs},
    },
    RETRY,
  );
  if (kind === 'superseded') return {kind, fence: Number(higher)};
  if (kind === 'held' || kind === 'free') return {kind};
  throw new TypeError(`orch-renew-lease.lua answered "${kind ?? ''}"`);
}
