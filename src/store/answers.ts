/** RESUMEs of durable executions: what one brings is kept, and a turn begins if nobody runs one, in one step. */
import {decodeJournal, EMPTY_JOURNAL, encodeAnswer, type Answer, type Journal} from '../protocol/journal.js';
import {CLAIM_ARGS, claimArgs, orUnreadable, readClaim, type Claim, type ClaimRequest} from './executions.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

const takeScript = defineScript({
  file: 'take-answer.lua',
  runs: ['claim.lua'],
  before: ['records.lua', 'resumed.lua', 'cancelled.lua', 'begun.lua', 'keep-answer.lua'],
  joins: true,
  keys: ['registry'],
  args: [...CLAIM_ARGS, 'answer', 'named', 'entryMessage', 'journalPrefix', 'journalSuffix'],
  reply: raw => (Array.isArray(raw) ? (raw as unknown[]) : []),
});

/** What became of an answer; take-answer.lua tells what each means. */
export type Taken =
  | {
      readonly kind: 'begin';
      /** 'unknown': nobody knows the execution. Nothing was written. */
      readonly claim: Claim | 'unknown';
      /** Of a turn that was started, with the answer. */
      readonly journal: Journal;
    }
  | {
      readonly kind: 'kept';
      readonly by: KeptFor;
      readonly index: number;
      readonly order: number;
      readonly at: number;
    }
  | {readonly kind: 'answered' | 'unknown' | 'early' | 'terminal'};

/** The turn that runs. */
export interface KeptFor {
  readonly executionId: string;
  readonly fence: string;
}

/**
 * Keep an answer, and claim the execution if a turn has to begin. One round trip; safe to repeat.
 * @param question message id of the entry that is answered; undefined for the one a person was asked first.
 * @throws {ProtocolError} UNREADABLE_RECORD
 */
export async function takeAnswer(
  store: Store,
  request: ClaimRequest,
  question: string | undefined,
  answer: Answer,
): Promise<Taken> {
  const [journalPrefix = '', journalSuffix = ''] = store.keys.journal(request.sessionId, '\0').split('\0');
  const [kind, ...rest] = await orUnreadable(() =>
    takeScript(
      store.commands,
      {
        keys: {registry: store.keys.sessionRegistry(request.sessionId)},
        args: {
          ...claimArgs(request, ''),
          answer: encodeAnswer(answer),
          named: question === undefined ? '0' : '1',
          entryMessage: question ?? '',
          ...{journalPrefix, journalSuffix},
        },
      },
      {retryForMs: 30_000},
    ),
  );
  switch (kind) {
    case 'begin': {
      const reply = texts(rest[0]);
      const claim = reply[0] === 'unknown' ? 'unknown' : await readClaim(store, request, reply);
      return {kind, claim, journal: journalOf(rest[1])};
    }
    case 'kept': {
      const [executionId = '', fence = '', index, order, at] = texts(rest);
      return {kind, by: {executionId, fence}, index: Number(index), order: Number(order), at: Number(at)};
    }
    case 'answered':
    case 'unknown':
    case 'early':
    case 'terminal':
      return {kind};
    default:
      throw new TypeError(`take-answer.lua answered "${String(kind)}"`);
  }
}

/** @param raw fields and values of a hash. */
function journalOf(raw: unknown): Journal {
  const items = texts(raw);
  if (items.length === 0) return EMPTY_JOURNAL;
  const fields: Record<string, string> = {};
  for (let i = 0; i + 1 < items.length; i += 2) fields[items[i] ?? ''] = items[i + 1] ?? '';
  return decodeJournal(fields);
}
