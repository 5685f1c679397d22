/** Who is there: leases, membership and admin state of workers, as spec §5 lays them out. */
import {isLogLevel, type LogLevel} from '../log.js';
import type {Lifecycle} from '../protocol/admin.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {decodePresence, encodePresence} from '../protocol/presence.js';
import {defineScript, flag, texts} from './script.js';
import {getAll, type Store} from './store.js';

/** Lifetime of a lease, renewed three times as often: guarantees.md "Lease". */
export const LEASE_MS = 15_000;

export interface Lease {
  readonly workerId: string;
  /** Proof of ownership, known to the owner alone. */
  readonly token: string;
  readonly ipAddress: string;
  /** Milliseconds it lives without a heartbeat. Default {@link LEASE_MS}. */
  readonly ttlMs?: number;
}

/** @returns false if another process holds the worker id. Safe to repeat: the token tells that the lease is ours. */
export async function claimLease(store: Store, lease: Lease): Promise<boolean> {
  const key = store.keys.workerLease(lease.workerId);
  const value = encodePresence({token: lease.token, lastSeen: 0, ipAddress: lease.ipAddress});
  return store.commands.run(
    async redis => {
      const set = await redis.set(key, value, 'PX', lease.ttlMs ?? LEASE_MS, 'NX');
      if (set !== 'OK' && decodePresence(await redis.get(key)).token !== lease.token) return false;
      await redis.sadd(store.keys.knownWorkers(), lease.workerId);
      return true;
    },
    {retryForMs: 10_000},
  );
}

const heartbeatScript = defineScript({
  file: 'heartbeat.lua',
  keys: ['lease', 'admin', 'declared', 'level'],
  args: ['workerId', 'token', 'presence', 'ttlMs', 'join'],
  reply: texts,
});

export type {Lifecycle};

export type HeartbeatAnswer =
  /** Another process holds the worker id: stop at once. */
  | {readonly kind: 'lost'}
  | {
      readonly kind: 'kept';
      /** It had run out before this heartbeat: others may have taken our work meanwhile. */
      readonly lapsed: boolean;
      readonly lifecycle: Lifecycle;
      readonly reason: string;
      /** Evicted, and running work is not to be waited for. */
      readonly force: boolean;
      /** How much the worker is to log; undefined where nobody said. */
      readonly logLevel: LogLevel | undefined;
      readonly deniedTypes: readonly string[];
    };

/** Prolong the lease and keep membership as it should be. `join` false leaves the agent types and is not online (draining). */
export async function heartbeat(
  store: Store,
  lease: Lease,
  request: {
    readonly agentTypes: readonly string[];
    readonly join: boolean;
    readonly nowMs: number;
    readonly timeoutMs?: number;
  },
): Promise<HeartbeatAnswer> {
  const {keys} = store;
  const {agentTypes, join} = request;
  const isCluster = await store.commands.isCluster();
  const [verdict, lifecycle = 'active', reason = '', force, level = '', ...deniedTypes] =
    await heartbeatScript(
      store.commands,
      {
        keys: {
          lease: keys.workerLease(lease.workerId),
          admin: keys.workerAdmin(lease.workerId),
          declared: keys.declaredTypes(lease.workerId),
          level: keys.workerLogLevel(lease.workerId),
        },
        args: {
          workerId: lease.workerId,
          token: lease.token,
          // A lease never seen is held, but nobody counts on it: what routers of every SDK understand as not online.
          presence: encodePresence({
            token: lease.token,
            lastSeen: join ? request.nowMs : 0,
            ipAddress: lease.ipAddress,
          }),
          ttlMs: lease.ttlMs ?? LEASE_MS,
          join: join ? '1' : '0',
        },
        moreKeys: isCluster
          ? []
          : [keys.knownWorkers(), ...agentTypes.flatMap(type => [keys.members(type), keys.denied(type)])],
        moreArgs: agentTypes,
      },
      request.timeoutMs === undefined ? {} : {timeoutMs: request.timeoutMs},
    );
  if (verdict === 'lost') return {kind: 'lost'};
  const isActive = lifecycle !== 'suspended' && lifecycle !== 'evicted';
  return {
    kind: 'kept',
    lapsed: verdict === 'regained',
    lifecycle: isActive ? 'active' : lifecycle,
    reason,
    force: lifecycle === 'evicted' && force === '1',
    logLevel: isLogLevel(level) ? level : undefined,
    deniedTypes: isCluster
      ? await keepMembership(store, lease.workerId, agentTypes, join && isActive)
      : deniedTypes,
  };
}

/** In a Cluster: what the script does outside the worker's slot. The lease was ours a moment ago. */
async function keepMembership(
  store: Store,
  workerId: string,
  agentTypes: readonly string[],
  join: boolean,
): Promise<string[]> {
  const {keys} = store;
  return store.commands.run(async redis => {
    const [denials] = await Promise.all([
      Promise.all(agentTypes.map(type => redis.sismember(keys.denied(type), workerId))),
      redis.sadd(keys.knownWorkers(), workerId),
    ]);
    const isDenied = (i: number) => denials[i] === 1;
    await Promise.all(
      agentTypes.map((type, i) =>
        join && !isDenied(i)
          ? redis.sadd(keys.members(type), workerId)
          : redis.srem(keys.members(type), workerId),
      ),
    );
    return agentTypes.filter((_, i) => isDenied(i));
  });
}

/** Forget agent types this worker declared in an earlier life and no longer serves. */
export async function dropStaleTypes(
  store: Store,
  workerId: string,
  agentTypes: readonly string[],
): Promise<void> {
  const {keys} = store;
  await store.commands.run(
    async redis => {
      const declared = await redis.smembers(keys.declaredTypes(workerId));
      const stale = declared.filter(type => !agentTypes.includes(type));
      if (stale.length === 0) return;
      await Promise.all(stale.map(type => redis.srem(keys.members(type), workerId)));
      await redis.srem(keys.declaredTypes(workerId), ...stale);
    },
    {retryForMs: 5000},
  );
}

const releaseScript = defineScript({
  file: 'release-lease.lua',
  keys: ['lease'],
  args: ['token'],
  reply: flag,
});

/** Leave for good: membership first, so that no router still counts on us, then the lease. */
export async function leave(store: Store, lease: Lease, agentTypes: readonly string[]): Promise<void> {
  const {keys} = store;
  await store.commands.run(
    redis =>
      Promise.all([
        ...agentTypes.map(type => redis.srem(keys.members(type), lease.workerId)),
        redis.del(keys.declaredTypes(lease.workerId)),
        redis.srem(keys.knownWorkers(), lease.workerId),
        // What is addressed to it alone waits for a worker of this id as long as the record of it is kept.
        redis.expire(keys.workerCtrlStream(lease.workerId), SESSION_TTL_S),
      ]),
    {retryForMs: 2000},
  );
  await releaseScript(
    store.commands,
    {keys: {lease: keys.workerLease(lease.workerId)}, args: {token: lease.token}},
    {retryForMs: 2000},
  );
}

export interface OnlineCheck {
  readonly online: boolean;
  /** How many there are, alive or not. */
  readonly members: number;
  readonly workerIds: readonly string[];
}

/** Which members of an agent type are alive. Two reads, whatever the number of members. */
export async function onlineMembers(store: Store, agentType: string): Promise<OnlineCheck> {
  const members = await store.commands.run(redis => redis.smembers(store.keys.members(agentType)), {
    retryForMs: 5000,
  });
  const leases = await leasesOf(store, members);
  const workerIds = members.filter((_, i) => decodePresence(leases[i] ?? null).online);
  return {online: workerIds.length > 0, members: members.length, workerIds: workerIds.sort()};
}

/** Members looked at before all of them are: enough, unless most of them died. As accept.lua does. */
const SAMPLE = 4;

/** Whether any member of an agent type is alive: the same effort for few members and for many. */
export async function anyOnline(store: Store, agentType: string): Promise<boolean> {
  const sample = await store.commands.run(redis => redis.srandmember(store.keys.members(agentType), SAMPLE), {
    retryForMs: 5000,
  });
  const leases = await leasesOf(store, sample);
  if (leases.some(lease => decodePresence(lease).online)) return true;
  return sample.length === SAMPLE && (await onlineMembers(store, agentType)).online;
}

/** Whether this worker is alive. */
export async function isOnline(store: Store, workerId: string): Promise<boolean> {
  const [lease = null] = await leasesOf(store, [workerId]);
  return decodePresence(lease).online;
}

/** Those of the workers that are alive. */
export async function onlineAmong(store: Store, workerIds: readonly string[]): Promise<string[]> {
  const leases = await leasesOf(store, workerIds);
  return workerIds.filter((_, i) => decodePresence(leases[i] ?? null).online);
}

function leasesOf(store: Store, workerIds: readonly string[]): Promise<(string | null)[]> {
  return getAll(
    store,
    workerIds.map(id => store.keys.workerLease(id)),
  );
}

export interface WorkerFacts {
  readonly workerId: string;
  readonly agentTypes: readonly string[];
  /** A lease exists and has been renewed at least once. */
  readonly online: boolean;
  /** Unix ms of the last heartbeat by the worker's own clock; 0 if unknown. */
  readonly lastSeen: number;
  readonly ipAddress: string;
  readonly lifecycle: Lifecycle;
  readonly reason: string;
  /**
   * Why it is suspended, where that is until its quota is there again; `ignored`: it goes on all the same. Null: an operator
   * decided, or it is not suspended.
   */
  readonly untilRecovery: 'suspended' | 'ignored' | null;
  /** Milliseconds the lease still holds; 0 if there is none. */
  readonly leaseMs: number;
}

const ADMIN_FIELDS = ['lifecycle', 'reason', 'updated_at', 'x_exhausted', 'x_rejoined'] as const;
/** Found among the members of its agent types so often after it was taken out, a worker does not obey. */
export const REJOINS = 3;

/** Facts of the named workers, in the same order. */
export async function workerFacts(store: Store, workerIds: readonly string[]): Promise<WorkerFacts[]> {
  if (workerIds.length === 0) return [];
  const {keys} = store;
  const replies = await store.commands.run(
    redis =>
      Promise.all(
        workerIds.map(id =>
          Promise.all([
            redis.get(keys.workerLease(id)),
            redis.pttl(keys.workerLease(id)),
            redis.smembers(keys.declaredTypes(id)),
            redis.hmget(keys.workerAdmin(id), ...ADMIN_FIELDS),
          ]),
        ),
      ),
    {retryForMs: 5000},
  );
  return workerIds.map((workerId, i) => {
    const [lease = null, leaseMs = 0, agentTypes = [], admin = []] = replies[i] ?? [];
    const [lifecycle, reason, updatedAt, exhaustedAt, rejoined] = admin;
    const isOurs = lifecycle === 'suspended' && exhaustedAt !== null && exhaustedAt === updatedAt;
    const presence = decodePresence(lease);
    return {
      workerId,
      agentTypes: agentTypes.slice().sort(),
      online: presence.online,
      lastSeen: presence.lastSeen,
      ipAddress: presence.ipAddress,
      lifecycle: lifecycle === 'suspended' || lifecycle === 'evicted' ? lifecycle : 'active',
      reason: reason ?? '',
      untilRecovery: isOurs ? (Number(rejoined ?? 0) >= REJOINS ? 'ignored' : 'suspended') : null,
      leaseMs: Math.max(0, leaseMs),
    };
  });
}

/** Every worker id that was ever announced and has not left. */
export async function knownWorkers(store: Store): Promise<string[]> {
  const ids = await store.commands.run(redis => redis.smembers(store.keys.knownWorkers()), {
    retryForMs: 5000,
  });
  return ids.sort();
}
