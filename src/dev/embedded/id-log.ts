/** Things in order of their stream id: a stream's entries, and what a group or a consumer has pending. */
import {compareIds, type StreamId} from './stream-id.js';

/** An item knows itself whether it is gone, so that dropping it is not a search through the array's rest. */
export interface Logged extends StreamId {
  isGone: boolean;
}

const COMPACT_ABOVE = 64;

/**
 * An array with a head offset. Adding at the end, taking from the front and finding by id (binary search) are what
 * streams do all day. An item dropped in the middle stays as a tombstone; when tombstones are the majority the array is
 * rebuilt, which makes a drop constant on average. The first and the last item are never tombstones.
 */
export class IdLog<T extends Logged> {
  private items: T[] = [];
  private head = 0;
  private live = 0;

  get size(): number {
    return this.live;
  }

  get first(): T | undefined {
    return this.items[this.head];
  }

  get last(): T | undefined {
    return this.head < this.items.length ? this.items.at(-1) : undefined;
  }

  find(id: StreamId): T | undefined {
    const item = this.items[this.placeOf(id)];
    return item !== undefined && !item.isGone && item.ms === id.ms && item.seq === id.seq ? item : undefined;
  }

  /** Add an item, or put it in the place of the one with the same id. */
  put(item: T): void {
    const {last} = this;
    if (last === undefined || compareIds(last, item) < 0) {
      this.items.push(item);
      this.live++;
      return;
    }
    const place = this.placeOf(item);
    const there = this.items[place];
    if (there !== undefined && there.ms === item.ms && there.seq === item.seq) {
      if (there.isGone) this.live++;
      this.items[place] = item;
      return;
    }
    this.items.splice(place, 0, item);
    this.live++;
  }

  /** Take an item out. It must be in here. */
  drop(item: T): void {
    item.isGone = true;
    this.live--;
    const {items} = this;
    if (this.live === 0) {
      this.items = [];
      this.head = 0;
      return;
    }
    while (items[this.head]?.isGone === true) this.head++;
    while (items.at(-1)?.isGone === true) items.pop();
    if (items.length > COMPACT_ABOVE && items.length > 2 * this.live) {
      this.items = items.filter((other, index) => index >= this.head && !other.isGone);
      this.head = 0;
    }
  }

  /** Items from `start` to `end`, both included. */
  *range(start: StreamId, end: StreamId): Generator<T> {
    const {items} = this;
    for (let place = this.placeOf(start); place < items.length; place++) {
      const item = items[place];
      if (item === undefined || compareIds(item, end) > 0) return;
      if (!item.isGone) yield item;
    }
  }

  /** As `range`, from `end` down. */
  *rangeBackwards(start: StreamId, end: StreamId): Generator<T> {
    const {items} = this;
    let place = this.placeOf(end);
    const there = items[place];
    if (there === undefined || compareIds(there, end) > 0) place--;
    for (; place >= this.head; place--) {
      const item = items[place];
      if (item === undefined || compareIds(item, start) < 0) return;
      if (!item.isGone) yield item;
    }
  }

  [Symbol.iterator](): Iterator<T> {
    return this.items.filter((item, index) => index >= this.head && !item.isGone)[Symbol.iterator]();
  }

  /** Where the first item with this id or a later one stands. */
  private placeOf(id: StreamId): number {
    const {items} = this;
    let low = this.head;
    let high = items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const item = items[middle];
      if (item !== undefined && compareIds(item, id) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
