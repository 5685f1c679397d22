/** Agent types joined with what decides whether a command reaches them: workers, circuit, fallback, what is held back. */
import {readCircuit, readFallback, type CircuitRecord, type FallbackRecord} from '../store/admission.js';
import {heldBack} from '../store/queues.js';
import type {Store} from '../store/store.js';
import {listAgentTypes, type AgentTypeSummary} from './listing.js';
import {knownAgentTypes} from './queues.js';

export interface AgentRow extends AgentTypeSummary {
  /** Undefined where there is none; one that is not open is no hindrance. */
  readonly circuit: CircuitRecord | undefined;
  readonly fallback: FallbackRecord | undefined;
  /** Commands held back until a worker is online. */
  readonly heldBack: number;
}

/** Agent types that a known worker declares, or that something is held back for, by name. */
export async function listAgents(store: Store): Promise<AgentRow[]> {
  const [names, declared] = await Promise.all([knownAgentTypes(store), listAgentTypes(store)]);
  const known = new Map(declared.map(row => [row.agentType, row]));
  return Promise.all(names.map(name => joined(store, known.get(name) ?? nobody(name))));
}

/** @returns a row for any name: whether anything is known of it shows in what the row holds. */
export async function agentRow(store: Store, agentType: string): Promise<AgentRow> {
  const declared = await listAgentTypes(store);
  return joined(store, declared.find(row => row.agentType === agentType) ?? nobody(agentType));
}

const nobody = (agentType: string): AgentTypeSummary => ({
  agentType,
  online: 0,
  suspended: 0,
  workerIds: [],
});

async function joined(store: Store, row: AgentTypeSummary): Promise<AgentRow> {
  const [circuit, fallback, held] = await Promise.all([
    readCircuit(store, row.agentType),
    readFallback(store, row.agentType),
    heldBack(store, row.agentType),
  ]);
  return {...row, circuit, fallback, heldBack: held};
}
