/**
 * Circuits that open because executions of an agent type fail: workers count how they end, and whoever is told that the
 * circuit is open may be the one command that tries again.
 */
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

export interface ExecutionCircuitRules {
  /** Share of executions that fail, above 0 and up to 1, at which the circuit opens. */
  readonly rate: number;
  /** Fewer ends than this within the window open nothing. At least 1. Default 20. */
  readonly min?: number;
  /** Milliseconds that are looked back, from 1,000 to 3,600,000. Default 60,000. */
  readonly windowMs?: number;
  /**
   * Milliseconds nobody is let through; then one command is. Its end closes the circuit, or opens it for as long again.
   * If it has not ended after this long, or nobody sent one, the circuit goes. From 1,000 to a day; default 30,000.
   */
  readonly openMs?: number;
}

/** The longest window; key-rules.ts names it too. */
export const MAX_WINDOW_MS = 3_600_000;

export const isRules = ({
  rate,
  min = 1,
  windowMs = MAX_WINDOW_MS,
  openMs = 1000,
}: ExecutionCircuitRules): boolean =>
  rate > 0 &&
  rate <= 1 &&
  Number.isSafeInteger(min) &&
  min >= 1 &&
  isMs(windowMs, MAX_WINDOW_MS) &&
  isMs(openMs, 86_400_000);

const isMs = (value: number, most: number) => Number.isSafeInteger(value) && value >= 1000 && value <= most;

const countScript = defineScript({
  file: 'count-ends.lua',
  keys: ['circuit', 'ends', 'probe'],
  args: ['ok', 'failed', 'rate', 'min', 'windowMs', 'openMs'],
  reply: texts,
});

export type Counted =
  | {readonly kind: 'opened'; readonly failed: number; readonly of: number | null}
  | {readonly kind: 'closed' | 'counted' | 'kept'};

/** Not repeated by itself: an end must not count twice. */
export async function countEnds(
  store: Store,
  agentType: string,
  ends: {readonly ok: number; readonly failed: number},
  {rate, min = 20, windowMs = 60_000, openMs = 30_000}: ExecutionCircuitRules,
): Promise<Counted> {
  const {keys} = store;
  const [verdict, failed = '', of = ''] = await countScript(store.commands, {
    keys: {
      circuit: keys.circuit(agentType),
      ends: keys.executionEnds(agentType),
      probe: keys.circuitProbe(agentType, ''),
    },
    args: {...ends, rate, min, windowMs, openMs},
  });
  if (verdict === 'opened')
    return {kind: 'opened', failed: Number(failed), of: of === '' ? null : Number(of)};
  return {kind: verdict === 'closed' || verdict === 'kept' ? verdict : 'counted'};
}

/** Be the one command that an open circuit lets through. @returns false if another is, or the circuit is another one. */
export async function takeProbe(
  store: Store,
  agentType: string,
  {opening, forMs}: {readonly opening: string; readonly forMs: number},
): Promise<boolean> {
  const key = store.keys.circuitProbe(agentType, opening);
  // Outlives the circuit, so that no other can follow.
  const taken = await store.commands.run(redis => redis.set(key, '1', 'PX', Math.ceil(forMs), 'NX'));
  return taken === 'OK';
}
