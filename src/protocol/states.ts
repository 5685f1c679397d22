/** States of executions: spec §4.10. */

/** What a handler may return as a status, and what state events show. */
export const AGENT_STATES = [
  'STARTING',
  'COMPLETED',
  'FAILED',
  'CANCELLING',
  'CANCELLED',
  'RESUMED',
  'WAITING_AGENT',
  'WAITING_USER',
  'QUEUED',
  'CALLING_AGENT',
] as const;
export type AgentState = (typeof AGENT_STATES)[number];

export const TERMINAL_STATES = ['COMPLETED', 'FAILED', 'CANCELLED'] as const;
export type TerminalState = (typeof TERMINAL_STATES)[number];

/** Status of a turn that waits for the rest of its group: spec §6.8. */
export const WAITING_FOR_GROUP = 'QUEUED: waiting_for_group';

/** Every status a record of ours can have; other SDKs also store whatever text a handler returned. */
export const RECORD_STATES = [...AGENT_STATES, 'RUNNING', 'GROUP_QUEUED', WAITING_FOR_GROUP] as const;

const agentStates: ReadonlySet<string> = new Set(AGENT_STATES);
const terminalStates: ReadonlySet<string> = new Set(TERMINAL_STATES);
const canonical: ReadonlyMap<string, string> = new Map(
  RECORD_STATES.map(state => [state.toUpperCase(), state]),
);

export function isAgentState(text: string): text is AgentState {
  return agentStates.has(text);
}

/** Whether an execution with this status has ended. Case-sensitive, as in every SDK. */
export function isTerminal(status: string): status is TerminalState {
  return terminalStates.has(status);
}

/** As {@link isTerminal}, for what people and handlers write: any case, and Java's SUCCESS and NOT_FOUND. */
export function isTerminalTolerant(status: string): boolean {
  const upper = status.trim().toUpperCase();
  return terminalStates.has(upper) || upper === 'SUCCESS' || upper === 'NOT_FOUND';
}

/** A known state in any case becomes that state; other text passes (S5). */
export function canonicalStatus(status: string): string {
  return canonical.get(status.trim().toUpperCase()) ?? status;
}
