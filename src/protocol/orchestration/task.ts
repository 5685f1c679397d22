/** Tasks: what was accepted to be done, with its policy frozen as it was then. */
import {z} from 'zod';
import {ROUTE_POLICIES} from '../routing.js';
import {RunExecutionPolicy} from './policy.js';
import {anyObject, at, count, record, str} from './record.js';
import {PRIORITIES, QUEUE_MODES, TASK_STATES} from './states.js';

export const MAX_MESSAGE = 262_144;
export const DEFAULT_ATTEMPT_TIMEOUT_MS = 600_000;
export const MAX_ATTEMPT_TIMEOUT_MS = 86_400_000;
export const LANE = /^[\w.:-]{1,64}$/;
export const SLOT_TYPES = ['work', 'on_call'] as const;

export const AgentTask = record({
  taskId: z.string(),
  workspace: z.string(),
  agentId: z.string().optional(),
  agentType: str(128),
  message: z.string(),
  attachments: z.array(anyObject()),
  /** Also the session of by-framework. */
  sessionId: str(128),
  sessionKey: z.string().optional(),
  lane: z.string().optional(),
  status: z.enum(TASK_STATES),
  /** Why it was dropped, or how it failed: a code. */
  statusReason: z.string().optional(),
  priority: z.enum(PRIORITIES),
  queueMode: z.enum(QUEUE_MODES),
  deliver: z.boolean(),
  slotType: z.enum(SLOT_TYPES),
  /** What the router does when nobody is online. */
  routePolicy: z.enum(ROUTE_POLICIES),
  /** Of each attempt; 0: none. */
  timeoutMs: z.number().int().min(0).max(MAX_ATTEMPT_TIMEOUT_MS),
  notBeforeAt: at().optional(),
  /** What is still queued then is dropped. */
  expiresAt: at().optional(),
  policy: RunExecutionPolicy,
  extraSystemPrompt: z.string().optional(),
  inputProvenance: anyObject(),
  routing: anyObject(),
  idempotencyKey: z.string(),
  requestHash: z.string(),
  label: z.string().optional(),
  spawnedBy: z.string().optional(),
  hookId: z.string().optional(),
  currentRunId: z.string().optional(),
  runCount: count(),
  archivedAt: at().optional(),
  createdAt: at(),
  updatedAt: at(),
  /** Changes with every change of the task, its run or their attempts: what writes looks at it first. */
  version: count(),
});
export type AgentTask = z.output<typeof AgentTask>;
