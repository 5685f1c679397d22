/** Entries this worker holds without a slot until their time comes: a retry, or a turn that found its execution busy. */
export interface Parkable {
  readonly entry: {readonly stream: string; readonly id: string};
}

export class Parked<T extends Parkable> {
  private readonly timers = new Map<T, NodeJS.Timeout>();
  private due: T[] = [];

  /** @param onDue called when something can be taken. */
  constructor(private readonly onDue: () => void) {}

  get size(): number {
    return this.timers.size + this.due.length;
  }

  get hasDue(): boolean {
    return this.due.length > 0;
  }

  add(item: T, delayMs: number): void {
    const timer = setTimeout(() => {
      this.timers.delete(item);
      this.due.push(item);
      this.onDue();
    }, delayMs);
    this.timers.set(item, timer);
  }

  /** Let those that fit be due now. */
  hurry(fits: (item: T) => boolean): void {
    for (const [item, timer] of this.timers) {
      if (!fits(item)) continue;
      clearTimeout(timer);
      this.timers.delete(item);
      this.due.push(item);
      this.onDue();
    }
  }

  /** The next one whose time has come. */
  takeDue(): T | undefined {
    return this.due.shift();
  }

  /** Forget everything, or what fits. @returns what was held. */
  clear(fits: (item: T) => boolean = () => true): T[] {
    const held = [...this.timers.keys(), ...this.due].filter(fits);
    for (const item of held) {
      clearTimeout(this.timers.get(item));
      this.timers.delete(item);
    }
    this.due = this.due.filter(item => !held.includes(item));
    return held;
  }
}
