/** Instances of services, and their heartbeats: spec §9.3. */
import {
  encodeServiceInstance,
  isOurInstanceId,
  readServiceInstance,
  type ServiceInstance,
} from '../protocol/discovery.js';
import {readable} from '../protocol/limits.js';
import {serverNowMs, type Store} from './store.js';

export interface FoundInstance extends ServiceInstance {
  /** Unix milliseconds. */
  readonly lastHeartbeat: number;
}

/** An instance of ours that was silent for so long is gone: it did not leave, it was killed. Milliseconds. */
const GONE_MS = 86_400_000;
const RETRY = {retryForMs: 5000};

/**
 * Write an instance and its heartbeat: to register it, and as each heartbeat, so that one that Redis forgot is there again.
 * @param at Unix milliseconds.
 */
export async function putInstance(
  store: Store,
  service: string,
  instance: ServiceInstance,
  at: number,
): Promise<void> {
  const {keys} = store;
  await store.commands.run(
    async redis => {
      // The heartbeat last: whoever sees it finds the rest.
      await redis.hset(keys.sdInstances(service), instance.id, encodeServiceInstance(instance));
      await redis.zadd(keys.sdActive(service), at, instance.id);
      await redis.sadd(keys.sdServices(), service);
    },
    {retryForMs: 0},
  );
}

/** Take an instance out. The name of its service stays. */
export async function removeInstance(store: Store, service: string, id: string): Promise<void> {
  const {keys} = store;
  await store.commands.run(
    async redis => {
      await redis.zrem(keys.sdActive(service), id);
      await redis.hdel(keys.sdInstances(service), id);
    },
    {retryForMs: 2000},
  );
}

/** Take out instances of ours that were killed long ago. Those of other SDKs may have no heartbeat, and stay. */
export async function removeGone(store: Store, service: string, now: number): Promise<void> {
  const key = store.keys.sdActive(service);
  const silent = await store.commands.run(redis => redis.zrangebyscore(key, '-inf', now - GONE_MS), RETRY);
  for (const id of silent.filter(isOurInstanceId)) await removeInstance(store, service, id);
}

/** Every instance there is, with the time of its last heartbeat; those nobody can read are left out. By id. */
export async function instancesOf(store: Store, service: string): Promise<FoundInstance[]> {
  const {keys} = store;
  const beats = await store.commands.run(
    redis => redis.zrange(keys.sdActive(service), '0', '-1', 'WITHSCORES'),
    RETRY,
  );
  const scores = new Map<string, number>();
  for (let i = 0; i + 1 < beats.length; i += 2) scores.set(beats[i] ?? '', Number(beats[i + 1]));
  const ids = [...scores.keys()].sort();
  if (ids.length === 0) return [];
  const documents = await store.commands.run(redis => redis.hmget(keys.sdInstances(service), ...ids), RETRY);
  return ids.flatMap((id, i) => {
    const document = documents[i];
    // One without a document unregisters just now.
    const instance = typeof document === 'string' ? readable(() => readServiceInstance(document)) : undefined;
    return instance === undefined ? [] : [{...instance, lastHeartbeat: scores.get(id) ?? 0}];
  });
}

/** Names that were ever registered, in order. */
export async function serviceNames(store: Store): Promise<string[]> {
  const names = await store.commands.run(redis => redis.smembers(store.keys.sdServices()), RETRY);
  return names.sort();
}

/** Redis's clock, by which heartbeats of ours are given and judged: those of two machines may be apart. */
export const heartbeatTime = (store: Store): Promise<number> => serverNowMs(store);
