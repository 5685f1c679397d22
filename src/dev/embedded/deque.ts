/** A double-ended queue: constant time at both ends, and by position. */
export class Deque<T> {
  private items: (T | undefined)[] = [];
  /** Free places before the first item. */
  private head = 0;

  get size(): number {
    return this.items.length - this.head;
  }

  push(item: T): void {
    this.items.push(item);
  }

  unshift(item: T): void {
    if (this.head === 0) {
      // As much room again as there are items, so that a row of these stays cheap.
      const room = this.items.length + 8;
      this.items = [...new Array<T | undefined>(room).fill(undefined), ...this.items];
      this.head = room;
    }
    this.items[--this.head] = item;
  }

  pop(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.items.pop();
    if (this.size === 0) this.reset([]);
    return item;
  }

  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.items[this.head];
    this.items[this.head++] = undefined;
    // Late, because `unshift` leaves as much room as there are items.
    if (this.head > 64 && this.head > 4 * this.size) this.reset(this.items.slice(this.head) as T[]);
    return item;
  }

  at(index: number): T | undefined {
    return index < 0 ? undefined : this.items[this.head + index];
  }

  set(index: number, item: T): void {
    this.items[this.head + index] = item;
  }

  slice(from: number, to: number): T[] {
    return to <= from ? [] : (this.items.slice(this.head + from, this.head + to) as T[]);
  }

  toArray(): T[] {
    return this.items.slice(this.head) as T[];
  }

  reset(items: T[]): void {
    this.items = items;
    this.head = 0;
  }
}
