/** Executions found by where their commands are: in an agent type's queue, or in a worker's hands. */
import type {Command} from '../protocol/commands.js';
import {parseConsumerName} from '../protocol/consumers.js';
import {CONSUMER_GROUP} from '../protocol/keys.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {isValidId} from '../ids.js';
import {findByMessage} from '../store/executions.js';
import {entriesById, firstEntries, pendingEntries} from '../store/queues.js';
import {consumersOf} from '../store/recovery.js';
import type {Store} from '../store/store.js';
import {showWorker} from './listing.js';
import {knownAgentTypes, peekQueue, readQueueEntry, type QueueEntry} from './queues.js';

export interface FoundExecutions {
  /** Oldest entry first, each once. */
  readonly records: readonly ExecutionRecord[];
  /** Entries whose execution is not known: they can not be read, or nobody wrote a record. */
  readonly unknown: number;
}

/** Executions of the first `count` entries of an agent type's queue, what is on call first: what waits, and what runs. */
export async function executionsInQueue(
  store: Store,
  agentType: string,
  count: number,
): Promise<FoundExecutions> {
  const [onCall, others] = await Promise.all([
    firstEntries(store, store.keys.onCallStream(agentType), count),
    peekQueue(store, agentType, count),
  ]);
  return executionsOf(store, [...onCall.map(readQueueEntry), ...others].slice(0, count));
}

/** {@link executionsInQueue} of every agent type that is known, each `count` at most; the oldest execution first. */
export async function executionsInQueues(store: Store, count: number): Promise<FoundExecutions> {
  const types = (await knownAgentTypes(store)).filter(isValidId);
  const queues = await Promise.all(types.map(type => executionsInQueue(store, type, count)));
  return {
    records: queues.flatMap(({records}) => records).sort((a, b) => a.createdAt - b.createdAt),
    unknown: queues.reduce((sum, {unknown}) => sum + unknown, 0),
  };
}

/**
 * Executions of the first `count` entries that a worker was given and has not settled.
 * @throws {ByError} NOT_FOUND for a worker nobody knows.
 */
export async function executionsOfWorker(
  store: Store,
  workerId: string,
  count: number,
  group = CONSUMER_GROUP,
): Promise<FoundExecutions> {
  const {agentTypes} = await showWorker(store, workerId);
  const streams = [
    ...agentTypes
      .filter(isValidId)
      .flatMap(type => [store.keys.ctrlStream(type), store.keys.onCallStream(type)]),
    store.keys.workerCtrlStream(workerId),
  ];
  const entries = await Promise.all(
    streams.map(async stream => {
      const consumers = await consumersOf(store, stream, group);
      const own = consumers.filter(({name}) => parseConsumerName(name).workerId === workerId);
      const held = await Promise.all(
        own.map(({name}) => pendingEntries(store, stream, group, {consumer: name, count})),
      );
      const ids = held.flat().map(({entryId}) => entryId);
      return (await entriesById(store, stream, ids)).filter(entry => entry !== undefined);
    }),
  );
  return executionsOf(store, entries.flat().slice(0, count).map(readQueueEntry));
}

async function executionsOf(store: Store, entries: readonly QueueEntry[]): Promise<FoundExecutions> {
  const found = await Promise.all(entries.map(({command}) => recordOf(store, command)));
  const records = new Map(
    found.filter(record => record !== undefined).map(record => [record.executionId, record]),
  );
  return {records: [...records.values()], unknown: found.filter(record => record === undefined).length};
}

function recordOf(store: Store, command: Command | undefined): Promise<ExecutionRecord | undefined> {
  if (command === undefined) return Promise.resolve(undefined);
  const {sessionId, messageId} = command.header;
  if (!isValidId(sessionId)) return Promise.resolve(undefined);
  return findByMessage(store, sessionId, messageId);
}
