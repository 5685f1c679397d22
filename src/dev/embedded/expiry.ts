/** When keys end: a heap of due times beside the keys, so that finding the next one is never a search. */

/** A key with a deadline, as the heap sees it. */
export interface Expiring {
  /** Unix milliseconds; 0: never. */
  expiresAt: number;
  /** The earliest time at which the heap will look at this key, or 0 if it will not. */
  queuedAt: number;
}

interface Due<T> {
  at: number;
  item: T;
}

/** Below this many entries stale ones are not worth a clean-up. */
const COMPACT_ABOVE = 1024;

/**
 * A key whose deadline moves later stays where it is and is pushed again when its turn comes, so that renewing a lease a
 * thousand times costs one entry. Entries of keys that are gone are dropped when they come up, or when they are the majority.
 */
export class ExpiryHeap<T extends Expiring> {
  private heap: Due<T>[] = [];

  constructor(private readonly isLive: (item: T) => boolean) {}

  get size(): number {
    return this.heap.length;
  }

  /** Look at this item when its deadline comes. */
  watch(item: T, liveItems: number): void {
    if (item.queuedAt !== 0 && item.queuedAt <= item.expiresAt) return;
    item.queuedAt = item.expiresAt;
    this.push({at: item.expiresAt, item});
    if (this.heap.length > COMPACT_ABOVE && this.heap.length > 2 * liveItems) this.compact();
  }

  /** The earliest time at which something may end, or undefined. */
  nextAt(): number | undefined {
    return this.heap[0]?.at;
  }

  /** Take one item that has ended by `now`, or undefined if none has. */
  takeDue(now: number): T | undefined {
    for (;;) {
      const first = this.heap[0];
      if (first === undefined || first.at >= now) return undefined;
      this.pop();
      const {item} = first;
      if (item.queuedAt !== first.at) continue;
      item.queuedAt = 0;
      if (item.expiresAt === 0 || !this.isLive(item)) continue;
      if (item.expiresAt < now) return item;
      item.queuedAt = item.expiresAt;
      this.push({at: item.expiresAt, item});
    }
  }

  private compact(): void {
    const live = this.heap.filter(due => due.item.queuedAt === due.at && this.isLive(due.item));
    this.heap = [];
    for (const due of live) this.push(due);
  }

  private push(due: Due<T>): void {
    const {heap} = this;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.at <= due.at) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = due;
  }

  private pop(): void {
    const {heap} = this;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      let child = heap[below];
      if (child === undefined) break;
      const right = heap[below + 1];
      if (right !== undefined && right.at < child.at) {
        child = right;
        below++;
      }
      if (child.at >= last.at) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }
}
