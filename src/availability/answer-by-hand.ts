/** An operator answers a wakeup in place of a provider: everybody who waits for it is told, and it is over. */
import {encodeDeadLetter, entryTimeMs, newDeadLetter} from '../protocol/deadletter.js';
import {keepsWaiting, type WakeupDecision, type WakeupRequest} from '../protocol/wakeup.js';
import {isSameWakeup, listWakeups, type WakeupSummary} from '../registry/wakeups.js';
import {inOperatorsHands} from '../store/by-hand.js';
import {decideWakeup, MANAGER_GROUP} from '../store/control-plane.js';
import {settleMany, type ControlEntry} from '../store/control-streams.js';
import {moveToDeadLetters} from '../store/dead-letters.js';
import type {Store} from '../store/store.js';

export type HandAnswer = Pick<
  WakeupDecision,
  'status' | 'selectedAgentType' | 'workerIds' | 'retryAfterMs' | 'reason'
>;

export interface Answered {
  /** Executions that were told. */
  readonly told: readonly string[];
  /** Requests that are settled by it; none while the wait goes on (STARTING, QUEUED). */
  readonly settled: readonly string[];
  /** Ids among the dead letters: a failed wakeup keeps its command, as when a provider fails. */
  readonly deadLetters: readonly string[];
}

/** Requests looked at for those that the same answer settles. */
const LOOK_AT = 1000;

/**
 * The answer a provider would give, to all who wait for the same agent type, user and region: also to those whose
 * request no manager has read. A manager that is at it meanwhile finds its entry settled, and writes no dead letter.
 *
 * @param by who answers, for dead letters.
 * @param now Unix milliseconds.
 * @throws {ByError} DEAD_LETTERS_FULL for FAILED: all were told, and the requests stay.
 */
export async function answerByHand(
  store: Store,
  request: WakeupRequest,
  answer: HandAnswer,
  {by, now}: {readonly by: string; readonly now: number},
): Promise<Answered> {
  const same = await sameWakeups(store, request);
  const isFinal = !keepsWaiting({...decisionFor(request, answer)});
  const told = new Set<string>();
  const tell = async (to: WakeupRequest, others: readonly string[]) => {
    await decideWakeup(store, to, decisionFor(to, answer), isFinal);
    for (const id of [to.executionId, ...others]) told.add(id);
  };
  const [first] = same;
  const leader = first?.summary.leader ?? '';
  // In the leader's name, so that the way is free for the next wakeup.
  await tell(leader === '' ? request : {...request, executionId: leader}, first?.summary.waiters ?? []);
  for (const {request: each} of same) if (!told.has(each.executionId)) await tell(each, []);
  if (!told.has(request.executionId)) await tell(request, []);
  if (!isFinal) return {told: [...told], settled: [], deadLetters: []};

  const deadLetters: string[] = [];
  for (const {summary, request: each} of same) {
    const {entry} = summary;
    await inOperatorsHands(store, entry, async () => {
      // With WAKE_AND_QUEUE the command waits in the pending queue, so nothing is lost with the wakeup.
      if (answer.status === 'FAILED' && each.policy !== 'WAKE_AND_QUEUE') {
        const letter = letterOf(store, entry, each, answer.reason, {by, now});
        const id = await moveToDeadLetters(store, MANAGER_GROUP, entry, letter);
        if (id !== '') deadLetters.push(id);
      } else await settleMany(store, MANAGER_GROUP, entry.stream, [entry.id], true);
    });
  }
  return {told: [...told], settled: same.map(({summary}) => summary.entry.id), deadLetters};
}

interface SameWakeup {
  readonly summary: WakeupSummary;
  readonly request: WakeupRequest;
}

async function sameWakeups(store: Store, request: WakeupRequest): Promise<SameWakeup[]> {
  const wakeups = await listWakeups(store, LOOK_AT);
  return wakeups.flatMap(summary =>
    summary.request !== undefined && isSameWakeup(summary.request, request)
      ? [{summary, request: summary.request}]
      : [],
  );
}

const decisionFor = (request: WakeupRequest, answer: HandAnswer): WakeupDecision => ({
  executionId: request.executionId,
  targetAgentType: request.targetAgentType,
  region: request.region,
  ...answer,
});

function letterOf(
  store: Store,
  entry: ControlEntry,
  request: WakeupRequest,
  reason: string,
  {by, now}: {readonly by: string; readonly now: number},
): string {
  return encodeDeadLetter(
    newDeadLetter({
      source: 'wakeup',
      reason,
      executionId: request.executionId,
      targetAgentType: request.targetAgentType,
      region: request.region,
      commandPayload: request.commandPayload,
      deliveryStream: store.keys.ctrlStream(request.targetAgentType),
      attempts: [{workerId: by, error: reason, at: now}],
      firstFailedAt: now,
      firstAcceptedAt: entryTimeMs(entry.id),
      xStream: entry.stream,
      xEntryId: entry.id,
    }),
  );
}
