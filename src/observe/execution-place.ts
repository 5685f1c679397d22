/** Where the command of an execution is now: in a queue, with a worker, held back, among the dead letters, or gone. */
import {isValidId} from '../ids.js';
import {parseConsumerName} from '../protocol/consumers.js';
import {CONSUMER_GROUP, type Keys} from '../protocol/keys.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {isTerminal} from '../protocol/states.js';
import type {StoredDeadLetter} from '../store/dead-letters.js';
import {replayMarkers} from '../store/replays.js';
import {deadLetterOf, entryOfMessage, isHeldBack} from '../store/find-entry.js';
import {entriesById, pendingEntries} from '../store/queues.js';
import type {Store} from '../store/store.js';

/** How far each place is searched for one command. */
const LOOK_AT = 1000;

export type EntryPlace =
  /** Given to nobody yet. */
  | {readonly kind: 'waiting'; readonly stream: string; readonly entryId: string}
  | {
      readonly kind: 'pending';
      readonly stream: string;
      readonly entryId: string;
      readonly consumer: string;
      readonly workerId: string;
      /** Milliseconds since it was given to the consumer. */
      readonly idleMs: number;
      readonly deliveries: number;
    }
  /** Until somebody of its agent type is online. */
  | {readonly kind: 'held_back'}
  /** Nothing is left of it in a queue: it was settled. */
  | {readonly kind: 'settled'}
  /** Not among the first thousand entries of its queue. */
  | {readonly kind: 'not_found'};

export interface Whereabouts {
  readonly place: EntryPlace;
  /** Among the newest thousand. */
  readonly deadLetter: StoredDeadLetter | undefined;
  readonly deadLetterReplayed: boolean;
}

export async function whereabouts(
  store: Store,
  record: ExecutionRecord,
  group = CONSUMER_GROUP,
): Promise<Whereabouts> {
  const [place, deadLetter] = await Promise.all([
    placeOf(store, record, group),
    deadLetterOf(store, record.executionId, LOOK_AT),
  ]);
  const markers = await replayMarkers(store, deadLetter === undefined ? [] : [deadLetter.id]);
  return {place, deadLetter, deadLetterReplayed: markers.size > 0};
}

async function placeOf(store: Store, record: ExecutionRecord, group: string): Promise<EntryPlace> {
  const {targetAgentType, messageId} = record;
  const stream = streamOf(store.keys, record);
  if (stream === undefined) return {kind: 'not_found'};
  const entryId = entryIdOf(record, stream);
  const entry =
    entryId === undefined
      ? isTerminal(record.status)
        ? undefined
        : await entryOfMessage(store, stream, messageId, LOOK_AT)
      : (await entriesById(store, stream, [entryId]))[0];
  if (entry !== undefined) {
    const [held] = await pendingEntries(store, stream, group, {count: 1, entryId: entry.id});
    if (held === undefined) return {kind: 'waiting', stream, entryId: entry.id};
    const {consumer, idleMs, deliveries} = held;
    const {workerId} = parseConsumerName(consumer);
    return {kind: 'pending', stream, entryId: entry.id, consumer, workerId, idleMs, deliveries};
  }
  if (isTerminal(record.status) || entryId !== undefined) return {kind: 'settled'};
  const held = isValidId(targetAgentType) && (await isHeldBack(store, targetAgentType, messageId, LOOK_AT));
  return held ? {kind: 'held_back'} : {kind: 'not_found'};
}

/** The record says where the command was put; it is believed only if that is a control stream. */
function streamOf(keys: Keys, {streamName, targetAgentType}: ExecutionRecord): string | undefined {
  const [ofWorkers = ''] = keys.workerCtrlStream('\0').split('\0');
  if (streamName.startsWith(keys.ctrlStream('')) || streamName.startsWith(ofWorkers)) return streamName;
  if (keys.agentTypeOfOnCall(streamName) !== undefined) return streamName;
  return isValidId(targetAgentType) ? keys.ctrlStream(targetAgentType) : undefined;
}

/** `x_entry` is `{stream}/{id}`, written by our workers; `redis_message_id` is the SDKs'. */
function entryIdOf({extra, redisMessageId}: ExecutionRecord, stream: string): string | undefined {
  const ours = extra['x_entry'];
  const id =
    typeof ours === 'string' && ours.startsWith(`${stream}/`)
      ? ours.slice(stream.length + 1)
      : redisMessageId;
  return id !== undefined && /^\d{1,20}-\d{1,20}$/.test(id) ? id : undefined;
}
