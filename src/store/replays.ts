/** Putting dead letters back to work, exactly once each, and what is remembered of it. cli.md §2.5, §8.2, §8.6. */
import {isValidId} from '../ids.js';
import {execField, msgMapField} from '../protocol/execution.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {isObject, parseEnvelope} from '../protocol/limits.js';
import {textOf} from '../protocol/fields.js';
import {appendOnce, LONG_ONCE_TTL_S} from './outbox.js';
import {defineScript, texts} from './script.js';
import {getAll, type Store} from './store.js';

/** How long an entry's replay is remembered, in seconds: cli.md §8.6. */
const MARKER_TTL_S = 604_800;
/** Entries the audit stream keeps, roughly. */
const AUDIT_CAP = 10_000;
const AUDIT_PAGE = 500;
const RETRY = {retryForMs: 5000};

/** Where a document of a replay goes: never a stream's name, for the plan may have been read from the store. */
export const REPLAY_TARGETS = ['agent-type', 'pending', 'wakeup'] as const;
export type ReplayTarget = (typeof REPLAY_TARGETS)[number];

export interface ReplayWrite {
  readonly to: ReplayTarget;
  /** JSON. */
  readonly document: string;
}

export interface Replay {
  readonly entryId: string;
  readonly targetAgentType: string;
  readonly sessionId: string;
  readonly executionId: string;
  readonly messageId: string;
  /** JSON of the new execution's record. */
  readonly record: string;
  /** At least one; the first is the command's. */
  readonly writes: readonly ReplayWrite[];
  /** JSON of an {@link AuditEntry}. */
  readonly audit: string;
  /** The dead letter stays; its marker still forbids a second replay. */
  readonly keep: boolean;
}

export type ReplayOutcome =
  | {
      readonly kind: 'replayed';
      readonly streamId: string;
      readonly executionId: string;
      readonly messageId: string;
    }
  /** It was replayed before, or is gone: `marker` says by whom, if that is still known. */
  | {readonly kind: 'already'; readonly marker: string}
  /** Somebody else began to, and has not finished. */
  | {readonly kind: 'claimed'}
  | {readonly kind: 'missing'}
  /** As much waits for the target as may. */
  | {readonly kind: 'full'};

const replayScript = defineScript({
  file: 'replay.lua',
  keys: ['deadletter', 'marker', 'registry', 'audit'],
  args: [
    ...['entry', 'executionId', 'messageId', 'record', 'registryTtlS'],
    ...['auditEntry', 'markerTtlS', 'keep', 'auditCap', 'limit'],
  ],
  reply: texts,
});

export interface ReplayManner {
  /** Carry on with what somebody else began: with that plan, not with this one. */
  readonly resume?: boolean;
}

/** Put a dead letter's command back to work, exactly once. Safe to repeat. */
export async function replayDeadLetter(
  store: Store,
  replay: Replay,
  {resume = false}: ReplayManner = {},
): Promise<ReplayOutcome> {
  if (await store.commands.isCluster()) return replayInSteps(store, replay, resume);
  const {keys} = store;
  const [verdict, detail = ''] = await replayScript(
    store.commands,
    {
      keys: {
        deadletter: keys.deadletter(),
        marker: keys.deadletterReplay(replay.entryId),
        registry: keys.sessionRegistry(replay.sessionId),
        audit: keys.deadletterAudit(),
      },
      args: {
        entry: replay.entryId,
        executionId: replay.executionId,
        messageId: replay.messageId,
        record: replay.record,
        registryTtlS: SESSION_TTL_S,
        auditEntry: replay.audit,
        markerTtlS: MARKER_TTL_S,
        keep: replay.keep ? '1' : '0',
        auditCap: AUDIT_CAP,
        limit: store.limits.perAgentType,
      },
      moreKeys: replay.writes.map(({to}) => streamOf(store, replay, to)),
      moreArgs: replay.writes.map(({document}) => document),
    },
    RETRY,
  );
  const {executionId, messageId} = replay;
  switch (verdict) {
    case 'replayed':
      return {kind: 'replayed', streamId: detail, executionId, messageId};
    case 'already': {
      const known = readMarker(detail, replay.entryId);
      // The reply of a try that was made had been lost.
      if (known?.kind === 'replayed' && known.audit.executionId === executionId)
        return {kind: 'replayed', streamId: '', executionId, messageId};
      return {kind: 'already', marker: detail};
    }
    case 'full':
      return {kind: 'full'};
    default:
      return {kind: 'missing'};
  }
}

function streamOf({keys}: Store, {targetAgentType}: Replay, to: ReplayTarget): string {
  switch (to) {
    case 'agent-type':
      return keys.ctrlStream(targetAgentType);
    case 'pending':
      return keys.deliveryPending();
    case 'wakeup':
      return keys.wakeup();
  }
}

/**
 * In a Cluster: the marker holds the whole plan until it is carried out, so that whoever comes after a crash carries
 * on with that plan and not with one of its own.
 */
async function replayInSteps(store: Store, wanted: Replay, resume: boolean): Promise<ReplayOutcome> {
  const {keys} = store;
  const marker = keys.deadletterReplay(wanted.entryId);
  const read = () => store.commands.run(redis => redis.get(marker), RETRY);
  const deadletter = keys.deadletter();
  let found = await read();
  if (found === null) {
    const {entryId} = wanted;
    const rows = await store.commands.run(redis => redis.xrange(deadletter, entryId, entryId), RETRY);
    if (rows.length === 0) return {kind: 'missing'};
    if (await isFull(store, wanted)) return {kind: 'full'};
    const claim = JSON.stringify({claimed: wanted});
    await store.commands.run(redis => redis.set(marker, claim, 'EX', MARKER_TTL_S, 'NX'), RETRY);
    found = await read();
  }
  const known = readMarker(found ?? '', wanted.entryId);
  if (known?.kind !== 'claimed') return {kind: 'already', marker: found ?? ''};
  const {plan} = known;
  if (plan.executionId !== wanted.executionId && !resume) return {kind: 'claimed'};

  const registry = keys.sessionRegistry(plan.sessionId);
  await store.commands.run(
    redis =>
      Promise.all([
        redis.hset(
          registry,
          ...[execField(plan.executionId), plan.record, msgMapField(plan.messageId), plan.executionId],
        ),
        redis.expire(registry, SESSION_TTL_S),
      ]),
    RETRY,
  );
  // Remembered for as long as the claim: it may be carried on with days later.
  const append = (stream: string, document: string) =>
    appendOnce(store, {stream, document}, `replay:${plan.entryId}`, LONG_ONCE_TTL_S);
  const ids: string[] = [];
  for (const {to, document} of plan.writes)
    ids.push((await append(streamOf(store, plan, to), document)).entryId);
  await append(keys.deadletterAudit(), plan.audit);
  await store.commands.run(redis => redis.xtrim(keys.deadletterAudit(), 'MAXLEN', '~', AUDIT_CAP), RETRY);
  if (!plan.keep) await store.commands.run(redis => redis.xdel(deadletter, plan.entryId), RETRY);
  await store.commands.run(redis => redis.set(marker, plan.audit, 'EX', MARKER_TTL_S), RETRY);
  return {
    kind: 'replayed',
    streamId: ids[0] ?? '',
    executionId: plan.executionId,
    messageId: plan.messageId,
  };
}

async function isFull(store: Store, replay: Replay): Promise<boolean> {
  const limit = store.limits.perAgentType;
  if (limit === 0) return false;
  const depths = await store.commands.run(
    redis => Promise.all(replay.writes.map(({to}) => redis.xlen(streamOf(store, replay, to)))),
    RETRY,
  );
  return depths.some(depth => depth >= limit);
}

/** Who replayed or dropped which dead letter, why, and what came of it. */
export interface AuditEntry {
  readonly action: string;
  /** Id of the dead letter. */
  readonly entry: string;
  readonly replayId: string;
  readonly actor: string;
  readonly reason: string;
  /** Unix milliseconds. */
  readonly at: number;
  /** The execution that became a dead letter, and the one its replay made; '' where there is none. */
  readonly replayOf: string;
  readonly executionId: string;
  readonly sessionId: string;
  readonly messageId: string;
  readonly target: string;
  readonly policy: string;
  /** Places of the command that were changed before; their values are not repeated here. */
  readonly changed: readonly string[];
  /** SHA-256 of the command before and after, in hex. */
  readonly before: string;
  readonly after: string;
}

export function encodeAudit(entry: AuditEntry): string {
  const {replayId, replayOf, executionId, sessionId, messageId, ...rest} = entry;
  return JSON.stringify({
    ...rest,
    replay_id: replayId,
    replay_of: replayOf,
    execution_id: executionId,
    session_id: sessionId,
    message_id: messageId,
  });
}

function decodeAudit(doc: Readonly<Record<string, unknown>>): AuditEntry {
  const changed = Array.isArray(doc['changed']) ? (doc['changed'] as unknown[]).map(textOf) : [];
  return {
    action: textOf(doc['action']) || 'replay',
    entry: textOf(doc['entry']),
    replayId: textOf(doc['replay_id']),
    actor: textOf(doc['actor']),
    reason: textOf(doc['reason']),
    at: Number(doc['at']) || 0,
    replayOf: textOf(doc['replay_of']),
    executionId: textOf(doc['execution_id']),
    sessionId: textOf(doc['session_id']),
    messageId: textOf(doc['message_id']),
    target: textOf(doc['target']),
    policy: textOf(doc['policy']),
    changed,
    before: textOf(doc['before']),
    after: textOf(doc['after']),
  };
}

/** What a marker says of its entry. */
export type ReplayState =
  | {readonly kind: 'replayed'; readonly audit: AuditEntry}
  /** Begun and not finished: only in a Cluster, where a replay takes several steps. */
  | {readonly kind: 'claimed'; readonly plan: Replay; readonly audit: AuditEntry};

/** @returns undefined for what is no marker of ours; whatever it is, the entry counts as replayed. */
export function readMarker(marker: string, entryId: string): ReplayState | undefined {
  let doc: Readonly<Record<string, unknown>>;
  try {
    doc = JSON.parse(marker) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
  if (!isObject(doc)) return undefined;
  if (!isObject(doc['claimed'])) return {kind: 'replayed', audit: decodeAudit(doc)};
  const plan = claimedPlan(doc['claimed'], entryId);
  return plan && {kind: 'claimed', plan, audit: readAudit(plan.audit) ?? decodeAudit({})};
}

/** The plan in a marker, if it is one we would carry out. */
function claimedPlan(plan: Readonly<Record<string, unknown>>, entryId: string): Replay | undefined {
  if (plan['entryId'] !== entryId) return undefined;
  const ids = ['sessionId', 'executionId', 'messageId', 'targetAgentType'].map(name => plan[name]);
  const writes = Array.isArray(plan['writes']) ? (plan['writes'] as unknown[]) : [];
  const isWhole =
    ids.every(id => typeof id === 'string' && isValidId(id)) &&
    ['record', 'audit'].every(name => typeof plan[name] === 'string') &&
    writes.length > 0 &&
    writes.every(
      write =>
        isObject(write) &&
        typeof write['document'] === 'string' &&
        REPLAY_TARGETS.some(to => to === write['to']),
    );
  return isWhole ? (plan as unknown as Replay) : undefined;
}

/** Which of these entries were replayed, or begun to be: entry id to its marker. */
export async function replayMarkers(store: Store, ids: readonly string[]): Promise<Map<string, string>> {
  const values = await getAll(
    store,
    ids.map(id => store.keys.deadletterReplay(id)),
  );
  return new Map(ids.flatMap((id, i) => (typeof values[i] === 'string' ? [[id, values[i]]] : [])));
}

/** The audit, newest first. @param entryId only what was done with this dead letter. */
export async function auditOf(store: Store, entryId?: string, most = Infinity): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  let before = '+';
  for (;;) {
    const rows = await store.commands.run(
      redis => redis.xrevrange(store.keys.deadletterAudit(), before, '-', 'COUNT', AUDIT_PAGE),
      RETRY,
    );
    for (const [, fields] of rows) {
      const entry = readAudit(fields[fields.indexOf('data') + 1] ?? '');
      if (entry !== undefined && (entryId === undefined || entry.entry === entryId)) found.push(entry);
      if (found.length >= most) return found;
    }
    const last = rows.at(-1);
    if (rows.length < AUDIT_PAGE || last === undefined) return found;
    before = `(${last[0]}`;
  }
}

function readAudit(data: string): AuditEntry | undefined {
  try {
    return decodeAudit(parseEnvelope(data));
  } catch {
    // Not ours; the audit is no place to fail for it.
    return undefined;
  }
}

const dropScript = defineScript({
  file: 'drop-letter.lua',
  keys: ['deadletter', 'audit'],
  args: ['entry', 'auditEntry', 'auditCap'],
  reply: raw => raw === 1,
});

/** Delete a dead letter for good, and say so in the audit. @returns whether it was there. */
export async function dropDeadLetter(store: Store, entryId: string, audit: string): Promise<boolean> {
  const {keys} = store;
  if (!(await store.commands.isCluster())) {
    return dropScript(
      store.commands,
      {
        keys: {deadletter: keys.deadletter(), audit: keys.deadletterAudit()},
        args: {entry: entryId, auditEntry: audit, auditCap: AUDIT_CAP},
      },
      RETRY,
    );
  }
  const rows = await store.commands.run(redis => redis.xrange(keys.deadletter(), entryId, entryId), RETRY);
  if (rows.length === 0) return false;
  // Said first: what is gone without a word can not be asked about.
  await appendOnce(store, {stream: keys.deadletterAudit(), document: audit}, `drop:${entryId}`);
  await store.commands.run(redis => redis.xtrim(keys.deadletterAudit(), 'MAXLEN', '~', AUDIT_CAP), RETRY);
  return (await store.commands.run(redis => redis.xdel(keys.deadletter(), entryId), RETRY)) === 1;
}
