/** Dead letters: commands that will not be tried again by themselves, kept whole until somebody replays them. */
import {readDeadLetter, type ReadDeadLetter} from '../protocol/deadletter.js';
import {settleMany, streamReply, type ControlEntry} from './control-streams.js';
import {deadLettersFull} from './depth.js';
import {appendOnce} from './outbox.js';
import {defineScript} from './script.js';
import type {Store} from './store.js';

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
  return letters(store, 'XREVRANGE', end, '-', 'COUNT', String(count));
}

/** Oldest first. @param after the id to go on behind; '' from the beginning. */
export async function oldestDeadLetters(
  store: Store,
  count: number,
  after = '',
): Promise<StoredDeadLetter[]> {
  const start = after === '' ? '-' : `(${after}`;
  return letters(store, 'XRANGE', start, '+', 'COUNT', String(count));
}

/** @returns the entry, or undefined if it is not there. */
export async function findDeadLetter(store: Store, id: string): Promise<StoredDeadLetter | undefined> {
  return (await letters(store, 'XRANGE', id, id))[0];
}

/** As bytes: text of another encoding would be read as something else, and replayed as that. */
async function letters(
  store: Store,
  command: 'XRANGE' | 'XREVRANGE',
  ...range: readonly string[]
): Promise<StoredDeadLetter[]> {
  const stream = store.keys.deadletter();
  const rows = await store.commands.run(redis => redis.callBuffer(command, stream, ...range), {
    retryForMs: 5000,
  });
  return streamReply([[Buffer.from(stream), rows]]).map(({id, data}) => ({id, letter: readLetter(data)}));
}

function readLetter(data: Buffer | undefined): ReadDeadLetter | undefined {
  if (data === undefined) return undefined;
  try {
    return readDeadLetter(data);
  } catch {
    // Foreign or damaged: it is listed as unreadable, and never in the way of the others.
    return undefined;
  }
}
