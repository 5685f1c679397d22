/**
 * Commands that wait. Waiters stand in a queue per key; after each command, script or transaction the keys that changed
 * are offered to them in the order they came.
 */
import type {Client} from './client.js';
import type {Database, Shared} from './keyspace.js';
import {CommandError, ErrorReply, NO_REPLY, NULL_ARRAY, type Reply} from './reply.js';
import {double} from './numbers.js';
import type {Waiter} from './waiter.js';

/** setTimeout takes no more; longer waits are armed again. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class Blocking {
  private readonly blocked = new Map<
    Client,
    {db: Database; waiter: Waiter; timer: NodeJS.Timeout | undefined}
  >();

  /**
   * @param onWake A client is answered outside of a command of its own: run what it has sent meanwhile.
   */
  constructor(
    private readonly shared: Shared,
    private readonly onWake: (client: Client) => void,
  ) {}

  get count(): number {
    return this.blocked.size;
  }

  /**
   * Wait until `serve` has an answer for one of the keys.
   *
   * @param timeoutMs 0 waits for ever.
   * @returns What the command answers now: in a script or transaction, where nothing waits, that time is up.
   */
  wait(
    client: Client,
    options: {
      keys: readonly string[];
      timeoutMs: number;
      serve: (key: string) => Reply | undefined;
      onTimeout?: Reply;
      /** What it answers where nothing may wait; `onTimeout` if left out. */
      onRefused?: Reply;
    },
  ): Reply {
    const {keys, timeoutMs, serve, onTimeout = NULL_ARRAY, onRefused = onTimeout} = options;
    if (!client.mayBlock) return onRefused;
    const {db} = client;
    const waiter: Waiter = {
      keys,
      onTimeout,
      deadline: timeoutMs === 0 ? 0 : Date.now() + timeoutMs,
      serve,
      finish: reply => {
        this.remove(client);
        client.send(reply);
        this.onWake(client);
      },
    };
    for (const key of keys) {
      const queue = db.waiters.get(key);
      if (queue === undefined) db.waiters.set(key, new Set([waiter]));
      else queue.add(waiter);
    }
    const block = {db, waiter, timer: undefined};
    this.blocked.set(client, block);
    client.waiter = waiter;
    if (timeoutMs !== 0) this.arm(block);
    return NO_REPLY;
  }

  /** Forget a client's wait without an answer: it has gone. */
  remove(client: Client): void {
    const block = this.blocked.get(client);
    if (block === undefined) return;
    this.blocked.delete(client);
    client.waiter = undefined;
    clearTimeout(block.timer);
    const {db, waiter} = block;
    for (const key of waiter.keys) {
      const queue = db.waiters.get(key);
      queue?.delete(waiter);
      if (queue?.size === 0) db.waiters.delete(key);
    }
  }

  /** Answer whoever waits for a key that has changed. Serving may change further keys (BLMOVE), so it goes on until none is left. */
  serveReady(): void {
    const {ready} = this.shared;
    while (ready.length > 0) {
      for (const {db, key} of ready.splice(0)) {
        const queue = db.waiters.get(key);
        if (queue === undefined) continue;
        for (const waiter of [...queue]) {
          if (!queue.has(waiter)) continue;
          const reply = waiter.serve(key);
          if (reply !== undefined) waiter.finish(reply);
        }
      }
    }
  }

  /** CLIENT UNBLOCK. */
  unblock(client: Client, withError: boolean): boolean {
    const {waiter} = client;
    if (waiter === undefined) return false;
    waiter.finish(
      withError ? new ErrorReply('UNBLOCKED client unblocked via CLIENT UNBLOCK') : waiter.onTimeout,
    );
    return true;
  }

  private arm(block: {waiter: Waiter; timer: NodeJS.Timeout | undefined}): void {
    const left = block.waiter.deadline - Date.now();
    block.timer = setTimeout(
      () => {
        if (block.waiter.deadline > Date.now()) this.arm(block);
        else block.waiter.finish(block.waiter.onTimeout);
      },
      Math.max(1, Math.min(left, MAX_TIMER_MS)),
    );
  }
}

/** A timeout in seconds, which may have a fraction, as milliseconds. */
export function timeoutSeconds(text: string): number {
  let seconds: number;
  try {
    seconds = double(text);
  } catch {
    // Any number Redis cannot read gets the same refusal, which names the argument.
    throw new CommandError(`ERR timeout is not a float or out of range`);
  }
  if (seconds < 0) throw new CommandError('ERR timeout is negative');
  if (!Number.isFinite(seconds) || seconds * 1000 > Number.MAX_SAFE_INTEGER) {
    throw new CommandError('ERR timeout is out of range');
  }
  return Math.ceil(seconds * 1000);
}
