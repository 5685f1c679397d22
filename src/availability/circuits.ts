/**
 * Circuits that managers open by themselves: an agent type whose wakeups fail again and again is not asked for any more
 * for a while. The record is the one an operator would write, so the routers of every SDK honour it. When its lifetime
 * is over the next wakeup is the probe: one more failure opens it again, for twice as long, and a worker that comes
 * online makes all failures forgotten.
 */
import type {WakeupDecision} from '../protocol/wakeup.js';
import {
  closeAutoCircuit,
  countWakeupFailure,
  forgetWakeupFailures,
  openAutoCircuit,
} from '../store/admission.js';
import type {Store} from '../store/store.js';

export interface CircuitRules {
  /** Wakeups that fail in a row before the circuit opens; at least 1. */
  readonly failures: number;
  /** Milliseconds it stays open the first time. Default 30,000. */
  readonly openMs?: number;
  /** Milliseconds it stays open at most, however often it failed. Default 600,000. */
  readonly maxOpenMs?: number;
}

/** @returns for how many milliseconds the circuit opens after so many failures in a row; undefined if it does not. */
export function opensForMs(failuresInARow: number, rules: CircuitRules): number | undefined {
  const {failures, openMs = 30_000, maxOpenMs = 600_000} = rules;
  const beyond = failuresInARow - Math.max(1, failures);
  return beyond < 0 ? undefined : Math.min(maxOpenMs, openMs * 2 ** Math.min(beyond, 30));
}

/**
 * Count what became of a wakeup. A refusal of the provider is its answer, and no failure.
 * @returns for how many milliseconds the circuit was opened; undefined if it was not. One that is there already stays as
 *   it is: an operator's word stands above ours.
 */
export async function judgeWakeup(
  store: Store,
  decision: Pick<WakeupDecision, 'targetAgentType' | 'status' | 'reason'>,
  rules: CircuitRules,
): Promise<number | undefined> {
  const {targetAgentType: agentType, status, reason} = decision;
  switch (status) {
    case 'READY':
      await forgetWakeupFailures(store, agentType);
      await closeAutoCircuit(store, agentType);
      return undefined;
    case 'FAILED': {
      const count = await countWakeupFailure(store, agentType);
      const forMs = opensForMs(count, rules);
      if (forMs === undefined) return undefined;
      const why = `${count} wakeups failed in a row; the last: ${reason}`.slice(0, 500);
      return (await openAutoCircuit(store, agentType, {reason: why, forMs})) ? forMs : undefined;
    }
    default:
      return undefined;
  }
}
