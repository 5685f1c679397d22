/** A stream: its entries, its consumer groups, and how they are counted. */
import {IdLog, type Logged} from './id-log.js';
import type {Value} from './keyspace.js';
import type {Int64} from './numbers.js';
import {compareIds, nextId, ZERO_ID, type StreamId} from './stream-id.js';

/** Redis keeps entries in nodes of this size, and `MAXLEN ~` only removes whole ones. */
const ENTRIES_PER_NODE = 100;
const BYTES_PER_NODE = 4096;
const ENTRY_OVERHEAD = 96;
const PENDING_OVERHEAD = 128;

interface StreamNode {
  live: number;
  bytes: number;
  /** Of the last entry put into it, deleted or not. */
  lastId: StreamId;
}

export interface StreamEntry extends Logged {
  /** Fields and values in turn. */
  readonly fields: readonly string[];
  readonly node: StreamNode;
}

/** An entry that a consumer has been given and has not acknowledged. */
export interface Pending extends Logged {
  readonly consumer: Consumer;
  deliveredAt: number;
  deliveries: number;
}

export interface Consumer {
  readonly name: string;
  readonly pending: IdLog<Pending>;
  seenAt: number;
}

export interface Trim {
  readonly by: 'MAXLEN' | 'MINID';
  readonly maxLength: Int64;
  readonly minId: StreamId;
  readonly isApproximate: boolean;
  /** Most entries to remove; 0: no limit. */
  readonly limit: number;
}

export class Group {
  readonly consumers = new Map<string, Consumer>();
  readonly pending = new IdLog<Pending>();

  constructor(
    readonly name: string,
    public lastId: StreamId,
    /** How many entries of the stream were read, or undefined if that cannot be known. */
    public entriesRead: Int64 | undefined,
  ) {}

  /** In order of name. */
  sortedConsumers(): Consumer[] {
    return [...this.consumers.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @returns undefined if there is one of that name. */
  addConsumer(name: string, now: number): Consumer | undefined {
    if (this.consumers.has(name)) return undefined;
    const consumer = {name, pending: new IdLog<Pending>(), seenAt: now};
    this.consumers.set(name, consumer);
    return consumer;
  }

  /** Get or create, and note that it was seen. */
  consumer(name: string, now: number): Consumer {
    const consumer = this.consumers.get(name);
    if (consumer === undefined) return this.addConsumer(name, now) as Consumer;
    consumer.seenAt = now;
    return consumer;
  }

  /** Put an entry on a consumer's account, taking it from whoever has it. */
  assign(id: StreamId, consumer: Consumer, deliveredAt: number, deliveries: number): void {
    const owned = this.pending.find(id);
    const pending: Pending = {ms: id.ms, seq: id.seq, consumer, deliveredAt, deliveries, isGone: false};
    this.pending.put(pending);
    owned?.consumer.pending.drop(owned);
    consumer.pending.put(pending);
  }

  /** Forget a pending entry. */
  release(pending: Pending): void {
    pending.consumer.pending.drop(pending);
    this.pending.drop(pending);
  }
}

export class StreamValue implements Value {
  readonly type = 'stream';
  readonly isEmpty = false;
  readonly encoding = 'stream';
  readonly entries = new IdLog<StreamEntry>();
  readonly groups = new Map<string, Group>();
  lastId: StreamId = ZERO_ID;
  maxDeletedId: StreamId = ZERO_ID;
  entriesAdded: Int64 = 0;
  private entryBytes = 0;
  private tail: StreamNode | undefined;
  private nodes = 0;

  get bytes(): number {
    let pending = 0;
    for (const group of this.groups.values()) pending += group.pending.size + group.consumers.size;
    return this.entryBytes + pending * PENDING_OVERHEAD;
  }

  get length(): number {
    return this.entries.size;
  }

  get firstId(): StreamId {
    return this.entries.first ?? ZERO_ID;
  }

  /** How many nodes Redis would use, for XINFO. */
  get nodeCount(): number {
    return this.nodes;
  }

  sortedGroups(): Group[] {
    return [...this.groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Append; the id must be greater than `lastId`. */
  append(id: StreamId, fields: readonly string[]): void {
    let size = 0;
    for (const text of fields) size += text.length;
    let node = this.tail;
    if (
      node === undefined ||
      node.live >= ENTRIES_PER_NODE ||
      node.bytes + size >= BYTES_PER_NODE ||
      node.live === 0
    ) {
      node = this.tail = {live: 0, bytes: 0, lastId: id};
      this.nodes++;
    }
    node.live++;
    node.lastId = id;
    node.bytes += size + fields.length + 8;
    this.entries.put({ms: id.ms, seq: id.seq, fields, node, isGone: false});
    this.entryBytes += size + ENTRY_OVERHEAD;
    this.lastId = id;
    this.entriesAdded = (nextId({ms: 0, seq: this.entriesAdded}) ?? ZERO_ID).seq;
  }

  /** XDEL of one entry. */
  delete(id: StreamId): boolean {
    const entry = this.entries.find(id);
    if (entry === undefined) return false;
    this.drop(entry);
    if (compareIds(id, this.maxDeletedId) > 0) this.maxDeletedId = {ms: id.ms, seq: id.seq};
    return true;
  }

  private drop(entry: StreamEntry): void {
    for (const text of entry.fields) this.entryBytes -= text.length;
    this.entryBytes -= ENTRY_OVERHEAD;
    if (--entry.node.live === 0) {
      this.nodes--;
      if (this.tail === entry.node) this.tail = undefined;
    }
    this.entries.drop(entry);
  }

  /** @returns How many entries were removed. */
  trim({by, maxLength, minId, isApproximate, limit}: Trim): number {
    let removed = 0;
    const mayStay = (entry: StreamEntry) =>
      by === 'MAXLEN' ? this.length <= maxLength : compareIds(entry, minId) >= 0;
    for (;;) {
      const first = this.entries.first;
      if (first === undefined || mayStay(first)) return removed;
      if (!isApproximate) {
        this.drop(first);
        removed++;
        continue;
      }
      const {node} = first;
      if (limit > 0 && removed + node.live > limit) return removed;
      if (by === 'MAXLEN' ? this.length - node.live < maxLength : compareIds(node.lastId, minId) >= 0)
        return removed;
      removed += node.live;
      for (let entry = this.entries.first; entry?.node === node; entry = this.entries.first) this.drop(entry);
    }
  }

  /** Whether an entry between `start` and the end may have been deleted by XDEL. */
  hasTombstonesFrom(start: StreamId): boolean {
    if (this.length === 0 || compareIds(this.maxDeletedId, ZERO_ID) === 0) return false;
    // Holes before the first entry do not count: everything up to there is gone anyway.
    return compareIds(this.firstId, this.maxDeletedId) <= 0 && compareIds(start, this.maxDeletedId) <= 0;
  }

  /** How many entries were added up to this id, or undefined if that cannot be told. */
  entriesUpTo(id: StreamId): Int64 | undefined {
    if (this.entriesAdded === 0) return 0;
    if (this.length === 0 && compareIds(id, this.lastId) < 1) return this.entriesAdded;
    const toLast = compareIds(id, this.lastId);
    if (toLast === 0) return this.entriesAdded;
    if (toLast > 0) return undefined;
    const toFirst = compareIds(id, this.firstId);
    const hasNoTombstones =
      compareIds(this.maxDeletedId, ZERO_ID) === 0 || compareIds(this.maxDeletedId, this.firstId) < 0;
    if (!hasNoTombstones || toFirst > 0) return undefined;
    const before = BigInt(this.entriesAdded) - BigInt(this.length);
    return Number(toFirst < 0 ? before : before + 1n);
  }

  /** How many entries a group has still to read, or undefined if that cannot be told. */
  lag(group: Group): Int64 | undefined {
    if (this.entriesAdded === 0) return 0;
    const read =
      group.entriesRead !== undefined && !this.hasTombstonesFrom(group.lastId)
        ? group.entriesRead
        : this.entriesUpTo(group.lastId);
    return read === undefined ? undefined : Number(BigInt(this.entriesAdded) - BigInt(read));
  }

  /** A group has been given this entry as new. */
  noteRead(group: Group, id: StreamId): void {
    if (compareIds(id, group.lastId) <= 0) return;
    if (group.entriesRead !== undefined && !this.hasTombstonesFrom(id)) {
      group.entriesRead = (nextId({ms: 0, seq: group.entriesRead}) ?? ZERO_ID).seq;
    } else if (this.entriesAdded !== 0) {
      group.entriesRead = this.entriesUpTo(id);
    }
    group.lastId = {ms: id.ms, seq: id.seq};
  }

  copy(): StreamValue {
    const copy = new StreamValue();
    for (const entry of this.entries) copy.append(entry, entry.fields);
    copy.lastId = this.lastId;
    copy.maxDeletedId = this.maxDeletedId;
    copy.entriesAdded = this.entriesAdded;
    for (const group of this.groups.values()) {
      const twin = new Group(group.name, group.lastId, group.entriesRead);
      for (const consumer of group.consumers.values()) twin.addConsumer(consumer.name, consumer.seenAt);
      for (const pending of group.pending) {
        const owner = twin.consumers.get(pending.consumer.name);
        if (owner !== undefined) twin.assign(pending, owner, pending.deliveredAt, pending.deliveries);
      }
      copy.groups.set(twin.name, twin);
    }
    return copy;
  }
}
