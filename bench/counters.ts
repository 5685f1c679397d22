/** What the server counted: commands, those inside scripts too, and how often it had to read from a client. */
import type {Redis} from 'ioredis';

export interface Counters {
  readonly byCommand: ReadonlyMap<string, number>;
  /** Reads from clients: one for each write of a client, however many commands that holds. */
  readonly reads: number;
}

/** The bench's own questions. Nothing that is measured asks them. */
const OWN = new Set(['info', 'config|resetstat']);

export async function counters(redis: Redis): Promise<Counters> {
  const commands = await redis.info('commandstats');
  const stats = await redis.info('stats');
  const counted = [...commands.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(
    match => [match[1] ?? '', Number(match[2])] as const,
  );
  return {
    byCommand: new Map(counted.filter(([name]) => !OWN.has(name))),
    reads: Number(/^total_reads_processed:(\d+)/m.exec(stats)?.[1]),
  };
}

/** How many reads one {@link counters} call adds before the next sees them. */
const OWN_READS = 2;

/** What happened between two looks. */
export function between(before: Counters, after: Counters): {byCommand: Map<string, number>; reads: number} {
  const made = [...after.byCommand].map(
    ([name, calls]) => [name, calls - (before.byCommand.get(name) ?? 0)] as const,
  );
  return {
    byCommand: new Map(made.filter(([, calls]) => calls > 0)),
    reads: after.reads - before.reads - OWN_READS,
  };
}

export const sum = (byCommand: ReadonlyMap<string, number>): number =>
  [...byCommand.values()].reduce((total, calls) => total + calls, 0);
