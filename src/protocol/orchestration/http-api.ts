/** What requests to the HTTP interface of the run layer may say, and what they are answered with: snake_case, as `--json`. */
import {z} from 'zod';
import {Approval, DECISIONS, MAX_NOTE} from './approval.js';
import {RunAttempt} from './attempt.js';
import {agentCommand} from './command.js';
import {AgentRunSnapshot, RunEvent, TaskLogEntry} from './history.js';
import {OUTCOMES, OVERFLOWS, PendingInput} from './input.js';
import {policyShape, resourceShape, retryShape, RunExecutionPolicy} from './policy.js';
import {AgentProfile} from './profile.js';
import {snakeCase} from '../../snake-case.js';
import {anyObject, at, count, record, str} from './record.js';
import {AgentRun, RunInteraction} from './run.js';
import {createParams, patch, ScheduledTask, taskDefaults} from './schedule.js';
import {QUEUE_MODES, RUN_STATES, TASK_STATES} from './states.js';
import {AgentTask, MAX_MESSAGE} from './task.js';

export type Schema<T = unknown> = z.ZodType<T>;

/**
 * What somebody says, in snake_case; becomes camelCase. A field that is not known is refused by its name.
 * @param oneOf exactly one of these two is to be given.
 */
function request<S extends z.core.$ZodShape>(
  shape: S,
  oneOf?: readonly [string, string],
): Schema<z.output<z.ZodObject<S>>> {
  const fieldOf = new Map(Object.keys(shape).map(field => [snakeCase(field), field]));
  const named = Object.fromEntries(Object.entries(shape).map(([field, one]) => [snakeCase(field), one]));
  const known = z.strictObject(named);
  const [one, other] = oneOf ?? [];
  const checked =
    one === undefined || other === undefined
      ? known
      : known.refine(doc => (doc[one] === undefined) !== (doc[other] === undefined), {
          message: `give either ${one} or ${other}`,
          path: [one],
        });
  return checked.transform(doc =>
    Object.fromEntries(Object.entries(doc).map(([name, value]) => [fieldOf.get(name) ?? name, value])),
  ) as unknown as Schema<z.output<z.ZodObject<S>>>;
}

const optional = <S extends z.core.$ZodShape>(shape: S) => z.object(shape).partial().shape;

const Policy = request({
  ...optional(policyShape),
  resources: request(resourceShape).optional(),
  retry: request(optional(retryShape)).nullable().optional(),
});
const TaskDefaults = request({...taskDefaults, policy: Policy.optional()});

const {agentKey, agentType, name, config, concurrency, failedAttemptThreshold, active} =
  AgentProfile.out.shape;
const profile = optional({agentType, name, config, concurrency, failedAttemptThreshold, active});

/** Bodies, by their names in the OpenAPI document. */
export const requests = {
  SubmitTask: request({...agentCommand.shape, policy: Policy.optional()}, ['agent_type', 'agent_id']),
  Cancel: request({mode: z.enum(['graceful', 'force']).optional(), reason: z.string().max(500).optional()}),
  RunInput: request({
    message: str(MAX_MESSAGE),
    mode: z.enum(QUEUE_MODES).optional(),
    /** Of `collect`. Default drop_old. */
    overflow: z.enum(OVERFLOWS).optional(),
    idempotencyKey: str(256).optional(),
    provenance: anyObject().optional(),
    routing: anyObject().optional(),
    discardBuffered: z.boolean().optional(),
    forceAfterMs: z.number().int().min(0).max(600_000).optional(),
  }),
  DecideApproval: request({
    decision: z.enum(DECISIONS),
    /** Who decides: noted as it is claimed, not proven. */
    by: str(200),
    note: str(MAX_NOTE).optional(),
  }),
  CreateAgent: request({agentKey, ...profile, defaultPolicy: Policy.optional()}),
  UpdateAgent: request({...profile, defaultPolicy: Policy.optional()}),
  CreateSchedule: request({...createParams.shape, taskDefaults: TaskDefaults.optional()}, [
    ...(['agent_type', 'agent_id'] as const),
  ]),
  UpdateSchedule: request({...patch.shape, taskDefaults: TaskDefaults.optional()}),
  PauseSchedule: request({note: z.string().max(200).optional(), cancelRunning: z.boolean().optional()}),
  TriggerSchedule: request({idempotencyKey: str(200).optional()}),
};

const number = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  z.coerce.number().int().min(least).max(most).optional();
const flag = () =>
  z
    .enum(['true', 'false'])
    .transform(text => text === 'true')
    .optional();
const text = () => str(512).optional();

const page = {
  agent: text(),
  sessionId: text(),
  /** Accepted since then, Unix milliseconds. */
  since: number(0),
  cursor: text(),
  limit: number(1, 200),
};
/** A page of numbered entries: the next number wanted, −1 only where to go on. */
const numbered = {from: number(-1), limit: number(1, 1000)};

/** What may stand after the `?`, beside `workspace`. */
export const queries = {
  none: request({}),
  tasks: request({...page, status: z.enum(TASK_STATES).optional(), label: text(), archived: flag()}),
  runs: request({...page, status: z.enum(RUN_STATES).optional(), taskId: text()}),
  numbered: request(numbered),
  snapshots: request({limit: number(1, 500)}),
  /** The id of the last event that was seen, or `end`: only what comes. */
  events: request({cursor: text()}),
  approvals: request({runId: text()}),
  ifVersion: request({ifVersion: number(0)}),
  deleteAgent: request({force: flag()}),
  schedules: request({active: flag(), agent: text()}),
  deleteSchedule: request({cancelRunning: flag()}),
  preview: request({cron: str(200), timezone: str(64).default('UTC'), from: number(0), n: number(1, 100)}),
};

/** A schedule's policy is kept as it was given: any part of one. */
const SchedulePolicy = record({
  ...optional(policyShape),
  resources: record(resourceShape).optional(),
  retry: record(optional(retryShape)).nullable().optional(),
});

/** Documents that are parts of others, by their names in the OpenAPI document. */
export const records = {
  ...{AgentProfile, AgentTask, AgentRun, RunAttempt, RunInteraction, RunExecutionPolicy, PendingInput},
  ...{RunEvent, TaskLogEntry, AgentRunSnapshot, Approval},
  Schedule: record({
    ...ScheduledTask.out.shape,
    taskDefaults: record({...taskDefaults, policy: SchedulePolicy.optional()}),
    state: z.enum(['active', 'paused', 'finished']),
  }),
};
const {Schedule} = records;

const Gap = record({from: count(), to: count()});
const cursor = z.string().nullable();
const Cancelled = {outcome: z.enum(['cancelled', 'requested', 'already_finished']), already: z.boolean()};

/** What requests are answered with. */
export const answers = {
  TaskPage: record({tasks: z.array(AgentTask), cursor}),
  Task: record({task: AgentTask, run: AgentRun.nullable()}),
  Accepted: record({
    accepted: z.literal(true),
    idempotentHit: z.boolean(),
    task: AgentTask,
    runId: z.string(),
    /** The session was at work, so the message went to its run. */
    convertedToInput: record({
      inputId: z.string(),
      outcome: z.enum(OUTCOMES),
      downgraded: z.string().optional(),
    }).optional(),
    warnings: z.array(z.string()),
  }),
  CancelledTask: record({...Cancelled, taskId: z.string(), status: z.enum(TASK_STATES)}),
  CancelledRun: record({...Cancelled, runId: z.string(), status: z.enum(RUN_STATES).nullable()}),
  LogPage: record({entries: z.array(TaskLogEntry), next: count(), gap: Gap.optional()}),
  RunPage: record({runs: z.array(AgentRun), cursor}),
  Run: record({run: AgentRun}),
  Attempts: record({attempts: z.array(RunAttempt)}),
  EventPage: record({events: z.array(RunEvent), next: count(), gap: Gap.optional()}),
  Snapshots: record({snapshots: z.array(AgentRunSnapshot)}),
  Interaction: record({interaction: RunInteraction}),
  InputAccepted: record({
    taskId: z.string(),
    runId: z.string(),
    inputId: z.string(),
    idempotentHit: z.boolean(),
    outcome: z.enum(OUTCOMES),
    downgraded: z.string().optional(),
  }),
  Approvals: record({approvals: z.array(Approval)}),
  Decided: record({approval: Approval}),
  Agents: record({agents: z.array(AgentProfile)}),
  Agent: record({agent: AgentProfile}),
  Schedules: record({schedules: z.array(Schedule)}),
  ScheduleShown: record({schedule: Schedule}),
  Deleted: record({deleted: z.boolean()}),
  CronPreview: record({
    cronExpr: z.string(),
    timezone: z.string(),
    ticks: z.array(
      record({
        at: at(),
        atIso: z.string(),
        local: z.string(),
        note: z.enum(['gap', 'overlap']).nullable(),
        explanation: z.string().nullable(),
      }),
    ),
  }),
  Health: record({ok: z.boolean()}),
  Failure: record({
    error: record({code: z.string(), message: z.string(), hint: z.string(), details: anyObject()}),
  }),
};

/** How a task stands: the data of `state` among the events of a stream. */
export const TaskState = record({
  task: AgentTask,
  run: AgentRun.nullable(),
  pendingInputs: z.array(PendingInput),
});

type JsonSchema = Record<string, unknown>;

/** The components of the OpenAPI document: every body, record and answer by its name. */
export function componentSchemas(): Record<string, JsonSchema> {
  return {
    ...schemasOf(requests, 'input'),
    ...schemasOf({...records, ...answers, TaskState}, 'output'),
  };
}

function schemasOf(named: Readonly<Record<string, Schema>>, io: 'input' | 'output') {
  const registry = z.registry<{id: string}>();
  for (const [id, schema] of Object.entries(named)) registry.add(schema, {id});
  const {schemas} = z.toJSONSchema(registry, {
    ...{io, unrepresentable: 'any' as const, uri: (id: string) => `#/components/schemas/${id}`},
    override: ({zodSchema, jsonSchema}) => {
      if (io === 'output' && zodSchema._zod.def.type === 'object') rename(jsonSchema);
    },
  });
  return Object.fromEntries(
    Object.entries(schemas).map(([id, {$schema: _dialect, $id: _id, ...schema}]) => [id, schema]),
  );
}

/** A record's fields as they are on the wire. */
function rename(schema: JsonSchema): void {
  const {properties, required} = schema as {properties?: object; required?: string[]};
  if (properties !== undefined)
    schema['properties'] = Object.fromEntries(
      Object.entries(properties).map(([field, one]) => [snakeCase(field), one as unknown]),
    );
  if (required !== undefined) schema['required'] = required.map(snakeCase);
}

export interface QueryParameter {
  readonly name: string;
  readonly required: boolean;
  readonly schema: JsonSchema;
}

export function queryParameters(query: Schema): QueryParameter[] {
  const {properties = {}, required = []} = z.toJSONSchema(query, {io: 'input'});
  return Object.entries(properties).map(([one, schema]) => ({
    name: one,
    required: required.includes(one),
    schema: schema as JsonSchema,
  }));
}
