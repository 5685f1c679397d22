/** Of several calls made at once: those that have no answer when it is decided what comes of all. */
import {cancelCalls} from '../../availability/cancel.js';
import type {Clock} from '../../clock.js';
import type {Store} from '../../store/store.js';
import {whyDecided} from '../rest.js';
import type {ReadCall} from './call-events.js';
import type {DurablePromise} from './promise.js';

export interface MadeCall {
  readonly agentType: string;
  readonly answer: DurablePromise<unknown>;
  /** Undefined if it was not made at all. */
  readonly asked: ReadCall | undefined;
  /** Resolves once it is sent, while it is on its way. */
  readonly sending: Promise<unknown> | undefined;
}

/** It has no answer. */
export type OpenCall = MadeCall & {readonly asked: ReadCall};

/** Calls as their answers reach the code. */
export class Rest {
  private readonly open: Set<MadeCall>;
  private completed = 0;
  /** The call that was answered last, and whether it completed. */
  private last: {readonly call: MadeCall; readonly succeeded: boolean} | undefined;

  constructor(made: readonly MadeCall[]) {
    this.open = new Set(made);
    for (const call of made) {
      const answered = (succeeded: boolean) => {
        this.open.delete(call);
        if (succeeded) this.completed++;
        this.last = {call, succeeded};
      };
      call.answer.then(
        () => answered(true),
        () => answered(false),
      );
    }
  }

  get calls(): OpenCall[] {
    return [...this.open].filter((call): call is OpenCall => call.asked !== undefined);
  }

  /** For people: why nobody waits for them. @param isLate their time is over. */
  why(isLate: boolean): string {
    if (isLate) return 'not all answered in time';
    const {last} = this;
    if (last?.call.asked === undefined) return 'there were fewer calls than had to complete';
    const {call, succeeded} = last;
    const {messageId} = last.call.asked;
    return whyDecided({messageId, agentType: call.agentType, succeeded}, this.completed);
  }
}

/** Cancel them, with all that they started. What is still on its way is cancelled once it has arrived, too. */
export async function cancelMade(
  store: Store,
  now: Clock,
  request: {readonly sessionId: string; readonly reason: string; readonly requestedBy: string},
  calls: readonly OpenCall[],
): Promise<void> {
  const cancel = (some: readonly OpenCall[]) =>
    cancelCalls(store, now, {...request, messageIds: some.map(({asked}) => asked.messageId)});
  // The others need not wait for it: it may wait for a worker to start.
  const onTheirWay = calls.filter(({sending}) => sending !== undefined);
  const arrived = Promise.all(onTheirWay.map(async ({sending}) => sending));
  await Promise.all([cancel(calls), arrived]);
  if (onTheirWay.length > 0) await cancel(onTheirWay);
}
