/** What a worker says of the executions it ended: a few numbers it keeps anyway, so that a task costs nothing more. A format of ours. */
import {z} from 'zod';
import {parseEnvelope, readable} from './limits.js';

/** Executions whose times are told; older ones count only in the totals. */
export const MAX_RECENT = 100;

/** Milliseconds, or null where they are not known. */
const Ms = z.number().nonnegative().nullable();

export const WorkerMetrics = z.object({
  schema: z.literal(1),
  worker_id: z.string(),
  /** Unix milliseconds, by the worker's clock. */
  at: z.number(),
  /** Since the worker was started. */
  started: z.int().nonnegative(),
  ended: z.object({
    completed: z.int().nonnegative(),
    failed: z.int().nonnegative(),
    cancelled: z.int().nonnegative(),
  }),
  /** The newest, oldest first: when it ended, by how, and how long it waited, ran, and took in all. */
  recent: z.array(z.tuple([z.number(), z.enum(['c', 'f', 'x']), Ms, Ms, Ms])).max(MAX_RECENT),
});
export type WorkerMetrics = z.output<typeof WorkerMetrics>;

/** @returns undefined if it can not be read. */
export function readWorkerMetrics(text: string): WorkerMetrics | undefined {
  const doc = readable(() => parseEnvelope(text));
  const parsed = doc === undefined ? undefined : WorkerMetrics.safeParse(doc);
  return parsed?.success === true ? parsed.data : undefined;
}
