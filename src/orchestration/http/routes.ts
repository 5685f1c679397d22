/** The table of what can be asked over HTTP: each row has its path, what it takes, what it answers, and the call. */
import {ByError} from '../../errors.js';
import {answers, queries, requests, type Schema} from '../../protocol/orchestration/http-api.js';
import {stateOf, type ScheduledTask} from '../../protocol/orchestration/schedule.js';
import type {AgentAPI} from '../api.js';
import type {AcceptResult} from '../service.js';
import {readPosition, taskFrames, type Frame, type QUIET} from './task-stream.js';

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';
export type Frames = AsyncGenerator<Frame | typeof QUIET, void>;

/** A request that was read. */
export interface Asked<Q = unknown, B = unknown> {
  readonly api: AgentAPI;
  readonly workspace: string;
  /** What stands for `{id}` in the path. */
  readonly id: string;
  readonly query: Q;
  readonly body: B;
  /** Of the header of a stream that is taken up again. */
  readonly lastEventId: string | undefined;
  /** The client has left, or the server ends. */
  readonly signal: AbortSignal;
}

interface Row {
  readonly method: Method;
  readonly path: string;
  /** Its `operationId`. */
  readonly name: string;
  readonly summary: string;
  readonly query: Schema;
  readonly body: Schema | undefined;
}

export interface JsonRoute extends Row {
  readonly kind: 'json';
  readonly status: number;
  readonly answer: Schema;
  call(asked: Asked): Promise<object>;
}

export interface StreamRoute extends Row {
  readonly kind: 'stream';
  open(asked: Asked): Frames;
}

export type Route = JsonRoute | StreamRoute;

type Head = `${Method} /${string}`;

interface Parts<Q, B> {
  readonly summary: string;
  readonly query?: Schema<Q>;
  readonly body?: Schema<B>;
  readonly answer: Schema;
  /** Default 200. */
  readonly status?: number;
  readonly call: (asked: Asked<Q, B>) => Promise<object> | object;
}

function row(head: Head, name: string, summary: string, query?: Schema, body?: Schema): Row {
  const [method, path] = head.split(' ') as [Method, string];
  return {method, path, name, summary, query: query ?? queries.none, body};
}

function route<Q = object, B = undefined>(head: Head, name: string, parts: Parts<Q, B>): JsonRoute {
  const {summary, query, body, answer, status = 200, call} = parts;
  return {
    ...row(head, name, summary, query, body),
    ...{kind: 'json', status, answer},
    // The server has read both by their schemas.
    call: async asked => call(asked as Asked<Q, B>),
  };
}

const {none: _none, ...q} = queries;

const tasks: readonly Route[] = [
  route('GET /v1/tasks', 'listTasks', {
    ...{summary: 'List tasks, newest first.', query: q.tasks, answer: answers.TaskPage},
    call: async ({api, workspace, query}) => {
      const {items, cursor = null} = await api.listTasks(workspace, query);
      return {tasks: items, cursor};
    },
  }),
  route('POST /v1/tasks', 'submitTask', {
    ...{summary: 'Submit a task to an agent.', body: requests.SubmitTask, answer: answers.Accepted},
    status: 202,
    call: async ({api, workspace, body}) => accepted(await api.acceptAgentCommand(workspace, body)),
  }),
  route('GET /v1/tasks/{id}', 'getTask', {
    ...{summary: 'A task, and its newest run.', answer: answers.Task},
    call: async ({api, workspace, id}) => taskAndRun(api, workspace, id),
  }),
  route('POST /v1/tasks/{id}/cancel', 'cancelTask', {
    summary: 'Cancel a task: what waits never begins, what runs is told to stop.',
    ...{body: requests.Cancel, answer: answers.CancelledTask},
    call: async ({api, workspace, id, body}) => {
      const {outcome, already, task} = await api.cancelTask(workspace, id, body);
      return {taskId: id, outcome, already, status: task.status};
    },
  }),
  route('POST /v1/tasks/{id}/archive', 'archiveTask', {
    ...{summary: 'Take a task that has ended out of the lists.', answer: answers.Task},
    call: async ({api, workspace, id}) => {
      await api.archiveTask(workspace, id);
      return taskAndRun(api, workspace, id);
    },
  }),
  route('GET /v1/tasks/{id}/logs', 'listTaskLogs', {
    ...{summary: 'What was said in a task.', query: q.numbered, answer: answers.LogPage},
    call: ({api, workspace, id, query}) => api.listTaskLogs(workspace, id, query.from ?? 0, query.limit),
  }),
  {
    ...row(
      'GET /v1/tasks/{id}/events',
      'streamTaskEvents',
      'What happens in a task, as it happens: server-sent events. Last-Event-ID goes before the cursor.',
      q.events,
    ),
    kind: 'stream',
    open: ({api, workspace, id, query, lastEventId, signal}) => {
      const {cursor} = query as {readonly cursor?: string};
      const from = readPosition(lastEventId ?? cursor);
      return taskFrames(api, {workspace, taskId: id, from, signal});
    },
  },
];

const runs: readonly Route[] = [
  route('GET /v1/runs', 'listRuns', {
    ...{summary: 'List runs, newest first.', query: q.runs, answer: answers.RunPage},
    call: async ({api, workspace, query}) => {
      const {items, cursor = null} = await api.listRuns(workspace, query);
      return {runs: items, cursor};
    },
  }),
  route('GET /v1/runs/{id}', 'getRun', {
    ...{summary: 'A run.', answer: answers.Run},
    call: async ({api, workspace, id}) => ({run: await api.getRun(workspace, id)}),
  }),
  route('GET /v1/runs/{id}/attempts', 'listRunAttempts', {
    ...{summary: 'Its tries.', answer: answers.Attempts},
    call: async ({api, workspace, id}) => ({attempts: await api.listRunAttempts(workspace, id)}),
  }),
  route('GET /v1/runs/{id}/events', 'listRunEvents', {
    ...{summary: 'What happened to it.', query: q.numbered, answer: answers.EventPage},
    call: ({api, workspace, id, query}) => api.listRunEvents(workspace, id, query.from, query.limit),
  }),
  route('GET /v1/runs/{id}/snapshots', 'listRunSnapshots', {
    ...{summary: 'How it stood at its turning points.', query: q.snapshots, answer: answers.Snapshots},
    call: async ({api, workspace, id, query}) => ({
      snapshots: await api.listRunSnapshots(workspace, id, query.limit),
    }),
  }),
  route('GET /v1/runs/{id}/interaction', 'getRunInteraction', {
    ...{summary: 'Whether it works, or waits for a person.', answer: answers.Interaction},
    call: async ({api, workspace, id}) => ({interaction: await api.getRunInteraction(workspace, id)}),
  }),
  route('POST /v1/runs/{id}/cancel', 'cancelRun', {
    summary: 'Cancel a run. One that has ended is no error.',
    ...{body: requests.Cancel, answer: answers.CancelledRun},
    call: async ({api, workspace, id, body}) => {
      const {outcome, already, run} = await api.cancelRun(workspace, id, body);
      return {runId: id, outcome, already, status: run?.status ?? null};
    },
  }),
  route('POST /v1/runs/{id}/input', 'enqueueRunInput', {
    summary: 'Say something to a run: an answer, the next turn, or in the place of what runs.',
    ...{body: requests.RunInput, answer: answers.InputAccepted},
    call: async ({api, workspace, id, body, signal}) => {
      const {mode = 'followup', discardBuffered = false, forceAfterMs, overflow} = body;
      if (mode !== 'collect' && overflow !== undefined)
        throw new ByError('INVALID_INPUT', 'overflow belongs to what is collected.', {
          hint: 'Add "mode": "collect", or leave it out.',
        });
      if (mode !== 'interrupt' && (discardBuffered || forceAfterMs !== undefined))
        throw new ByError('INVALID_INPUT', 'discard_buffered and force_after_ms belong to an interrupt.', {
          hint: 'Add "mode": "interrupt", or leave them out.',
        });
      const {task, ...rest} = await api.enqueueRunInput(workspace, id, {...body, signal});
      return {taskId: task.taskId, ...rest};
    },
  }),
  route('GET /v1/approvals', 'listApprovals', {
    summary: 'What waits for a person; of a run, all of its approvals.',
    ...{query: q.approvals, answer: answers.Approvals},
    call: async ({api, workspace, query}) => ({approvals: await api.listApprovals(workspace, query)}),
  }),
  route('POST /v1/approvals/{id}', 'decideApproval', {
    summary: 'Decide an approval. Who decides is noted as claimed, not proven.',
    ...{body: requests.DecideApproval, answer: answers.Decided},
    call: async ({api, workspace, id, body: {decision, by, note}}) => ({
      approval: await api.decideApproval(workspace, id, decision, by, note),
    }),
  }),
];

const agents: readonly Route[] = [
  route('GET /v1/agents', 'listAgents', {
    ...{summary: 'List agent profiles.', answer: answers.Agents},
    call: async ({api, workspace}) => ({agents: await api.listAgents(workspace)}),
  }),
  route('POST /v1/agents', 'createAgent', {
    ...{summary: 'Create an agent profile.', body: requests.CreateAgent, answer: answers.Agent, status: 201},
    call: async ({api, workspace, body}) => ({agent: await api.createAgent(workspace, body)}),
  }),
  route('GET /v1/agents/{id}', 'getAgent', {
    ...{summary: 'An agent profile.', answer: answers.Agent},
    call: async ({api, workspace, id}) => ({agent: await api.getAgent(workspace, id)}),
  }),
  route('PATCH /v1/agents/{id}', 'updateAgent', {
    summary: 'Change an agent profile. A policy is replaced whole.',
    ...{query: q.ifVersion, body: requests.UpdateAgent, answer: answers.Agent},
    call: async ({api, workspace, id, body, query}) => ({
      agent: await api.updateAgent(workspace, id, body, query.ifVersion),
    }),
  }),
  route('DELETE /v1/agents/{id}', 'deleteAgent', {
    ...{summary: 'Delete an agent profile.', query: q.deleteAgent, answer: answers.Deleted},
    call: async ({api, workspace, id, query}) => {
      await api.deleteAgent(workspace, id, {force: query.force ?? false});
      return {deleted: true};
    },
  }),
];

const schedules: readonly Route[] = [
  route('GET /v1/schedules', 'listSchedules', {
    ...{summary: 'List schedules.', query: q.schedules, answer: answers.Schedules},
    call: async ({api, workspace, query: {agent, active}}) => {
      const all = await api.listSchedules(workspace, {agentId: agent, active});
      return {schedules: all.map(shown)};
    },
  }),
  route('POST /v1/schedules', 'createSchedule', {
    summary: 'Create a schedule. The same one again is the one that is there.',
    ...{body: requests.CreateSchedule, answer: answers.ScheduleShown, status: 201},
    call: async ({api, workspace, body}) => one(await api.createSchedule(workspace, body)),
  }),
  route('GET /v1/schedules/{id}', 'getSchedule', {
    ...{summary: 'A schedule, by its name or its id.', answer: answers.ScheduleShown},
    call: async ({api, workspace, id}) => one(await api.getSchedule(workspace, id)),
  }),
  route('PATCH /v1/schedules/{id}', 'updateSchedule', {
    summary: 'Change a schedule; null takes away what may be missing.',
    ...{query: q.ifVersion, body: requests.UpdateSchedule, answer: answers.ScheduleShown},
    call: async ({api, workspace, id, body, query}) =>
      one(await api.updateSchedule(workspace, id, body, query.ifVersion)),
  }),
  route('DELETE /v1/schedules/{id}', 'deleteSchedule', {
    summary: 'Delete a schedule, by its name. Deleting what is gone is fine.',
    ...{query: q.deleteSchedule, answer: answers.Deleted},
    call: async ({api, workspace, id, query}) => ({deleted: await api.deleteSchedule(workspace, id, query)}),
  }),
  route('POST /v1/schedules/{id}/pause', 'pauseSchedule', {
    ...{summary: 'It fires no more until it is resumed.', body: requests.PauseSchedule},
    answer: answers.ScheduleShown,
    call: async ({api, workspace, id, body}) => one(await api.pauseSchedule(workspace, id, body)),
  }),
  route('POST /v1/schedules/{id}/resume', 'resumeSchedule', {
    ...{summary: 'It goes on from now.', answer: answers.ScheduleShown},
    call: async ({api, workspace, id}) => one(await api.resumeSchedule(workspace, id)),
  }),
  route('POST /v1/schedules/{id}/trigger', 'triggerSchedule', {
    ...{summary: 'Submit its task now, out of turn.', body: requests.TriggerSchedule},
    ...{answer: answers.Accepted, status: 202},
    call: async ({api, workspace, id, body: {idempotencyKey: key}}) =>
      accepted(await api.triggerSchedule(workspace, id, key === undefined ? {} : {key})),
  }),
  route('GET /v1/cron/preview', 'previewSchedule', {
    ...{summary: 'The next times of a cron expression.', query: q.preview, answer: answers.CronPreview},
    call: ({api, query: {cron, timezone, from, n}}) => {
      const ticks = api.previewSchedule(cron, timezone, {
        ...(from === undefined ? {} : {from: new Date(from)}),
        ...(n === undefined ? {} : {n}),
      });
      return {
        ...{cronExpr: cron, timezone},
        ticks: ticks.map(({at, local, note = null, explanation = null}) => ({
          ...{at: at.getTime(), atIso: at.toISOString(), local, note, explanation},
        })),
      };
    },
  }),
];

export const ROUTES: readonly Route[] = [...tasks, ...runs, ...agents, ...schedules];

async function taskAndRun(api: AgentAPI, workspace: string, taskId: string) {
  const task = await api.getTask(workspace, taskId);
  const {currentRunId} = task;
  return {task, run: currentRunId === undefined ? null : await api.getRun(workspace, currentRunId)};
}

function accepted({convertedToInput, warnings, ...rest}: AcceptResult) {
  if (convertedToInput === undefined) return {...rest, warnings: [...warnings]};
  const {inputId, outcome, downgraded} = convertedToInput;
  return {...rest, warnings: [...warnings], convertedToInput: {inputId, outcome, downgraded}};
}

const one = (schedule: ScheduledTask) => ({schedule: shown(schedule)});

const shown = (schedule: ScheduledTask) => ({...schedule, state: stateOf(schedule)});
