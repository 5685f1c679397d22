/** A client that shows exactly what came over the wire: for comparing two servers, and for what ioredis would hide. */
import {connect, type Socket} from 'node:net';

/** A reply as it was spelt. Bulk strings are latin1 text; everything else that is not an array or a number is tagged. */
export type Wire =
  | string
  | number
  | null
  | Wire[]
  | {
      readonly kind: 'status' | 'error' | 'double' | 'bool' | 'verbatim' | 'null-array' | 'big';
      readonly text: string;
    }
  | {readonly kind: 'map' | 'set' | 'push'; readonly items: Wire[]};

export class RawClient {
  private buffer: Buffer = Buffer.alloc(0);
  private readonly waiting: {resolve: (reply: Wire) => void; reject: (error: Error) => void}[] = [];
  private readonly unasked: Wire[] = [];
  private hasEnded = false;

  private constructor(private readonly socket: Socket) {
    socket.on('data', chunk => {
      this.buffer = this.buffer.length === 0 ? chunk : Buffer.concat([this.buffer, chunk]);
      this.drain();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.hasEnded = true;
      for (const {reject} of this.waiting.splice(0)) reject(new Error('connection closed'));
    });
  }

  static async connect(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({port, host, noDelay: true});
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RawClient(socket);
  }

  get isClosed(): boolean {
    return this.hasEnded;
  }

  write(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** The next reply, whoever asked for it. */
  next(): Promise<Wire> {
    const reply = this.unasked.shift();
    if (reply !== undefined) return Promise.resolve(reply);
    if (this.hasEnded) return Promise.reject(new Error('connection closed'));
    return new Promise((resolve, reject) => this.waiting.push({resolve, reject}));
  }

  /** Send commands in one write; their replies in order. */
  async batch(commands: readonly (readonly string[])[]): Promise<Wire[]> {
    this.write(commands.map(encode).join(''));
    return Promise.all(commands.map(() => this.next()));
  }

  async send(...args: string[]): Promise<Wire> {
    this.write(encode(args));
    return this.next();
  }

  async closed(): Promise<void> {
    if (!this.hasEnded) await new Promise<void>(resolve => this.socket.once('close', () => resolve()));
  }

  close(): void {
    this.socket.destroy();
  }

  private drain(): void {
    let at = 0;
    for (;;) {
      const parsed = parse(this.buffer, at);
      if (parsed === undefined) break;
      at = parsed.at;
      const waiter = this.waiting.shift();
      if (waiter) waiter.resolve(parsed.reply);
      else this.unasked.push(parsed.reply);
    }
    this.buffer = this.buffer.subarray(at);
  }
}

export function encode(args: readonly string[]): string {
  return `*${args.length}\r\n${args.map(arg => `$${arg.length}\r\n${arg}\r\n`).join('')}`;
}

function parse(buffer: Buffer, at: number): {reply: Wire; at: number} | undefined {
  const end = buffer.indexOf('\r\n', at);
  if (end < 0) return undefined;
  const mark = String.fromCharCode(buffer[at]!);
  const line = buffer.toString('latin1', at + 1, end);
  const after = end + 2;
  const text = (kind: 'status' | 'error' | 'double' | 'bool' | 'big') => ({
    reply: {kind, text: line},
    at: after,
  });
  switch (mark) {
    case '+':
      return text('status');
    case '-':
      return text('error');
    case ',':
      return text('double');
    case '#':
      return text('bool');
    case '(':
      return text('big');
    case ':':
      return {reply: Number(line), at: after};
    case '_':
      return {reply: null, at: after};
    case '$':
    case '=': {
      const size = Number(line);
      if (size < 0) return {reply: null, at: after};
      if (buffer.length < after + size + 2) return undefined;
      const content = buffer.toString('latin1', after, after + size);
      return {reply: mark === '$' ? content : {kind: 'verbatim', text: content}, at: after + size + 2};
    }
    case '*':
    case '~':
    case '>':
    case '%': {
      if (line === '-1') return {reply: {kind: 'null-array', text: ''}, at: after};
      const items: Wire[] = [];
      let next = after;
      for (let i = 0; i < Number(line) * (mark === '%' ? 2 : 1); i++) {
        const item = parse(buffer, next);
        if (item === undefined) return undefined;
        items.push(item.reply);
        next = item.at;
      }
      if (mark === '*') return {reply: items, at: next};
      return {reply: {kind: mark === '%' ? 'map' : mark === '~' ? 'set' : 'push', items}, at: next};
    }
    default:
      throw new Error(`not RESP: ${mark}${line}`);
  }
}
