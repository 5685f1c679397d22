/**
 * Values between JavaScript and the Lua interpreter's memory. The package has a codec of its own that works on Buffers;
 * this one reads and writes our latin1 strings in place, which halves what a call from a script costs.
 *
 * A value is a tag, a 32-bit size and a payload; arguments are a count, and for each a 32-bit size and its bytes.
 */
import {formatDouble} from './numbers.js';
import {
  BigNumberReply,
  DoubleReply,
  ErrorReply,
  MapReply,
  NO_REPLY,
  NULL_ARRAY,
  type PushReply,
  SetReply,
  StatusReply,
  VerbatimReply,
  type Reply,
} from './reply.js';
import type {Protocol} from './resp.js';

const TAG = {
  null: 0,
  integer: 1,
  bulk: 2,
  array: 3,
  status: 4,
  error: 5,
  scriptError: 6,
  boolean: 7,
  double: 8,
  map: 9,
  set: 10,
  bigNumber: 11,
  verbatim: 12,
} as const;

/** A script ended in an error of its own, or in one that `redis.call` raised. */
export class ScriptFailure {
  constructor(
    readonly text: string,
    /** Counted from 1; 0 if not known. */
    readonly line: number,
  ) {}
}

/** Collects encoded bytes; one is used again and again. */
export class LuaWriter {
  private buffer = Buffer.allocUnsafe(64 * 1024);
  private length = 0;

  /** What was written since the last call. Valid until the next write. */
  take(): Buffer {
    const bytes = this.buffer.subarray(0, this.length);
    this.length = 0;
    return bytes;
  }

  args(keys: readonly string[], args: readonly string[]): void {
    this.uint32(keys.length + args.length);
    for (const text of keys) this.sized(text);
    for (const text of args) this.sized(text);
  }

  reply(reply: Reply, protocol: Protocol): void {
    if (typeof reply === 'string') this.text(TAG.bulk, reply);
    else if (typeof reply === 'number' || typeof reply === 'bigint') this.integer(reply);
    else if (reply === null || reply === NULL_ARRAY || reply === NO_REPLY) this.head(TAG.null, 0);
    else if (reply instanceof StatusReply) this.text(TAG.status, reply.text);
    else if (reply instanceof ErrorReply) this.text(TAG.error, reply.text);
    else if (Array.isArray(reply)) this.items(TAG.array, reply.length, reply as readonly Reply[], protocol);
    else if (protocol === 2) this.downgraded(reply as Exclude<typeof reply, readonly Reply[]>);
    else if (reply instanceof MapReply) this.items(TAG.map, reply.items.length / 2, reply.items, protocol);
    else if (reply instanceof SetReply) this.items(TAG.set, reply.items.length, reply.items, protocol);
    else if (reply instanceof DoubleReply) {
      this.head(TAG.double, 8);
      this.reserve(8);
      this.length = this.buffer.writeDoubleLE(reply.value, this.length);
    } else if (typeof reply === 'boolean') {
      this.head(TAG.boolean, 1);
      this.reserve(1);
      this.length = this.buffer.writeUInt8(reply ? 1 : 0, this.length);
    } else this.downgraded(reply as Exclude<typeof reply, readonly Reply[]>);
  }

  /** What RESP2 has no type for. */
  private downgraded(
    reply: boolean | MapReply | SetReply | PushReply | DoubleReply | VerbatimReply | BigNumberReply,
  ): void {
    if (typeof reply === 'boolean') this.integer(reply ? 1 : 0);
    else if (reply instanceof DoubleReply) this.text(TAG.bulk, formatDouble(reply.value));
    else if (reply instanceof VerbatimReply) this.text(TAG.bulk, reply.text);
    else if (reply instanceof BigNumberReply) this.text(TAG.bulk, reply.digits);
    else this.items(TAG.array, reply.items.length, reply.items, 2);
  }

  private items(tag: number, count: number, items: readonly Reply[], protocol: Protocol): void {
    this.head(tag, count);
    for (const item of items) this.reply(item, protocol);
  }

  private integer(value: number | bigint): void {
    this.head(TAG.integer, 8);
    this.reserve(8);
    if (typeof value === 'number' && value >= 0 && value <= 0xffffffff) {
      this.buffer.writeUInt32LE(value, this.length);
      this.length = this.buffer.writeUInt32LE(0, this.length + 4);
    } else {
      this.length = this.buffer.writeBigInt64LE(BigInt(value), this.length);
    }
  }

  private text(tag: number, text: string): void {
    this.reserve(1);
    this.buffer[this.length++] = tag;
    this.sized(text);
  }

  private head(tag: number, size: number): void {
    this.reserve(1);
    this.buffer[this.length++] = tag;
    this.uint32(size);
  }

  private sized(text: string): void {
    this.uint32(text.length);
    this.reserve(text.length);
    this.length += this.buffer.write(text, this.length, 'latin1');
  }

  private uint32(value: number): void {
    this.reserve(4);
    this.length = this.buffer.writeUInt32LE(value, this.length);
  }

  private reserve(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(2 * (this.length + bytes));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}

/** Read the arguments of a `redis.call`. */
export function readArgs(bytes: Buffer): string[] {
  const count = bytes.readUInt32LE(0);
  const args: string[] = [];
  let at = 4;
  for (let i = 0; i < count; i++) {
    const size = bytes.readUInt32LE(at);
    args.push(bytes.toString('latin1', at + 4, at + 4 + size));
    at += 4 + size;
  }
  return args;
}

/** Read what a script returned. */
export function readResult(bytes: Buffer): Reply | ScriptFailure {
  if (bytes[0] === TAG.scriptError) {
    const size = bytes.readUInt32LE(1);
    return new ScriptFailure(bytes.toString('latin1', 9, 5 + size), bytes.readUInt32LE(5));
  }
  return new LuaReader(bytes).reply();
}

/** Redis prints a script's status and error texts as C strings, and on one line. */
const cString = (text: string) => (text.split('\0', 1)[0] ?? '').replace(/[\r\n]/g, ' ');

class LuaReader {
  private at = 0;

  constructor(private readonly bytes: Buffer) {}

  reply(): Reply {
    const tag = this.bytes[this.at];
    const size = this.bytes.readUInt32LE(this.at + 1);
    this.at += 5;
    switch (tag) {
      case TAG.null:
        return null;
      case TAG.integer: {
        const value = this.bytes.readBigInt64LE(this.at);
        this.at += 8;
        return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
      }
      case TAG.bulk:
        return this.text(size);
      case TAG.status:
        return new StatusReply(cString(this.text(size)));
      case TAG.error:
        return new ErrorReply(cString(this.text(size)));
      case TAG.scriptError:
        this.at += 4;
        return new ErrorReply(cString(this.text(size - 4)));
      case TAG.array:
        return this.items(size);
      case TAG.boolean:
        return this.bytes[this.at++] !== 0;
      case TAG.double: {
        const value = this.bytes.readDoubleLE(this.at);
        this.at += 8;
        return new DoubleReply(value);
      }
      case TAG.map:
        return new MapReply(this.items(2 * size));
      case TAG.set:
        return new SetReply(this.items(size));
      case TAG.bigNumber:
        return new BigNumberReply(this.text(size));
      case TAG.verbatim: {
        const formatSize = this.bytes.readUInt32LE(this.at);
        this.at += 4;
        const format = this.text(formatSize);
        return new VerbatimReply(this.text(size - 4 - formatSize), format);
      }
      default:
        throw new TypeError(`the Lua engine returned a value with unknown tag ${tag ?? 'none'}`);
    }
  }

  private items(count: number): Reply[] {
    const items: Reply[] = [];
    for (let i = 0; i < count; i++) items.push(this.reply());
    return items;
  }

  private text(size: number): string {
    const text = this.bytes.toString('latin1', this.at, this.at + size);
    this.at += size;
    return text;
  }
}
