/**
 * Keys of workers' status. They belong to the deployment, not to a workspace, and share one slot, so that one script
 * changes a record with all that follows from it.
 */

/**
 * JSON object of the exhausted workers of an agent type and when each recovers. There only while there are any: what every
 * send looks at, so that its name is to be had without those of the others.
 */
export const exhaustedKey = (prefix: string, agentType: string): string =>
  `${prefix}byorch:v1:{_sys}:exhausted:${agentType}`;

export function createStatusKeys(prefix = '') {
  const base = `${prefix}byorch:v1:{_sys}:`;
  return {
    /** Hash: one worker's status. */
    agentStatus: (workerId: string) => `${base}st:${workerId}`,
    /** Sorted set of workers that are not offline, by their last heartbeat. */
    statusHeartbeats: () => `${base}status:hb`,
    /** Sorted set of exhausted workers, by when they recover. */
    statusRecoveries: () => `${base}status:rec`,
    /** Sorted set of all workers with a status, by its last change. */
    statusIndex: () => `${base}status:all`,
    /** Hash: that a quota is used up; outlives the worker's status. */
    exhaustion: (workerId: string, scope: string) => `${base}exh:${workerId}:${scope}`,
    exhaustedWorkers: (agentType: string) => exhaustedKey(prefix, agentType),
    /** Stream: changes of status, what operators did, what should not be. */
    statusAudit: () => `${base}audit`,
    /** Says that the error of an execution was taken for a used-up quota. */
    countedError: (executionId: string) => `${base}counted:${executionId}`,
    /** Lock with TTL: who reads the status of foreign workers. */
    statusTurn: () => `${base}status:turn`,
  };
}

export type StatusKeys = ReturnType<typeof createStatusKeys>;
