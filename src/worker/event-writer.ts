/**
 * Events of one turn on their way to the data stream: in order, many to a write, and under the turn's fence.
 *
 * A write starts as soon as the event loop turns and none is under way; what is emitted meanwhile goes with the next.
 * So a lone token is not delayed, a burst costs one write, and a turn that ends at once sends its events with its end.
 */
import {ByError} from '../errors.js';
import {encodeEvent, isEndOfStream, type DataEvent} from '../protocol/events.js';
import {appendEvents} from '../store/data-streams.js';
import type {UnwrittenEvents} from '../store/executions.js';
import type {Store} from '../store/store.js';

export interface TurnIdentity {
  readonly sessionId: string;
  readonly executionId: string;
  readonly fence: string;
}

/** Events held back before an emitter has to wait: memory stays bounded however fast the agent talks. */
const MAX_BUFFERED = 256;
/** Events in one write: one script must not hold the server for long. */
const MAX_BATCH = 256;

export class EventWriter {
  private buffer: string[] = [];
  private writing: Promise<void> | undefined;
  private scheduled: NodeJS.Immediate | undefined;
  private failure: Error | undefined;
  /** Events in the write that failed. */
  private unsure = 0;
  private closed = false;
  /** Whether the agent's own code has ended the stream. */
  endEmitted = false;
  /** Events emitted so far. */
  count = 0;

  /**
   * @param renewTtl whether this write should renew the session's lifetime.
   * @param onFenced called once when another attempt owns the execution: this one must stop.
   */
  constructor(
    private readonly store: Store,
    private readonly turn: TurnIdentity,
    private readonly renewTtl: () => boolean,
    private readonly onFenced: () => void,
  ) {}

  /**
   * Hand over one event. Resolves at once while there is room, else when there is.
   * @throws what broke the last write; after that nothing is written any more.
   */
  async emit(event: DataEvent): Promise<void> {
    if (this.failure) throw this.failure;
    if (this.closed) return;
    if (isEndOfStream(event)) this.endEmitted = true;
    this.buffer.push(encodeEvent(event));
    this.count++;
    this.schedule();
    while (this.buffer.length >= MAX_BUFFERED && !this.isClosed()) {
      await this.write();
      if (this.error) throw this.error;
    }
  }

  /** Resolves when everything emitted so far is written. @throws what broke a write. */
  async flush(): Promise<void> {
    while (this.buffer.length > 0 && !this.isClosed()) {
      await this.write();
      if (this.error) throw this.error;
    }
    await this.writing;
    if (this.error) throw this.error;
  }

  /** Stop writing and return what was not written yet: it goes with the end of the turn. */
  async close(): Promise<UnwrittenEvents> {
    this.closed = true;
    if (this.scheduled) clearImmediate(this.scheduled);
    await this.writing;
    while (this.buffer.length > MAX_BATCH && !this.failure) await this.writeBatch();
    return {events: this.buffer, unsure: this.unsure};
  }

  /** Nothing more is written: the attempt was ended while its handler runs on. */
  refuse(): void {
    this.closed = true;
    this.buffer = [];
    this.unsure = 0;
    this.failure ??= new ByError('FENCED', 'This attempt does not own its execution any more.', {
      hint: 'Stop: what it writes is refused.',
    });
  }

  private isClosed(): boolean {
    return this.closed;
  }

  private schedule(): void {
    if (this.scheduled || this.writing) return;
    this.scheduled = setImmediate(() => {
      this.scheduled = undefined;
      if (!this.closed) void this.write();
    });
  }

  private write(): Promise<void> {
    this.writing ??= this.writeBatch().finally(() => {
      this.writing = undefined;
      if (this.buffer.length > 0 && !this.closed && !this.failure) this.schedule();
    });
    return this.writing;
  }

  private async writeBatch(): Promise<void> {
    const batch = this.buffer.slice(0, MAX_BATCH);
    if (batch.length === 0) return;
    try {
      const written = await appendEvents(this.store, this.turn, batch, this.renewTtl());
      if (!written) {
        this.refuse();
        this.onFenced();
        return;
      }
      this.buffer.splice(0, batch.length);
    } catch (error) {
      // Whether the batch arrived is unknown, and writing it again could repeat it: the turn must not go on.
      this.unsure = batch.length;
      this.failure = error instanceof Error ? error : new Error(String(error));
    }
  }

  /** Whether another attempt owns the execution. */
  get isFenced(): boolean {
    return this.failure instanceof ByError && this.failure.code === 'FENCED';
  }

  /** What broke a write, if anything did. */
  get error(): Error | undefined {
    return this.failure;
  }
}
