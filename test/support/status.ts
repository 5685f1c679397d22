/** For tests of workers' status: time that has passed, without waiting for it. */
import {createStatusKeys} from '../../src/protocol/orchestration/status-keys.js';
import {encodePresence} from '../../src/protocol/presence.js';
import {serverTimeMs, type Store} from '../../src/store/store.js';

/** Make a worker's last heartbeat, or the end of its exhaustion, so many milliseconds ago; negative: from now. */
export async function ago(
  store: Store,
  workerId: string,
  {heartbeat, recovery}: {readonly heartbeat?: number; readonly recovery?: number},
): Promise<void> {
  const keys = createStatusKeys(store.keys.prefix);
  const now = Math.floor(await serverTimeMs(store));
  await store.commands.run(async redis => {
    if (heartbeat !== undefined) {
      await redis.hset(keys.agentStatus(workerId), 'last_heartbeat_at', now - heartbeat);
      await redis.zadd(keys.statusHeartbeats(), now - heartbeat, workerId);
    }
    if (recovery !== undefined) {
      await redis.hset(keys.agentStatus(workerId), 'recovery_at', now - recovery);
      await redis.zadd(keys.statusRecoveries(), now - recovery, workerId);
      const ledger = keys.exhaustion(workerId, '*');
      if ((await redis.exists(ledger)) === 1) await redis.hset(ledger, 'recovery_at', now - recovery);
    }
  });
}

/** A worker of another SDK, of type `researcher`: it has a lease, and what Python keeps beside. */
export async function foreignWorker(
  store: Store,
  workerId: string,
  {
    lastSeen,
    active,
    agentType = 'researcher',
  }: {readonly lastSeen: number; readonly active?: number; readonly agentType?: string},
): Promise<void> {
  const {keys} = store;
  const presence = encodePresence({token: 'f'.repeat(32), lastSeen, ipAddress: ''});
  await store.commands.run(async redis => {
    await redis.set(keys.workerLease(workerId), presence, 'PX', 30_000);
    await redis.sadd(keys.knownWorkers(), workerId);
    await redis.sadd(keys.declaredTypes(workerId), agentType);
    await redis.sadd(keys.members(agentType), workerId);
    if (active !== undefined) await redis.hset(keys.workerStatus(workerId), 'active_count', active);
  });
}

/** What {@link foreignWorker} breaks: nobody takes it out. */
export const FOREIGN_RULES = ['knownWorkers', 'declaredTypes', 'members', 'workerLease'] as const;
