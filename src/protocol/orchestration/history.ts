/** What is told of runs: events, log entries, snapshots. Their numbers are dense: a reader goes on from the last it saw. */
import {z} from 'zod';
import {anyObject, at, count, record} from './record.js';

export const EVENT_TYPES = [
  'accepted',
  'dispatching',
  'dispatched',
  'running',
  'deferred',
  'pickup_slow',
  'input_buffered',
  'input_summarized',
  'input_dispatched',
  'input_direct',
  'steer_downgraded',
  'input_steered',
  'interrupted',
  'overlap_accepted',
  'waiting_for_input',
  'answered',
  'approval_requested',
  'approval_decided',
  'retry_scheduled',
  'attempt_superseded',
  'orphan_recovered',
  'answers_not_replayed',
  'late_result_ignored',
  'cancel_requested',
  'finished',
] as const;
export type RunEventType = (typeof EVENT_TYPES)[number];

/** Another program may write types of its own. */
export const RunEvent = record({
  seq: count(),
  ts: at(),
  runId: z.string(),
  attemptId: z.string().optional(),
  type: z.string(),
  kind: z.enum(['input', 'control', 'lifecycle']),
  data: anyObject(),
});
export type RunEvent = z.output<typeof RunEvent>;

export const LOG_STREAMS = ['stdout', 'stderr', 'user', 'agent', 'system'] as const;

export const TaskLogEntry = record({
  seq: count(),
  ts: at(),
  taskId: z.string(),
  runId: z.string(),
  attemptId: z.string().optional(),
  stream: z.enum(LOG_STREAMS),
  data: z.string(),
  chunkType: z.string(),
});
export type TaskLogEntry = z.output<typeof TaskLogEntry>;

export const AgentRunSnapshot = record({
  seq: count(),
  ts: at(),
  runId: z.string(),
  attemptId: z.string().optional(),
  status: z.string(),
  marker: z.enum(['started', 'retry_scheduled', 'orphan_recovered', 'attempt_superseded', 'finished']),
  startedAt: at().optional(),
  endedAt: at().optional(),
  error: anyObject().optional(),
  /** −1 for a run whose worker was lost. */
  exitCode: z.number().int().optional(),
});
export type AgentRunSnapshot = z.output<typeof AgentRunSnapshot>;
