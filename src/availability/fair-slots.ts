/**
 * Slots that agent types share: each may hold as many as it leaves to the others. A type whose wakeups hang gets half of
 * all, the next such half of the rest, and a type that asks for the first time finds room until a good many hang. What
 * finds none waits in the order it came, beside the other types.
 */
export class FairSlots<T> {
  private readonly held = new Map<string, number>();
  private readonly waiting = new Map<string, T[]>();
  private taken = 0;
  private parkedCount = 0;

  constructor(private readonly total: number) {}

  /** How many wait. */
  get parked(): number {
    return this.parkedCount;
  }

  /** @returns whether the type may have another slot; it has it then. What waits of the type goes first. */
  take(type: string): boolean {
    if (this.waiting.has(type) || !this.hasRoom(type)) return false;
    this.add(type, 1);
    return true;
  }

  park(type: string, item: T): void {
    const queue = this.waiting.get(type);
    if (queue === undefined) this.waiting.set(type, [item]);
    else queue.push(item);
    this.parkedCount++;
  }

  /** Give a slot back. @returns what has one now, and waits no more: of the types that hold the fewest first. */
  give(type: string): {readonly type: string; readonly item: T}[] {
    this.add(type, -1);
    const begun: {type: string; item: T}[] = [];
    for (;;) {
      const next = this.nextType();
      if (next === undefined) return begun;
      begun.push({type: next, item: this.unpark(next)});
      this.add(next, 1);
    }
  }

  /** Everything that waits; none of it does any more. */
  leave(): T[] {
    const items = [...this.waiting.values()].flat();
    this.waiting.clear();
    this.parkedCount = 0;
    return items;
  }

  private hasRoom(type: string): boolean {
    return this.heldBy(type) < this.total - this.taken;
  }

  private heldBy(type: string): number {
    return this.held.get(type) ?? 0;
  }

  private nextType(): string | undefined {
    let next: string | undefined;
    for (const type of this.waiting.keys())
      if (this.hasRoom(type) && (next === undefined || this.heldBy(type) < this.heldBy(next))) next = type;
    return next;
  }

  private unpark(type: string): T {
    const queue = this.waiting.get(type) ?? [];
    const item = queue.shift();
    if (item === undefined) throw new RangeError(`nothing waits for a slot of "${type}"`);
    if (queue.length === 0) this.waiting.delete(type);
    this.parkedCount--;
    return item;
  }

  private add(type: string, count: 1 | -1): void {
    const held = this.heldBy(type) + count;
    if (held === 0) this.held.delete(type);
    else this.held.set(type, held);
    this.taken += count;
  }
}
