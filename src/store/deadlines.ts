/**
 * Deadlines of executions. Who runs one looks at it himself (worker/turn.ts); what nobody runs when it passes is found
 * here: queued without a worker, held back, waiting for a person, left by a dead worker.
 */
import {isValidId} from '../ids.js';
import {findExecution} from './executions.js';
import {defineScript, texts} from './script.js';
import {stopExecution} from './stop.js';
import type {Store} from './store.js';

const RETRY = {retryForMs: 5000};
/** Executions looked at in one sweep. */
const BATCH = 100;
/** What a live worker still runs past its deadline is looked at again after this long. */
const AGAIN_MS = 5000;
/** A deadline is noted before its execution is accepted; without a record for this long it never was. */
const NEVER_ACCEPTED_MS = 60_000;

const noteScript = defineScript({
  file: 'note-deadline.lua',
  keys: ['deadlines'],
  args: ['member', 'ms'],
  reply: Number,
});

/**
 * Note a deadline for an execution that is about to be accepted. One of an execution that never is costs nothing.
 * @param ms milliseconds from now.
 * @returns Unix milliseconds by Redis's clock.
 */
export function noteDeadline(
  store: Store,
  {sessionId, executionId}: {readonly sessionId: string; readonly executionId: string},
  ms: number,
): Promise<number> {
  return noteScript(
    store.commands,
    {keys: {deadlines: store.keys.deadlines()}, args: {member: `${sessionId}/${executionId}`, ms}},
    RETRY,
  );
}

/** Note a deadline that another execution handed down. @param at Unix milliseconds by Redis's clock. */
export async function noteDeadlineAt(
  store: Store,
  {sessionId, executionId}: {readonly sessionId: string; readonly executionId: string},
  at: number,
): Promise<void> {
  const member = `${sessionId}/${executionId}/${at}`;
  await store.commands.run(redis => redis.zadd(store.keys.deadlines(), at, member), RETRY);
}

const dueScript = defineScript({
  file: 'due-deadlines.lua',
  keys: ['deadlines'],
  args: ['againMs', 'count'],
  reply: texts,
});

/**
 * End what nobody runs and whose deadline has passed. One command when there is nothing; safe beside others who sweep.
 * @param nowMs for the records' timestamps.
 * @returns how many executions were ended.
 */
export async function sweepDeadlines(store: Store, nowMs: number): Promise<number> {
  const deadlines = store.keys.deadlines();
  const [now = '0', ...members] = await dueScript(
    store.commands,
    {keys: {deadlines}, args: {againMs: AGAIN_MS, count: BATCH}},
    RETRY,
  );
  let ended = 0;
  for (const member of members) {
    const verdict = await sweepOne(store, member, Number(now), nowMs);
    if (verdict === 'ended') ended++;
    if (verdict !== 'later') await store.commands.run(redis => redis.zrem(deadlines, member), RETRY);
  }
  return ended;
}

async function sweepOne(
  store: Store,
  member: string,
  serverMs: number,
  nowMs: number,
): Promise<'ended' | 'over' | 'later'> {
  const [sessionId = '', executionId = '', deadline = ''] = member.split('/');
  // Somebody else wrote it.
  if (!isValidId(sessionId) || !isValidId(executionId)) return 'over';
  const record = await findExecution(store, sessionId, executionId);
  if (record === undefined) return serverMs - Number(deadline) > NEVER_ACCEPTED_MS ? 'over' : 'later';
  const {verdict} = await stopExecution(store, record, {kind: 'deadline'}, nowMs);
  switch (verdict) {
    case 'ended':
      return 'ended';
    case 'running':
    case 'stopping':
      return 'later';
    case 'missing':
    case 'finished':
    case 'early':
      return 'over';
  }
}
