/** What a command of a run carries in its header, as `metadata.by_run`. Workers of ours go by it, others pass it over. */
import {z} from 'zod';
import {RunExecutionPolicy} from './policy.js';
import {count, record} from './record.js';
import {SLOT_TYPES} from './task.js';

export const RunMeta = record({
  v: z.literal(1),
  workspace: z.string(),
  taskId: z.string(),
  runId: z.string(),
  attemptId: z.string(),
  attemptNo: count(),
  /** Of the session: who has a lower one than another attempt was given is not to work any more. */
  fence: count(),
  /** Milliseconds the attempt may take; 0: as long as it wants. */
  timeoutMs: count(),
  policy: RunExecutionPolicy,
  slotType: z.enum(SLOT_TYPES).optional(),
});
export type RunMeta = z.output<typeof RunMeta>;

/** @returns undefined for a command that came without a run, or with one that can not be read. */
export function runMetaOf(metadata: Readonly<Record<string, unknown>>): RunMeta | undefined {
  const meta = metadata['by_run'];
  return typeof meta === 'object' && meta !== null ? RunMeta.safeDecode(meta as never).data : undefined;
}
