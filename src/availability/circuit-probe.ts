/** Half-open circuits: after its time one command is let through, and how that ends decides (store/execution-circuit.ts). */
import {readCircuit, type RoutePolicy, type UnreadableRecords} from '../protocol/routing.js';
import {takeProbe} from '../store/execution-circuit.js';
import type {Store} from '../store/store.js';
import {decideRoute, type RouteFacts} from './decide-route.js';

/** @returns the opening of a circuit whose time is over, if this command would go anywhere without it. */
export function dueProbe(
  facts: RouteFacts,
  policy: RoutePolicy,
  unreadable?: UnreadableRecords,
): string | undefined {
  const {open, halfOpen} = readCircuit(facts.circuit);
  const leftMs = facts.circuitMs ?? null;
  if (!open || halfOpen === undefined || leftMs === null || leftMs > halfOpen.ms) return undefined;
  const otherwise = decideRoute({...facts, circuit: null}, policy, unreadable);
  return otherwise.kind === 'reject' ? undefined : halfOpen.opening;
}

/** The facts as they are for this command: without the circuit, if it is the one that is let through. */
export async function letThrough(
  store: Store,
  agentType: string,
  facts: RouteFacts,
  policy: RoutePolicy,
): Promise<RouteFacts> {
  const opening = dueProbe(facts, policy, store.unreadableRecords);
  if (opening === undefined) return facts;
  const forMs = (facts.circuitMs ?? 0) + 1000;
  return (await takeProbe(store, agentType, {opening, forMs})) ? {...facts, circuit: null} : facts;
}
