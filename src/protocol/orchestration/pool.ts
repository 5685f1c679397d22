/** Pools: runs that share a limit, and how they fare. */
import {z} from 'zod';
import {at, count, record} from './record.js';
import {POOL_STATES} from './states.js';

export const AgentPool = record({
  key: z.string(),
  agentId: z.string().optional(),
  agentType: z.string(),
  lane: z.string().optional(),
  /** Attempts under way at once; 0 pauses. */
  desired: z.number().int().min(0).max(1000),
  failureThreshold: z.number().int().min(1),
  status: z.enum(POOL_STATES),
  /** Failures in a row. */
  failures: count(),
  /** Attempts that failed lately, newest last. */
  failedAttempts: z.array(z.string()),
  /** A degraded pool sends nothing before this. */
  openUntilAt: at().optional(),
  /** How often in a row it was degraded. */
  openings: count(),
  /** The one attempt that tries whether it works again. */
  probeAttemptId: z.string().optional(),
  createdAt: at(),
  updatedAt: at(),
  version: count(),
});
export type AgentPool = z.output<typeof AgentPool>;
