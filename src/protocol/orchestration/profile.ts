/** Agent profiles: named agents with their policy and how many of their runs go at once. */
import {z} from 'zod';
import {RunExecutionPolicy} from './policy.js';
import {anyObject, at, count, record, str} from './record.js';

export const AGENT_KEY = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
export const DEFAULT_CONCURRENCY = 4;
export const DEFAULT_FAILURE_THRESHOLD = 5;

export const AgentProfile = record({
  agentId: z.string(),
  agentKey: z.string().regex(AGENT_KEY),
  /** The by-framework agent type that is addressed. */
  agentType: str(128),
  name: str(200),
  /** At most 64 KiB, and no secrets. */
  config: anyObject(),
  defaultPolicy: RunExecutionPolicy,
  /** Runs of each pool under way at once; 0 pauses. */
  concurrency: z.number().int().min(0).max(1000),
  /** Failures in a row after which a pool is degraded. */
  failedAttemptThreshold: z.number().int().min(1).max(1000),
  active: z.boolean(),
  createdAt: at(),
  updatedAt: at(),
  version: count(),
});
export type AgentProfile = z.output<typeof AgentProfile>;

/** What a profile's config is when nothing is said. */
export const defaultAgentConfig = (agentKey: string): Record<string, unknown> => ({
  runner: 'claude_code',
  provider: 'claude',
  workspace_dir: `workspaces/${agentKey}`,
});
