/** Who waits for a wakeup. */
import {isValidId} from '../ids.js';
import type {WakeupRequest} from '../protocol/wakeup.js';
import type {Store} from './store.js';

/** What makes two requests the same wakeup: spec §7.6. */
export type WakeupKey = Pick<WakeupRequest, 'targetAgentType' | 'userCode' | 'region'>;

export interface WakeupWaiters {
  /** The execution whose request is being carried out; '' if none is. */
  readonly leader: string;
  /** Executions that wait, the leader's among them; without those whose request no manager has read. */
  readonly executionIds: readonly string[];
}

/** Ids in it become part of keys: others have no waiters of ours. */
export const isWakeupKey = ({targetAgentType, userCode, region}: WakeupKey): boolean =>
  isValidId(targetAgentType) && [userCode, region].every(part => part === '' || isValidId(part));

export async function wakeupWaiters(store: Store, key: WakeupKey): Promise<WakeupWaiters> {
  if (!isWakeupKey(key)) return {leader: '', executionIds: []};
  const {targetAgentType, userCode, region} = key;
  const dedupe = store.keys.wakeupDedupe(targetAgentType, userCode, region);
  const waiters = store.keys.wakeupWaiters(targetAgentType, userCode, region);
  const [leader, executionIds] = await store.commands.run(
    redis => Promise.all([redis.get(dedupe), redis.hkeys(waiters)]),
    {retryForMs: 5000},
  );
  return {leader: leader ?? '', executionIds: executionIds.sort()};
}
