/** A map that can also be entered at a position: for random members and for SCAN. */

/** One key and its value, and where it stands. */
export interface Slot<V> {
  readonly key: string;
  value: V;
  index: number;
}

/** Up to this size a deletion keeps the order of the rest, as Redis's compact encodings do. */
const KEEPS_ORDER_UP_TO = 512;

/**
 * Positions are a dense array, so a random member is one read, and a scan needs no table of its own: it walks from the
 * end to the start, and its cursor is the number of positions not yet seen. A deletion only ever moves an unseen member
 * to a lower position, so a member that is there all the time is returned at least once.
 */
export class IndexedMap<V> {
  private readonly byKey = new Map<string, Slot<V>>();
  private readonly slots: Slot<V>[] = [];

  get size(): number {
    return this.slots.length;
  }

  get(key: string): V | undefined {
    return this.byKey.get(key)?.value;
  }

  has(key: string): boolean {
    return this.byKey.has(key);
  }

  /** @returns Whether the key is new. */
  set(key: string, value: V): boolean {
    const slot = this.byKey.get(key);
    if (slot !== undefined) {
      slot.value = value;
      return false;
    }
    const added = {key, value, index: this.slots.length};
    this.byKey.set(key, added);
    this.slots.push(added);
    return true;
  }

  delete(key: string): boolean {
    const slot = this.byKey.get(key);
    if (slot === undefined) return false;
    this.byKey.delete(key);
    const {slots} = this;
    if (slots.length <= KEEPS_ORDER_UP_TO) {
      slots.splice(slot.index, 1);
      for (let i = slot.index; i < slots.length; i++) {
        const moved = slots[i];
        if (moved !== undefined) moved.index = i;
      }
      return true;
    }
    const last = slots.pop();
    if (last !== undefined && last !== slot) {
      last.index = slot.index;
      slots[slot.index] = last;
    }
    return true;
  }

  clear(): void {
    this.byKey.clear();
    this.slots.length = 0;
  }

  /** In insertion order while the map is small. */
  [Symbol.iterator](): IterableIterator<Slot<V>> {
    return this.slots[Symbol.iterator]();
  }

  keys(): string[] {
    return this.slots.map(slot => slot.key);
  }

  random(): Slot<V> | undefined {
    return this.slots[Math.floor(Math.random() * this.slots.length)];
  }

  /**
   * The next `count` members after `cursor` (0: from the beginning).
   *
   * @returns The members and the next cursor, 0 at the end.
   */
  scan(cursor: number, count: number): {next: number; found: Slot<V>[]} {
    const from = cursor === 0 ? this.slots.length : Math.min(cursor, this.slots.length);
    const to = Math.max(0, from - count);
    return {next: to, found: this.slots.slice(to, from)};
  }
}
