/** Ids of the run layer: 128 bits, sortable by the time they were made, with a prefix that says what they name. */
import {randomBytes} from 'node:crypto';

/** Crockford's base 32: no I, L, O, U. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const TIME_CHARS = 10;
const RANDOM_CHARS = 16;

export const ID_PREFIXES = {
  agent: 'agt_',
  task: 'task_',
  run: 'run_',
  attempt: 'att_',
  input: 'inp_',
  approval: 'apr_',
  schedule: 'sch_',
} as const;
export type IdKind = keyof typeof ID_PREFIXES;

let lastMs = 0;
let lastRandom: bigint = 0n;

/**
 * A new id. Those of one process rise, also within one millisecond and when the clock is put back.
 * @param nowMs Unix milliseconds; default this machine's clock, for an id's time is only its place in a list.
 */
export function newOrchestrationId(kind: IdKind, nowMs = Date.now()): string {
  if (nowMs > lastMs) {
    lastMs = nowMs;
    lastRandom = BigInt(`0x${randomBytes((RANDOM_CHARS * 5) / 8).toString('hex')}`);
  } else lastRandom += 1n;
  return ID_PREFIXES[kind] + base32(BigInt(lastMs), TIME_CHARS) + base32(lastRandom, RANDOM_CHARS);
}

function base32(value: bigint, chars: number): string {
  let text = '';
  for (let i = 0, rest = value; i < chars; i++, rest >>= 5n)
    text = ALPHABET.charAt(Number(rest & 31n)) + text;
  return text;
}

const BODY_PART = /^[0-9A-HJKMNP-TV-Z]+$/;
const BODY = /^[0-9A-HJKMNP-TV-Z]{26}$/;

/** Whether the text is a whole id of this kind. */
export const isOrchestrationId = (kind: IdKind, text: string): boolean =>
  text.startsWith(ID_PREFIXES[kind]) && BODY.test(text.slice(ID_PREFIXES[kind].length));

/** The fewest characters after the prefix by which an id may be named. */
export const SHORTEST_ID = 8;

/** Whether the text can be the beginning of an id of this kind. */
export const isIdStart = (kind: IdKind, text: string): boolean => {
  const body = text.slice(ID_PREFIXES[kind].length);
  return (
    text.startsWith(ID_PREFIXES[kind]) &&
    body.length >= SHORTEST_ID &&
    body.length <= TIME_CHARS + RANDOM_CHARS &&
    BODY_PART.test(body)
  );
};
