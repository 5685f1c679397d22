/** The databases: keys, their values, their deadlines, and who wants to know when one changes. */
import {ExpiryHeap, type Expiring} from './expiry.js';
import {IndexedMap} from './indexed-map.js';
import {wrongType} from './reply.js';
import type {Waiter} from './waiter.js';

export type TypeName = 'string' | 'list' | 'set' | 'zset' | 'hash' | 'stream';

/** What a key holds. Each type has its own file. */
export interface Value {
  readonly type: TypeName;
  /** Estimated memory, kept up to date by the type itself. */
  readonly bytes: number;
  /** An empty collection does not exist; a stream may be empty. */
  readonly isEmpty: boolean;
  /** What OBJECT ENCODING answers, approximately. */
  readonly encoding: string;
  copy(): Value;
}

/** A key's place in its database. */
export interface Entry extends Expiring {
  readonly db: Database;
  readonly key: string;
  value: Value;
  /** How much of `usedBytes` this key stands for. */
  accounted: number;
  lastUsedAt: number;
}

/** Anyone whose MULTI must fail if a key it watches changes. */
export interface Watcher {
  isDirty: boolean;
}

/** What all databases share. */
export interface Shared {
  /** Unix milliseconds, the same for all that one command or script does. */
  now: number;
  usedBytes: number;
  hits: number;
  misses: number;
  expired: number;
  /** Changes since the start; INFO calls it rdb_changes_since_last_save. */
  changes: number;
  /** Keys that changed while somebody waits for them, in the order they changed. */
  readonly ready: {db: Database; key: string}[];
  readonly expiry: ExpiryHeap<Entry>;
}

/** Rough cost of a key besides its value. */
const KEY_OVERHEAD = 96;

export function createShared(): Shared {
  return {
    now: Date.now(),
    usedBytes: 0,
    hits: 0,
    misses: 0,
    expired: 0,
    changes: 0,
    ready: [],
    expiry: new ExpiryHeap<Entry>(entry => entry.db.isCurrent(entry)),
  };
}

/** One of the sixteen databases. */
export class Database {
  readonly keys = new IndexedMap<Entry>();
  readonly watchers = new Map<string, Set<Watcher>>();
  /** Blocked clients by key, in the order they came. */
  readonly waiters = new Map<string, Set<Waiter>>();
  /** Keys with a deadline. */
  expiring = 0;

  constructor(
    readonly index: number,
    readonly shared: Shared,
  ) {}

  isCurrent(entry: Entry): boolean {
    return this.keys.get(entry.key) === entry;
  }

  /** The key's entry, unless it has ended. */
  entry(key: string): Entry | undefined {
    const entry = this.keys.get(key);
    if (entry === undefined) {
      this.shared.misses++;
      return undefined;
    }
    if (entry.expiresAt !== 0 && entry.expiresAt < this.shared.now) {
      this.expire(entry);
      this.shared.misses++;
      return undefined;
    }
    this.shared.hits++;
    entry.lastUsedAt = this.shared.now;
    return entry;
  }

  get(key: string): Value | undefined {
    return this.entry(key)?.value;
  }

  has(key: string): boolean {
    return this.entry(key) !== undefined;
  }

  /** Whether the key is stored but has ended, without removing it. */
  isExpired(key: string): boolean {
    const entry = this.keys.get(key);
    return entry !== undefined && entry.expiresAt !== 0 && entry.expiresAt < this.shared.now;
  }

  /** Store a value without telling anyone; `changed` must follow. A deadline the key has stays. */
  put(key: string, value: Value): Entry {
    const existing = this.entry(key);
    if (existing !== undefined) {
      existing.value = value;
      return existing;
    }
    const entry: Entry = {
      db: this,
      key,
      value,
      accounted: 0,
      expiresAt: 0,
      queuedAt: 0,
      lastUsedAt: this.shared.now,
    };
    this.keys.set(key, entry);
    return entry;
  }

  /**
   * Every change of a key's value or deadline ends here. An empty collection is removed.
   *
   * @param wakes Whether clients that wait for the key are offered it.
   */
  changed(key: string, wakes = true): void {
    const entry = this.keys.get(key);
    if (entry !== undefined) {
      if (entry.value.isEmpty) {
        this.remove(key);
        return;
      }
      this.account(entry, entry.value.bytes + key.length + KEY_OVERHEAD);
    }
    this.tell(key, wakes);
  }

  /** @returns Whether the key was there. */
  remove(key: string): boolean {
    const entry = this.keys.get(key);
    if (entry === undefined) return false;
    this.keys.delete(key);
    if (entry.expiresAt !== 0) this.expiring--;
    entry.expiresAt = 0;
    this.account(entry, 0);
    this.tell(key);
    return true;
  }

  /** Give a key a deadline, or with 0 none; `changed` must follow. */
  setExpiry(entry: Entry, at: number): void {
    if (entry.expiresAt === 0 && at !== 0) this.expiring++;
    if (entry.expiresAt !== 0 && at === 0) this.expiring--;
    entry.expiresAt = at;
    if (at !== 0) this.shared.expiry.watch(entry, this.expiring);
  }

  /** Remove a key whose time has come. */
  expire(entry: Entry): void {
    this.shared.expired++;
    this.remove(entry.key);
  }

  clear(): void {
    for (const key of this.keys.keys()) this.remove(key);
  }

  private account(entry: Entry, bytes: number): void {
    this.shared.usedBytes += bytes - entry.accounted;
    entry.accounted = bytes;
  }

  private tell(key: string, wakes = true): void {
    this.shared.changes++;
    const watchers = this.watchers.size > 0 ? this.watchers.get(key) : undefined;
    if (watchers !== undefined) for (const watcher of watchers) watcher.isDirty = true;
    if (wakes && this.waiters.size > 0 && this.waiters.has(key)) this.shared.ready.push({db: this, key});
  }
}

/** The key's value if it has the given type; undefined if there is no key. */
export function valueOf<T extends Value>(
  db: Database,
  key: string,
  type: new (...args: never[]) => T,
): T | undefined {
  const value = db.get(key);
  if (value === undefined) return undefined;
  if (!(value instanceof type)) throw wrongType();
  return value;
}

/** As `valueOf`, but a missing key gets a new value, which must not be left empty. */
export function valueOrNew<T extends Value>(db: Database, key: string, type: new () => T): T {
  const existing = valueOf(db, key, type);
  if (existing !== undefined) return existing;
  const value = new type();
  db.put(key, value);
  return value;
}
