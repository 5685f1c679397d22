/**
 * Saves what is said, beside the work and never in its way: in order for each session, a few sessions at once, each try with
 * a time of its own. What can not be saved is lost, and said once, until it can be again.
 */
import {backoffMs} from '../backoff.js';
import {sleep, within} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import type {HistoryBackend, HistoryMessage, NewMessage} from './backend.js';
import {MemoryHistory} from './memory.js';

/** One that was checked, and that nobody changes any more. */
export type MessageToSave = NewMessage;

/** What a turn needs of a history. */
export interface HistoryAccess {
  /** Returns at once, and never throws. */
  save(message: MessageToSave): void;
  /** Resolves when nothing that was given to {@link save} for this session waits any more, saved or lost; or takes too long. */
  settled(sessionId: string): Promise<void>;
  /** What was saved here before is among it. @throws {ByError} HISTORY_UNAVAILABLE, HISTORY_SCHEMA, INVALID_INPUT. */
  read(sessionId: string, limit?: number): Promise<HistoryMessage[]>;
}

/** The history of a worker, whichever its turns use. */
export interface WorkerHistory extends HistoryAccess {
  /** For people. */
  readonly name: string;
  /** Resolves when nothing waits to be saved any more. */
  flush(): Promise<void>;
}

/** What is in this process needs no queue, and costs each task least so. */
export function accessTo(backend: HistoryBackend, log: Logger): WorkerHistory {
  return backend instanceof MemoryHistory ? inMemory(backend) : new HistorySaver(backend, log);
}

function inMemory(memory: MemoryHistory): WorkerHistory {
  return {
    name: memory.name,
    save: message => memory.add(message),
    settled: () => Promise.resolve(),
    read: (sessionId, limit) => memory.getHistory(sessionId, limit),
    flush: () => Promise.resolve(),
  };
}

export interface SaverOptions {
  /** Milliseconds for one try, and for a read. Default 5,000. */
  readonly timeoutMs?: number;
  /** Messages that may wait; what comes then is lost. Default 1,000. */
  readonly maxWaiting?: number;
  /** Characters of all that waits. Default 16 Mi. */
  readonly maxCharacters?: number;
}

const AT_ONCE = 4;
const TRIES = 3;
const BETWEEN_TRIES = {baseMs: 100, maxMs: 1000};

/** What one session has to save, in order. */
interface Line {
  readonly waiting: MessageToSave[];
  readonly whenEmpty: (() => void)[];
}

export class HistorySaver implements WorkerHistory {
  /** Sessions with something to save. */
  private readonly lines = new Map<string, Line>();
  /** Those of which nothing is being saved now. */
  private readonly ready: string[] = [];
  private saving = 0;
  private waiting = 0;
  private characters = 0;
  /** Messages lost since the last one that was saved. */
  private lost = 0;
  private readonly timeoutMs: number;
  private readonly maxWaiting: number;
  private readonly maxCharacters: number;

  constructor(
    private readonly backend: HistoryBackend,
    private readonly log: Logger,
    {timeoutMs = 5000, maxWaiting = 1000, maxCharacters = 16 * 1024 * 1024}: SaverOptions = {},
  ) {
    this.timeoutMs = timeoutMs;
    this.maxWaiting = maxWaiting;
    this.maxCharacters = maxCharacters;
  }

  get name(): string {
    return this.backend.name;
  }

  save(message: MessageToSave): void {
    const size = sizeOf(message);
    if (
      this.waiting >= this.maxWaiting ||
      (this.waiting > 0 && this.characters + size > this.maxCharacters)
    ) {
      this.lose(message, 'too much waits to be saved');
      return;
    }
    this.waiting++;
    this.characters += size;
    const line = this.lines.get(message.sessionId);
    if (line !== undefined) {
      line.waiting.push(message);
      return;
    }
    this.lines.set(message.sessionId, {waiting: [message], whenEmpty: []});
    this.ready.push(message.sessionId);
    this.begin();
  }

  async settled(sessionId: string): Promise<void> {
    if (!this.lines.has(sessionId)) return;
    await within(this.timeoutMs, this.empty(sessionId));
  }

  async read(sessionId: string, limit?: number): Promise<HistoryMessage[]> {
    await this.settled(sessionId);
    return this.inTime(() => this.backend.getHistory(sessionId, limit));
  }

  /** Resolves when nothing waits any more. */
  async flush(): Promise<void> {
    while (this.lines.size > 0) await Promise.all([...this.lines.keys()].map(id => this.empty(id)));
  }

  private empty(sessionId: string): Promise<void> {
    const line = this.lines.get(sessionId);
    return line === undefined ? Promise.resolve() : new Promise(resolve => line.whenEmpty.push(resolve));
  }

  private begin(): void {
    while (this.saving < AT_ONCE) {
      const sessionId = this.ready.shift();
      if (sessionId === undefined) return;
      this.saving++;
      void this.saveNext(sessionId);
    }
  }

  private async saveNext(sessionId: string): Promise<void> {
    const line = this.lines.get(sessionId);
    const message = line?.waiting.shift();
    if (line === undefined || message === undefined) return;
    await this.keep(message);
    this.waiting--;
    this.characters -= sizeOf(message);
    this.saving--;
    if (line.waiting.length > 0) this.ready.push(sessionId);
    else {
      this.lines.delete(sessionId);
      for (const resolve of line.whenEmpty) resolve();
    }
    this.begin();
  }

  private async keep(message: MessageToSave): Promise<void> {
    const {sessionId, role, content, metadata} = message;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.inTime(() => this.backend.saveMessage(sessionId, role, content, metadata));
        this.saved();
        return;
      } catch (error) {
        const mayPass = !(error instanceof ByError) || error.retryable;
        // While others are lost too, trying again only makes them wait.
        if (!mayPass || attempt >= TRIES || this.lost > 0) {
          this.lose(message, messageOf(error));
          return;
        }
        await sleep(backoffMs(attempt, BETWEEN_TRIES));
      }
    }
  }

  private saved(): void {
    if (this.lost === 0) return;
    this.log.info('history is kept again', {backend: this.backend.name, lost: this.lost});
    this.lost = 0;
  }

  private lose({sessionId, role}: MessageToSave, reason: string): void {
    this.lost++;
    if (this.lost > 1) return;
    const {name} = this.backend;
    this.log.warn('history is not kept', {session_id: sessionId, backend: name, role, error: reason});
  }

  private async inTime<T>(act: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(tooSlow(this.backend.name, this.timeoutMs)), this.timeoutMs);
    });
    try {
      return await Promise.race([act(), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function sizeOf({content}: MessageToSave): number {
  return typeof content === 'string' ? content.length : JSON.stringify(content).length;
}

const tooSlow = (backend: string, timeoutMs: number) =>
  new ByError('HISTORY_UNAVAILABLE', `The history (${backend}) did not answer within ${timeoutMs} ms.`, {
    hint: 'See whether its server is overloaded, or the network slow.',
  });
