/** Sessions: their executions, their events and how long they are kept, joined. */
import type {ExecutionRecord} from '../protocol/execution.js';
import {statusKind, type StatusKind} from '../protocol/execution.js';
import {readEventEntry, type DataEvent} from '../protocol/events.js';
import {readable} from '../protocol/limits.js';
import {sessionExecutions} from '../store/executions.js';
import {findSessions, lastHeardMs, sessionFacts, type SessionFacts} from '../store/sessions.js';
import {serverTimeMs, type Store} from '../store/store.js';

/** What a session does: the liveliest of its executions decides. `empty`: it has none. */
export type SessionState = 'running' | 'cancelling' | 'waiting' | 'queued' | 'ended' | 'empty';

export interface SessionSummary {
  readonly sessionId: string;
  readonly state: SessionState;
  readonly executions: number;
  /** Executions that have not ended. */
  readonly open: number;
  readonly agentTypes: readonly string[];
  readonly events: number;
  /** Unix milliseconds, by the server's clock. */
  readonly lastHeard: number;
}

export interface SessionDetails extends SessionSummary {
  readonly records: readonly ExecutionRecord[];
  readonly lastEventId: string;
  /** The newest event; undefined if there is none, or it can not be read. */
  readonly lastEvent: DataEvent | undefined;
  /** Milliseconds until it is forgotten; -1: never, -2: there is none. */
  readonly registryTtlMs: number;
  readonly eventsTtlMs: number;
}

const LIVELIEST: readonly (readonly [StatusKind, SessionState])[] = [
  ['running', 'running'],
  ['cancelling', 'cancelling'],
  ['suspended', 'waiting'],
  ['queued', 'queued'],
  ['terminal', 'ended'],
];

export function sessionState(records: readonly ExecutionRecord[]): SessionState {
  const kinds = new Set(records.map(({status}) => statusKind(status)));
  return LIVELIEST.find(([kind]) => kinds.has(kind))?.[1] ?? 'empty';
}

/**
 * The sessions heard of last, newest first.
 * @param look most keys to look at on each server, roughly: the protocol has no index of sessions.
 */
export async function listSessions(
  store: Store,
  {limit, look}: {readonly limit: number; readonly look: number},
): Promise<{
  readonly sessions: readonly SessionSummary[];
  /** Sessions that were found, also beyond the limit. */
  readonly found: number;
  /** Whether all keys were looked at. */
  readonly isComplete: boolean;
}> {
  const {sessionIds, isComplete} = await findSessions(store, look);
  const [facts, now] = await Promise.all([sessionFacts(store, sessionIds), serverTimeMs(store)]);
  const newest = facts
    // It may have expired between the two looks.
    .filter(({registryTtlMs}) => registryTtlMs !== -2)
    .map(each => ({facts: each, heard: lastHeardMs(each, now)}))
    .sort((a, b) => b.heard - a.heard || (a.facts.sessionId < b.facts.sessionId ? -1 : 1));
  const sessions: SessionSummary[] = [];
  // One after the other: a registry can be large.
  for (const {facts: each} of newest.slice(0, limit))
    sessions.push(summarise(each, await sessionExecutions(store, each.sessionId), now));
  return {sessions, found: newest.length, isComplete};
}

/** @returns undefined if nothing is kept of it. */
export async function showSession(store: Store, sessionId: string): Promise<SessionDetails | undefined> {
  const [[facts], records, now] = await Promise.all([
    sessionFacts(store, [sessionId]),
    sessionExecutions(store, sessionId),
    serverTimeMs(store),
  ]);
  if (facts === undefined || (facts.registryTtlMs === -2 && facts.eventsTtlMs === -2)) return undefined;
  const {lastEventId, registryTtlMs, eventsTtlMs} = facts;
  return {
    ...summarise(facts, records, now),
    records,
    lastEventId,
    lastEvent: readLast(facts),
    registryTtlMs,
    eventsTtlMs,
  };
}

function summarise(facts: SessionFacts, records: readonly ExecutionRecord[], nowMs: number): SessionSummary {
  return {
    sessionId: facts.sessionId,
    state: sessionState(records),
    executions: records.length,
    open: records.filter(({status}) => statusKind(status) !== 'terminal').length,
    agentTypes: [...new Set(records.map(({targetAgentType}) => targetAgentType))].sort(),
    events: facts.events,
    lastHeard: lastHeardMs(facts, nowMs),
  };
}

function readLast({lastEventData}: SessionFacts): DataEvent | undefined {
  return lastEventData === undefined ? undefined : readable(() => readEventEntry(lastEventData));
}
