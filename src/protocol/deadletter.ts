/** Dead letters: work nobody could do, kept whole so that it can be done again. Spec §7.6, cli.md §8.1, G5. */
import {createHash} from 'node:crypto';
import {z} from 'zod';
import {integerOf, objectOf, textOf} from './fields.js';
import {readCommandEntry} from './commands.js';
import {isObject, parseEnvelope, parseUntrustedObject, ProtocolError} from './limits.js';
import {anything, document, integer, integerOrNull, text, textList, textOr, wire} from './wire.js';

export const DEADLETTER_SOURCES = ['wakeup', 'pending', 'execution', 'poison', 'manual', 'delivery'] as const;
export type DeadLetterSource = (typeof DEADLETTER_SOURCES)[number];

/** One try that failed. */
export interface DeadLetterAttempt {
  /** Which try of its execution it was, from 1; 0 if nobody counted. */
  readonly attempt?: number;
  readonly workerId: string;
  /** `failed`, `crashed` (the worker was gone), `handed_back` (it stopped); '' where it is no attempt of a worker. */
  readonly ended?: string;
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
    /** When the command was first accepted, whatever was replayed since. Unix milliseconds; 0 if unknown. */
    firstAcceptedAt: integer(),
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
    firstAcceptedAt: 0,
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
  const attempts = letter.attempts.map(({attempt = 0, workerId, ended = '', error, at}) => ({
    attempt,
    worker_id: workerId,
    ended,
    error,
    at,
  }));
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

/** @throws {ProtocolError} as {@link decodeDeadLetter} and parseEnvelope. */
export const readDeadLetter = (data: string | Uint8Array): ReadDeadLetter =>
  decodeDeadLetter(parseEnvelope(data));

function attemptsOf(value: unknown): DeadLetterAttempt[] {
  if (!Array.isArray(value)) return [];
  return (value as unknown[]).filter(isObject).map(row => ({
    attempt: integerOf(row['attempt'], 0),
    workerId: textOf(row['worker_id']),
    ended: textOf(row['ended']),
    error: textOf(row['error']),
    at: Number(row['at']) || 0,
  }));
}

/** Raw bytes kept of an entry that holds no command. */
export const MAX_RAW_BYTES = 65_536;

/** The parts of a dead letter made of bytes that are no command: what is kept of them, and proof of the rest (G6). */
export function rawParts(
  raw: Uint8Array = new Uint8Array(),
  reason: string,
): Pick<NewDeadLetter, 'reason' | 'commandPayload' | 'xData'> {
  const sha256 = createHash('sha256').update(raw).digest('hex');
  return {
    reason: `${reason} (${raw.length} bytes, sha256 ${sha256})`,
    commandPayload: {},
    xData: preserveBytes(raw.subarray(0, MAX_RAW_BYTES)),
  };
}

/** The bytes of an entry as text that survives JSON: UTF-8 as it is, anything else as `base64:...`. */
export function preserveBytes(bytes: Uint8Array): string {
  const plain = Buffer.from(bytes).toString('utf8');
  return Buffer.from(plain).equals(bytes) ? plain : `base64:${Buffer.from(bytes).toString('base64')}`;
}

/**
 * The command of an entry as it came, with whatever it holds that we do not know; {} if nobody could run it.
 * The ids a worker made up for a command without any are put in, so that a replay is the same message.
 */
export function wholeCommand(
  data: string | Uint8Array | undefined,
  ids?: CommandIds,
): Record<string, unknown> {
  if (data === undefined) return {};
  try {
    const command = readCommandEntry(data);
    if (command.action !== 'ASK_AGENT' && command.action !== 'RESUME') return {};
    const doc = parseUntrustedObject(data);
    const header = objectOf(doc['header']);
    return ids === undefined
      ? doc
      : {...doc, header: {...header, message_id: ids.messageId, trace_id: ids.traceId}};
  } catch (error) {
    if (error instanceof ProtocolError) return {};
    throw error;
  }
}

export interface CommandIds {
  readonly messageId: string;
  readonly traceId: string;
}

/** Milliseconds of a stream entry's id: when Redis took it. 0 for what is no id. */
export function entryTimeMs(entryId: string): number {
  const ms = Number(entryId.split('-')[0]);
  return Number.isSafeInteger(ms) ? ms : 0;
}
