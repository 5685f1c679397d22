/** Runs: one life of doing a task, over one or more attempts. */
import {z} from 'zod';
import {at, count, record} from './record.js';
import {RUN_STATES} from './states.js';

export const INTERACTION_STATES = ['working', 'waiting_for_input', 'waiting_for_approval', 'closed'] as const;

/** Whether the run works, or waits for a person. */
export const RunInteraction = record({
  runId: z.string(),
  state: z.enum(INTERACTION_STATES),
  activeExecutionId: z.string().optional(),
  pendingCount: count(),
  updatedAt: at(),
});
export type RunInteraction = z.output<typeof RunInteraction>;

export const MAX_RESULT_TEXT = 65_536;

export const AgentRun = record({
  runId: z.string(),
  taskId: z.string(),
  agentId: z.string().optional(),
  agentType: z.string(),
  sessionId: z.string(),
  status: z.enum(RUN_STATES),
  statusReason: z.string().optional(),
  resumeOfRunId: z.string().optional(),
  resumeSession: z.boolean(),
  /** The pool it belongs to. */
  instanceKey: z.string(),
  attemptCount: count(),
  currentAttemptId: z.string().optional(),
  interaction: RunInteraction,
  result: record({text: z.string(), truncated: z.boolean()}).optional(),
  error: record({code: z.string(), class: z.string(), message: z.string()}).optional(),
  cancelRequestedAt: at().optional(),
  acceptedAt: at(),
  startedAt: at().optional(),
  endedAt: at().optional(),
  version: count(),
});
export type AgentRun = z.output<typeof AgentRun>;
