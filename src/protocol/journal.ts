/**
 * The journal of a durable execution: what its code asked for, in the order in which it asked, and what came of it.
 * A hash in the session's slot; docs/decisions/0012 says why it looks as it does.
 *
 * Fields: `e:{index}` an {@link JournalEntry}; `d:{index}` its {@link Outcome}; `t:{index}` tries of a step that failed
 * before; `n` outcomes so far, `seen` those its code was given; `bytes` of all entries and outcomes; `end` what the last turn that
 * suspended left; `ask` the command that began it; `run` and `since` once a person has continued it after its end.
 */
import {createHash} from 'node:crypto';
import {integerOf, objectOf, textOf} from './fields.js';
import {isObject, parseUntrustedObject, readable} from './limits.js';
import {questionTextOf, type QuestionText} from './question.js';

/** Most entries of one execution. */
export const MAX_JOURNAL_ENTRIES = 10_000;
/** Most bytes of all its entries and outcomes. */
export const MAX_JOURNAL_BYTES = 16 * 1024 * 1024;

/** A `cancel` is of calls that nobody waits for any more. */
export const JOURNAL_KINDS = ['call', 'ask-user', 'sleep', 'step', 'cancel'] as const;
export type JournalKind = (typeof JOURNAL_KINDS)[number];

/** What the code asked for. */
export interface JournalEntry {
  readonly kind: JournalKind;
  /** The agent type called, or the name of the step; '' for the others. */
  readonly target: string;
  /** Digest of what was asked, so that code that asks something else now is noticed. */
  readonly digest: string;
  /** Message id of the call, or of the timer: what an answer names. '' for a step and a cancel. */
  readonly messageId: string;
  /** For people: the beginning of what was asked. */
  readonly note: string;
  /** Unix milliseconds by Redis's clock; 0 without a timer. */
  readonly dueAt: number;
  /** Of a question to a person: all of it, for whoever answers. */
  readonly question?: QuestionText;
  /** Unix milliseconds by the worker's clock; noted only where a tracer is told of it. */
  readonly askedAt?: number;
}

/** What came of an entry. */
export interface Outcome {
  /** 1 for the first outcome of the execution: replays hand them to the code in this order. */
  readonly order: number;
  /** Unix milliseconds by Redis's clock. */
  readonly at: number;
  readonly value: Answer;
}

/** An answer, a step's result, or why there is none. */
export interface Answer {
  /** `COMPLETED`, `FAILED`, `CANCELLED`, or what else an agent of another SDK replied; `EXPIRED` after a deadline. */
  readonly status: string;
  readonly content: unknown;
  readonly data: unknown;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface Journal {
  readonly entries: ReadonlyMap<number, JournalEntry>;
  readonly outcomes: ReadonlyMap<number, Outcome>;
  /** Failed tries of steps. */
  readonly tries: ReadonlyMap<number, StepTries>;
  /** Outcomes there are. */
  readonly count: number;
  readonly bytes: number;
  /** 0, and one more for each time a person continued the execution after its end: a journal of its own each. */
  readonly run: number;
  /** When that was, in Unix milliseconds by Redis's clock; 0 for the first run. */
  readonly since: number;
  /** JSON of the command that began the run, as its first turn that suspended noted it; '' before. */
  readonly ask: string;
  /** Undefined before the first turn that suspended. */
  readonly end: SuspendedAt | undefined;
}

export interface StepTries {
  readonly failed: number;
  readonly error: string;
}

/** Where the last turn that suspended had got to. */
export interface SuspendedAt {
  readonly attempt: number;
  /** Events the code had emitted, those of steps apart. */
  readonly emitted: number;
  /** Entries below this index have been carried out: their calls dispatched, their timers set. */
  readonly dispatched: number;
  /** Outcomes the code had been given. */
  readonly seen: number;
  /** Redis's clock in Unix milliseconds: what is in the data stream before was counted. */
  readonly at: number;
}

export const EMPTY_JOURNAL: Journal = {
  entries: new Map(),
  outcomes: new Map(),
  tries: new Map(),
  count: 0,
  bytes: 0,
  run: 0,
  since: 0,
  ask: '',
  end: undefined,
};

/** Field of the journal that holds an entry. */
export const entryField = (index: number): string => `e:${index}`;

/** The message id of an entry: the same for the same entry of the same run, however often it is asked. @param run `{execution}/{run}`. */
export function entryMessageId(kind: 'call' | 'ask-user' | 'sleep', run: string, index: number): string {
  const digest = createHash('sha256').update(run).digest('hex').slice(0, 16);
  return `${kind === 'call' ? 'msg' : kind === 'sleep' ? 'tmr' : 'ask'}-${digest}-${index}`;
}

export function digestOf(...parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

export function encodeEntry(entry: JournalEntry): string {
  return JSON.stringify({
    kind: entry.kind,
    target: entry.target,
    digest: entry.digest,
    message_id: entry.messageId,
    note: entry.note,
    due_at: entry.dueAt,
    question: entry.question,
    asked_at: entry.askedAt,
  });
}

export const encodeAnswer = (answer: Answer): string => JSON.stringify(answer);

/** Fields that can not be read are passed over: a mismatch says so when the code asks for them. */
export function decodeJournal(fields: Readonly<Record<string, string>>): Journal {
  const entries = new Map<number, JournalEntry>();
  const outcomes = new Map<number, Outcome>();
  const tries = new Map<number, StepTries>();
  for (const [field, text] of Object.entries(fields)) {
    const [, kind = '', digits = ''] = /^([edt]):(\d{1,6})$/.exec(field) ?? [];
    const doc = kind === '' ? undefined : readable(() => parseUntrustedObject(text));
    if (doc === undefined) continue;
    const index = Number(digits);
    if (kind === 'e') entries.set(index, entryOf(doc));
    else if (kind === 'd') outcomes.set(index, outcomeOf(doc));
    else tries.set(index, {failed: integerOf(doc['failed'], 0), error: textOf(doc['error'])});
  }
  const end = readable(() => parseUntrustedObject(fields['end'] ?? ''));
  return {
    ...{entries, outcomes, tries},
    count: integerOf(fields['n'], 0),
    bytes: integerOf(fields['bytes'], 0),
    run: integerOf(fields['run'], 0),
    since: integerOf(fields['since'], 0),
    ask: fields['ask'] ?? '',
    end: end && {
      attempt: integerOf(end['attempt'], 0),
      emitted: integerOf(end['emitted'], 0),
      dispatched: integerOf(end['dispatched'], 0),
      seen: integerOf(end['seen'], 0),
      at: integerOf(end['at'], 0),
    },
  };
}

function entryOf(doc: Readonly<Record<string, unknown>>): JournalEntry {
  const kind = JOURNAL_KINDS.find(known => known === doc['kind']) ?? 'step';
  return {
    kind,
    target: textOf(doc['target']),
    digest: textOf(doc['digest']),
    messageId: textOf(doc['message_id']),
    note: textOf(doc['note']),
    dueAt: integerOf(doc['due_at'], 0),
    ...(isObject(doc['question']) ? {question: questionTextOf(doc['question'])} : {}),
    ...(doc['asked_at'] === undefined ? {} : {askedAt: integerOf(doc['asked_at'], 0)}),
  };
}

function outcomeOf(doc: Readonly<Record<string, unknown>>): Outcome {
  return {order: integerOf(doc['order'], 0), at: integerOf(doc['at'], 0), value: answerOf(doc['value'])};
}

export function answerOf(value: unknown): Answer {
  const doc = objectOf(value);
  return {
    status: textOf(doc['status']),
    content: doc['content'] ?? '',
    data: doc['data'] ?? null,
    metadata: objectOf(doc['metadata']),
  };
}
