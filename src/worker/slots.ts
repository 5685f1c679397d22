/** How many executions may run at once. Reading asks for free slots first, so nothing is taken that can not start. */
export class Slots {
  private used = 0;
  /** Kept for entries that are being read. */
  private held = 0;
  private waiters: (() => void)[] = [];

  constructor(readonly total: number) {}

  get free(): number {
    return this.total - this.used - this.held;
  }

  /** Not taken, though perhaps kept by a reader, which gives them up when it is unblocked. */
  get idle(): number {
    return this.total - this.used;
  }

  get busy(): number {
    return this.used;
  }

  /** Take one; the caller has looked at {@link free}. Control entries may exceed the total by what was read at once. */
  take(): void {
    this.used++;
  }

  give(): void {
    this.used--;
    this.wake();
  }

  /**
   * Keep so many slots from other readers while `read` runs. What it read is handed to `begin` before any other reader
   * can take the slots.
   */
  async hold<T>(count: number, read: () => Promise<T>, begin: (result: T) => void): Promise<void> {
    this.held += count;
    let result: T;
    try {
      result = await read();
    } finally {
      this.held -= count;
    }
    begin(result);
    this.wake();
  }

  /** Resolves when a slot is free, or when {@link wake} is called. */
  async available(): Promise<void> {
    if (this.free > 0) return;
    await new Promise<void>(resolve => this.waiters.push(resolve));
  }

  wake(): void {
    const waiting = this.waiters;
    this.waiters = [];
    for (const resolve of waiting) resolve();
  }
}

/** A turn has one slot to give away, however many of its parts wait. */
export function asideOnce(stepAside: () => () => void): () => () => void {
  let waiting = 0;
  let back: (() => void) | undefined;
  return () => {
    if (waiting++ === 0) back = stepAside();
    return () => {
      if (--waiting === 0) back?.();
    };
  };
}
