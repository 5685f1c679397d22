/** The control plane's keys: wakeups and their decisions, pending deliveries, circuits, quotas, fallbacks. */
import {isValidId} from '../ids.js';
import {
  decodeWakeupDecision,
  encodeWakeupDecision,
  encodeWakeupRequest,
  type WakeupDecision,
  type WakeupRequest,
} from '../protocol/wakeup.js';
import {parseUntrusted} from '../protocol/limits.js';
import {entryTimeMs} from '../protocol/deadletter.js';
import {readFallback} from '../protocol/routing.js';
import {TERMINAL_STATES} from '../protocol/states.js';
import type {Connection} from './connection.js';
import {streamReply, type ControlEntry} from './control-streams.js';
import {appendOnce, type OutboxItem} from './outbox.js';
import {routableMembers, type Exhausted} from './routable.js';
import {defineScript, flag, integer, texts} from './script.js';
import {getAllBySlot, type Store} from './store.js';

/** Consumer group in which managers share the streams that routers write to. */
export const MANAGER_GROUP = 'by_managers';
/** How long one wakeup stands for all requests of its type, user and region, in milliseconds, at most: spec §7.6. */
const DEDUPE_TTL_MS = 30_000;
/** Result streams outlive every waiter; java uses the same: spec §2. */
const RESULT_TTL_S = 300;

/** Ask for workers. Not repeated by itself: a second request is harmless but not free. */
export async function requestWakeup(store: Store, request: WakeupRequest): Promise<void> {
  await store.commands.run(
    redis => redis.xadd(store.keys.wakeup(), '*', 'data', encodeWakeupRequest(request)),
    {
      retryForMs: 2000,
    },
  );
}

/**
 * Wait for decisions on a wakeup.
 * @returns decisions in order and the id to go on from; none if `blockMs` passed.
 */
export async function readDecisions(
  store: Store,
  connection: Connection,
  executionId: string,
  after: string,
  blockMs: number,
): Promise<{readonly decisions: readonly WakeupDecision[]; readonly lastId: string}> {
  const stream = store.keys.wakeupResult(executionId);
  const reply = await connection.run(
    redis =>
      redis.callBuffer(
        'XREAD',
        'COUNT',
        '10',
        'BLOCK',
        String(Math.max(1, blockMs)),
        'STREAMS',
        stream,
        after,
      ),
    {timeoutMs: blockMs + 2000},
  );
  const decisions: WakeupDecision[] = [];
  let lastId = after;
  for (const entry of streamReply(reply)) {
    lastId = entry.id;
    if (entry.data === undefined) continue;
    try {
      decisions.push(decodeWakeupDecision(parseUntrusted(entry.data)));
    } catch {
      // Whoever wrote it, it is no decision; the waiter's own deadline and the online check remain.
    }
  }
  return {decisions, lastId};
}

const joinScript = defineScript({
  file: 'join-wakeup.lua',
  keys: ['dedupe', 'waiters'],
  args: ['executionId', 'sinceMs', 'timeoutMs', 'dedupeTtlS', 'waitersTtlS'],
  reply: (raw): Joined => {
    const [role, ms = '0'] = texts(raw);
    return {role: role === 'lead' || role === 'late' ? role : 'join', remainingMs: Number(ms)};
  },
});

export interface Joined {
  /**
   * `lead`: the caller must carry the wakeup out. `join`: the answer will come from another. `late`: its caller waits no
   * more, and nobody else does.
   */
  readonly role: 'lead' | 'join' | 'late';
  /** Milliseconds somebody still waits; 0 or less if nobody does. */
  readonly remainingMs: number;
}

const wakeupKeys = ({keys}: Store, {targetAgentType, userCode, region}: WakeupRequest) => ({
  dedupe: keys.wakeupDedupe(targetAgentType, userCode, region),
  waiters: keys.wakeupWaiters(targetAgentType, userCode, region),
});

export interface Patience {
  /** When it was asked, in Unix milliseconds by Redis's clock. Default now. */
  readonly sinceMs?: number;
  /** For how many milliseconds its caller waits from then on. Default 30,000. */
  readonly timeoutMs?: number;
  /** How long others join, at most: up to 30,000, in whole seconds, rounded up. Default 30,000. */
  readonly dedupeTtlMs?: number;
}

/** Lead a wakeup, or join the one that is under way. */
export function joinWakeup(
  store: Store,
  request: WakeupRequest,
  {sinceMs, timeoutMs = 30_000, dedupeTtlMs = DEDUPE_TTL_MS}: Patience = {},
): Promise<Joined> {
  return joinScript(
    store.commands,
    {
      keys: wakeupKeys(store, request),
      args: {
        executionId: request.executionId,
        sinceMs: sinceMs ?? '',
        timeoutMs,
        dedupeTtlS: Math.max(1, Math.ceil(Math.min(dedupeTtlMs, DEDUPE_TTL_MS) / 1000)),
        waitersTtlS: RESULT_TTL_S,
      },
    },
    {retryForMs: 10_000},
  );
}

const holdScript = defineScript({
  file: 'hold-wakeup.lua',
  keys: ['dedupe', 'waiters'],
  args: ['executionId', 'dedupeTtlS', 'waitersTtlS'],
  reply: integer,
});

/** Keep the lead of a wakeup that takes long. @returns for how many milliseconds somebody still waits for it. */
export function holdWakeup(store: Store, request: WakeupRequest): Promise<number> {
  return holdScript(
    store.commands,
    {
      keys: wakeupKeys(store, request),
      args: {executionId: request.executionId, dedupeTtlS: DEDUPE_TTL_MS / 1000, waitersTtlS: RESULT_TTL_S},
    },
    {retryForMs: 2000},
  );
}

const decideScript = defineScript({
  file: 'decide-wakeup.lua',
  keys: ['dedupe', 'waiters'],
  args: ['executionId', 'decision', 'prefix', 'suffix', 'ttlS', 'final'],
  reply: integer,
});

/**
 * Tell everybody who waits for this wakeup.
 * @param final false for progress (STARTING): the wakeup goes on.
 * @returns how many were told.
 */
export async function decideWakeup(
  store: Store,
  request: WakeupRequest,
  decision: WakeupDecision,
  final: boolean,
): Promise<number> {
  const {keys} = store;
  if (await store.commands.isCluster()) return decideInSteps(store, request, decision, final);
  const [prefix = '', suffix = ''] = keys.wakeupResult('\0').split('\0');
  return decideScript(
    store.commands,
    {
      keys: wakeupKeys(store, request),
      args: {
        executionId: request.executionId,
        decision: encodeWakeupDecision({...decision, executionId: '@execution_id@'}),
        prefix,
        suffix,
        ttlS: RESULT_TTL_S,
        final: final ? '1' : '0',
      },
    },
    {retryForMs: 10_000},
  );
}

const closeScript = defineScript({
  file: 'close-wakeup.lua',
  keys: ['dedupe', 'waiters'],
  args: ['executionId'],
  reply: flag,
});

/** In a Cluster: tell each waiter, then close the wakeup if nobody joined meanwhile. Hearing it twice is harmless. */
async function decideInSteps(
  store: Store,
  request: WakeupRequest,
  decision: WakeupDecision,
  final: boolean,
): Promise<number> {
  const {keys} = store;
  const {dedupe, waiters} = wakeupKeys(store, request);
  const told = new Set<string>();
  const leader = await store.commands.run(redis => redis.get(dedupe), {retryForMs: 10_000});
  const leads = leader === null || leader === request.executionId;
  for (;;) {
    const waiting = leads
      ? await store.commands.run(redis => redis.hkeys(waiters), {retryForMs: 10_000})
      : [];
    const untold = [...new Set([...waiting, request.executionId])].filter(id => !told.has(id));
    await store.commands.run(
      redis =>
        Promise.all(
          untold.filter(isValidId).flatMap(executionId => {
            const stream = keys.wakeupResult(executionId);
            const document = encodeWakeupDecision({...decision, executionId});
            return [redis.xadd(stream, '*', 'data', document), redis.expire(stream, RESULT_TTL_S)];
          }),
        ),
      {retryForMs: 10_000},
    );
    for (const id of untold) told.add(id);
    if (!final) return told.size;
    // Its successor tells those who still wait: see decide-wakeup.lua.
    if (!leads) {
      await store.commands.run(redis => redis.hdel(waiters, request.executionId), {retryForMs: 10_000});
      return told.size;
    }
    const isClosed = await closeScript(
      store.commands,
      {keys: {dedupe, waiters}, args: {executionId: request.executionId}, moreArgs: [...told]},
      {retryForMs: 10_000},
    );
    if (isClosed) return told.size;
  }
}

/**
 * An entry's id as a member of a queue. Members of one score, which are those of one millisecond, are in the order of
 * their text: a colon, which comes after the digits, stands for each digit after the first, so that 10 comes after 9.
 */
export const memberOf = (entryId: string): string =>
  entryId.replace(/-(\d+)$/, (_, count: string) => `-${':'.repeat(count.length - 1)}${count}`);
const entryIdOf = (member: string): string => member.replaceAll(':', '');

const takePendingScript = defineScript({
  file: 'take-pending.lua',
  keys: ['pending', 'queue', 'payloads', 'types'],
  args: ['group', 'entry', 'document', 'score', 'agentType', 'member'],
  reply: flag,
});

/** Take a pending delivery from the shared stream into its agent type's queue; lower score goes first. */
export async function takePending(
  store: Store,
  delivery: {
    readonly entryId: string;
    readonly document: string;
    readonly score: number;
    readonly agentType: string;
  },
): Promise<boolean> {
  const {keys} = store;
  if (await store.commands.isCluster()) return takeInSteps(store, delivery);
  return takePendingScript(
    store.commands,
    {
      keys: {
        pending: keys.deliveryPending(),
        queue: keys.pendingQueue(delivery.agentType),
        payloads: keys.pendingPayloads(delivery.agentType),
        types: keys.pendingTypes(),
      },
      args: {
        group: MANAGER_GROUP,
        entry: delivery.entryId,
        document: delivery.document,
        score: delivery.score,
        agentType: delivery.agentType,
        member: memberOf(delivery.entryId),
      },
    },
    {retryForMs: 10_000},
  );
}

/**
 * In a Cluster: queued first, acknowledged last. A manager that dies in between leaves an entry that another takes
 * again; what was released by then is not written a second time.
 */
async function takeInSteps(
  store: Store,
  {entryId, document, score, agentType}: Parameters<typeof takePending>[1],
): Promise<boolean> {
  const {keys} = store;
  const retry = {retryForMs: 10_000};
  await store.commands.run(redis => redis.sadd(keys.pendingTypes(), agentType), retry);
  await store.commands.run(
    redis =>
      Promise.all([
        redis.hset(keys.pendingPayloads(agentType), memberOf(entryId), document),
        redis.zadd(keys.pendingQueue(agentType), 'NX', String(score), memberOf(entryId)),
      ]),
    retry,
  );
  const pending = keys.deliveryPending();
  const [, acked] = await store.commands.run(
    redis => Promise.all([redis.xdel(pending, entryId), redis.xack(pending, MANAGER_GROUP, entryId)]),
    retry,
  );
  return acked === 1;
}

/** Agent types for which something waits. */
export function pendingTypes(store: Store): Promise<string[]> {
  return store.commands.run(redis => redis.smembers(store.keys.pendingTypes()), {retryForMs: 5000});
}

export interface HeldDelivery {
  readonly entryId: string;
  /** null where it was lost. */
  readonly document: string | null;
}

/**
 * The next deliveries of an agent type, best first.
 * @param from how many to leave out. Default none.
 */
export async function nextPending(
  store: Store,
  agentType: string,
  count: number,
  from = 0,
): Promise<HeldDelivery[]> {
  const queue = store.keys.pendingQueue(agentType);
  const members = await store.commands.run(redis => redis.zrange(queue, from, String(from + count - 1)), {
    retryForMs: 5000,
  });
  return documentsOf(store, agentType, members);
}

const expiredScript = defineScript({
  file: 'expired-pending.lua',
  keys: ['queue'],
  args: ['beforeMs', 'step', 'count'],
  reply: texts,
});

/** Deliveries that came before `beforeMs`, Unix milliseconds by Redis's clock, however many others go first. */
export async function expiredPending(
  store: Store,
  agentType: string,
  beforeMs: number,
  count: number,
): Promise<HeldDelivery[]> {
  const members = await expiredScript(
    store.commands,
    {
      keys: {queue: store.keys.pendingQueue(agentType)},
      args: {beforeMs: Math.max(0, Math.floor(beforeMs)), step: PRIORITY_STEP, count},
    },
    {retryForMs: 5000},
  );
  return documentsOf(store, agentType, members);
}

async function documentsOf(
  store: Store,
  agentType: string,
  members: readonly string[],
): Promise<HeldDelivery[]> {
  if (members.length === 0) return [];
  const payloads = store.keys.pendingPayloads(agentType);
  const documents = await store.commands.run(redis => redis.hmget(payloads, ...members), {retryForMs: 5000});
  return members.map((member, i) => ({entryId: entryIdOf(member), document: documents[i] ?? null}));
}

/** More than any age in milliseconds, so that one step of priority outweighs it. */
const PRIORITY_STEP = 1e13;
const MAX_PRIORITY = 100;

/** Higher priority first, then the older; priorities beyond 100 and -100 count as these. Lower scores go first. */
export function pendingScore(priority: number, entryId: string): number {
  const clamped = Math.max(-MAX_PRIORITY, Math.min(MAX_PRIORITY, Math.trunc(priority)));
  return -clamped * PRIORITY_STEP + entryTimeMs(entryId);
}

export interface PendingRelease {
  readonly agentType: string;
  readonly entryId: string;
  /** Stream and document to write; absent to drop the delivery. */
  readonly write?: {readonly stream: string; readonly document: string};
  readonly sessionId: string;
  readonly executionId: string;
  /** Record fields in wire names. */
  readonly patch?: Readonly<Record<string, unknown>>;
  /** What the caller is told, where the execution ends by this. */
  readonly reply?: OutboxItem;
}

const releaseScript = defineScript({
  file: 'release-pending.lua',
  before: ['records.lua'],
  keys: ['queue', 'payloads', 'types', 'target', 'registry', 'reply'],
  args: ['entry', 'document', 'agentType', 'executionId', 'terminal', 'patch', 'limit', 'replyDocument'],
  reply: raw => (raw === 'released' || raw === 'ended' || raw === 'full' ? raw : 'gone'),
});

/** Release one delivery, exactly once whoever else tries. 'full': it is for the dead letters, and they have no room. */
export async function releasePending(
  store: Store,
  release: PendingRelease,
): Promise<'released' | 'gone' | 'ended' | 'full'> {
  const {keys} = store;
  if (await store.commands.isCluster()) return releaseInSteps(store, release);
  return releaseScript(
    store.commands,
    {
      keys: {
        queue: keys.pendingQueue(release.agentType),
        payloads: keys.pendingPayloads(release.agentType),
        types: keys.pendingTypes(),
        target: release.write?.stream ?? keys.ctrlStream(release.agentType),
        registry: keys.sessionRegistry(release.sessionId),
        reply: release.reply?.stream ?? keys.ctrlStream(release.agentType),
      },
      args: {
        entry: memberOf(release.entryId),
        document: release.write?.document ?? '',
        agentType: release.agentType,
        executionId: release.executionId,
        terminal: JSON.stringify([...TERMINAL_STATES]),
        patch: release.patch ? JSON.stringify(release.patch) : '',
        limit: release.write?.stream === keys.deadletter() ? store.limits.deadLetters : 0,
        replyDocument: release.reply?.document ?? '',
      },
    },
    {retryForMs: 10_000},
  );
}

const patchScript = defineScript({
  file: 'patch-record.lua',
  before: ['records.lua'],
  keys: ['registry'],
  args: ['executionId', 'terminal', 'patch', 'step'],
  reply: raw => raw === 'ended',
});

/** In a Cluster: record, target, queue. Managers may do this beside each other: each part counts once. */
async function releaseInSteps(
  store: Store,
  {agentType, entryId, write, sessionId, executionId, patch, reply}: PendingRelease,
): Promise<'released' | 'gone' | 'ended' | 'full'> {
  const {keys} = store;
  const retry = {retryForMs: 10_000};
  const queue = keys.pendingQueue(agentType);
  const member = memberOf(entryId);
  const score = await store.commands.run(redis => redis.zscore(queue, member), retry);
  if (score === null) return 'gone';
  const hasEnded = await patchScript(
    store.commands,
    {
      keys: {registry: keys.sessionRegistry(sessionId)},
      args: {
        executionId,
        terminal: JSON.stringify([...TERMINAL_STATES]),
        patch: patch ? JSON.stringify(patch) : '',
        step: `pending:${entryId}`,
      },
    },
    retry,
  );
  const appended =
    hasEnded || write === undefined ? undefined : await appendOnce(store, write, `pending:${entryId}`);
  if (appended?.isFull) return 'full';
  if (!hasEnded && reply) await appendOnce(store, reply, `pending-reply:${entryId}`);
  // A member without a document is dropped by whoever comes next; a document without a member would stay for ever.
  await store.commands.run(
    redis => Promise.all([redis.hdel(keys.pendingPayloads(agentType), member), redis.zrem(queue, member)]),
    retry,
  );
  if (hasEnded) return 'ended';
  return appended === undefined || appended.isNew ? 'released' : 'gone';
}

/** The records about an agent type and a user, as they are stored, and whether what the user sends is counted. */
export async function routingRecords(
  store: Store,
  agentType: string,
  userCode: string,
): Promise<{
  readonly circuit: string | null;
  readonly quota: string | null;
  readonly fallback: string | null;
  readonly isLimited: boolean;
}> {
  const {keys} = store;
  const wanted = [
    [keys.circuit(agentType)],
    [keys.fallback(agentType)],
    // Of one slot, so that a user without a limit costs a Cluster nothing more.
    ...(userCode === '' ? [] : [[keys.userQuota(userCode), keys.quotaLimit(userCode)]]),
  ];
  const [circuit = null, fallback = null, quota = null, limit = null] = await getAllBySlot(store, wanted);
  return {circuit, quota, fallback, isLimited: limit !== null};
}

/** All that routing decides by: spec §7.2. */
export interface AdmissionFacts {
  /** The stored records, as they are; null where there is none. */
  readonly circuit: string | null;
  readonly quota: string | null;
  readonly fallback: string | null;
  readonly online: boolean;
  /** The agent type that was looked at in place of the target: the one the fallback names, or ''. */
  readonly standIn: string;
  readonly standInOnline: boolean;
  /** Milliseconds until circuit and quota go by themselves; null for what stays, or is not there. */
  readonly circuitMs: number | null;
  readonly quotaMs: number | null;
  /** Whether what the user sends is counted. */
  readonly isLimited: boolean;
  /** Who is online can do nothing; null where that is not why. */
  readonly exhausted: Exhausted | null;
}

/** The facts by reads of their own: in a Cluster, and where nothing is to be accepted. On one server, accept.lua answers them. */
export async function admissionFacts(
  store: Store,
  agentType: string,
  userCode: string,
): Promise<AdmissionFacts> {
  const {keys} = store;
  const [{circuit, quota, fallback, isLimited}, {online, exhausted}, circuitMs, quotaMs] = await Promise.all([
    routingRecords(store, agentType, userCode),
    routableMembers(store, agentType),
    lifetimeMs(store, keys.circuit(agentType)),
    userCode === '' ? null : lifetimeMs(store, keys.userQuota(userCode)),
  ]);
  const standIn = online ? '' : readFallback(fallback);
  const standInOnline = isValidId(standIn) && (await routableMembers(store, standIn)).online;
  const facts = {circuit, quota, fallback, online, standIn, standInOnline, circuitMs, quotaMs};
  return {...facts, isLimited, exhausted};
}

async function lifetimeMs(store: Store, key: string): Promise<number | null> {
  const ms = await store.commands.run(redis => redis.pttl(key), {retryForMs: 5000});
  return ms >= 0 ? ms : null;
}

/** In one command, which the server must not be busy with for long. */
const HELD_AT_ONCE = 1000;

/** Say of entries that they are still worked on: their time without a sign of life begins anew. */
export async function holdEntries(
  store: Store,
  managerId: string,
  entries: readonly ControlEntry[],
): Promise<void> {
  const ids = new Map<string, string[]>();
  for (const {stream, id} of entries) {
    const held = ids.get(stream);
    if (held === undefined) ids.set(stream, [id]);
    else held.push(id);
  }
  for (const [stream, held] of ids) {
    for (let from = 0; from < held.length; from += HELD_AT_ONCE) {
      const some = held.slice(from, from + HELD_AT_ONCE);
      await store.commands.run(
        redis => redis.call('XCLAIM', stream, MANAGER_GROUP, managerId, '0', ...some, 'JUSTID'),
        {retryForMs: 2000},
      );
    }
  }
}

/** Leave entries to other managers at once: they look as if nobody had cared for them for long. */
export async function handOver(
  store: Store,
  managerId: string,
  entries: readonly ControlEntry[],
  idleMs: number,
): Promise<void> {
  await store.commands.run(
    redis =>
      Promise.all(
        entries.map(({stream, id}) =>
          redis.call('XCLAIM', stream, MANAGER_GROUP, managerId, '0', id, 'IDLE', String(idleMs), 'JUSTID'),
        ),
      ),
    {retryForMs: 2000},
  );
}

/** Entries of a management stream that another manager took and did not settle for `idleMs`. */
export async function claimStale(
  store: Store,
  stream: string,
  managerId: string,
  idleMs: number,
): Promise<ControlEntry[]> {
  const reply = await store.commands.run(
    redis =>
      redis.callBuffer('XAUTOCLAIM', stream, MANAGER_GROUP, managerId, String(idleMs), '0', 'COUNT', '50'),
    {retryForMs: 5000},
  );
  // The second element holds the entries; the third the ids whose entries are gone, which XAUTOCLAIM settles itself.
  const rows: unknown = Array.isArray(reply) ? reply[1] : [];
  return streamReply([[Buffer.from(stream), rows]]);
}
