/**
 * Who may run beside whom. Most work shares the process; an execution that crashed before runs alone, so that the next
 * crash takes nobody with it (G4).
 */
import {countedAttempts, type ExecutionRecord} from '../protocol/execution.js';

/** Crashes after which an execution runs alone. */
const CRASHES_BEFORE_ALONE = 2;

/**
 * Whether the next start of an entry that was taken over must be alone.
 * The attempt the record still shows as running is a crash nobody has counted yet. Crashes of another command of the
 * execution say nothing about this one.
 *
 * @param entry `{stream}/{entry id}`, as in the record.
 */
export function mustRunAlone(record: ExecutionRecord, entry: string): boolean {
  const begun = record.extra['x_entry'];
  if (begun !== undefined && begun !== entry) return false;
  const owner = record.extra['x_owner'];
  const brokenOff = (typeof owner === 'string' && owner !== '') || record.status === 'RUNNING';
  return countedAttempts(record).crashes + (brokenOff ? 1 : 0) >= CRASHES_BEFORE_ALONE;
}

interface Waiting {
  readonly alone: boolean;
  readonly enter: () => void;
}

/** Lets many in together, or one alone. First come, first served, so nobody waits for ever. */
export class Solitude {
  private inside = 0;
  private aloneInside = false;
  private waiting: Waiting[] = [];
  private watchers: (() => void)[] = [];

  /** Somebody runs alone or waits to: nothing new should be read. */
  get isWanted(): boolean {
    return this.aloneInside || this.waiting.some(({alone}) => alone);
  }

  /**
   * Wait for permission to run.
   * @returns whether it was given; false if `signal` aborted first. Whoever got it calls {@link leave} once.
   */
  async enter(alone: boolean, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    if (this.waiting.length === 0 && this.mayEnter(alone)) {
      this.admit(alone);
      return true;
    }
    return new Promise(resolve => {
      const waiting: Waiting = {
        alone,
        enter: () => {
          signal.removeEventListener('abort', giveUp);
          resolve(true);
        },
      };
      const giveUp = () => {
        this.waiting = this.waiting.filter(other => other !== waiting);
        this.letIn();
        resolve(false);
      };
      signal.addEventListener('abort', giveUp, {once: true});
      this.waiting.push(waiting);
    });
  }

  leave(): void {
    this.inside--;
    this.aloneInside = false;
    this.letIn();
  }

  /** Resolves when nobody runs alone or waits to, or when `signal` aborts. */
  async over(signal: AbortSignal): Promise<void> {
    if (!this.isWanted || signal.aborted) return;
    await new Promise<void>(resolve => {
      this.watchers.push(resolve);
      signal.addEventListener('abort', () => resolve(), {once: true});
    });
  }

  private mayEnter(alone: boolean): boolean {
    return !this.aloneInside && (!alone || this.inside === 0);
  }

  private admit(alone: boolean): void {
    this.inside++;
    this.aloneInside = alone;
  }

  private letIn(): void {
    for (;;) {
      const next = this.waiting[0];
      if (next === undefined || !this.mayEnter(next.alone)) break;
      this.waiting.shift();
      this.admit(next.alone);
      next.enter();
    }
    if (this.isWanted) return;
    const watchers = this.watchers;
    this.watchers = [];
    for (const resolve of watchers) resolve();
  }
}
