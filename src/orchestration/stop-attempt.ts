/** Stopping what runs an attempt, with all it has started. */
import {cancel} from '../availability/cancel.js';
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import type {OrchestratorDeps} from './deps.js';

const REASONS = {
  cancelled: 'the run was cancelled',
  timeout: 'the attempt took longer than it may',
  superseded: 'another input took its place',
  worker_lost: 'its worker was lost',
} as const;

export async function stopAttempt(
  {workspace: {store}, now}: Pick<OrchestratorDeps, 'workspace' | 'now'>,
  sessionId: string,
  {messageId, stopClass = 'cancelled'}: Pick<RunAttempt, 'messageId' | 'stopClass'>,
  mode: 'graceful' | 'force',
): Promise<void> {
  await cancel(store, now, {
    ...{sessionId, messageId, force: mode === 'force'},
    ...{reason: REASONS[stopClass], requestedBy: 'orchestrator'},
  });
}
