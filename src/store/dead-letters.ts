/** Dead letters: commands that will not be tried again by themselves, kept whole until somebody replays them. */
import {readDeadLetter, type ReadDeadLetter} from '../protocol/deadletter.js';
import {isValidId} from '../ids.js';
import {execField, msgMapField} from '../protocol/execution.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {isObject} from '../protocol/limits.js';
import {settleMany, type ControlEntry} from './control-streams.js';
import {deadLettersFull} from './depth.js';
import {appendOnce} from './outbox.js';
import {defineScript, texts} from './script.js';
import {getAll, type Store} from './store.js';

/** How long an entry's replay is remembered, in seconds: cli.md §8.6. */
const REPLAY_MARKER_TTL_S = 604_800;
/** Entries the audit stream keeps, roughly. */
const AUDIT_CAP = 10_000;

export interface StoredDeadLetter {
  readonly id: string;
  /** Undefined if the entry can not be read at all. */
  readonly letter: ReadDeadLetter | undefined;
}

const deadLetterScript = defineScript({
  file: 'dead-letter.lua',
  keys: ['deadletter', 'source'],
  args: ['record', 'group', 'entry', 'limit'],
  reply: raw => (typeof raw === 'string' ? raw : ''),
});

/**
 * Acknowledge an entry and keep it, in one step.
 * @returns the dead letter's id, or '' if somebody else settled the entry first.
 * @throws {ByError} DEAD_LETTERS_FULL; then nothing was changed.
 */
export async function moveToDeadLetters(
  store: Store,
  group: string,
  entry: ControlEntry,
  record: string,
): Promise<string> {
  if (await store.commands.isCluster()) return moveInSteps(store, group, entry, record);
  const id = await deadLetterScript(
    store.commands,
    {
      keys: {deadletter: store.keys.deadletter(), source: entry.stream},
      args: {record, group, entry: entry.id, limit: store.limits.deadLetters},
    },
    {retryForMs: 30_000},
  );
  if (id === 'full') throw deadLettersFull(store);
  return id;
}

async function moveInSteps(
  store: Store,
  group: string,
  {stream, id}: ControlEntry,
  record: string,
): Promise<string> {
  const pending = await store.commands.run(redis => redis.xpending(stream, group, id, id, 1), {
    retryForMs: 30_000,
  });
  if (pending.length === 0) return '';
  const letter = await appendOnce(
    store,
    {stream: store.keys.deadletter(), document: record},
    `${stream}/${id}`,
  );
  if (letter.isFull) throw deadLettersFull(store);
  await settleMany(store, group, stream, [id], true);
  return letter.entryId;
}

/** How many dead letters there are, replayed ones that were kept included. */
export const countDeadLetters = (store: Store): Promise<number> =>
  store.commands.run(redis => redis.xlen(store.keys.deadletter()), {retryForMs: 5000});

/** Newest first. @param count most entries to return. */
export async function listDeadLetters(
  store: Store,
  count: number,
  before = '+',
): Promise<StoredDeadLetter[]> {
  const end = before === '+' ? '+' : `(${before}`;
  const rows = await store.commands.run(
    redis => redis.xrevrange(store.keys.deadletter(), end, '-', 'COUNT', count),
    {
      retryForMs: 5000,
    },
  );
  return rows.map(([id, fields]) => ({id, letter: readLetter(fields)}));
}

/** @returns the entry, or undefined if it is not there. */
export async function findDeadLetter(store: Store, id: string): Promise<StoredDeadLetter | undefined> {
  const rows = await store.commands.run(redis => redis.xrange(store.keys.deadletter(), id, id), {
    retryForMs: 5000,
  });
  const row = rows[0];
  return row && {id: row[0], letter: readLetter(row[1])};
}

function readLetter(fields: readonly string[]): ReadDeadLetter | undefined {
  const at = fields.indexOf('data');
  try {
    return readDeadLetter(fields[at + 1] ?? '');
  } catch {
    // Foreign or damaged: it is listed as unreadable, and never in the way of the others.
    return undefined;
  }
}

const replayScript = defineScript({
  file: 'replay.lua',
  keys: ['deadletter', 'marker', 'target', 'registry', 'audit'],
  args: [
    'entry',
    'command',
    'executionId',
    'messageId',
    'record',
    'registryTtlS',
    'marker',
    'markerTtlS',
    'audit',
    'keep',
    'auditCap',
  ],
  reply: texts,
});

export type ReplayOutcome =
  /** Under the ids of the replay that was begun first, if that one was cut off. */
  | {
      readonly kind: 'replayed';
      readonly streamId: string;
      readonly executionId: string;
      readonly messageId: string;
    }
  /** It was replayed before; `marker` says by whom. */
  | {readonly kind: 'already'; readonly marker: string}
  | {readonly kind: 'missing'};

export interface Replay {
  readonly entryId: string;
  readonly targetAgentType: string;
  /** JSON of the command. */
  readonly command: string;
  readonly sessionId: string;
  readonly executionId: string;
  readonly messageId: string;
  /** JSON of the new execution's record. */
  readonly record: string;
  /** JSON that says by whom it was replayed. */
  readonly marker: string;
  readonly audit: string;
  /** The dead letter stays; its marker still forbids a second replay. */
  readonly keep: boolean;
}

/** Put a dead letter's command back to work, exactly once. */
export async function replayDeadLetter(store: Store, replay: Replay): Promise<ReplayOutcome> {
  if (await store.commands.isCluster()) return replayInSteps(store, replay);
  const {keys} = store;
  const [verdict, detail = ''] = await replayScript(
    store.commands,
    {
      keys: {
        deadletter: keys.deadletter(),
        marker: keys.deadletterReplay(replay.entryId),
        target: keys.ctrlStream(replay.targetAgentType),
        registry: keys.sessionRegistry(replay.sessionId),
        audit: keys.deadletterAudit(),
      },
      args: {
        entry: replay.entryId,
        command: replay.command,
        executionId: replay.executionId,
        messageId: replay.messageId,
        record: replay.record,
        registryTtlS: SESSION_TTL_S,
        marker: replay.marker,
        markerTtlS: REPLAY_MARKER_TTL_S,
        audit: replay.audit,
        keep: replay.keep ? '1' : '0',
        auditCap: AUDIT_CAP,
      },
    },
    {retryForMs: 5000},
  );
  if (verdict === 'replayed') {
    const {executionId, messageId} = replay;
    return {kind: 'replayed', streamId: detail, executionId, messageId};
  }
  if (verdict === 'already') return {kind: 'already', marker: detail};
  return {kind: 'missing'};
}

/**
 * In a Cluster: the marker holds the whole plan until it is carried out, so that whoever comes after a crash carries
 * on with that plan and not with one of its own.
 */
async function replayInSteps(store: Store, wanted: Replay): Promise<ReplayOutcome> {
  const {keys} = store;
  const retry = {retryForMs: 5000};
  const marker = keys.deadletterReplay(wanted.entryId);
  const read = () => store.commands.run(redis => redis.get(marker), retry);
  const deadletter = keys.deadletter();
  let found = await read();
  if (found === null) {
    const {entryId} = wanted;
    const rows = await store.commands.run(redis => redis.xrange(deadletter, entryId, entryId), retry);
    if (rows.length === 0) return {kind: 'missing'};
    const claim = JSON.stringify({claimed: wanted});
    await store.commands.run(redis => redis.set(marker, claim, 'EX', REPLAY_MARKER_TTL_S, 'NX'), retry);
    found = await read();
  }
  const plan = claimedPlan(found, wanted.entryId);
  if (plan === undefined) return {kind: 'already', marker: found ?? ''};

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
    retry,
  );
  const target = {stream: keys.ctrlStream(plan.targetAgentType), document: plan.command};
  const {entryId: streamId} = await appendOnce(store, target, `replay:${plan.entryId}`);
  await appendOnce(store, {stream: keys.deadletterAudit(), document: plan.audit}, `replay:${plan.entryId}`);
  await store.commands.run(redis => redis.xtrim(keys.deadletterAudit(), 'MAXLEN', '~', AUDIT_CAP), retry);
  if (!plan.keep) await store.commands.run(redis => redis.xdel(deadletter, plan.entryId), retry);
  await store.commands.run(redis => redis.set(marker, plan.marker, 'EX', REPLAY_MARKER_TTL_S), retry);
  return {kind: 'replayed', streamId, executionId: plan.executionId, messageId: plan.messageId};
}

/** The plan in a marker whose replay was begun and not finished. */
function claimedPlan(marker: string | null, entryId: string): Replay | undefined {
  let doc: unknown;
  try {
    doc = JSON.parse(marker ?? '');
  } catch {
    return undefined;
  }
  const plan = isObject(doc) ? doc['claimed'] : undefined;
  if (!isObject(plan) || plan['entryId'] !== entryId) return undefined;
  const ids = ['sessionId', 'executionId', 'messageId', 'targetAgentType'].map(name => plan[name]);
  const texts = ['command', 'record', 'marker', 'audit'].map(name => plan[name]);
  const isWhole =
    ids.every(id => typeof id === 'string' && isValidId(id)) && texts.every(text => typeof text === 'string');
  return isWhole ? (plan as unknown as Replay) : undefined;
}

/** Which of these entries were replayed: entry id to its marker. */
export async function replayMarkers(store: Store, ids: readonly string[]): Promise<Map<string, string>> {
  const values = await getAll(
    store,
    ids.map(id => store.keys.deadletterReplay(id)),
  );
  return new Map(ids.flatMap((id, i) => (typeof values[i] === 'string' ? [[id, values[i]]] : [])));
}
