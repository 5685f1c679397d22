/** The journal of a durable execution in Redis: written under the fence of the attempt, answered by anybody. */
import {
  decodeJournal,
  EMPTY_JOURNAL,
  encodeAnswer,
  encodeEntry,
  MAX_JOURNAL_BYTES,
  MAX_JOURNAL_ENTRIES,
  type Answer,
  type Journal,
  type JournalEntry,
  type StepTries,
  type SuspendedAt,
} from '../protocol/journal.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {encodeJson} from '../protocol/limits.js';
import {TERMINAL_STATES} from '../protocol/states.js';
import {settleMany} from './control-streams.js';
import type {ScriptArg} from './run-script.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';
import {keepMember, keepWaiting} from './timers.js';

const TERMINAL_JSON = JSON.stringify([...TERMINAL_STATES]);
const RETRY = {retryForMs: 30_000};

export interface JournalTurn {
  readonly sessionId: string;
  readonly executionId: string;
  readonly fence: string;
}

export type JournalWrite =
  /** Begin anew: somebody continued the execution after its end. Nothing happens if that was done. */
  | {readonly kind: 'reset'; readonly index: 0; readonly since: number}
  | {readonly kind: 'entry'; readonly index: number; readonly entry: JournalEntry}
  /** An entry with a timer, which goes off so many milliseconds from now by Redis's clock. */
  | {readonly kind: 'timed'; readonly index: number; readonly entry: JournalEntry; readonly inMs: number}
  | {readonly kind: 'outcome'; readonly index: number; readonly value: Answer}
  /** The command that began the run, for the turns to come and for whoever starts it again. The first one stays. */
  | {readonly kind: 'ask'; readonly index: 0; readonly document: string}
  | {readonly kind: 'tries'; readonly index: number; readonly tries: StepTries};

export type Written =
  | {
      readonly kind: 'ok';
      /** Unix milliseconds by Redis's clock. */
      readonly at: number;
      /** Of each outcome that was written, in order; 0 if there was one before, which stays. */
      readonly orders: readonly number[];
    }
  | {readonly kind: 'fenced'}
  /** The journal is full: of entries, or of bytes. Nothing was written. */
  | {readonly kind: 'full'; readonly of: 'entries' | 'bytes'};

const writeScript = defineScript({
  file: 'journal-write.lua',
  keys: ['registry', 'journal'],
  args: ['executionId', 'fence', 'ttlS', 'maxEntries', 'maxBytes'],
  reply: texts,
});

/** One read, whatever its length. */
export async function readJournal(
  store: Store,
  {sessionId, executionId}: Pick<JournalTurn, 'sessionId' | 'executionId'>,
): Promise<Journal> {
  const key = store.keys.journal(sessionId, executionId);
  const fields = await store.commands.run(redis => redis.hgetall(key), RETRY);
  return Object.keys(fields).length === 0 ? EMPTY_JOURNAL : decodeJournal(fields);
}

/** Whether there is an outcome of an entry. */
export async function hasOutcome(
  store: Store,
  {sessionId, executionId}: Pick<JournalTurn, 'sessionId' | 'executionId'>,
  index: number,
): Promise<boolean> {
  const key = store.keys.journal(sessionId, executionId);
  return (await store.commands.run(redis => redis.hexists(key, `d:${index}`), RETRY)) === 1;
}

/** All of it or nothing. Safe to repeat: entries and outcomes stay as they were first written. */
export async function writeJournal(
  store: Store,
  turn: JournalTurn,
  writes: readonly JournalWrite[],
): Promise<Written> {
  const [verdict = '', at = '0', ...orders] = await writeScript(
    store.commands,
    {
      keys: {
        registry: store.keys.sessionRegistry(turn.sessionId),
        journal: store.keys.journal(turn.sessionId, turn.executionId),
      },
      args: {
        executionId: turn.executionId,
        fence: turn.fence,
        ttlS: SESSION_TTL_S,
        maxEntries: MAX_JOURNAL_ENTRIES,
        maxBytes: MAX_JOURNAL_BYTES,
      },
      moreArgs: writes.flatMap((write): ScriptArg[] => [write.kind, write.index, textOf(write)]),
    },
    RETRY,
  );
  if (verdict === 'ok') return {kind: 'ok', at: Number(at), orders: orders.map(Number)};
  if (verdict === 'entries' || verdict === 'bytes') return {kind: 'full', of: verdict};
  return {kind: 'fenced'};
}

function textOf(write: JournalWrite): string {
  switch (write.kind) {
    case 'entry':
      return encodeEntry(write.entry);
    case 'timed':
      return `${encodeEntry(write.entry).slice(0, -1)}\n${write.inMs}`;
    case 'outcome':
      return encodeAnswer(write.value);
    case 'tries':
      return encodeJson(write.tries);
    case 'ask':
      return write.document;
    case 'reset':
      return String(write.since);
  }
}

const suspendScript = defineScript({
  file: 'suspend.lua',
  before: ['records.lua', 'end-turn.lua'],
  keys: ['registry', 'journal', 'source', 'timers'],
  args: [
    ...['executionId', 'fence', 'patch', 'terminal', 'seen', 'end', 'ttlS'],
    ...['group', 'entry', 'delete', 'keep', 'keepAt'],
  ],
  reply: raw => SUSPEND_VERDICTS.find(verdict => verdict === raw) ?? 'fenced',
});

const SUSPEND_VERDICTS = ['ok', 'more', 'terminal', 'fenced', 'cancelling'] as const;

export interface Suspension {
  /** Record fields in wire names; holds `status` and `updated_at`. */
  readonly patch: Readonly<Record<string, unknown>>;
  readonly end: Omit<SuspendedAt, 'at'>;
  /** It waits for the first time: when what is known of it is to be renewed, in Unix milliseconds. */
  readonly keepAt?: number;
  /** The entry that began the turn. */
  readonly settle: {
    readonly stream: string;
    readonly group: string;
    readonly entryId: string;
    readonly deleteEntry: boolean;
  };
}

/**
 * End a turn that waits for answers. 'more': there are some its code has not seen, and the turn is still ours; the others
 * as finishTurn says.
 */
export async function suspendTurn(
  store: Store,
  turn: JournalTurn,
  {patch, end, keepAt, settle}: Suspension,
): Promise<(typeof SUSPEND_VERDICTS)[number]> {
  const {keys} = store;
  const isCluster = await store.commands.isCluster();
  const registry = keys.sessionRegistry(turn.sessionId);
  // Another slot in a Cluster: before it waits, so that it is kept whoever dies.
  if (isCluster && keepAt !== undefined) await keepWaiting(store, turn, keepAt);
  const verdict = await suspendScript(
    store.commands,
    {
      keys: {
        registry,
        journal: keys.journal(turn.sessionId, turn.executionId),
        // Another slot in a Cluster: the entry is settled afterwards. Delivered again, it is found done.
        source: isCluster ? registry : settle.stream,
        timers: isCluster ? registry : keys.timers(),
      },
      args: {
        executionId: turn.executionId,
        fence: turn.fence,
        patch: encodeJson(patch),
        terminal: TERMINAL_JSON,
        seen: end.seen,
        end: JSON.stringify(end).slice(0, -1),
        ttlS: SESSION_TTL_S,
        group: isCluster ? '' : settle.group,
        entry: isCluster ? '' : settle.entryId,
        delete: settle.deleteEntry ? '1' : '0',
        keep: isCluster || keepAt === undefined ? '' : keepMember(turn),
        keepAt: keepAt ?? 0,
      },
    },
    RETRY,
  );
  if (verdict === 'ok' && isCluster)
    await settleMany(store, settle.group, settle.stream, [settle.entryId], settle.deleteEntry);
  return verdict;
}

/**
 * Write the journal of an execution that is about to be accepted: nobody owns it yet. Without the execution it goes when
 * its lifetime is over.
 */
export async function seedJournal(
  store: Store,
  {sessionId, executionId}: Pick<JournalTurn, 'sessionId' | 'executionId'>,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  const key = store.keys.journal(sessionId, executionId);
  await store.commands.run(
    redis => Promise.all([redis.hset(key, fields), redis.expire(key, SESSION_TTL_S)]),
    RETRY,
  );
}
