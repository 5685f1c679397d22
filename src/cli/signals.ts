/**
 * What ends a command from outside: Ctrl-C, a signal, a deadline, a reader that went away. The first asks, the
 * second forces. A command that looks at {@link Interruption.signal} is given the time it needs; one that never
 * does is ended at once, after its clean-ups.
 */

export type Cause = 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'EPIPE' | 'TIMEOUT';

const EXIT: Readonly<Record<Cause, number>> = {SIGINT: 130, SIGTERM: 143, SIGHUP: 129, EPIPE: 0, TIMEOUT: 8};
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** How long a command that looks at the signal may still take after a deadline or a closed pipe. */
const GRACE_MS = 2000;
/** How long a command that looks at `force` may still take after the second signal (guarantees.md G13). */
const FORCE_MS = 1000;
/** setTimeout fires at once for more than this. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Thrown into a command's result when it was ended from outside. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';

  constructor(
    readonly reason: Cause,
    readonly exitCode: number,
  ) {
    super(`interrupted by ${reason}`);
  }
}

export interface ProcessLike {
  on(event: string, listener: () => void): unknown;
  removeListener(event: string, listener: () => void): unknown;
  exit(code: number): void;
  readonly stdout: {
    on(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
    removeListener(event: 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
  };
}

export class Interruption {
  readonly #asked = new AbortController();
  readonly #forced = new AbortController();
  readonly #process: ProcessLike;
  readonly #listeners = new Map<string, () => void>();
  readonly #onPipeError = (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') this.interrupt('EPIPE');
  };
  #cleanups: (() => unknown)[] = [];
  #looksAtSignal = false;
  #looksAtForce = false;
  #cause: Cause | null = null;
  #timer: NodeJS.Timeout | null = null;
  #endNow: (() => void) | null = null;

  constructor(host: ProcessLike) {
    this.#process = host;
    for (const name of SIGNALS) {
      const listener = () => this.interrupt(name);
      this.#listeners.set(name, listener);
      host.on(name, listener);
    }
    host.stdout.on('error', this.#onPipeError);
  }

  /** Aborted by the first signal. Whoever asks for it promises to end the command when it aborts. */
  get signal(): AbortSignal {
    this.#looksAtSignal = true;
    return this.#asked.signal;
  }

  /** Aborted by the second signal; the process ends a second later. Without a look at this it ends at once. */
  get force(): AbortSignal {
    this.#looksAtForce = true;
    return this.#forced.signal;
  }

  /** What ended the command, if something did. */
  get cause(): Cause | null {
    return this.#cause;
  }

  exitCode(cause: Cause): number {
    return EXIT[cause];
  }

  /** Runs when the command ends, however it ends; the last one added runs first. */
  onExit(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  startDeadline(ms: number): void {
    this.#setTimer(ms, () => this.interrupt('TIMEOUT'));
  }

  interrupt(cause: Cause): void {
    const isSignal = (SIGNALS as readonly Cause[]).includes(cause);
    if (this.#cause !== null) {
      if (isSignal) this.#force(this.#cause === 'TIMEOUT' || this.#cause === 'EPIPE' ? cause : this.#cause);
      return;
    }
    this.#cause = cause;
    this.#asked.abort(new Interrupted(cause, EXIT[cause]));
    if (!this.#looksAtSignal) this.#endNow?.();
    // A deadline, or output nobody reads, is not worth waiting for a command that does not end.
    else if (!isSignal) this.#setTimer(GRACE_MS, () => this.#endNow?.());
  }

  /**
   * @returns What the work returns.
   * @throws {Interrupted} if it was ended from outside and does not want to end by itself.
   */
  async race<T>(work: Promise<T>): Promise<T> {
    const ended = new Promise<never>((_, reject) => {
      this.#endNow = () => reject(this.#asked.signal.reason as Interrupted);
    });
    // Lost races must not surface as unhandled rejections.
    ended.catch(() => undefined);
    work.catch(() => undefined);
    return Promise.race([work, ended]);
  }

  /** Runs the clean-ups. @returns What they threw. */
  async cleanUp(): Promise<unknown[]> {
    const failures: unknown[] = [];
    while (this.#cleanups.length > 0) {
      const cleanup = this.#cleanups.pop();
      try {
        await cleanup?.();
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }

  /** Takes the handlers away: signals do what they do by default again. */
  dispose(): void {
    if (this.#timer) clearTimeout(this.#timer);
    for (const [name, listener] of this.#listeners) this.#process.removeListener(name, listener);
    this.#process.stdout.removeListener('error', this.#onPipeError);
  }

  #force(cause: Cause): void {
    const exit = () => this.#process.exit(EXIT[cause]);
    if (!this.#looksAtForce || this.#forced.signal.aborted) {
      exit();
      return;
    }
    this.#forced.abort(new Interrupted(cause, EXIT[cause]));
    this.#setTimer(FORCE_MS, exit);
  }

  #setTimer(ms: number, then: () => void): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(then, Math.min(ms, LONGEST_TIMER_MS));
  }
}
