/**
 * What a worker's status may become, as pure functions: a state goes in with the time, a new state comes out.
 *
 * store/lua/orch-status-apply.lua does the same inside Redis; test/registry/agent-status-model.test.ts holds the two
 * together.
 */
import {ByError} from '../errors.js';
import type {AgentStatus, ExhaustReason, SlotType} from '../protocol/orchestration/status.js';

/** A worker that was silent for longer than this is offline. After exactly this long it is not. */
export const HEARTBEAT_TIMEOUT_MS = 120_000;
/** How long an exhaustion lasts of which nobody says when it ends: five hours. */
export const DEFAULT_RECOVERY_MS = 5 * 3_600_000;
/** The shortest and the longest that what a provider says is believed. */
export const MIN_RECOVERY_MS = 1000;
export const MAX_RECOVERY_MS = 7 * 86_400_000;

/** Times are Unix milliseconds; null where there is none. */
export interface AgentStatusState {
  /** Who it is, for messages. */
  readonly agent: string;
  readonly status: AgentStatus;
  readonly lastHeartbeatAt: number | null;
  readonly exhaustedAt: number | null;
  readonly recoveryAt: number | null;
  readonly exhaustReason: ExhaustReason | null;
}

/** A status that may not follow the one there is: STATUS_TRANSITION_INVALID. */
export class AgentStatusError extends ByError {
  constructor(
    readonly agent: string,
    readonly actual: AgentStatus,
    readonly expected: readonly AgentStatus[],
    to: AgentStatus,
  ) {
    super(
      'STATUS_TRANSITION_INVALID',
      `"${agent}" is ${actual}, and can only become ${to} from ${expected.join(', ')}.`,
      {
        hint: 'Look at its status again: by agent list --workers',
        details: {agent, actual, expected, to},
      },
    );
  }
}

const NOT_EXHAUSTED = {exhaustedAt: null, recoveryAt: null, exhaustReason: null} as const;

const RESTS_AFTER = ['busy', 'on_call', 'exhausted', 'offline'] as const;

/**
 * It takes up work.
 * @throws {AgentStatusError} unless it is idle.
 */
export function transitionToBusy(
  state: AgentStatusState,
  {slotType, now}: {readonly slotType: SlotType; readonly now: number},
): AgentStatusState {
  const status = slotType === 'on_call' ? 'on_call' : 'busy';
  if (state.status !== 'idle') throw new AgentStatusError(state.agent, state.status, ['idle'], status);
  return {...state, status, lastHeartbeatAt: now};
}

/**
 * It rests. Whether an exhaustion is over is the caller's to look at.
 * @param options.bumpHeartbeat false when somebody else says so: a dead worker must not look alive. Default true.
 * @throws {AgentStatusError} if it is idle already.
 */
export function transitionToIdle(
  state: AgentStatusState,
  {now, bumpHeartbeat = true}: {readonly now: number; readonly bumpHeartbeat?: boolean},
): AgentStatusState {
  if (state.status === 'idle') throw new AgentStatusError(state.agent, state.status, RESTS_AFTER, 'idle');
  const lastHeartbeatAt = bumpHeartbeat ? now : state.lastHeartbeatAt;
  return {...state, ...NOT_EXHAUSTED, status: 'idle', lastHeartbeatAt};
}

/** It is away; what is known of an exhaustion stays. */
export function transitionToOffline(state: AgentStatusState): AgentStatusState {
  return state.status === 'offline' ? state : {...state, status: 'offline'};
}

/** A quota is used up; a second time the newer word counts. `recoveryAt` by default in {@link DEFAULT_RECOVERY_MS}. */
export function transitionToExhausted(
  state: AgentStatusState,
  {
    reason,
    now,
    recoveryAt = now + DEFAULT_RECOVERY_MS,
  }: {readonly reason: ExhaustReason; readonly recoveryAt?: number; readonly now: number},
): AgentStatusState {
  return {...state, status: 'exhausted', exhaustedAt: now, recoveryAt, exhaustReason: reason};
}

export interface Checked {
  readonly state: AgentStatusState;
  readonly changed: boolean;
}

/** Offline, once it was silent for more than {@link HEARTBEAT_TIMEOUT_MS} or was never heard. */
export function checkHeartbeatTimeout(state: AgentStatusState, now: number): Checked {
  const {status, lastHeartbeatAt} = state;
  const isSilent = lastHeartbeatAt === null || now - lastHeartbeatAt > HEARTBEAT_TIMEOUT_MS;
  if (status === 'offline' || !isSilent) return {state, changed: false};
  return {state: transitionToOffline(state), changed: true};
}

/** Idle, once the exhaustion is over. One without an end does not end by itself. */
export function checkExhaustedRecovery(state: AgentStatusState, now: number): Checked {
  const {status, recoveryAt} = state;
  if (status !== 'exhausted' || recoveryAt === null || now < recoveryAt) return {state, changed: false};
  return {state: transitionToIdle(state, {now}), changed: true};
}

/** A sign of life. Who was offline is idle, and knows of no exhaustion any more: the ledger remembers it. */
export function recordHeartbeat(state: AgentStatusState, now: number): AgentStatusState {
  if (state.status !== 'offline') return {...state, lastHeartbeatAt: now};
  return {...state, ...NOT_EXHAUSTED, status: 'idle', lastHeartbeatAt: now};
}
