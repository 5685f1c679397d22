/** The circuit in front of a provider: after failures in a row it is left alone for a while, then tried by one request. */

export interface CircuitOptions {
  /** Failed wakeups in a row that open it. Default 5. */
  readonly failures?: number;
  /** Milliseconds it stays open before one request may try. Default 30,000. */
  readonly openMs?: number;
}

export type CircuitState =
  | {readonly kind: 'closed'; readonly failures: number}
  | {readonly kind: 'open'; readonly untilMs: number}
  /** One request is trying. */
  | {readonly kind: 'half-open'};

export type Admission =
  | {readonly admitted: true; readonly next: CircuitState}
  | {readonly admitted: false; readonly retryAfterMs: number};

/** `neutral`: ended before anything could be learned from it. */
export type Outcome = 'success' | 'failure' | 'neutral';

export const CLOSED: CircuitState = {kind: 'closed', failures: 0};

const FAILURES = 5;
const OPEN_MS = 30_000;
/** When to come again while somebody else is trying. */
const TRYING_MS = 1000;

export function admit(state: CircuitState, nowMs: number): Admission {
  switch (state.kind) {
    case 'closed':
      return {admitted: true, next: state};
    case 'half-open':
      return {admitted: false, retryAfterMs: TRYING_MS};
    case 'open':
      return nowMs >= state.untilMs
        ? {admitted: true, next: {kind: 'half-open'}}
        : {admitted: false, retryAfterMs: state.untilMs - nowMs};
  }
}

/** The state after a request that was admitted has ended. */
export function settle(
  state: CircuitState,
  outcome: Outcome,
  nowMs: number,
  {failures = FAILURES, openMs = OPEN_MS}: CircuitOptions = {},
): CircuitState {
  if (outcome === 'success') return CLOSED;
  switch (state.kind) {
    case 'closed':
      if (outcome === 'neutral') return state;
      return state.failures + 1 >= failures
        ? {kind: 'open', untilMs: nowMs + openMs}
        : {kind: 'closed', failures: state.failures + 1};
    case 'half-open':
      // What said nothing must not keep the others waiting: the next one tries at once.
      return {kind: 'open', untilMs: outcome === 'failure' ? nowMs + openMs : nowMs};
    case 'open':
      return state;
  }
}
