/**
 * What an agent that was called says while its caller waits, given to the caller's code. Each batch is an entry of the
 * caller's journal that says which events it holds, so the code is given the same batches in every turn, and in the same
 * order among everything else that comes back. The events stay where they are, in the session's data stream.
 */
import {ByError} from '../../errors.js';
import {sleep} from '../../clock.js';
import type {DataEvent} from '../../protocol/events.js';
import {integerOf, objectOf, textOf} from '../../protocol/fields.js';
import type {Answer} from '../../protocol/journal.js';
import {compareIds, eventsAfter} from '../../store/data-streams.js';
import {hasOutcome} from '../../store/journal.js';
import type {Store} from '../../store/store.js';
import type {RunningTask} from '../running.js';

/** A stretch of the session's data stream. */
interface Batch {
  /** Stream id after which it begins. */
  readonly from: string;
  /** The last stream id that was looked at. */
  readonly to: string;
  /** How many of the events in between are the call's. */
  readonly count: number;
  /** The call was answered before its end: nothing more comes. */
  readonly isLast: boolean;
}

/** The call whose events are read: an entry of the journal, and the message id its agent speaks under. */
export interface ReadCall {
  readonly index: number;
  readonly messageId: string;
  /** Redis's clock in Unix milliseconds before it was sent; 0 if this turn did not send it. */
  readonly sentAfter: number;
}

/** Where the turn reads. */
export interface EventSource {
  readonly store: Store;
  readonly turn: {readonly sessionId: string; readonly executionId: string; readonly fence: string};
  /** The turn's. */
  readonly task: Pick<RunningTask, 'signal'>;
  /** Give the turn's slot to others until the returned function is called. */
  stepAside(): () => void;
}

/** What the code is given at once. */
export interface EventBatch {
  readonly events: readonly DataEvent[];
  /** Where the next one begins. */
  readonly to: string;
  readonly isLast: boolean;
}

/** Clocks of servers that follow each other differ: so many milliseconds more are looked at. */
const CLOCK_SLACK_MS = 60_000;
/** Events that are given to the code at once, at most. */
const MOST_EVENTS = 500;

/** Between two batches: the longer it goes on the longer, or the journal would be full of them. In milliseconds. */
const paceMs = (batches: number): number => Math.min(1000, 20 + 2 * batches);

export class CallEvents {
  /** The call's events that were read and not given yet. */
  private found: {readonly id: string; readonly event: DataEvent}[] = [];
  /** The stream id up to which was read. */
  private position = '';
  private batches = 0;

  constructor(
    private readonly source: EventSource,
    private readonly call: ReadCall,
  ) {}

  /**
   * Wait for more.
   * @param after the end of the batch before; '' for the first.
   * @param quietMs how long to wait, in milliseconds.
   * @returns undefined if nothing came.
   * @throws the signal's reason.
   */
  async wait(after: string, quietMs: number): Promise<Answer | undefined> {
    const {signal} = this.source.task;
    const {sentAfter} = this.call;
    const begin = `${Math.max(0, sentAfter - CLOCK_SLACK_MS)}-0`;
    const from = after === '' ? begin : after;
    const until = performance.now() + quietMs;
    const back = this.source.stepAside();
    try {
      for (;;) {
        await sleep(paceMs(this.batches), signal);
        signal.throwIfAborted();
        // Looked at first: what was said before the answer is there when it is.
        const isAnswered = await hasOutcome(this.source.store, this.source.turn, this.call.index);
        const isAll = await this.readOn(from, () => this.found.length >= MOST_EVENTS);
        const isLast = isAnswered && isAll;
        if (this.found.length > 0 || isLast)
          return answerOf({from, to: this.position, count: this.found.length, isLast});
        if (performance.now() >= until) return undefined;
      }
    } finally {
      back();
    }
  }

  /** The events of a batch. @throws {ByError} JOURNAL_MISMATCH if they are gone from the data stream. */
  async take(answer: Answer): Promise<EventBatch> {
    const {from, to, count, isLast} = batchOf(answer);
    await this.readOn(from, () => compareIds(this.position, to) >= 0);
    const events = this.found.filter(({id}) => compareIds(id, to) <= 0).map(({event}) => event);
    this.found = this.found.slice(events.length);
    this.batches++;
    if (events.length !== count) throw eventsGone(count, events.length);
    return {events, to, isLast};
  }

  /** @returns whether everything that is stored was read. */
  private async readOn(from: string, isEnough: () => boolean): Promise<boolean> {
    if (this.position === '') this.position = from;
    while (!isEnough()) {
      const {store, turn} = this.source;
      const page = await eventsAfter(store, turn.sessionId, this.position, this.call.messageId);
      this.found.push(...page.events);
      if (page.last === undefined) return true;
      this.position = page.last;
    }
    return false;
  }
}

const answerOf = ({from, to, count, isLast}: Batch): Answer => ({
  ...{status: 'COMPLETED', content: '', metadata: {}},
  data: {from, to, count, is_last: isLast},
});

function batchOf({data}: Answer): Batch {
  const doc = objectOf(data);
  return {
    ...{from: textOf(doc['from']), to: textOf(doc['to'])},
    ...{count: integerOf(doc['count'], 0), isLast: doc['is_last'] === true},
  };
}

const eventsGone = (wanted: number, found: number): ByError =>
  new ByError(
    'JOURNAL_MISMATCH',
    `Of ${wanted} events of a call that the code has read before, ${found} are left in the session's data stream.`,
    {hint: 'Somebody has removed them. Start the execution again (`by exec replay ID`).'},
  );
