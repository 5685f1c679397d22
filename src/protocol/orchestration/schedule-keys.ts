/** Keys of schedules. All of one workspace carry its hash tag, so one script may touch them together, in both key schemas. */

export function createScheduleKeys({prefix = ''}: {readonly prefix?: string} = {}) {
  const key = (workspace: string, rest: string) => `${prefix}byorch:v1:{${workspace}}:${rest}`;
  return {
    /** Hash: one schedule. */
    schedule: (workspace: string, id: string) => key(workspace, `sch:${id}`),
    /** Stream: what became of its last ticks. */
    scheduleTicks: (workspace: string, id: string) => key(workspace, `sch:${id}:ticks`),
    /** String: the id behind a name people gave. */
    scheduleName: (workspace: string, externalId: string) => key(workspace, `schext:${externalId}`),
    /** Sorted set: all schedules, by creation. */
    schedules: (workspace: string) => key(workspace, 'schs'),
    /** Sorted set: those that will fire, by when to look at them. */
    schedulesDue: (workspace: string) => key(workspace, 'sch:due'),
    /** Sorted set: those with ticks that are being submitted, by when somebody else may take these over. */
    schedulesFiring: (workspace: string) => key(workspace, 'sch:firing'),
  };
}
export type ScheduleKeys = ReturnType<typeof createScheduleKeys>;
