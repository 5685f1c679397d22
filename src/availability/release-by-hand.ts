/** An operator lets a pending delivery go before anybody is online, or gives it up. */
import {encodeDeadLetter, entryTimeMs, newDeadLetter} from '../protocol/deadletter.js';
import type {PendingDelivery} from '../protocol/delivery.js';
import {firstAcceptedAt} from '../protocol/execution.js';
import {noAnswer} from '../protocol/reply.js';
import {unreadableLetter} from '../protocol/unreadable.js';
import {isValidId} from '../ids.js';
import type {HeldDelivery} from '../registry/pending-deliveries.js';
import {inOperatorsHands} from '../store/by-hand.js';
import {
  MANAGER_GROUP,
  releasePending,
  takePending,
  type PendingRelease,
  pendingScore,
} from '../store/control-plane.js';
import {moveToDeadLetters} from '../store/dead-letters.js';
import {findExecution} from '../store/executions.js';
import {replyFor} from '../store/replies.js';
import type {Store} from '../store/store.js';

/**
 * `gone`: somebody else released it first. `ended`: its execution has ended, so it was dropped. `full`: the dead letters
 * have no room, and nothing was changed. `unreadable`: there is no command that could be released.
 */
export type HandOutcome = 'done' | 'gone' | 'ended' | 'full' | 'unreadable';

/** Put it on its agent type's stream now, exactly once whoever else does. @param now Unix milliseconds. */
export async function releaseByHand(store: Store, held: HeldDelivery, now: number): Promise<HandOutcome> {
  const delivery = deliverable(held);
  if (delivery === undefined) return 'unreadable';
  if (!(await intoQueue(store, held))) return 'gone';
  // The stream comes from the agent type, never from the entry (G10).
  const stream = store.keys.ctrlStream(held.agentType);
  return settle(store, held, delivery, {
    write: {stream, document: JSON.stringify(delivery.commandPayload)},
    patch: {stream_name: stream, updated_at: now},
  });
}

export interface DropByHand {
  /** Why, and who says so. */
  readonly reason: string;
  readonly by: string;
  /** Unix milliseconds. */
  readonly now: number;
}

/** Give it up: its command goes to the dead letters, its execution ends FAILED with DELIVERY_DROPPED. */
export async function dropByHand(store: Store, held: HeldDelivery, drop: DropByHand): Promise<HandOutcome> {
  const delivery = deliverable(held);
  if (delivery === undefined) return dropUnreadable(store, held, drop);
  const {reason, by, now} = drop;
  const {sessionId, executionId} = delivery;
  const record = executionId === '' ? undefined : await findExecution(store, sessionId, executionId);
  const letter = newDeadLetter({
    source: 'manual',
    reason,
    executionId,
    targetAgentType: held.agentType,
    region: delivery.region,
    commandPayload: delivery.commandPayload,
    deliveryStream: store.keys.ctrlStream(held.agentType),
    attempts: [{workerId: by, error: reason, at: now}],
    firstFailedAt: now,
    firstAcceptedAt: firstAcceptedAt(record, entryTimeMs(held.entryId)),
    xStream: store.keys.deliveryPending(),
    xEntryId: held.entryId,
  });
  if (!(await intoQueue(store, held))) return 'gone';
  const reply = record && (await replyFor(store, record, noAnswer('FAILED', {error: reason})));
  return settle(store, held, delivery, {
    ...(reply ? {reply} : {}),
    write: {stream: store.keys.deadletter(), document: encodeDeadLetter(letter)},
    patch: {
      status: 'FAILED',
      error_code: 'DELIVERY_DROPPED',
      error_message: reason,
      failed_stage: 'availability',
      finished_at: now,
      updated_at: now,
    },
  });
}

/** Its ids become parts of keys. */
function deliverable({delivery, unreadable, agentType}: HeldDelivery): PendingDelivery | undefined {
  if (delivery === undefined || unreadable !== '' || agentType === '') return undefined;
  const {sessionId, executionId} = delivery;
  return isValidId(sessionId) && (executionId === '' || isValidId(executionId)) ? delivery : undefined;
}

/** What no manager has taken yet is taken as one would. @returns false if somebody else did. */
async function intoQueue(store: Store, {place, entry, agentType, delivery}: HeldDelivery): Promise<boolean> {
  if (place === 'held') return true;
  const score = pendingScore(delivery?.priority ?? 0, entry.id);
  const document = entry.data?.toString('utf8') ?? '';
  const isTaken = await inOperatorsHands(store, entry, () =>
    takePending(store, {entryId: entry.id, document, score, agentType}),
  );
  return isTaken === true;
}

async function settle(
  store: Store,
  {agentType, entryId}: HeldDelivery,
  {sessionId, executionId}: PendingDelivery,
  what: Pick<PendingRelease, 'write' | 'patch' | 'reply'>,
): Promise<HandOutcome> {
  const outcome = await releasePending(store, {agentType, entryId, sessionId, executionId, ...what});
  return outcome === 'released' ? 'done' : outcome;
}

async function dropUnreadable(
  store: Store,
  {place, entry, agentType, entryId, unreadable}: HeldDelivery,
  {reason, by, now}: DropByHand,
): Promise<HandOutcome> {
  const why = `${reason}: ${unreadable || 'undeliverable'}`;
  const letter = unreadableLetter(entry, {
    ...{source: 'manual' as const, reason: why, now, workerId: by},
    ...(agentType === '' ? {} : {agentType}),
  });
  if (place === 'arriving') {
    const id = await inOperatorsHands(store, entry, () =>
      moveToDeadLetters(store, MANAGER_GROUP, entry, letter),
    );
    return id === undefined || id === '' ? 'gone' : 'done';
  }
  const write = {stream: store.keys.deadletter(), document: letter};
  const outcome = await releasePending(store, {agentType, entryId, write, sessionId: '_', executionId: ''});
  return outcome === 'released' ? 'done' : outcome;
}
