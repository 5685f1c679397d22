/** Schedules: what is to be done again and again, when, and what became of it so far. */
import {z} from 'zod';
import {isValidId} from '../../ids.js';
import {checkPolicyRequest, KeptPolicy, type PolicyRequest} from './policy.js';
import {at, checkInput, count, record, str} from './record.js';

export const MISSED_POLICIES = ['skip', 'once', 'all'] as const;
export type MissedPolicy = (typeof MISSED_POLICIES)[number];
export const OVERLAP_POLICIES = ['skip', 'queue', 'allow', 'cancel'] as const;
export type OverlapPolicy = (typeof OVERLAP_POLICIES)[number];
export const SESSION_MODES = ['fresh', 'sticky'] as const;
export const TASK_PRIORITIES = ['low', 'normal', 'high', 'urgent'] as const;

export const EXTERNAL_ID = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
export const SCHEDULE_LIMITS = {
  promptChars: 262_144,
  catchupWindowMs: [10_000, 31_536_000_000],
  jitterMs: [0, 300_000],
} as const;

const [MIN_CATCHUP_MS, MAX_CATCHUP_MS] = SCHEDULE_LIMITS.catchupWindowMs;
const [, MAX_JITTER_MS] = SCHEDULE_LIMITS.jitterMs;
const agentType = z.string().refine(isValidId, 'letters, digits and . _ : @ -, at most 128');

/** What each tick's task is given besides its prompt. */
export const taskDefaults = {
  /** Any part of one, as of a task. */
  policy: z.custom<PolicyRequest>(value => isObject(value), 'it is no object').optional(),
  /** Of each attempt; 0: none. */
  timeoutMs: z.number().int().min(0).max(86_400_000).optional(),
  /** Default `schedule:` and the schedule's name. */
  lane: z
    .string()
    .regex(/^[\w.:-]{1,64}$/)
    .optional(),
  priority: z.enum(TASK_PRIORITIES).optional(),
};

/** As they are kept. */
export const TaskDefaults = record({...taskDefaults, policy: KeptPolicy.optional()});

const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What is said of a schedule; everything else follows. */
const definition = {
  externalId: z.string().regex(EXTERNAL_ID, 'small letters, digits and . _ -, at most 64'),
  agentId: str(64).optional(),
  agentType: agentType.optional(),
  cronExpr: str(200),
  timezone: str(64),
  prompt: z
    .string()
    .max(SCHEDULE_LIMITS.promptChars)
    .refine(text => text.trim() !== '', 'it is empty'),
  /** Passed on in the metadata of each task. */
  skillPaths: z.array(str(512)).max(32),
  missedPolicy: z.enum(MISSED_POLICIES),
  /** How late a tick may still fire. */
  catchupWindowMs: z.number().int().min(MIN_CATCHUP_MS).max(MAX_CATCHUP_MS),
  overlapPolicy: z.enum(OVERLAP_POLICIES),
  jitterMs: z.number().int().min(0).max(MAX_JITTER_MS),
  startsAt: at().optional(),
  endsAt: at().optional(),
  maxRuns: z.number().int().min(1).optional(),
  /** Failures in a row, of ticks that can not be submitted and of tasks, after which it is paused; 0: never. */
  pauseAfterFailures: z.number().int().min(0).max(1000),
  /** `sticky`: one session for all ticks. */
  sessionMode: z.enum(SESSION_MODES),
  createdBy: str(200).optional(),
  /** A reference. Tokens themselves are not kept. */
  tokenRef: str(200).optional(),
};

/** What came of it so far. */
const state = {
  active: z.boolean(),
  pauseNote: z.string().optional(),
  /** Why it will never fire again. */
  finishedReason: z.enum(['ends_at', 'max_runs']).optional(),
  nextRunAt: at().optional(),
  lastRunAt: at().optional(),
  lastTaskId: z.string().optional(),
  lastOutcome: z.string().optional(),
  runCount: count(),
  /** Ticks that were left out because they came too late. */
  missedCount: count(),
  failureStreak: count(),
  /** After a failed submit: not before. */
  retryAt: at().optional(),
  retries: count(),
  /** The tick whose submit failed. */
  revertedTick: at().optional(),
  /** Ticks up to this one waited for the one before them: they are not late. */
  heldUntil: at().optional(),
  /** Ticks that are being submitted. */
  firing: z.array(at()),
  createdAt: at(),
  updatedAt: at(),
  /** Counts changes people make, not ticks. */
  version: count(),
};

/** A schedule. Times are Unix milliseconds by Redis's clock. */
export const ScheduledTask = record({
  scheduleId: z.string(),
  ...definition,
  taskDefaults: TaskDefaults,
  ...state,
});
export type ScheduledTask = z.output<typeof ScheduledTask>;

/** The part of it people write; kept as one document. */
export const ScheduleDefinition = record({...definition, taskDefaults: TaskDefaults});
export type ScheduleDefinition = z.output<typeof ScheduleDefinition>;

const notDefined: ReadonlySet<string> = new Set(['scheduleId', ...Object.keys(state)]);

/** The part of a schedule that people wrote, with what a newer program added to it. */
export const definitionOf = (schedule: ScheduledTask): ScheduleDefinition =>
  Object.fromEntries(
    Object.entries(schedule).filter(([field]) => !notDefined.has(field)),
  ) as unknown as ScheduleDefinition;

export const createParams = z.strictObject({
  ...definition,
  externalId: definition.externalId.optional(),
  timezone: definition.timezone.default('UTC'),
  skillPaths: definition.skillPaths.default([]),
  missedPolicy: definition.missedPolicy.default('once'),
  catchupWindowMs: definition.catchupWindowMs.default(3_600_000),
  overlapPolicy: definition.overlapPolicy.default('skip'),
  jitterMs: definition.jitterMs.default(0),
  pauseAfterFailures: definition.pauseAfterFailures.default(0),
  sessionMode: definition.sessionMode.default('fresh'),
  taskDefaults: z.strictObject(taskDefaults).default({}),
  /** Default true. */
  active: z.boolean().default(true),
});
export type CreateScheduleParams = z.input<typeof createParams>;

const {externalId: _fixed, ...changeable} = definition;
/** `null` takes away what may be missing. */
export const patch = z.strictObject({
  ...z.object(changeable).partial().shape,
  agentId: changeable.agentId.nullable(),
  agentType: changeable.agentType.nullable(),
  startsAt: changeable.startsAt.nullable(),
  endsAt: changeable.endsAt.nullable(),
  maxRuns: changeable.maxRuns.nullable(),
  tokenRef: changeable.tokenRef.nullable(),
  createdBy: changeable.createdBy.nullable(),
  taskDefaults: z.strictObject(taskDefaults).optional(),
});
export type SchedulePatch = z.input<typeof patch>;

/** @throws {ByError} INVALID_INPUT, POLICY_INVALID with the field that does not fit. */
export const checkCreateSchedule = (params: CreateScheduleParams): z.output<typeof createParams> =>
  withPolicy(checkInput(createParams, params));

/** @throws {ByError} INVALID_INPUT, POLICY_INVALID with the field that does not fit. */
export const checkSchedulePatch = (params: SchedulePatch): z.output<typeof patch> =>
  withPolicy(checkInput(patch, params));

/** What every tick's task would be refused for is refused before the first. */
function withPolicy<
  T extends {readonly taskDefaults?: {readonly policy?: PolicyRequest | undefined} | undefined},
>(given: T): T {
  const policy = given.taskDefaults?.policy;
  if (policy !== undefined) checkPolicyRequest(policy);
  return given;
}

/** The hash of a schedule: its definition as one document, what changes with each tick as fields of its own. */
const INTEGERS = [
  ...['next_run_at', 'last_run_at', 'run_count', 'missed_count', 'failure_streak', 'retry_at', 'retries'],
  ...['reverted_tick', 'held_until', 'created_at', 'updated_at', 'version'],
];
const TEXTS = ['schedule_id', 'pause_note', 'finished_reason', 'last_task_id', 'last_outcome'];
const COUNTS = {run_count: 0, missed_count: 0, failure_streak: 0, retries: 0};

/** @returns undefined for no schedule, or one that can not be read. */
export function readSchedule(hash: Readonly<Record<string, string>>): ScheduledTask | undefined {
  const doc = jsonOf(hash['doc']);
  if (doc === undefined) return undefined;
  const fields: Record<string, unknown> = {...(doc as object), ...COUNTS, active: hash['active'] === '1'};
  for (const name of INTEGERS) if (hash[name] !== undefined) fields[name] = Number(hash[name]);
  for (const name of TEXTS) if (hash[name] !== undefined) fields[name] = hash[name];
  fields['firing'] = jsonOf(hash['firing']) ?? [];
  return ScheduledTask.safeDecode(fields).data;
}

function jsonOf(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Somebody else wrote it: as if it were not there.
    return undefined;
  }
}

export type ScheduleState = 'active' | 'paused' | 'finished';

export const stateOf = ({active, finishedReason}: ScheduledTask): ScheduleState =>
  finishedReason !== undefined ? 'finished' : active ? 'active' : 'paused';

/** How a run of a schedule's task ended, on its way to the schedule. */
export const ScheduleEnd = record({
  scheduleId: z.string(),
  taskId: z.string(),
  runId: z.string(),
  /** The minute the task was for. */
  tick: at(),
  isOk: z.boolean(),
  /** Why not. */
  reason: z.string().optional(),
});
export type ScheduleEnd = z.output<typeof ScheduleEnd>;

/** What became of a tick; or that failures paused the schedule. */
export const TICK_OUTCOMES = ['submitted', 'skipped_overlap', 'failed', 'missed', 'paused'] as const;

/** An entry of a schedule's stream of ticks. */
export const TickRecord = record({
  /** When it was recorded. */
  at: at(),
  /** The minute it is for; of several missed ones the first. */
  tick: at(),
  outcome: z.enum(TICK_OUTCOMES),
  taskId: z.string().optional(),
  /** `tick`, `run_now` or `backfill`. */
  trigger: z.string().optional(),
  /** Why it failed or was missed, or the schedule was paused. */
  reason: z.string().optional(),
  /** Of missed ticks: how many, and the last of them. */
  count: z.number().int().optional(),
  until: at().optional(),
});
export type TickRecord = z.output<typeof TickRecord>;

/** @returns undefined for what is no such entry. */
export function readTick(fields: Readonly<Record<string, string>>): TickRecord | undefined {
  const doc: Record<string, unknown> = {...fields};
  for (const name of ['at', 'tick', 'count', 'until'])
    if (fields[name] !== undefined) doc[name] = Number(fields[name]);
  return TickRecord.safeDecode(doc).data;
}
