/** Carrying out many replays: so many at once, so many a second, and not on and on when they fail. cli.md §2.5. */
import {sleep, type Clock} from '../clock.js';
import {ByError} from '../errors.js';
import type {Store} from '../store/store.js';
import {
  carryOutReplay,
  failedItem,
  type ReplayedItem,
  type ReplayOptions,
  type ReplayPlan,
} from './replay.js';

export interface ManyOptions {
  /** Starts in a second. Default: no limit. */
  readonly ratePerSecond?: number;
  /** Replays at once. Default 1. */
  readonly concurrency?: number;
  /** No more are begun after so many failures. Default: none is too many. */
  readonly stopOnError?: number;
  readonly signal?: AbortSignal;
  /** Told about every item as it is done. */
  readonly onItem?: (item: ReplayedItem) => void;
}

export interface ManyReplayed {
  /** In the order in which they were done. */
  readonly items: readonly ReplayedItem[];
  /** Why those that are missing were not begun. */
  readonly stopped: 'errors' | 'signal' | undefined;
  /** Redis itself went away, or refused: nothing more was begun. */
  readonly outage: ByError | undefined;
}

/** Of the server, not of the letter: the next one would meet the same. */
const OUTAGES: ReadonlySet<string> = new Set([
  'REDIS_UNREACHABLE',
  'REDIS_TIMEOUT',
  'REDIS_REFUSED',
  'REDIS_AUTH',
]);

export async function replayMany(
  store: Store,
  now: Clock,
  replayId: string,
  plans: readonly Exclude<ReplayPlan, {kind: 'skipped'}>[],
  options: ReplayOptions,
  {ratePerSecond, concurrency = 1, stopOnError, signal, onItem}: ManyOptions,
): Promise<ManyReplayed> {
  const items: ReplayedItem[] = [];
  const waiting = [...plans];
  const pace = new Pace(ratePerSecond);
  let failures = 0;
  let outage: ByError | undefined;
  const isOver = () =>
    signal?.aborted === true ||
    outage !== undefined ||
    (stopOnError !== undefined && failures >= stopOnError) ||
    waiting.length === 0;
  const lane = async () => {
    while (!isOver()) {
      await pace.next(signal);
      const plan = isOver() ? undefined : waiting.shift();
      if (plan === undefined) return;
      let item: ReplayedItem;
      try {
        item = await carryOutReplay(store, now, replayId, plan, options);
      } catch (error) {
        item = failedItem(plan, error);
        failures++;
        if (error instanceof ByError && OUTAGES.has(error.code)) outage = error;
      }
      items.push(item);
      onItem?.(item);
    }
  };
  await Promise.all(Array.from({length: Math.max(1, Math.min(concurrency, plans.length))}, lane));
  const isCut = waiting.length > 0;
  return {
    items,
    stopped: !isCut || outage !== undefined ? undefined : signal?.aborted ? 'signal' : 'errors',
    outage,
  };
}

/** Lets callers through one by one, evenly spread: a burst after a pause would break the promise of a rate. */
export class Pace {
  private nextAt = -Infinity;

  constructor(
    private readonly ratePerSecond: number | undefined,
    private readonly clock: Clock = () => performance.now(),
    private readonly pause: (ms: number, signal?: AbortSignal) => Promise<void> = sleep,
  ) {}

  async next(signal?: AbortSignal): Promise<void> {
    if (this.ratePerSecond === undefined) return;
    const now = this.clock();
    const at = Math.max(now, this.nextAt);
    this.nextAt = at + 1000 / this.ratePerSecond;
    if (at > now) await this.pause(at - now, signal);
  }
}
