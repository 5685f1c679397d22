/** A client that waits for keys. */
import type {Reply} from './reply.js';

/** One blocked command. */
export interface Waiter {
  readonly keys: readonly string[];
  /** Answered when the time is up. */
  readonly onTimeout: Reply;
  /** Unix milliseconds; 0: waits for ever. */
  readonly deadline: number;
  /** @returns The answer if this key can give one now, or undefined to go on waiting. */
  serve(key: string): Reply | undefined;
  /** End the wait with this answer. */
  finish(reply: Reply): void;
}
