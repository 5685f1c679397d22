/** One connection's state, as the commands see it. */
import type {Database} from './keyspace.js';
import {encode, type Protocol} from './resp.js';
import type {Reply} from './reply.js';
import type {Waiter} from './waiter.js';

/** A command's words, name first. The dispatch table has checked the arity, so the required ones are there. */
export type Args = readonly [string, string, string, string, string, string, ...string[]];

/** What MULTI has collected. */
export interface Transaction {
  readonly queue: Args[];
  /** A command was refused while it was queued: EXEC refuses all. */
  hasFailed: boolean;
}

export class Client {
  name = '';
  protocol: Protocol = 2;
  transaction: Transaction | undefined;
  readonly watched: {db: Database; key: string; wasExpired: boolean}[] = [];
  /** A watched key has changed. */
  isDirty = false;
  /** Set while a blocking command waits. */
  waiter: Waiter | undefined;
  /** Commands that arrived while one was waiting. */
  backlog: string[][] = [];
  readonly channels = new Set<string>();
  readonly patterns = new Set<string>();
  libName = '';
  libVersion = '';
  lastCommand = 'NULL';
  lastUsedAt: number;
  replyMode: 'on' | 'off' | 'skip' | 'skip-next' = 'on';
  isClosing = false;
  /** False while a script or EXEC runs, where nothing may wait. */
  mayBlock = true;
  /** Commands come from a script. */
  isScript = false;
  out = '';

  constructor(
    readonly id: number,
    readonly address: string,
    readonly localAddress: string,
    public db: Database,
    readonly createdAt: number,
    private readonly onOutput: (client: Client) => void,
    /** Close the connection at once. */
    readonly close: () => void,
  ) {
    this.lastUsedAt = createdAt;
  }

  get isSubscribed(): boolean {
    return this.channels.size + this.patterns.size > 0;
  }

  /** Queue a reply for this connection. */
  send(reply: Reply): void {
    if (this.replyMode !== 'on') return;
    if (this.out === '') this.onOutput(this);
    this.out += encode(reply, this.protocol);
  }
}
