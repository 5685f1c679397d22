/**
 * What a command answers, before it is spelt in RESP2, RESP3 or Lua values.
 *
 * All data is held in "latin1" strings: one character is one byte, so any bytes survive unchanged and a string's length
 * is its size. Nothing in the embedded store decodes UTF-8.
 */

/** A string is a bulk string, a number an integer, an array an array; the classes are the rest of the protocol. */
export type Reply =
  | string
  | number
  | bigint
  | null
  | readonly Reply[]
  | StatusReply
  | ErrorReply
  | DoubleReply
  | MapReply
  | SetReply
  | PushReply
  | VerbatimReply
  | BigNumberReply
  | boolean
  | typeof NULL_ARRAY
  | typeof NO_REPLY;

/** `*-1` in RESP2; RESP3 has only one null. */
export const NULL_ARRAY = Symbol('null array');

/** The command has written its own answers (SUBSCRIBE), or answers later (a blocked read). */
export const NO_REPLY = Symbol('no reply');

/** `+OK`. */
export class StatusReply {
  constructor(readonly text: string) {}
}

/** `-ERR what happened`. The text carries its code as first word. */
export class ErrorReply {
  constructor(readonly text: string) {}
}

/** A double: a bulk string in RESP2. */
export class DoubleReply {
  constructor(readonly value: number) {}
}

/** Keys and values in turn; a flat array in RESP2. */
export class MapReply {
  constructor(readonly items: readonly Reply[]) {}
}

/** An array in RESP2. */
export class SetReply {
  constructor(readonly items: readonly Reply[]) {}
}

/** Out-of-band data (pub/sub); an array in RESP2. */
export class PushReply {
  constructor(readonly items: readonly Reply[]) {}
}

/** Text with a format hint; a bulk string in RESP2. */
export class VerbatimReply {
  constructor(
    readonly text: string,
    readonly format = 'txt',
  ) {}
}

/** An integer of any size, which only scripts under `redis.setresp(3)` make; a bulk string in RESP2. */
export class BigNumberReply {
  constructor(readonly digits: string) {}
}

export const OK = new StatusReply('OK');
export const QUEUED = new StatusReply('QUEUED');

/** Thrown by a command; becomes an error reply. */
export class CommandError extends Error {
  constructor(text: string) {
    // Refusals are ordinary replies here and may be frequent; a stack trace would be most of their cost.
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(text);
    Error.stackTraceLimit = limit;
  }
}

export const syntaxError = () => new CommandError('ERR syntax error');
export const notAnInteger = () => new CommandError('ERR value is not an integer or out of range');
export const notAFloat = () => new CommandError('ERR value is not a valid float');
export const wrongType = () =>
  new CommandError('WRONGTYPE Operation against a key holding the wrong kind of value');
export const noSuchKey = () => new CommandError('ERR no such key');
