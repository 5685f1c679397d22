/** One request to an agent, from its sending to its answer, in stretches as long as whoever waits has patience. */
import type {GatewayClient} from '../../client/client.js';
import {followToQuestion} from '../../client/follow-execution.js';
import type {OpenQuestion} from '../../availability/questions.js';
import {ByError} from '../../errors.js';
import {eventKind, eventText} from '../../protocol/events.js';
import {canonicalStatus} from '../../protocol/states.js';
import {lastEventId} from '../../store/data-streams.js';
import {findExecution} from '../../store/executions.js';
import {requireOwn} from '../../store/ownership.js';
import type {Store} from '../../store/store.js';

/** Where a request is; enough to come back to it, and nothing that only one process knows. */
export interface Place {
  readonly agentType: string;
  readonly sessionId: string;
  readonly messageId: string;
  readonly executionId: string;
  /** Stream id after which its events begin. */
  readonly start: string;
}

export type Outcome =
  | {readonly kind: 'answered'; readonly text: string}
  | {readonly kind: 'ended'; readonly status: string; readonly code: string; readonly message: string}
  | {readonly kind: 'asks'; readonly question: OpenQuestion; readonly open: number}
  | {readonly kind: 'running'; readonly text: string};

export interface Patience {
  /** Milliseconds after which a request that goes on is left to itself. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
  /** What the agent says, piece by piece. */
  readonly onText?: (text: string) => void;
}

/** @throws {ByError} as {@link GatewayClient.send}. */
export async function begin(
  client: GatewayClient,
  request: Parameters<GatewayClient['send']>[0],
): Promise<Place> {
  const {sessionId} = request;
  const start = sessionId === undefined ? '0-0' : await lastEventId(client.store, sessionId);
  const sent = await client.send(request);
  return {
    agentType: sent.selectedAgentType,
    ...{sessionId: sent.sessionId, messageId: sent.messageId, executionId: sent.executionId},
    start,
  };
}

/** @throws {ByError} NOT_FOUND if nothing is known of it. */
export async function pursue(client: GatewayClient, place: Place, patience: Patience): Promise<Outcome> {
  const {sessionId, messageId, start} = place;
  const timer = AbortSignal.timeout(patience.waitMs);
  const signal = AbortSignal.any([patience.signal, timer]);
  const said = new Map<string, Said>();
  const events = followToQuestion(client.store, {sessionId, messageId, after: start, signal});
  let next = await events.next();
  for (; next.done !== true; next = await events.next()) {
    if (next.value.kind !== 'event') continue;
    const {event} = next.value;
    const kind = eventKind(event);
    if (kind !== 'answer' && kind !== 'final') continue;
    const of = said.get(event.messageId) ?? {chunks: '', final: ''};
    said.set(event.messageId, of);
    if (kind === 'final') of.final = eventText(event);
    else of.chunks += eventText(event);
    if (kind === 'answer' && event.messageId === messageId) patience.onText?.(eventText(event));
  }
  const {record, questions} = next.value;
  const [question] = questions;
  if (question !== undefined) return {kind: 'asks', question, open: questions.length};
  if (record === undefined) {
    patience.signal.throwIfAborted();
    if (timer.aborted) return {kind: 'running', text: textOf(said.get(messageId))};
    throw new ByError('NOT_FOUND', `Nothing is known of execution "${place.executionId}" any more.`, {
      hint: 'Sessions are forgotten a week after their last event.',
    });
  }
  const status = canonicalStatus(record.status);
  if (status === 'COMPLETED') return {kind: 'answered', text: textOf(said.get(record.messageId))};
  return {
    ...{kind: 'ended', status},
    code: record.errorCode ?? record.availabilityErrorCode ?? '',
    message:
      record.errorMessage ||
      record.cancelReason ||
      record.availabilityError ||
      textOf(said.get(record.messageId)),
  };
}

/** A request that was made before, by whoever may see its session. @throws {ByError} NOT_FOUND */
export async function placeOfExecution(
  store: Store,
  userCode: string,
  sessionId: string,
  executionId: string,
): Promise<Place> {
  await requireOwn(store, sessionId, userCode);
  const record = await findExecution(store, sessionId, executionId);
  if (record === undefined) {
    throw new ByError('NOT_FOUND', `Session "${sessionId}" has no execution "${executionId}".`, {
      hint: 'Give both ids as the first result named them.',
    });
  }
  const {messageId, targetAgentType: agentType} = record;
  return {agentType, sessionId, messageId, executionId, start: '0-0'};
}

interface Said {
  chunks: string;
  final: string;
}

/** Agents stream their answer, or give it at the end, or both. */
function textOf({chunks, final}: Said = {chunks: '', final: ''}): string {
  if (final === '' || chunks.trimEnd().endsWith(final.trimEnd())) return chunks;
  return chunks === '' ? final : `${chunks.trimEnd()}\n\n${final}`;
}
