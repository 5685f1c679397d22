/**
 * Sessions as operators see them. The protocol keeps no index of sessions, so listing them walks the server's keys, up
 * to a bound; everything else here reads the two keys of one session.
 */
import {SESSION_TTL_S} from '../protocol/keys.js';
import {isValidId} from '../ids.js';
import {walkKeys, type Store} from './store.js';

const RETRY = {retryForMs: 5000};
/** Sessions whose keys are asked about in one go. */
const BATCH = 200;

export interface SessionFacts {
  readonly sessionId: string;
  /** Events in the data stream, as far as retention kept them. */
  readonly events: number;
  /** Id of the newest event; '' if there is none. */
  readonly lastEventId: string;
  /** The newest event as it came, for readEventEntry; undefined if there is none. */
  readonly lastEventData: string | undefined;
  /** Milliseconds until the registry is forgotten; -1: never, -2: there is none. The same of the data stream. */
  readonly registryTtlMs: number;
  readonly eventsTtlMs: number;
}

/**
 * Ids of sessions that have a registry, in no order.
 * @param look most keys to look at on each server, roughly.
 * @returns also whether all keys were looked at.
 */
export async function findSessions(
  store: Store,
  look: number,
): Promise<{readonly sessionIds: readonly string[]; readonly isComplete: boolean}> {
  const {keys, isComplete} = await walkKeys(store, store.keys.sessionPattern(), look);
  const ids = [...keys].map(key => store.keys.sessionIdOfRegistry(key) ?? '');
  // What could not be an id of ours is left out: no command could name it.
  return {sessionIds: ids.filter(isValidId), isComplete};
}

/** Facts of the named sessions, in the same order. */
export async function sessionFacts(store: Store, sessionIds: readonly string[]): Promise<SessionFacts[]> {
  const facts: SessionFacts[] = [];
  for (let from = 0; from < sessionIds.length; from += BATCH) {
    const batch = sessionIds.slice(from, from + BATCH);
    facts.push(
      ...(await store.commands.run(
        redis =>
          Promise.all(
            batch.map(async (sessionId): Promise<SessionFacts> => {
              const events = store.keys.sessionDataStream(sessionId);
              const [count, newest, registryTtlMs, eventsTtlMs] = await Promise.all([
                redis.xlen(events),
                redis.xrevrange(events, '+', '-', 'COUNT', 1),
                redis.pttl(store.keys.sessionRegistry(sessionId)),
                redis.pttl(events),
              ]);
              const [lastEventId = '', fields = []] = newest[0] ?? [];
              const data = fields.indexOf('data');
              return {
                sessionId,
                events: count,
                lastEventId,
                lastEventData: data < 0 ? undefined : fields[data + 1],
                registryTtlMs,
                eventsTtlMs,
              };
            }),
          ),
        RETRY,
      )),
    );
  }
  return facts;
}

/**
 * Unix milliseconds when a session was last heard of: its newest event, or when its registry's lifetime was last
 * renewed; by the server's clock.
 */
export function lastHeardMs(facts: SessionFacts, nowMs: number): number {
  const renewed = (ttlMs: number) => (ttlMs < 0 ? 0 : nowMs - Math.max(0, SESSION_TTL_S * 1000 - ttlMs));
  const event = Number(facts.lastEventId.split('-')[0]) || 0;
  return Math.max(event, Math.floor(renewed(facts.registryTtlMs)));
}
