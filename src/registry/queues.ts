/** Queues: one for each agent type, joined from its control stream, its consumer group and its workers. */
import {CONSUMER_GROUP} from '../protocol/keys.js';
import {parseConsumerName} from '../protocol/consumers.js';
import {readCommandEntry, type Command} from '../protocol/commands.js';
import {ProtocolError} from '../protocol/limits.js';
import {isValidId} from '../ids.js';
import {pendingTypes} from '../store/control-plane.js';
import {groupsOf, type ControlEntry, type GroupFacts} from '../store/control-streams.js';
import {onlineMembers} from '../store/presence.js';
import {firstEntries, heldBack, pendingEntries, streamLength} from '../store/queues.js';
import {consumersOf, type ConsumerFacts} from '../store/recovery.js';
import {scanKeys, serverTimeMs, type Store} from '../store/store.js';
import {listAgentTypes} from './listing.js';

export interface QueueSummary {
  readonly agentType: string;
  /** Entries in the stream. Other SDKs never delete what is settled, so it may be more than waits. */
  readonly depth: number;
  /** Entries given to nobody yet; null where the server can not tell. */
  readonly waiting: number | null;
  /** Entries given to a worker and not settled. */
  readonly pending: number;
  readonly consumers: number;
  /** Milliseconds since the oldest pending entry was put there; null if none is pending. */
  readonly oldestPendingMs: number | null;
  /** How often one of the oldest hundred of them was given to a worker, at most; 0 if none is pending. */
  readonly maxDeliveries: number;
  /** On-call work, which waits or runs beside the stream: its workers take it before anything else. */
  readonly onCall: number;
  /** Commands held back until a worker is online. */
  readonly heldBack: number;
  /** Workers that are online for the agent type. */
  readonly workersOnline: number;
}

export interface QueueConsumer extends ConsumerFacts {
  readonly workerId: string;
  /** Which life of the worker; '' for workers of other SDKs, whose names do not tell. */
  readonly incarnation: string;
  /** Whether the worker is online for this agent type now. */
  readonly online: boolean;
}

export interface QueueDetails extends QueueSummary {
  readonly stream: string;
  /** The group the numbers are of. */
  readonly group: string;
  readonly groups: readonly GroupFacts[];
  readonly consumerList: readonly QueueConsumer[];
  /** Id of the last entry the group was given; '' without a group. */
  readonly lastDeliveredId: string;
}

/**
 * Agent types whose queues are known without looking at every key: those a known worker declares, and those something
 * is held back for. By name.
 */
export async function knownAgentTypes(store: Store): Promise<string[]> {
  const [declared, held] = await Promise.all([listAgentTypes(store), pendingTypes(store)]);
  return sorted([...declared.map(type => type.agentType), ...held]);
}

/** As {@link knownAgentTypes}, and those nobody knows of but that have a stream: walks all keys of the server. */
export async function allAgentTypes(store: Store): Promise<string[]> {
  const stem = store.keys.ctrlStream('');
  const [known, keys] = await Promise.all([
    knownAgentTypes(store),
    scanKeys(store, store.keys.ctrlStreamPattern()),
  ]);
  return sorted([...known, ...keys.map(key => key.slice(stem.length))]);
}

/** Ids that could not be ours are left out: no command could name them. */
const sorted = (types: readonly string[]): string[] => [...new Set(types.filter(isValidId))].sort();

export async function listQueues(
  store: Store,
  agentTypes: readonly string[],
  group = CONSUMER_GROUP,
): Promise<QueueSummary[]> {
  const now = await serverTimeMs(store);
  return Promise.all(agentTypes.map(async type => (await factsOf(store, type, group, now)).summary));
}

/** @returns undefined if there is neither a stream, nor anything held back, nor a worker online for the type. */
export async function showQueue(
  store: Store,
  agentType: string,
  group = CONSUMER_GROUP,
): Promise<QueueDetails | undefined> {
  const stream = store.keys.ctrlStream(agentType);
  const now = await serverTimeMs(store);
  const [{summary, groups, workerIds}, consumers] = await Promise.all([
    factsOf(store, agentType, group, now),
    consumersOf(store, stream, group),
  ]);
  const isThere =
    summary.depth + summary.onCall + groups.length + summary.heldBack + summary.workersOnline > 0;
  if (!isThere) return undefined;
  return {
    ...summary,
    stream,
    group,
    groups,
    consumerList: consumers.sort(byName).map(consumer => {
      const {workerId, incarnation = ''} = parseConsumerName(consumer.name);
      return {...consumer, workerId, incarnation, online: workerIds.includes(workerId)};
    }),
    lastDeliveredId: groups.find(({name}) => name === group)?.lastDeliveredId ?? '',
  };
}

const byName = (a: {readonly name: string}, b: {readonly name: string}) => (a.name < b.name ? -1 : 1);

/** Pending entries of a queue that a summary looks at. */
const LOOKED_AT = 100;

async function factsOf(store: Store, agentType: string, group: string, nowMs: number) {
  const stream = store.keys.ctrlStream(agentType);
  const [depth, onCall, groups, pending, held, members] = await Promise.all([
    streamLength(store, stream),
    streamLength(store, store.keys.onCallStream(agentType)),
    groupsOf(store, stream),
    pendingEntries(store, stream, group, {count: LOOKED_AT}),
    heldBack(store, agentType),
    onlineMembers(store, agentType),
  ]);
  const own = groups.find(({name}) => name === group);
  const [oldest] = pending;
  const summary: QueueSummary = {
    agentType,
    depth,
    waiting: own === undefined ? depth : own.lag,
    pending: own?.pending ?? 0,
    consumers: own?.consumers ?? 0,
    oldestPendingMs: oldest === undefined ? null : Math.max(0, nowMs - entryMs(oldest.entryId)),
    maxDeliveries: Math.max(0, ...pending.map(({deliveries}) => deliveries)),
    ...{onCall, heldBack: held},
    workersOnline: members.workerIds.length,
  };
  return {summary, groups, workerIds: members.workerIds};
}

/** Unix milliseconds of a stream id, by the server's clock. */
export const entryMs = (entryId: string): number => Number(entryId.split('-')[0]);

/** An entry of a queue as people see it. */
export interface QueueEntry {
  readonly entry: ControlEntry;
  /** Absent if the entry can not be read. */
  readonly command?: Command;
  /** Why it can not be read. */
  readonly unreadable?: string;
}

/** The first entries of a queue, pending ones included; what can not be read is said, never thrown. */
export async function peekQueue(
  store: Store,
  agentType: string,
  count: number,
  from = '-',
): Promise<QueueEntry[]> {
  return (await firstEntries(store, store.keys.ctrlStream(agentType), count, from)).map(readQueueEntry);
}

export function readQueueEntry(entry: ControlEntry): QueueEntry {
  try {
    return {entry, command: readCommandEntry(entry.data)};
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return {entry, unreadable: error.message};
  }
}
