/** Inputs: what people say to a run that is under way. */
import {z} from 'zod';
import {anyObject, at, record} from './record.js';
import {QUEUE_MODES} from './states.js';

export const OUTCOMES = ['direct', 'queued', 'interrupted', 'restarted'] as const;
export type InputOutcome = (typeof OUTCOMES)[number];

/** What happens when more is collected for one turn than is kept. */
export const OVERFLOWS = ['drop_old', 'drop_new', 'summarize'] as const;
export type Overflow = (typeof OVERFLOWS)[number];

export const PendingInput = record({
  inputId: z.string(),
  runId: z.string(),
  message: z.string(),
  mode: z.enum(QUEUE_MODES),
  idempotencyKey: z.string(),
  provenance: anyObject().optional(),
  routing: anyObject().optional(),
  /** Not delivered before this: inputs that come close together are collected. */
  notBeforeAt: at().optional(),
  createdAt: at(),
  state: z.enum(['buffered', 'delivered', 'merged', 'dropped']),
  dropReason: z.string().optional(),
});
export type PendingInput = z.output<typeof PendingInput>;
