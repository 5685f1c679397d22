/** States of tasks, runs and attempts, and which may follow which. */

export const TASK_STATES = [
  'queued',
  'running',
  'waiting',
  'idle',
  'done',
  'error',
  'cancelled',
  'dropped',
] as const;
export type TaskState = (typeof TASK_STATES)[number];

export const RUN_STATES = ['accepted', 'running', 'ok', 'error', 'timeout', 'cancelled'] as const;
export type RunState = (typeof RUN_STATES)[number];

export const ATTEMPT_STATES = [
  'pending',
  'blocked',
  'running',
  'ok',
  'error',
  'timeout',
  'cancelled',
] as const;
export type AttemptState = (typeof ATTEMPT_STATES)[number];

type Machine<S extends string> = Readonly<Record<S, readonly S[]>>;

/** A task that ended may be taken up again by input; one that never ran may not. */
export const TASK_MOVES: Machine<TaskState> = {
  queued: ['running', 'waiting', 'idle', 'done', 'error', 'cancelled', 'dropped'],
  running: ['queued', 'waiting', 'idle', 'done', 'error', 'cancelled'],
  waiting: ['running', 'queued', 'idle', 'done', 'error', 'cancelled'],
  idle: ['queued', 'cancelled'],
  done: ['queued'],
  error: ['queued'],
  cancelled: ['queued'],
  dropped: [],
};

export const RUN_MOVES: Machine<RunState> = {
  accepted: ['running', 'ok', 'error', 'timeout', 'cancelled'],
  running: ['ok', 'error', 'timeout', 'cancelled'],
  ok: [],
  error: [],
  timeout: [],
  cancelled: [],
};

/** From pending straight to an end: it ended before anybody looked. */
export const ATTEMPT_MOVES: Machine<AttemptState> = {
  pending: ['blocked', 'running', 'ok', 'error', 'timeout', 'cancelled'],
  blocked: ['pending', 'error', 'cancelled'],
  running: ['ok', 'error', 'timeout', 'cancelled'],
  ok: [],
  error: [],
  timeout: [],
  cancelled: [],
};

/** Staying is always allowed. */
export const mayMove = <S extends string>(machine: Machine<S>, from: S, to: S): boolean =>
  from === to || machine[from].includes(to);

/** Not taken up again by itself. */
export const isFinalTask = (status: TaskState): boolean =>
  status === 'done' || status === 'error' || status === 'cancelled' || status === 'dropped';
export const isFinalRun = (status: RunState): boolean => RUN_MOVES[status].length === 0;
export const isFinalAttempt = (status: AttemptState): boolean => ATTEMPT_MOVES[status].length === 0;

export const POOL_STATES = ['healthy', 'warning', 'degraded', 'half_open'] as const;
export type PoolState = (typeof POOL_STATES)[number];

export const DISPATCH_PHASES = ['none', 'claimed', 'sending', 'sent', 'seen'] as const;
export type DispatchPhase = (typeof DISPATCH_PHASES)[number];

export const ERROR_CLASSES = [
  'agent_error',
  'worker_lost',
  'not_delivered',
  'exhausted',
  'timeout',
  'cancelled',
  'policy',
  'superseded',
] as const;
export type ErrorClass = (typeof ERROR_CLASSES)[number];

export const PRIORITIES = ['low', 'normal', 'high', 'urgent'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** `steer-backlog` is read as `steer`. */
export const QUEUE_MODES = ['queue', 'followup', 'steer', 'collect', 'interrupt', 'reject'] as const;
export type AgentQueueMode = (typeof QUEUE_MODES)[number];
