/** History in this process: gone when it ends, and bounded, so that a worker may live for months. */
import {systemClock, type Clock} from '../clock.js';
import {
  checkedLimit,
  checkedMessage,
  checkedSessionLimit,
  checkSession,
  type HistoryBackend,
  type HistoryMessage,
  type NewMessage,
} from './backend.js';

export interface MemoryHistoryOptions {
  /** Sessions that are kept; the one used longest ago goes first. Default 1,000. */
  readonly maxSessions?: number;
  /** Messages of one session; the oldest goes first. Default 100. */
  readonly maxMessages?: number;
  /** Characters of all contents together, as text. Default 16 Mi. */
  readonly maxCharacters?: number;
  readonly now?: Clock;
}

interface Kept {
  readonly message: HistoryMessage;
  readonly key: string;
  readonly size: number;
}

/** What a message costs beside its content, roughly. */
const OVERHEAD = 200;

/** Messages in this process's memory. */
export function memoryHistory(options: MemoryHistoryOptions = {}): HistoryBackend {
  return new MemoryHistory(options);
}

export class MemoryHistory implements HistoryBackend {
  readonly name = 'memory';
  /** The session used last comes last. */
  private readonly sessions = new Map<string, Kept[]>();
  private size = 0;
  private readonly maxSessions: number;
  private readonly maxMessages: number;
  private readonly maxCharacters: number;
  private readonly now: Clock;

  constructor(options: MemoryHistoryOptions) {
    this.maxSessions = options.maxSessions ?? 1000;
    this.maxMessages = options.maxMessages ?? 100;
    this.maxCharacters = options.maxCharacters ?? 16 * 1024 * 1024;
    this.now = options.now ?? systemClock;
  }

  async getHistory(sessionId: string, limit?: number): Promise<HistoryMessage[]> {
    checkSession(sessionId);
    const most = checkedLimit(limit);
    const newest = this.sessions.get(sessionId)?.slice(-most) ?? [];
    return structuredClone(newest.map(({message}) => message));
  }

  async saveMessage(...given: Parameters<HistoryBackend['saveMessage']>): Promise<void> {
    const message = checkedMessage(...given);
    if (message !== undefined) this.add(message);
  }

  async listSessions(limit?: number) {
    return [...this.sessions]
      .slice(-checkedSessionLimit(limit))
      .reverse()
      .map(([sessionId, kept]) => ({
        sessionId,
        lastActiveAt: kept.at(-1)?.message.at ?? 0,
        messageCount: kept.length,
      }));
  }

  async close(): Promise<void> {
    this.sessions.clear();
    this.size = 0;
  }

  /** Add a message that is known to be one, and that nobody changes any more. */
  add({sessionId, role, content, metadata, key}: NewMessage): void {
    const kept = this.sessions.get(sessionId) ?? [];
    if (key !== '' && kept.some(other => other.key === key)) return;
    const size = lengthOf(content) + lengthOf(metadata) + OVERHEAD;
    kept.push({message: {role, content, metadata, at: this.now()}, key, size});
    this.size += size;
    this.sessions.delete(sessionId);
    this.sessions.set(sessionId, kept);
    if (kept.length > this.maxMessages) this.dropOldest(kept);
    this.makeRoom();
  }

  private makeRoom(): void {
    if (this.sessions.size <= this.maxSessions && this.size <= this.maxCharacters) return;
    for (const [sessionId, kept] of this.sessions) {
      if (this.sessions.size > this.maxSessions) while (kept.length > 0) this.dropOldest(kept);
      // The message that came last stays, however large.
      while (
        this.size > this.maxCharacters &&
        (kept.length > 1 || (this.sessions.size > 1 && kept.length > 0))
      )
        this.dropOldest(kept);
      if (kept.length > 0) return;
      this.sessions.delete(sessionId);
    }
  }

  private dropOldest(kept: Kept[]): void {
    this.size -= kept.shift()?.size ?? 0;
  }
}

/** Characters of its texts, roughly: every task pays for it twice. */
function lengthOf(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 8;
  let length = 0;
  for (const name in value) length += name.length + lengthOf((value as Record<string, unknown>)[name]);
  return length;
}
