/** Dead letters: commands that will not be tried again by themselves, kept whole until somebody replays them. */
import {readDeadLetter, type ReadDeadLetter} from '../protocol/deadletter.js';
import {SESSION_TTL_S} from './executions.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

/** How long an entry's replay is remembered, in seconds: cli.md §8.6. */
const REPLAY_MARKER_TTL_S = 604_800;
/** Entries the audit stream keeps, roughly. */
const AUDIT_CAP = 10_000;

export interface StoredDeadLetter {
  readonly id: string;
  /** Undefined if the entry can not be read at all. */
  readonly letter: ReadDeadLetter | undefined;
}

/** Write a dead letter that has no source entry to settle. @returns its id. */
export async function addDeadLetter(store: Store, document: string): Promise<string> {
  const id = await store.commands.run(redis => redis.xadd(store.keys.deadletter(), '*', 'data', document), {
    retryForMs: 5000,
  });
  return id ?? '';
}

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
  | {readonly kind: 'replayed'; readonly streamId: string}
  /** It was replayed before; `marker` says by whom. */
  | {readonly kind: 'already'; readonly marker: string}
  | {readonly kind: 'missing'};

/** Put a dead letter's command back to work, exactly once. */
export async function replayDeadLetter(
  store: Store,
  replay: {
    readonly entryId: string;
    readonly targetAgentType: string;
    readonly command: string;
    readonly sessionId: string;
    readonly executionId: string;
    readonly messageId: string;
    readonly record: string;
    readonly marker: string;
    readonly audit: string;
    readonly keep: boolean;
  },
): Promise<ReplayOutcome> {
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
  if (verdict === 'replayed') return {kind: 'replayed', streamId: detail};
  if (verdict === 'already') return {kind: 'already', marker: detail};
  return {kind: 'missing'};
}

/** Which of these entries were replayed: entry id to its marker. */
export async function replayMarkers(store: Store, ids: readonly string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const values = await store.commands.run(
    redis => redis.mget(...ids.map(id => store.keys.deadletterReplay(id))),
    {
      retryForMs: 5000,
    },
  );
  return new Map(ids.flatMap((id, i) => (typeof values[i] === 'string' ? [[id, values[i]]] : [])));
}
