/** Stream ids: two unsigned 64-bit numbers. */
import {canonical, parseUint64, type Int64} from './numbers.js';
import {CommandError} from './reply.js';

export interface StreamId {
  readonly ms: Int64;
  readonly seq: Int64;
}

const MAX_UINT64 = 2n ** 64n - 1n;
export const ZERO_ID: StreamId = {ms: 0, seq: 0};
export const MAX_ID: StreamId = {ms: MAX_UINT64, seq: MAX_UINT64};

export const formatId = ({ms, seq}: StreamId) => `${ms}-${seq}`;

/** Negative, 0 or positive, like a subtraction. */
export function compareIds(a: StreamId, b: StreamId): number {
  if (a.ms !== b.ms) return a.ms < b.ms ? -1 : 1;
  if (a.seq !== b.seq) return a.seq < b.seq ? -1 : 1;
  return 0;
}

const plusOne = (value: Int64): Int64 => canonical(BigInt(value) + 1n);
const minusOne = (value: Int64): Int64 => canonical(BigInt(value) - 1n);
const isMax = (value: Int64) => value === MAX_UINT64;

/** The id right after, or undefined after the last there is. */
export function nextId({ms, seq}: StreamId): StreamId | undefined {
  if (typeof seq === 'number' && seq < Number.MAX_SAFE_INTEGER) return {ms, seq: seq + 1};
  if (!isMax(seq)) return {ms, seq: plusOne(seq)};
  return isMax(ms) ? undefined : {ms: plusOne(ms), seq: 0};
}

/** The id right before, or undefined before 0-0. */
export function previousId({ms, seq}: StreamId): StreamId | undefined {
  if (seq !== 0) return {ms, seq: minusOne(seq)};
  return ms === 0 ? undefined : {ms: minusOne(ms), seq: MAX_UINT64};
}

const invalidId = () => new CommandError('ERR Invalid stream ID specified as stream command argument');

/** Parse `ms` or `ms-seq`; undefined if it is neither. */
export function tryParseId(text: string, missingSeq: Int64 = 0): StreamId | undefined {
  const dash = text.indexOf('-');
  const ms = parseUint64(dash < 0 ? text : text.slice(0, dash));
  const seq = dash < 0 ? missingSeq : parseUint64(text.slice(dash + 1));
  return ms === undefined || seq === undefined ? undefined : {ms, seq};
}

/** An id argument. */
export function parseId(text: string, missingSeq: Int64 = 0): StreamId {
  const id = tryParseId(text, missingSeq);
  if (id === undefined) throw invalidId();
  return id;
}

/** The id for XADD: complete, or with a sequence still to be chosen. */
export function parseNewId(text: string): {ms: Int64; seq: Int64 | undefined} {
  if (!text.endsWith('-*')) return parseId(text);
  const ms = parseUint64(text.slice(0, -2));
  if (ms === undefined) throw invalidId();
  return {ms, seq: undefined};
}

function parseBound(text: string, missingSeq: Int64): {id: StreamId; isOpen: boolean} {
  if (text === '-') return {id: ZERO_ID, isOpen: false};
  if (text === '+') return {id: MAX_ID, isOpen: false};
  const isOpen = text.startsWith('(') && text.length > 1;
  return {id: parseId(isOpen ? text.slice(1) : text, missingSeq), isOpen};
}

/** The start of an interval: `-`, an id, or `(` and an id to leave it out. */
export function parseStart(text: string): StreamId {
  const {id, isOpen} = parseBound(text, 0);
  const start = isOpen ? nextId(id) : id;
  if (start === undefined) throw new CommandError('ERR invalid start ID for the interval');
  return start;
}

/** The end of an interval, included. */
export function parseEnd(text: string): StreamId {
  const {id, isOpen} = parseBound(text, MAX_UINT64);
  const end = isOpen ? previousId(id) : id;
  if (end === undefined) throw new CommandError('ERR invalid end ID for the interval');
  return end;
}
