/** Dead letters: work nobody could do, kept whole so that it can be done again. Spec §7.6, cli.md §8.1, G5. */
import {z} from 'zod';
import {textOf} from './fields.js';
import {isObject, parseUntrustedObject, ProtocolError} from './limits.js';
import {anything, document, integer, integerOrNull, text, textList, textOr, wire} from './wire.js';

export const DEADLETTER_SOURCES = ['wakeup', 'pending', 'execution', 'poison', 'manual', 'delivery'] as const;
export type DeadLetterSource = (typeof DEADLETTER_SOURCES)[number];

/** One try that failed. */
export interface DeadLetterAttempt {
  readonly workerId: string;
  readonly error: string;
  /** Unix milliseconds. */
  readonly at: number;
}

/** The eight keys of a WakeupDecision, which is all older readers know, and what a replay needs. */
export const DeadLetter = wire(
  z.object({
    executionId: text(),
    targetAgentType: text(),
    status: textOr('FAILED'),
    selectedAgentType: text(),
    workerIds: textList(),
    region: text(),
    retryAfterMs: integerOrNull(),
    reason: text(),

    /** 1 for ours, 0 for a document of another SDK. */
    schema: integer(),
    source: text(),
    /** The complete command document of §3; {} when it could not be read. */
    commandPayload: document(),
    /** Control stream the command was for. */
    deliveryStream: text(),
    attempts: anything(),
    /** Unix milliseconds; 0 if unknown. */
    firstFailedAt: integer(),
    /** Where the entry was, and its `data` as it came: base64 with the prefix `base64:` if that is not UTF-8. */
    xStream: text(),
    xEntryId: text(),
    xData: text(),
  }),
);

type ReadDocument = z.output<typeof DeadLetter>;
export type DeadLetter = Omit<ReadDocument, 'attempts' | 'source'> & {
  readonly attempts: readonly DeadLetterAttempt[];
  /** '' for documents of other SDKs. */
  readonly source: DeadLetterSource | '';
};

export type NewDeadLetter = Pick<DeadLetter, 'reason' | 'commandPayload' | 'firstFailedAt'> &
  Partial<DeadLetter> & {readonly source: DeadLetterSource};

/** A dead letter of ours; what is not given is empty. */
export function newDeadLetter(fields: NewDeadLetter): DeadLetter {
  return {
    executionId: '',
    targetAgentType: '',
    selectedAgentType: '',
    workerIds: [],
    region: '',
    retryAfterMs: null,
    deliveryStream: '',
    attempts: [],
    xStream: '',
    xEntryId: '',
    xData: '',
    ...fields,
    status: 'FAILED',
    schema: 1,
  };
}

export function encodeDeadLetter(letter: DeadLetter): string {
  const attempts = letter.attempts.map(({workerId, error, at}) => ({worker_id: workerId, error, at}));
  return JSON.stringify(z.encode(DeadLetter, {...letter, attempts}));
}

/** A dead letter as it was found. */
export type ReadDeadLetter = DeadLetter & {
  /** `no-payload`: another SDK wrote it without the command, so it can be shown but not replayed. */
  readonly replayable: 'yes' | 'no-payload';
};

/** @throws {ProtocolError} NOT_AN_OBJECT. Any JSON object is a dead letter of some kind. */
export function decodeDeadLetter(doc: unknown): ReadDeadLetter {
  if (!isObject(doc)) throw new ProtocolError('NOT_AN_OBJECT', 'The document is not a JSON object.');
  const read = z.decode(DeadLetter, doc);
  const hasCommand = Object.keys(read.commandPayload).length > 0;
  return {
    ...read,
    source: DEADLETTER_SOURCES.find(source => source === read.source) ?? '',
    attempts: attemptsOf(read.attempts),
    replayable: hasCommand ? 'yes' : 'no-payload',
  };
}

/** @throws {ProtocolError} as {@link decodeDeadLetter} and parseUntrusted. */
export const readDeadLetter = (data: string | Uint8Array): ReadDeadLetter =>
  decodeDeadLetter(parseUntrustedObject(data));

function attemptsOf(value: unknown): DeadLetterAttempt[] {
  if (!Array.isArray(value)) return [];
  return (value as unknown[]).filter(isObject).map(row => ({
    workerId: textOf(row['worker_id']),
    error: textOf(row['error']),
    at: Number(row['at']) || 0,
  }));
}

/** The bytes of an entry as text that survives JSON: UTF-8 as it is, anything else as `base64:...`. */
export function preserveBytes(bytes: Uint8Array): string {
  const plain = Buffer.from(bytes).toString('utf8');
  return Buffer.from(plain).equals(bytes) ? plain : `base64:${Buffer.from(bytes).toString('base64')}`;
}
