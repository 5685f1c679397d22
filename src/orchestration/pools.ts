/** Pools: which one a task belongs to, how many it lets go at once, and what its failures do to that. Pure. */
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import {executionClassKey} from '../protocol/orchestration/policy.js';
import type {AgentPool} from '../protocol/orchestration/pool.js';
import {
  DEFAULT_CONCURRENCY,
  DEFAULT_FAILURE_THRESHOLD,
  type AgentProfile,
} from '../protocol/orchestration/profile.js';
import type {ErrorClass} from '../protocol/orchestration/states.js';
import type {AgentTask} from '../protocol/orchestration/task.js';

/** An agent without a profile is its agent type: two of those must not share a pool. */
export const poolKeyOf = (
  task: Pick<AgentTask, 'workspace' | 'agentId' | 'agentType' | 'lane' | 'policy'>,
): string =>
  executionClassKey(task.workspace, task.agentId ?? `type:${task.agentType}`, task.lane ?? null, task.policy);

export function newPool(task: AgentTask, profile: AgentProfile | undefined, nowMs: number): AgentPool {
  return {
    key: poolKeyOf(task),
    agentId: task.agentId,
    agentType: task.agentType,
    lane: task.lane,
    desired: profile?.concurrency ?? DEFAULT_CONCURRENCY,
    failureThreshold: profile?.failedAttemptThreshold ?? DEFAULT_FAILURE_THRESHOLD,
    status: 'healthy',
    failures: 0,
    failedAttempts: [],
    openings: 0,
    createdAt: nowMs,
    updatedAt: nowMs,
    version: 0,
  };
}

/** How many attempts of the pool may be under way; 0: none now. */
export function roomOf({status, desired, openUntilAt = 0, probeAttemptId}: AgentPool, nowMs: number): number {
  if (desired === 0) return 0;
  if (status === 'half_open') return probeAttemptId === undefined ? desired : 0;
  if (status !== 'degraded') return desired;
  return openUntilAt <= nowMs ? desired : 0;
}

/** @returns the pool, if claiming the attempt changes it: the first after a pause is a probe, and goes alone. */
export function claimedIn(pool: AgentPool, attemptId: string): AgentPool | undefined {
  if (pool.status !== 'degraded' && pool.status !== 'half_open') return undefined;
  return {...pool, status: 'half_open', probeAttemptId: attemptId};
}

const OPEN_MS = 30_000;
const MAX_OPEN_MS = 900_000;
const FAILED_KEPT = 10;

/** What counts against a pool: not what somebody stopped, nor what was refused or is used up. */
const COUNTS: ReadonlySet<ErrorClass> = new Set(['agent_error', 'worker_lost', 'timeout']);

/**
 * @param jitter 0 to 1: pools that failed together are not tried together.
 * @returns the pool after the end of an attempt, or undefined if it stays as it was.
 */
export function afterEnd(
  pool: AgentPool,
  attempt: Pick<RunAttempt, 'attemptId' | 'status' | 'errorClass'>,
  nowMs: number,
  jitter: number,
): AgentPool | undefined {
  const wasProbe = pool.probeAttemptId === attempt.attemptId;
  if (attempt.status === 'ok') {
    if (pool.status === 'healthy') return undefined;
    return {...pool, ...HEALTHY};
  }
  if (attempt.errorClass === undefined || !COUNTS.has(attempt.errorClass))
    return wasProbe
      ? {...pool, status: 'degraded', probeAttemptId: undefined, openUntilAt: nowMs}
      : undefined;
  const failures = pool.failures + 1;
  const failedAttempts = [...pool.failedAttempts, attempt.attemptId].slice(-FAILED_KEPT);
  const next = {...pool, failures, failedAttempts, probeAttemptId: undefined};
  if (failures < pool.failureThreshold && !wasProbe) return {...next, status: 'warning'};
  // What was under way when it was degraded says nothing new.
  if (pool.status === 'degraded' && !wasProbe) return {...next, probeAttemptId: pool.probeAttemptId};
  const wait = Math.min(OPEN_MS * 2 ** pool.openings, MAX_OPEN_MS);
  const openUntilAt = nowMs + Math.round(wait * (0.8 + 0.4 * jitter));
  return {...next, status: 'degraded', openings: pool.openings + 1, openUntilAt};
}

const HEALTHY = {
  status: 'healthy',
  failures: 0,
  failedAttempts: [] as string[],
  openings: 0,
  openUntilAt: undefined,
  probeAttemptId: undefined,
} as const;

/** Closed by hand. */
export const healed = (pool: AgentPool): AgentPool => ({...pool, ...HEALTHY, failedAttempts: []});
