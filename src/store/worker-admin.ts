/**
 * What operators decide about workers: suspended, evicted, barred from agent types (spec §5.5). The hash and the sets are
 * the truth, which a worker reads with every heartbeat; a command on its own stream only makes it look at once.
 */
import {systemClock, type Clock} from '../clock.js';
import {ByError} from '../errors.js';
import {adminHeader, type Lifecycle} from '../protocol/admin.js';
import {encodeCommand, type Command} from '../protocol/commands.js';
import {consumerName} from '../protocol/consumers.js';
import {decodePresence} from '../protocol/presence.js';
import {groupsOf} from './control-streams.js';
import {compareIds} from './data-streams.js';
import {knownWorkers, REJOINS} from './presence.js';
import {consumersOf} from './recovery.js';
import {defineScript, texts} from './script.js';
import {scanKeys, type Store} from './store.js';

export type WorkerAction = 'suspend' | 'resume' | 'evict' | 'rejoin';

export interface AdminOptions {
  /** Kept in the worker's record, and shown with it. Default ''. */
  readonly reason?: string;
  readonly now?: Clock;
}

export interface EvictOptions extends AdminOptions {
  /** Running work is not waited for: it is aborted, and what can be is handed to other workers. Default false. */
  readonly force?: boolean;
}

export interface AdminOutcome {
  readonly workerId: string;
  /** False if the worker was already so, and nothing was written. */
  readonly changed: boolean;
  readonly before: Lifecycle;
  readonly lifecycle: Lifecycle;
  /** It held its lease. One that does not was told nothing, and finds what was decided when it starts. */
  readonly online: boolean;
  /** The command on its stream; '' if it was not told. */
  readonly entryId: string;
  /** Which life of the worker it was; null if there is none, or its SDK keeps none. */
  readonly token: string | null;
}

const setScript = defineScript({
  file: 'set-lifecycle.lua',
  keys: ['admin', 'stream', 'lease'],
  args: ['lifecycle', 'reason', 'nowMs', 'force', 'from', 'document', 'exhausted', 'onlyOurs'],
  reply: texts,
});

interface Change {
  readonly action: WorkerAction;
  /** Where it leads; active without a record for `rejoin`. */
  readonly to: Lifecycle;
  readonly from: readonly Lifecycle[];
  readonly command: (reason: string, force: boolean) => Command | undefined;
}

const CHANGES: Readonly<Record<WorkerAction, Change>> = {
  suspend: {
    ...{action: 'suspend', to: 'suspended', from: ['active', 'suspended']},
    command: reason => ({action: 'SUSPEND_WORKER', header: adminHeader(), reason}),
  },
  resume: {
    ...{action: 'resume', to: 'active', from: ['suspended']},
    command: () => ({action: 'RESUME_WORKER', header: adminHeader()}),
  },
  evict: {
    ...{action: 'evict', to: 'evicted', from: ['active', 'suspended', 'evicted']},
    command: (reason, force) => ({action: 'EVICT_WORKER', header: adminHeader(), reason, force}),
  },
  rejoin: {
    ...{action: 'rejoin', to: 'active', from: ['active', 'evicted']},
    command: () => undefined,
  },
};

/**
 * Take nothing new; what runs goes on. Holds until {@link resumeWorker}, also over restarts.
 * @throws {ByError} CONFLICT for an evicted worker; REDIS_AUTH if this Redis user may not administer.
 */
export const suspendWorker = (
  store: Store,
  workerId: string,
  options: AdminOptions = {},
): Promise<AdminOutcome> => change(store, workerId, CHANGES.suspend, options);

/**
 * Let a suspended worker take work again.
 * @throws {ByError} as {@link suspendWorker}.
 */
export const resumeWorker = (
  store: Store,
  workerId: string,
  options: AdminOptions = {},
): Promise<AdminOutcome> => change(store, workerId, CHANGES.resume, options);

/**
 * Let a worker finish what it runs, end, and not start again until {@link rejoinWorker}.
 * @throws {ByError} REDIS_AUTH if this Redis user may not administer.
 */
export const evictWorker = (
  store: Store,
  workerId: string,
  options: EvictOptions = {},
): Promise<AdminOutcome> => change(store, workerId, CHANGES.evict, options);

/**
 * Let an evicted worker start again. One that still ends goes on ending.
 * @throws {ByError} CONFLICT for a suspended worker; REDIS_AUTH if this Redis user may not administer.
 */
export const rejoinWorker = (
  store: Store,
  workerId: string,
  options: AdminOptions = {},
): Promise<AdminOutcome> => change(store, workerId, CHANGES.rejoin, options);

async function change(
  store: Store,
  workerId: string,
  wanted: Change,
  {reason = '', force = false, now = systemClock}: EvictOptions,
): Promise<AdminOutcome> {
  const {to, action} = wanted;
  const told = wanted.command(reason, force);
  const {isSet, before, entryId, lease} = await setLifecycle(store, workerId, {
    ...{lifecycle: action === 'rejoin' ? '' : to, from: wanted.from, told, reason, force, nowMs: now()},
  });
  if (!isSet && before !== to) throw impossible(workerId, before);
  if (isSet) await keepSets(store, workerId, action);
  return {
    workerId,
    changed: isSet && (before !== to || to !== 'active'),
    before,
    lifecycle: to,
    online: lease !== '',
    entryId,
    token: decodePresence(lease === '' ? null : lease).token,
  };
}

interface NewLifecycle {
  /** '' removes the record: as `active`. */
  readonly lifecycle: Lifecycle | '';
  readonly from: readonly Lifecycle[];
  readonly told: Command | undefined;
  readonly reason: string;
  readonly force?: boolean;
  readonly nowMs: number;
  /** It holds until the worker's quota is there again. */
  readonly untilRecovery?: boolean;
  /** Only where that is why it is as it is. */
  readonly onlyUntilRecovery?: boolean;
}

async function setLifecycle(store: Store, workerId: string, wanted: NewLifecycle) {
  const {keys} = store;
  const {lifecycle, reason, nowMs, from, told} = wanted;
  const [verdict, before, entryId = '', lease = ''] = await setScript(
    store.commands,
    {
      keys: {
        admin: keys.workerAdmin(workerId),
        stream: keys.workerCtrlStream(workerId),
        lease: keys.workerLease(workerId),
      },
      args: {
        ...{lifecycle, reason, nowMs},
        force: wanted.force ? '1' : '0',
        from: `,${from.join(',')},`,
        document: told === undefined ? '' : encodeCommand(told),
        exhausted: wanted.untilRecovery ? '1' : '0',
        onlyOurs: wanted.onlyUntilRecovery ? '1' : '0',
      },
    },
    // Done twice it is the same: commands only make the worker look.
    {retryForMs: 5000},
  );
  return {isSet: verdict === 'set', before: before as Lifecycle, entryId, lease};
}

/**
 * Suspend a worker until its quota is there again, for workers that do not stop reading by themselves. What an operator
 * decided stands above it. @returns whether it was not suspended before.
 */
export async function suspendUntilRecovery(
  store: Store,
  workerId: string,
  {reason, now = systemClock}: {readonly reason: string; readonly now?: Clock},
): Promise<boolean> {
  const {keys} = store;
  // First: one that is suspended and not among these would never be found again.
  await store.commands.run(redis => redis.sadd(keys.adminWorkers(), workerId), {retryForMs: 5000});
  const {isSet} = await setLifecycle(store, workerId, {
    ...{lifecycle: 'suspended', from: ['active'], told: CHANGES.suspend.command(reason, false), reason},
    ...{nowMs: now(), untilRecovery: true},
  });
  if (isSet) await keepSets(store, workerId, 'suspend');
  return isSet;
}

/**
 * Let a worker take work again that {@link suspendUntilRecovery} suspended; nothing is left of it. One that an operator
 * suspended since stays so. @returns whether it was let.
 */
export async function endSuspension(
  store: Store,
  workerId: string,
  {now = systemClock}: {readonly now?: Clock} = {},
): Promise<boolean> {
  const {isSet, lease} = await setLifecycle(store, workerId, {
    ...{lifecycle: '', from: ['suspended'], told: CHANGES.resume.command('', false), reason: ''},
    ...{nowMs: now(), onlyUntilRecovery: true},
  });
  if (!isSet) return false;
  // Who is away joins when it comes.
  if (lease !== '') await keepSets(store, workerId, 'resume');
  await keepSets(store, workerId, 'rejoin');
  return true;
}

/**
 * A worker that does not know of suspensions puts itself back with its heartbeat: it is taken out again, until that says
 * enough. @returns whether it does not obey.
 */
export async function keepOut(store: Store, workerId: string): Promise<boolean> {
  const {keys} = store;
  const admin = keys.workerAdmin(workerId);
  return store.commands.run(
    async redis => {
      const [types, known] = await Promise.all([
        redis.smembers(keys.declaredTypes(workerId)),
        redis.hget(admin, 'x_rejoined'),
      ]);
      if (Number(known ?? 0) >= REJOINS) return true;
      const removed = await Promise.all(types.map(type => redis.srem(keys.members(type), workerId)));
      if (!removed.includes(1)) return false;
      return (await redis.hincrby(admin, 'x_rejoined', 1)) >= REJOINS;
    },
    {retryForMs: 5000},
  );
}

/** What lies in other Cluster slots. Left half done, the worker's next heartbeat does the rest. */
async function keepSets(store: Store, workerId: string, action: WorkerAction): Promise<void> {
  const {keys} = store;
  await store.commands.run(
    async redis => {
      if (action === 'rejoin') {
        await redis.srem(keys.adminWorkers(), workerId);
        return;
      }
      const types = await redis.smembers(keys.declaredTypes(workerId));
      const isDenied = await Promise.all(types.map(type => redis.sismember(keys.denied(type), workerId)));
      await Promise.all([
        redis.sadd(keys.adminWorkers(), workerId),
        ...types.map((type, i) =>
          action === 'resume'
            ? isDenied[i] === 0 && redis.sadd(keys.members(type), workerId)
            : redis.srem(keys.members(type), workerId),
        ),
      ]);
    },
    {retryForMs: 5000},
  );
}

const impossible = (workerId: string, lifecycle: Lifecycle): ByError =>
  lifecycle === 'evicted'
    ? new ByError('CONFLICT', `Worker "${workerId}" was evicted.`, {
        hint: 'Let it in again first.',
        next: [`by worker rejoin ${workerId}`],
      })
    : new ByError('CONFLICT', `Worker "${workerId}" is ${lifecycle}, not evicted.`, {
        hint: 'Let it take work again in place of this.',
        next: [`by worker resume ${workerId}`],
      });

/** Bar a worker from an agent type. @returns whether it was not barred before. */
export async function denyAgentType(store: Store, agentType: string, workerId: string): Promise<boolean> {
  const {keys} = store;
  return store.commands.run(
    async redis => {
      const added = await redis.sadd(keys.denied(agentType), workerId);
      // Second, so that a heartbeat in between finds it barred.
      await redis.srem(keys.members(agentType), workerId);
      return added === 1;
    },
    {retryForMs: 5000},
  );
}

/** Let a worker serve an agent type again; it joins with its next heartbeat. @returns whether it was barred. */
export async function allowAgentType(store: Store, agentType: string, workerId: string): Promise<boolean> {
  const removed = await store.commands.run(redis => redis.srem(store.keys.denied(agentType), workerId), {
    retryForMs: 5000,
  });
  return removed === 1;
}

/** Workers barred from an agent type, by name. */
export async function deniedWorkers(store: Store, agentType: string): Promise<string[]> {
  const ids = await store.commands.run(redis => redis.smembers(store.keys.denied(agentType)), {
    retryForMs: 5000,
  });
  return ids.sort();
}

/** Those of the agent types a worker is barred from. */
export async function deniedAmong(
  store: Store,
  workerId: string,
  agentTypes: readonly string[],
): Promise<string[]> {
  const denials = await store.commands.run(
    redis => Promise.all(agentTypes.map(type => redis.sismember(store.keys.denied(type), workerId))),
    {retryForMs: 5000},
  );
  return agentTypes.filter((_, i) => denials[i] === 1);
}

/** Agent types somebody is barred from, by name. Walks all keys: for operators' commands. */
export async function agentTypesWithDenied(store: Store): Promise<string[]> {
  const keys = await scanKeys(store, store.keys.deniedPattern());
  return keys.flatMap(key => store.keys.agentTypeOfDenied(key) ?? []).sort();
}

/** Worker ids an operator decided something about, and those that were announced and have not left. */
export async function managedWorkers(store: Store): Promise<string[]> {
  const [known, administered] = await Promise.all([
    knownWorkers(store),
    store.commands.run(redis => redis.smembers(store.keys.adminWorkers()), {retryForMs: 5000}),
  ]);
  return [...new Set([...known, ...administered])].sort();
}

/** Whether anything in Redis speaks of a worker id: a lease, a record, its own stream. */
export async function isKnownWorker(store: Store, workerId: string): Promise<boolean> {
  const {keys} = store;
  const own = [keys.workerLease, keys.declaredTypes, keys.workerAdmin, keys.workerCtrlStream];
  const found = await store.commands.run(
    redis => Promise.all(own.map(keyOf => redis.exists(keyOf(workerId)))),
    {retryForMs: 5000},
  );
  return found.includes(1);
}

/**
 * Whose worker lives under a worker id, told from how it is named in the groups of its own stream. `none` while nobody holds
 * the id.
 */
export async function sdkOf(store: Store, workerId: string): Promise<'by' | 'other' | 'none'> {
  const {keys} = store;
  const stream = keys.workerCtrlStream(workerId);
  const lease = await store.commands.run(redis => redis.get(keys.workerLease(workerId)), {retryForMs: 5000});
  if (lease === null) return 'none';
  const {token} = decodePresence(lease);
  const groups = await groupsOf(store, stream);
  const consumers = (await Promise.all(groups.map(({name}) => consumersOf(store, stream, name)))).flat();
  const isOurs = (name: string) => token !== null && name === consumerName(workerId, token);
  return consumers.some(({name}) => isOurs(name)) ? 'by' : 'other';
}

/** Whether every group that reads a stream is done with an entry: it is gone, or delivered and acknowledged. */
export async function isSettled(store: Store, stream: string, entryId: string): Promise<boolean> {
  const entries = await store.commands.run(redis => redis.xrange(stream, entryId, entryId), {
    retryForMs: 5000,
  });
  if (entries.length === 0) return true;
  const groups = await groupsOf(store, stream);
  const isDone = await Promise.all(
    groups.map(async ({name, lastDeliveredId}) => {
      if (compareIds(lastDeliveredId, entryId) < 0) return false;
      const pending = await store.commands.run(redis => redis.xpending(stream, name, entryId, entryId, 1), {
        retryForMs: 5000,
      });
      return pending.length === 0;
    }),
  );
  return isDone.length > 0 && isDone.every(Boolean);
}

/** Whether the life of a worker that had this token is over. */
export async function hasEnded(store: Store, workerId: string, token: string | null): Promise<boolean> {
  const lease = await store.commands.run(redis => redis.get(store.keys.workerLease(workerId)), {
    retryForMs: 5000,
  });
  return lease === null || decodePresence(lease).token !== token;
}
