/** `by tail` in a terminal: runs the screen until somebody quits or the events end. Imports Ink only when run. */
import {setImmediate as nextTurn} from 'node:timers/promises';
import {systemClock} from '../../clock.js';
import {loadScreen, renderOptions, type ScreenStreams} from '../terminal.js';
import type {People} from './app.js';
import type {TailEvent} from './event.js';
import {TailFeed} from './feed.js';

export interface TailScreenOptions {
  readonly events: AsyncIterable<TailEvent>;
  readonly session: string;
  /** Closes the screen, as `q` does. */
  readonly signal: AbortSignal;
  /** Called once the screen is asked to close: stop the events. */
  readonly onQuit: () => void;
  readonly timestamps?: boolean;
  readonly color?: boolean;
  readonly ascii?: boolean;
  /** Answers questions; absent where that can not be done. */
  readonly people?: People;
  readonly streams?: ScreenStreams;
}

export interface TailScreenResult {
  /** Stream id of the newest event that was shown; empty if there was none. What comes after was not seen. */
  readonly lastId: string;
  readonly reason: 'quit' | 'ended';
}

/** After so many events without a pause the timer and the keys get their turn. */
const EVENTS_PER_TURN = 200;

/** @throws What `events` throws, once the terminal is as it was before. */
export async function runTailScreen(options: TailScreenOptions): Promise<TailScreenResult> {
  const {events, session, signal, onQuit, timestamps = true, color = true, ascii = false} = options;
  const streams = options.streams ?? process;
  const [ink, {createElement}, {TailApp}] = await loadScreen(() =>
    Promise.all([import('ink'), import('react'), import('./app.js')]),
  );
  const feed = new TailFeed();
  const reading = readInto(feed, events);
  // A failure must end the screen too; it is thrown below, when the terminal is free again.
  const ended = reading.done.catch(() => undefined);
  const app = ink.render(
    createElement(TailApp, {
      session,
      feed,
      timestamps,
      color,
      ascii,
      clock: systemClock,
      ended,
      closing: signal,
      ...(options.people === undefined ? {} : {people: options.people}),
    }),
    renderOptions(streams),
  );
  if (signal.aborted) app.unmount();
  try {
    await app.waitUntilExit();
  } finally {
    app.unmount();
  }
  if (reading.hasEnded()) {
    await reading.done;
    return {lastId: feed.lastTakenId, reason: feed.unseen === 0 ? 'ended' : 'quit'};
  }
  onQuit();
  reading.stop();
  return {lastId: feed.lastTakenId, reason: 'quit'};
}

function readInto(feed: TailFeed, events: AsyncIterable<TailEvent>) {
  let isStopped = false;
  let hasEnded = false;
  const read = async () => {
    let sinceTurn = 0;
    for await (const event of events) {
      if (isStopped) return;
      feed.push(event);
      if (++sinceTurn < EVENTS_PER_TURN) continue;
      sinceTurn = 0;
      await nextTurn();
    }
  };
  const done = read().finally(() => {
    hasEnded = true;
    feed.end();
  });
  return {
    done,
    hasEnded: () => hasEnded,
    stop: () => {
      isStopped = true;
      // Nobody waits for the reader any more; what it throws while it is being stopped is the stopping.
      done.catch(() => undefined);
    },
  };
}
