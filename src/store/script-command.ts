/**
 * A call of a script as the client library sends it, but written by us. The library builds the text of a command from
 * hundreds of small strings, which are garbage the moment they are sent; a script that is joined from many calls has
 * thousands of arguments, and they are most of what a busy worker or sender writes.
 */
import {Command} from 'ioredis';
import type {RawCall, ScriptArg} from './run-script.js';

/** Text up to this many characters is written letter by letter: cheaper than asking the runtime for its length. */
const SHORT = 40;
/** Between `$` and the text there are at most this many digits, and the line ends around them. */
const FRAME_BYTES = 16;
const FIRST_SIZE = 64 * 1024;
/** Room that one large command needed is given back. */
const KEPT_SIZE = 1024 * 1024;

const [STAR, DOLLAR, CR, LF, ZERO] = [42, 36, 13, 10, 48];

/** Where a command is put together. Nothing here waits, so one will do. */
let room = Buffer.allocUnsafeSlow(FIRST_SIZE);
let end = 0;

/** @param command EVALSHA or EVAL, or those that only read. @param script the digest or the text. */
export class ScriptCommand extends Command {
  private readonly bytes: Buffer;

  /** @param options.binary the reply stays bytes. */
  constructor(
    command: string,
    readonly script: string,
    call: RawCall,
    options: {readonly binary: boolean},
  ) {
    super(command.toLowerCase(), [], options.binary ? {} : {replyEncoding: 'utf8'});
    this.bytes = encodeScriptCall(command, script, call);
  }

  override toWritable(): Buffer {
    return this.bytes;
  }
}

/** @returns the command in the protocol's form: an array of texts, each with its length in bytes. */
export function encodeScriptCall(command: string, script: string, {keys, args}: RawCall): Buffer {
  end = 0;
  putHead(STAR, 3 + keys.length + args.length);
  put(command);
  put(script);
  put(keys.length);
  for (const key of keys) put(key);
  for (const arg of args) put(arg);
  const bytes = Buffer.allocUnsafeSlow(end);
  room.copy(bytes, 0, 0, end);
  if (room.length > KEPT_SIZE) room = Buffer.allocUnsafeSlow(FIRST_SIZE);
  return bytes;
}

function put(arg: ScriptArg): void {
  if (typeof arg === 'string') putText(arg);
  else if (typeof arg === 'number') putText(String(arg));
  else putBytes(arg);
}

function putText(text: string): void {
  const {length} = text;
  if (length > SHORT || !putShort(text)) {
    const bytes = Buffer.byteLength(text);
    makeRoom(bytes);
    putHead(DOLLAR, bytes);
    // One byte a letter: copied as it is.
    end += room.write(text, end, bytes, bytes === length ? 'latin1' : 'utf8');
  }
  putLineEnd();
}

/** @returns false, and nothing is written, if a letter takes more than one byte. */
function putShort(text: string): boolean {
  const {length} = text;
  makeRoom(length);
  const before = end;
  putHead(DOLLAR, length);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) {
      end = before;
      return false;
    }
    room[end++] = code;
  }
  return true;
}

function putBytes(bytes: Buffer): void {
  makeRoom(bytes.length);
  putHead(DOLLAR, bytes.length);
  end += bytes.copy(room, end);
  putLineEnd();
}

function putHead(mark: number, count: number): void {
  room[end++] = mark;
  putCount(count);
  putLineEnd();
}

function putCount(count: number): void {
  if (count >= 10) putCount(Math.floor(count / 10));
  room[end++] = ZERO + (count % 10);
}

function putLineEnd(): void {
  room[end++] = CR;
  room[end++] = LF;
}

function makeRoom(bytes: number): void {
  const needed = end + bytes + FRAME_BYTES;
  if (needed <= room.length) return;
  const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * room.length));
  room.copy(larger, 0, 0, end);
  room = larger;
}
