/** What the parts of an orchestrator share. */
import {systemClock, type Clock} from '../clock.js';
import {messageOf} from '../errors.js';
import {silentLogger, type Logger} from '../log.js';
import type {Tracer} from '../protocol/tracer.js';
import type {Workspace} from '../store/orchestration.js';
import {Bell} from './bell.js';
import {WATCH_TIMES, type WatchTimes} from './watching.js';

export interface OrchestratorDeps {
  readonly workspace: Workspace;
  readonly now: Clock;
  readonly log: Logger;
  readonly tracer?: Tracer;
  readonly summarise?: Summarise;
  readonly times: OrchestratorTimes;
  /** Rung by one role when there may be something to do for another. */
  readonly bells: {readonly dispatcher: Bell; readonly projector: Bell};
}

/**
 * Makes one message of several that were said to a run, where more is collected for its next turn than is kept.
 * @param messages oldest first.
 * @param signal aborts when nobody waits for it any more.
 */
export type Summarise = (
  messages: readonly string[],
  context: {readonly runId: string; readonly agentType: string; readonly signal: AbortSignal},
) => Promise<string>;

/** In milliseconds. */
export interface OrchestratorTimes extends WatchTimes {
  /** What was claimed and not sent for so long is sent by whoever comes by. Default 10,000. */
  readonly repairMs: number;
  /** How often each role looks while there is nothing to do. Defaults 100, 200 and 1,000. */
  readonly dispatchEveryMs: number;
  readonly projectEveryMs: number;
  readonly sweepEveryMs: number;
}

export const ORCHESTRATOR_TIMES: OrchestratorTimes = {
  ...WATCH_TIMES,
  repairMs: 10_000,
  dispatchEveryMs: 100,
  projectEveryMs: 200,
  sweepEveryMs: 1000,
};

export const orchestratorDeps = (
  workspace: Workspace,
  {
    times,
    ...over
  }: Partial<Omit<OrchestratorDeps, 'workspace' | 'times' | 'bells'>> & {
    readonly times?: Partial<OrchestratorTimes>;
  } = {},
): OrchestratorDeps => ({
  workspace,
  ...{now: systemClock, log: silentLogger},
  ...over,
  bells: {dispatcher: new Bell(), projector: new Bell()},
  times: {...ORCHESTRATOR_TIMES, ...times},
});

/** Do something for each, a few at a time; what one throws stops no other, and is told. */
export async function forEach<T>(
  {log}: OrchestratorDeps,
  items: readonly T[],
  what: string,
  act: (item: T) => Promise<unknown>,
): Promise<void> {
  const waiting = [...items];
  const next = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      try {
        await act(item);
      } catch (error) {
        log.warn(`${what} failed; it is tried again`, {item: String(item), error: messageOf(error)});
      }
    }
  };
  await Promise.all(Array.from({length: Math.min(AT_ONCE, waiting.length)}, next));
}

const AT_ONCE = 16;
