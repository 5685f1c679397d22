/** One pending delivery by its entry, as operators name it. */
import {memberOf, type HeldDelivery} from './control-plane.js';
import type {Store} from './store.js';

/** @returns undefined if it is not held back for this agent type. */
export async function heldDocument(
  store: Store,
  agentType: string,
  entryId: string,
): Promise<HeldDelivery | undefined> {
  const {keys} = store;
  const member = memberOf(entryId);
  return store.commands.run(
    async redis => {
      const [score, document] = await Promise.all([
        redis.zscore(keys.pendingQueue(agentType), member),
        redis.hget(keys.pendingPayloads(agentType), member),
      ]);
      return score === null ? undefined : {entryId, document};
    },
    {retryForMs: 5000},
  );
}
