/** The wire: requests in (arrays of bulk strings, or inline), replies out in RESP2 or RESP3. */
import {formatDouble} from './numbers.js';
import {
  BigNumberReply,
  DoubleReply,
  ErrorReply,
  MapReply,
  NO_REPLY,
  NULL_ARRAY,
  PushReply,
  SetReply,
  StatusReply,
  VerbatimReply,
  type Reply,
} from './reply.js';

/** 2 until the client says HELLO 3. */
export type Protocol = 2 | 3;

/** Spell a reply as latin1 text. */
export function encode(reply: Reply, protocol: Protocol): string {
  if (typeof reply === 'string') return `$${reply.length}\r\n${reply}\r\n`;
  if (typeof reply === 'number' || typeof reply === 'bigint') return `:${reply}\r\n`;
  if (reply === null) return protocol === 2 ? '$-1\r\n' : '_\r\n';
  if (Array.isArray(reply)) return encodeItems('*', reply.length, reply as readonly Reply[], protocol);
  if (reply instanceof StatusReply) return `+${reply.text}\r\n`;
  if (reply instanceof ErrorReply) return `-${reply.text.replace(/[\r\n]/g, ' ')}\r\n`;
  if (reply === NULL_ARRAY) return protocol === 2 ? '*-1\r\n' : '_\r\n';
  if (reply === NO_REPLY) return '';
  if (typeof reply === 'boolean')
    return protocol === 2 ? `:${reply ? 1 : 0}\r\n` : `#${reply ? 't' : 'f'}\r\n`;
  if (reply instanceof DoubleReply) {
    const text = formatDouble(reply.value);
    return protocol === 2 ? `$${text.length}\r\n${text}\r\n` : `,${text}\r\n`;
  }
  if (reply instanceof MapReply) {
    const {items} = reply;
    return protocol === 2
      ? encodeItems('*', items.length, items, 2)
      : encodeItems('%', items.length / 2, items, 3);
  }
  if (reply instanceof SetReply) {
    return encodeItems(protocol === 2 ? '*' : '~', reply.items.length, reply.items, protocol);
  }
  if (reply instanceof PushReply) {
    return encodeItems(protocol === 2 ? '*' : '>', reply.items.length, reply.items, protocol);
  }
  if (reply instanceof BigNumberReply) {
    const {digits} = reply;
    return protocol === 2 ? `$${digits.length}\r\n${digits}\r\n` : `(${digits}\r\n`;
  }
  if (reply instanceof VerbatimReply) {
    const {text, format} = reply;
    return protocol === 2 ? `$${text.length}\r\n${text}\r\n` : `=${text.length + 4}\r\n${format}:${text}\r\n`;
  }
  throw new TypeError('not a reply');
}

function encodeItems(mark: string, count: number, items: readonly Reply[], protocol: Protocol): string {
  let out = `${mark}${count}\r\n`;
  for (const item of items) out += encode(item, protocol);
  return out;
}

/** The client broke the protocol; it is told so and the connection ends. */
export class ProtocolError extends Error {}

const MAX_ARGUMENTS = 1024 * 1024;
const MAX_BULK_BYTES = 512 * 1024 * 1024;
const MAX_INLINE_BYTES = 64 * 1024;
const LF = 10;

/** Turns the bytes of one connection into commands. */
export class RequestParser {
  private rest: Buffer[] = [];
  private restBytes = 0;
  /** Below this many bytes the command at the front cannot be complete, so it is not tried again. */
  private wanted = 0;
  private buffer: Buffer = Buffer.alloc(0);
  private at = 0;

  /**
   * @returns The commands that are complete now, each with at least its name.
   * @throws {ProtocolError} after the good commands have been returned by `onCommand`.
   */
  feed(chunk: Buffer, onCommand: (args: string[]) => void): void {
    this.rest.push(chunk);
    this.restBytes += chunk.length;
    if (this.restBytes < this.wanted) return;
    this.buffer = this.rest.length === 1 ? chunk : Buffer.concat(this.rest);
    this.at = 0;
    this.wanted = 0;
    while (this.at < this.buffer.length) {
      const start = this.at;
      const args = this.buffer[start] === 0x2a ? this.array() : this.inline();
      if (args === undefined) {
        this.at = start;
        break;
      }
      if (args.length > 0) onCommand(args);
    }
    this.rest = this.at < this.buffer.length ? [this.buffer.subarray(this.at)] : [];
    this.restBytes = this.buffer.length - this.at;
    if (this.wanted > 0) this.wanted -= this.at;
  }

  private array(): string[] | undefined {
    const count = this.length('*', MAX_ARGUMENTS, 'invalid multibulk length');
    if (count === undefined) return undefined;
    const args: string[] = [];
    for (let i = 0; i < count; i++) {
      if (this.at >= this.buffer.length) return undefined;
      if (this.buffer[this.at] !== 0x24) {
        const got = String.fromCharCode(this.buffer[this.at] ?? 0);
        throw new ProtocolError(`expected '$', got '${got}'`);
      }
      const size = this.length('$', MAX_BULK_BYTES, 'invalid bulk length');
      if (size === undefined) return undefined;
      if (size < 0) throw new ProtocolError('invalid bulk length');
      const end = this.at + size;
      if (end + 2 > this.buffer.length) {
        this.wanted = end + 2;
        return undefined;
      }
      args.push(this.buffer.toString('latin1', this.at, end));
      this.at = end + 2;
    }
    return args;
  }

  /** A line like `*3`; the mark has been seen. */
  private length(mark: '*' | '$', most: number, problem: string): number | undefined {
    const {buffer} = this;
    let value = 0;
    let at = this.at + 1;
    const negative = buffer[at] === 0x2d;
    if (negative) at++;
    const digitsFrom = at;
    for (; at < buffer.length; at++) {
      const code = buffer[at] ?? 0;
      if (code === 13) break;
      if (code < 48 || code > 57 || at - digitsFrom > 10) throw new ProtocolError(problem);
      value = value * 10 + code - 48;
    }
    if (at + 1 >= buffer.length) return undefined;
    if (at === digitsFrom || value > most) throw new ProtocolError(problem);
    this.at = at + 2;
    if (negative && mark === '*') return 0;
    return negative ? -value : value;
  }

  private inline(): string[] | undefined {
    const end = this.buffer.indexOf(LF, this.at);
    if (end < 0) {
      if (this.buffer.length - this.at > MAX_INLINE_BYTES) throw new ProtocolError('too big inline request');
      return undefined;
    }
    const line = this.buffer.toString('latin1', this.at, end);
    this.at = end + 1;
    const args = splitInline(line.endsWith('\r') ? line.slice(0, -1) : line);
    if (args === undefined) throw new ProtocolError('unbalanced quotes in request');
    return args;
  }
}

const ESCAPES: Record<string, string> = {n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07'};

/** Words of an inline command, with redis-cli's quoting; undefined if a quote is left open. */
export function splitInline(line: string): string[] | undefined {
  const words: string[] = [];
  let at = 0;
  const isSpace = (index: number) => /\s/.test(line[index] ?? ' ');
  for (;;) {
    while (at < line.length && isSpace(at)) at++;
    if (at >= line.length) return words;
    let word = '';
    const quote = line[at] === '"' || line[at] === "'" ? line[at] : undefined;
    if (quote === undefined) {
      while (at < line.length && !isSpace(at)) word += line[at++] ?? '';
      words.push(word);
      continue;
    }
    at++;
    for (;;) {
      if (at >= line.length) return undefined;
      const char = line[at++] ?? '';
      if (char === quote) break;
      if (char !== '\\') {
        word += char;
      } else if (quote === "'") {
        if (line[at] === "'") at++;
        word += line[at - 1] === "'" ? "'" : '\\';
      } else {
        const hex = /^x([0-9a-f]{2})/i.exec(line.slice(at, at + 3));
        if (hex) {
          word += String.fromCharCode(parseInt(hex[1] ?? '0', 16));
          at += 3;
        } else {
          const escaped = line[at++] ?? '';
          word += ESCAPES[escaped] ?? escaped;
        }
      }
    }
    // A closing quote must end the word.
    if (at < line.length && !isSpace(at)) return undefined;
    words.push(word);
  }
}
