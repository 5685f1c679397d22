/**
 * Acknowledges and deletes entries whose execution has ended, many at once: one by one they cost as much as the work.
 * Losing the batch with the process is harmless: the entries are delivered again, found ended, and settled then.
 */
import {messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import {settleMany, type ControlEntry} from '../store/control-streams.js';
import type {Store} from '../store/store.js';

/** Longest wait of an ended entry, in milliseconds. */
const MAX_WAIT_MS = 50;
const MAX_BATCH = 100;

export class Settler {
  private waiting: ControlEntry[] = [];
  private timer: NodeJS.Timeout | undefined;
  private flushing: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: Store,
    private readonly group: string,
    private readonly deletesEntries: (stream: string) => boolean,
    private readonly log: Logger,
  ) {}

  add(entry: ControlEntry): void {
    this.waiting.push(entry);
    if (this.waiting.length >= MAX_BATCH) void this.flush();
    else this.timer ??= setTimeout(() => void this.flush(), MAX_WAIT_MS);
  }

  /** Resolves when everything added so far is settled, or could not be and waits for the next try. */
  flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const batch = this.waiting;
    this.waiting = [];
    this.flushing = this.flushing.then(() => this.settle(batch));
    return this.flushing;
  }

  private async settle(batch: readonly ControlEntry[]): Promise<void> {
    const streams = new Map<string, string[]>();
    for (const {stream, id} of batch) {
      const ids = streams.get(stream);
      if (ids === undefined) streams.set(stream, [id]);
      else ids.push(id);
    }
    for (const [stream, ids] of streams) {
      try {
        await settleMany(this.store, this.group, stream, ids, this.deletesEntries(stream));
      } catch (error) {
        // They stay pending, and the next worker of this id finds them ended.
        this.log.warn('settling failed', {stream, entries: ids.length, error: messageOf(error)});
      }
    }
  }
}
