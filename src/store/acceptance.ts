/** Accepting a command: routed, recorded and put on its streams, or nothing of it (G1). */
import {ByError} from '../errors.js';
import {
  decodeRecord,
  execField,
  msgMapField,
  OWNER_FIELD,
  type ExecutionRecord,
} from '../protocol/execution.js';
import {entryField} from '../protocol/journal.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {exhaustedKey} from '../protocol/orchestration/status-keys.js';
import {encodeOutboxItem, flushOutbox, forgetOutbox, noteOutbox} from './outbox.js';
import {anyOnline, isOnline} from './presence.js';
import {exhaustedWorkers, routableMembers} from './routable.js';
import {admissionFacts, routingRecords, type AdmissionFacts} from './control-plane.js';
import {findFull, forgetEnded, queueFull, userMember} from './depth.js';
import {findByMessage} from './executions.js';
import {notTheirs} from './ownership.js';
import {countForUser, takeBackCount} from './quota-limits.js';
import {defineScript, texts} from './script.js';
import {RenewedSessions} from './renewed-sessions.js';
import type {RunOptions} from './connection.js';
import {checkServer, type Store} from './store.js';

const acceptScript = defineScript({
  file: 'accept.lua',
  before: ['cancelled.lua', 'quota-window.lua'],
  joins: true,
  keys: ['registry', 'circuit', 'quota', 'presence', 'backlog', 'userOpen'],
  args: [
    'executionId',
    'messageId',
    'record',
    'ttlS',
    'check',
    'gate',
    'fresh',
    'leasePrefix',
    'leaseSuffix',
    'typeLimit',
    'userLimit',
    'userMember',
    'member',
    'userCode',
    'parent',
    'fallback',
    'membersPrefix',
    'membersSuffix',
    'limitKey',
    'caller',
    'fence',
    'journal',
    'journalEntry',
    'exhausted',
  ],
  reply: texts,
});

/** The turn that calls: what it dispatches is accepted only while it owns its execution (G3). */
export interface CallerFence {
  readonly executionId: string;
  readonly fence: string;
  /** The call is being noted in the caller's journal, and is accepted only once it is. Not in a Cluster. */
  readonly noting?: Noting;
}

export interface Noting {
  /** Of the entry in the journal. */
  readonly index: number;
  /** Resolves with whether it is noted; never rejects. */
  readonly isNoted: Promise<boolean>;
}

export interface Acceptance {
  readonly sessionId: string;
  readonly executionId: string;
  readonly messageId: string;
  /** JSON of the execution record. */
  readonly record: string;
  readonly agentType: string;
  readonly userCode: string;
  /** Message this one belongs to, or ''. */
  readonly parentMessageId: string;
  /** Who must be online for the command to be accepted. */
  readonly check:
    {readonly kind: 'none'} | {readonly kind: 'type'} | {readonly kind: 'worker'; readonly workerId: string};
  /** Whether a circuit breaker or a quota may stop the command. */
  readonly gate: boolean;
  /** Whether it counts against the limit of its user, if there is one. */
  readonly counts: boolean;
  /** The message id was made for this call, so it can not have been accepted before. */
  readonly fresh: boolean;
  /** Where the documents go, in order. */
  readonly writes: readonly {readonly stream: string; readonly document: string}[];
  /**
   * Absent when a client sends. A call is not counted against its user's unfinished commands, which are what the user
   * sent, and is made in whoever's session its caller runs.
   */
  readonly caller?: CallerFence;
}

export type AcceptOutcome =
  | {readonly kind: 'accepted'; readonly entryIds: readonly string[]}
  | {readonly kind: 'duplicate'; readonly executionId: string; readonly record: ExecutionRecord | undefined}
  /** Nothing was written: the session is another's. */
  | {readonly kind: 'foreign'}
  /** Nothing was written: the message it belongs to was cancelled. */
  | {readonly kind: 'cancelled'}
  /** Nothing was written: the caller was cancelled. */
  | {readonly kind: 'stopped'; readonly reason: string}
  /** Nothing was written: another attempt owns the caller. */
  | {readonly kind: 'fenced'}
  /** Nothing was written: the caller's journal does not note the call, or not yet. */
  | {readonly kind: 'unnoted'}
  /** Nothing was written: too much waits already. */
  | {readonly kind: 'full'; readonly scope: 'type' | 'user'}
  /** Nothing was written: the user's limit is used up for so many milliseconds. */
  | {readonly kind: 'over'; readonly retryAfterMs: number; readonly reason: string}
  /** Nothing was written: the caller looks at the facts and decides. */
  | ({readonly kind: 'undecided'} & AdmissionFacts);

/**
 * Routes, writes record and entry, or writes nothing; safe to repeat by its message id (G1). One round trip on a single
 * server; in a Cluster the steps of outbox.ts.
 * @throws {ByError} QUEUE_FULL, NOT_DURABLE; NOT_FOUND for a session of another user, PARENT_CANCELLED; FENCED for a
 *   caller that does not own its execution any more.
 */
export async function acceptCommand(
  store: Store,
  acceptance: Acceptance,
  signal?: AbortSignal,
): Promise<
  Exclude<AcceptOutcome, {kind: 'full' | 'foreign' | 'cancelled' | 'stopped' | 'fenced' | 'unnoted'}>
> {
  if (store.durability !== undefined) await isDurable(store);
  const {agentType, userCode} = acceptance;
  for (let isNoted = false; ;) {
    const isCluster = await store.commands.isCluster();
    const outcome = await (isCluster
      ? acceptInSteps(store, acceptance, signal)
      : acceptAtOnce(store, acceptance, signal));
    if (outcome.kind === 'foreign') throw notTheirs(acceptance.sessionId, userCode);
    if (outcome.kind === 'cancelled') throw parentCancelled(acceptance);
    if (outcome.kind === 'stopped') throw callerCancelled(outcome.reason);
    if (outcome.kind === 'fenced') throw fenced();
    if (outcome.kind === 'unnoted') {
      // It came before the note, whose connection was lost: or there is none, and the note says why.
      if (isNoted || acceptance.caller?.noting === undefined) throw unnoted();
      isNoted = await acceptance.caller.noting.isNoted;
      if (!isNoted) throw unnoted();
      continue;
    }
    if (outcome.kind !== 'full') return outcome;
    if (outcome.scope === 'type' || !(await forgetEnded(store, userCode)))
      throw queueFull(store, outcome.scope, agentType, userCode);
  }
}

/** What belongs to something cancelled is cancelled with it: nobody waits for its answer. */
const parentCancelled = ({sessionId, parentMessageId}: Acceptance): ByError =>
  new ByError('PARENT_CANCELLED', `Message "${parentMessageId}", which this one belongs to, was cancelled.`, {
    hint: 'Nothing was sent. Send it without a parent if it is wanted all the same.',
    details: {sessionId, parentMessageId},
  });

/** A caller that is cancelled calls nobody. `details.reason` is the cancel's. */
export const callerCancelled = (reason: string): ByError =>
  new ByError('PARENT_CANCELLED', 'This execution was cancelled: it can not call others any more.', {
    hint: 'Stop: nobody waits for its answer.',
    details: {reason},
  });

const unnoted = (): ByError =>
  new ByError('CONFLICT', 'The journal of this execution does not note the call.', {
    hint: 'Nothing was sent. Run it again.',
  });

export const fenced = (): ByError =>
  new ByError('FENCED', 'This attempt does not own its execution any more.', {
    hint: 'Stop: what it writes is refused.',
  });

/** Stores whose server gives what they require. */
const durable = new WeakSet<Store>();

async function isDurable(store: Store): Promise<void> {
  if (durable.has(store)) return;
  await checkServer(store);
  durable.add(store);
}

async function acceptAtOnce(
  store: Store,
  acceptance: Acceptance,
  signal?: AbortSignal,
): Promise<AcceptOutcome> {
  const {keys} = store;
  const {check} = acceptance;
  const [leasePrefix = '', leaseSuffix = ''] = keys.workerLease('\0').split('\0');
  const [membersPrefix = '', membersSuffix = ''] = keys.members('\0').split('\0');
  const looksForFallback = acceptance.gate && check.kind === 'type';
  const sessions = renewedSessions(store);
  const renews = sessions.due(acceptance.sessionId);
  let repeat = !acceptance.fresh;
  const attempt = (timeout: {retryForMs: number}) =>
    acceptScript(
      store.commands,
      {
        keys: {
          registry: keys.sessionRegistry(acceptance.sessionId),
          circuit: keys.circuit(acceptance.agentType),
          // Without a user there is no quota to read; a key that is read anyway costs nothing.
          quota:
            acceptance.userCode === ''
              ? keys.circuit(acceptance.agentType)
              : keys.userQuota(acceptance.userCode),
          presence:
            check.kind === 'worker' ? keys.workerLease(check.workerId) : keys.members(acceptance.agentType),
          backlog: keys.pendingQueue(acceptance.agentType),
          userOpen: acceptance.caller
            ? keys.sessionRegistry(acceptance.sessionId)
            : keys.userOpen(acceptance.userCode || '_'),
        },
        args: {
          executionId: acceptance.executionId,
          messageId: acceptance.messageId,
          record: acceptance.record,
          ttlS: renews ? SESSION_TTL_S : 0,
          check: check.kind,
          gate: acceptance.gate ? '1' : '0',
          fresh: repeat ? '0' : '1',
          leasePrefix,
          leaseSuffix,
          typeLimit: hasRoom(store, acceptance.agentType) ? 0 : store.limits.perAgentType,
          userLimit: acceptance.userCode === '' || acceptance.caller ? 0 : store.limits.perUser,
          userMember: userMember(acceptance),
          member:
            check.kind === 'type'
              ? seenOnline(store, acceptance.agentType)
              : check.kind === 'worker'
                ? check.workerId
                : '',
          userCode: acceptance.userCode,
          parent: acceptance.parentMessageId,
          fallback: looksForFallback ? keys.fallback(acceptance.agentType) : '',
          membersPrefix: looksForFallback ? membersPrefix : '',
          membersSuffix: looksForFallback ? membersSuffix : '',
          limitKey:
            acceptance.counts && acceptance.userCode !== '' ? keys.quotaLimit(acceptance.userCode) : '',
          caller: acceptance.caller?.executionId ?? '',
          fence: acceptance.caller?.fence ?? '',
          ...notedIn(store, acceptance),
          exhausted: looksForExhausted(acceptance) ? exhaustedKey(keys.prefix, acceptance.agentType) : '',
        },
        moreKeys: acceptance.writes.map(write => write.stream),
        moreArgs: acceptance.writes.map(write => write.document),
      },
      {
        ...timeout,
        ...(signal ? {signal} : {}),
        ...(store.durability === 'D2' ? {awaitReplica: true} : {}),
      },
    );
  let reply: string[];
  try {
    reply = await attempt({retryForMs: 0});
  } catch (error) {
    sessions.forget(acceptance.sessionId);
    if (!isRetryable(error) || signal?.aborted) throw error;
    // The reply may be what was lost: from here on the message may be known to the server.
    repeat = true;
    reply = await attempt({retryForMs: 5000});
  }
  if (renews && reply[0] !== 'accepted') sessions.forget(acceptance.sessionId);
  rememberRoom(store, acceptance.agentType, reply);
  if (check.kind === 'type') rememberOnline(store, acceptance.agentType, reply);
  return readReply(reply, acceptance);
}

/** A command that nobody has to be online for is told of it too, but only once: it goes out all the same. */
const looksForExhausted = ({check, gate}: Acceptance): boolean => check.kind !== 'none' || gate;

const notedIn = ({keys}: Store, {sessionId, caller}: Acceptance) =>
  caller?.noting === undefined
    ? {journal: '', journalEntry: ''}
    : {journal: keys.journal(sessionId, caller.executionId), journalEntry: entryField(caller.noting.index)};

/**
 * A lifetime of days need not be renewed by each of many sends to a session; one lost to a flush of the database is
 * set again within this time.
 */
const RENEW_EVERY_MS = 60_000;
const renewed = new WeakMap<Store, RenewedSessions>();

function renewedSessions(store: Store): RenewedSessions {
  const known = renewed.get(store) ?? new RenewedSessions(() => performance.now(), RENEW_EVERY_MS);
  renewed.set(store, known);
  return known;
}

/**
 * How long a member counts as one without asking, in milliseconds: as long as a worker may take to hear that it was
 * suspended. Its lease is looked at every time.
 */
const MEMBER_FOR_MS = 5000;
const seen = new WeakMap<Store, Map<string, {readonly workerId: string; readonly until: number}>>();

function seenOnline(store: Store, agentType: string): string {
  const member = seen.get(store)?.get(agentType);
  return member !== undefined && performance.now() < member.until ? member.workerId : '';
}

function rememberOnline(store: Store, agentType: string, [verdict, workerId = '']: readonly string[]): void {
  const members = seen.get(store) ?? new Map<string, {workerId: string; until: number}>();
  seen.set(store, members);
  if (verdict !== 'accepted') members.delete(agentType);
  else if (seenOnline(store, agentType) !== workerId)
    members.set(agentType, {workerId, until: performance.now() + MEMBER_FOR_MS});
}

/**
 * A queue that is not half full is not looked at again for this long, in milliseconds: no server takes as many commands
 * in that time as there is room. Small limits are looked at every time.
 */
const ROOM_FOR_MS = 100;
const SMALL_LIMIT = 100_000;
const room = new WeakMap<Store, Map<string, number>>();

const hasRoom = (store: Store, agentType: string): boolean =>
  performance.now() < (room.get(store)?.get(agentType) ?? 0);

function rememberRoom(store: Store, agentType: string, [verdict, , depth = '']: readonly string[]): void {
  const limit = store.limits.perAgentType;
  if (verdict !== 'accepted' || depth === '' || limit < SMALL_LIMIT || Number(depth) >= limit / 2) return;
  const until = room.get(store) ?? new Map<string, number>();
  room.set(store, until.set(agentType, performance.now() + ROOM_FOR_MS));
}

function readReply([verdict = '', ...rest]: readonly string[], {userCode}: Acceptance): AcceptOutcome {
  if (verdict === 'accepted') return {kind: 'accepted', entryIds: rest.slice(2)};
  if (verdict === 'duplicate')
    return {kind: 'duplicate', executionId: rest[0] ?? '', record: decodeRecord(rest[1] ?? '')};
  if (verdict === 'foreign' || verdict === 'cancelled' || verdict === 'fenced' || verdict === 'unnoted')
    return {kind: verdict};
  if (verdict === 'stopped') return {kind: 'stopped', reason: rest[0] ?? ''};
  if (verdict === 'over') return {kind: 'over', retryAfterMs: Number(rest[0]), reason: rest[1] ?? ''};
  if (verdict === 'full') return {kind: 'full', scope: rest[0] === 'user' ? 'user' : 'type'};
  return {kind: 'undecided', ...readFacts(rest, userCode)};
}

function readFacts(facts: readonly string[], userCode: string): AdmissionFacts {
  const [circuit, quota, presence, fallback, standIn = '', standInPresence, circuitMs, quotaMs, limited] =
    facts;
  const [workers = '0', offline = '0', recoverMs = ''] = facts.slice(9);
  return {
    circuit: circuit || null,
    quota: (userCode !== '' && quota) || null,
    fallback: fallback || null,
    online: presence === 'online',
    standIn,
    standInOnline: standInPresence === 'online',
    circuitMs: circuitMs ? Number(circuitMs) : null,
    quotaMs: quotaMs ? Number(quotaMs) : null,
    isLimited: userCode !== '' && limited === 'limited',
    exhausted:
      workers === '0'
        ? null
        : {workers: Number(workers), offline: Number(offline), recoverMs: Number(recoverMs)},
  };
}

async function acceptInSteps(
  store: Store,
  acceptance: Acceptance,
  signal: AbortSignal | undefined,
): Promise<AcceptOutcome> {
  const {sessionId, writes} = acceptance;
  const retry = {retryForMs: 5000, ...(signal ? {signal} : {})};
  // Before anything of the session is told or written; the script looks again.
  const isUsers = acceptance.userCode !== '' && acceptance.caller === undefined;
  if (isUsers && (await isForeign(store, acceptance))) return {kind: 'foreign'};
  if (!acceptance.fresh) {
    const known = await findAccepted(store, acceptance);
    if (known !== undefined) {
      await flushOutbox(store, sessionId);
      return known;
    }
  }
  const looked = await routingFacts(store, acceptance);
  if (looked.kind === 'undecided') return looked;

  const streams = writes.map(({stream}) => stream);
  const userCode = isUsers ? acceptance.userCode : '';
  const scope = writes.length === 0 ? undefined : await findFull(store, {...acceptance, userCode, streams});
  if (scope !== undefined) return {kind: 'full', scope};

  const counted =
    looked.isLimited && writes.length > 0 ? await countForUser(store, acceptance.userCode) : undefined;
  if (counted?.kind === 'over') return counted;
  const accepted = await acceptCounted(store, acceptance, retry);
  if (counted !== undefined && accepted.kind !== 'accepted')
    await takeBackCount(store, acceptance.userCode, counted);
  return accepted;
}

async function acceptCounted(
  store: Store,
  acceptance: Acceptance,
  retry: RunOptions,
): Promise<AcceptOutcome> {
  const {sessionId, writes} = acceptance;
  const registry = store.keys.sessionRegistry(sessionId);
  const note = writes.length === 0 ? undefined : await noteOutbox(store, sessionId);
  const outbox = store.keys.sessionOutbox(sessionId);
  const reply = await acceptScript(
    store.commands,
    {
      // Circuit, quota and presence are decided: the script touches nothing outside the session's slot.
      keys: {
        ...{registry, circuit: registry, quota: registry, presence: registry},
        ...{backlog: registry, userOpen: registry},
      },
      args: {
        executionId: acceptance.executionId,
        messageId: acceptance.messageId,
        record: acceptance.record,
        ttlS: SESSION_TTL_S,
        check: 'none',
        gate: '0',
        // Never skipped here: when the reply is lost, only this tells that the first try was made.
        fresh: '0',
        leasePrefix: '',
        leaseSuffix: '',
        typeLimit: 0,
        userLimit: 0,
        userMember: '',
        member: '',
        userCode: acceptance.userCode,
        parent: acceptance.parentMessageId,
        ...{fallback: '', membersPrefix: '', membersSuffix: '', limitKey: ''},
        caller: acceptance.caller?.executionId ?? '',
        fence: acceptance.caller?.fence ?? '',
        ...{journal: '', journalEntry: '', exhausted: ''},
      },
      moreKeys: writes.map(() => outbox),
      moreArgs: writes.map(encodeOutboxItem),
    },
    retry,
  );
  const outcome = readReply(reply, acceptance);
  const delivered = await deliver(store, acceptance, outcome);
  if (note !== undefined) await forgetOutbox(store, note).catch(() => undefined);
  if (outcome.kind === 'accepted')
    return {kind: 'accepted', entryIds: outcome.entryIds.flatMap(id => delivered.get(id) ?? [])};
  // The reply of a try that was made had been lost.
  const isOurs = outcome.kind === 'duplicate' && outcome.executionId === acceptance.executionId;
  return isOurs ? {kind: 'accepted', entryIds: [...delivered.values()]} : outcome;
}

/** Empty the outbox; if a stream will never take its document, nothing of the command stays behind. */
async function deliver(
  store: Store,
  {sessionId, executionId, messageId}: Acceptance,
  outcome: AcceptOutcome,
): Promise<Map<string, string>> {
  try {
    return await flushOutbox(store, sessionId);
  } catch (error) {
    if (!(error instanceof ByError) || error.code !== 'REDIS_WRONG_TYPE' || outcome.kind !== 'accepted')
      throw error;
    const {keys} = store;
    await store.commands.run(redis =>
      Promise.all([
        redis.hdel(keys.sessionRegistry(sessionId), execField(executionId), msgMapField(messageId)),
        redis.xdel(keys.sessionOutbox(sessionId), ...outcome.entryIds),
      ]),
    );
    throw error;
  }
}

/** What PTTL says of a key that does not exist. */
const NO_KEY = -2;

async function isForeign(store: Store, {sessionId, userCode}: Acceptance): Promise<boolean> {
  const registry = store.keys.sessionRegistry(sessionId);
  const [owner, ttlMs] = await store.commands.run(
    redis => Promise.all([redis.hget(registry, OWNER_FIELD), redis.pttl(registry)]),
    {retryForMs: 5000},
  );
  return owner === null ? ttlMs !== NO_KEY : owner !== userCode;
}

/** The execution an earlier send of the same message was given; a refused one does not count. */
async function findAccepted(
  store: Store,
  {sessionId, messageId}: Acceptance,
): Promise<AcceptOutcome | undefined> {
  const record = await findByMessage(store, sessionId, messageId);
  if (record === undefined || record.routeStatus === 'REJECT') return undefined;
  return {kind: 'duplicate', executionId: record.executionId, record};
}

/** @returns what stands in the way of accepting, or whether the command must be counted. */
async function routingFacts(
  store: Store,
  {agentType, userCode, check, gate, counts}: Acceptance,
): Promise<({readonly kind: 'undecided'} & AdmissionFacts) | {kind: 'clear'; isLimited: boolean}> {
  const nothing = Promise.resolve({circuit: null, quota: null, isLimited: counts && userCode !== ''});
  const [{circuit, quota, isLimited}, {online, exhausted}] = await Promise.all([
    gate ? routingRecords(store, agentType, userCode) : nothing,
    whoCan(store, agentType, check, gate),
  ]);
  if (circuit === null && quota === null && online) return {kind: 'clear', isLimited: counts && isLimited};
  const facts = await admissionFacts(store, agentType, userCode);
  // As it was seen above: what has come online since is for the next try.
  return {
    ...{kind: 'undecided', ...facts},
    ...(gate ? {circuit, quota} : {circuit: null, quota: null}),
    ...{online, exhausted},
  };
}

/** As accept.lua looks at it. */
async function whoCan(
  store: Store,
  agentType: string,
  check: Acceptance['check'],
  gate: boolean,
): Promise<Pick<AdmissionFacts, 'online' | 'exhausted'>> {
  if (check.kind === 'none' && !gate) return {online: true, exhausted: null};
  if (check.kind === 'worker') return workerCan(store, agentType, check.workerId);
  const [marked, anyone] = await Promise.all([
    exhaustedWorkers(store, agentType),
    check.kind === 'none' ? true : anyOnline(store, agentType),
  ]);
  if (marked.size === 0) return {online: anyone, exhausted: null};
  const {online, exhausted} = await routableMembers(store, agentType);
  return check.kind === 'none' && exhausted === null ? {online: true, exhausted} : {online, exhausted};
}

async function workerCan(
  store: Store,
  agentType: string,
  workerId: string,
): Promise<Pick<AdmissionFacts, 'online' | 'exhausted'>> {
  const [marked, online] = await Promise.all([exhaustedWorkers(store, agentType), isOnline(store, workerId)]);
  const recoverMs = marked.get(workerId);
  if (!online || recoverMs === undefined) return {online, exhausted: null};
  return {online: false, exhausted: {workers: 1, offline: 0, recoverMs}};
}

function isRetryable(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'retryable' in error && error.retryable === true;
}
