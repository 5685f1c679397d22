/** Pending deliveries as operators see them: what is held back for an agent type, page by page. */
import type {Store} from './store.js';

const RETRY = {retryForMs: 5000};

export interface HeldDocument {
  readonly entryId: string;
  /** JSON as it came; null if only its place in the queue is left. */
  readonly document: string | null;
}

/** A part of an agent type's queue, the next to be released first. @param from place in the queue, from 0. */
export async function heldPage(
  store: Store,
  agentType: string,
  from: number,
  count: number,
): Promise<HeldDocument[]> {
  const {keys} = store;
  return store.commands.run(async redis => {
    const ids = await redis.zrange(keys.pendingQueue(agentType), String(from), String(from + count - 1));
    if (ids.length === 0) return [];
    const documents = await redis.hmget(keys.pendingPayloads(agentType), ...ids);
    return ids.map((entryId, at) => ({entryId, document: documents[at] ?? null}));
  }, RETRY);
}

/** One delivery by its entry; undefined if it is not held back for this agent type. */
export async function heldDocument(
  store: Store,
  agentType: string,
  entryId: string,
): Promise<HeldDocument | undefined> {
  const {keys} = store;
  return store.commands.run(async redis => {
    const [score, document] = await Promise.all([
      redis.zscore(keys.pendingQueue(agentType), entryId),
      redis.hget(keys.pendingPayloads(agentType), entryId),
    ]);
    return score === null ? undefined : {entryId, document};
  }, RETRY);
}
