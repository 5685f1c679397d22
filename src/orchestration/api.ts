/** The application's side: everything that can be asked of agents, tasks and runs of a workspace. */
import type {AgentCommandParams} from '../protocol/orchestration/command.js';
import type {AgentRunSnapshot, RunEvent, TaskLogEntry} from '../protocol/orchestration/history.js';
import {defaultAgentConfig, type AgentProfile} from '../protocol/orchestration/profile.js';
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import type {Approval, Decision} from '../protocol/orchestration/approval.js';
import type {AgentRun, RunInteraction} from '../protocol/orchestration/run.js';
import type {CreateScheduleParams, ScheduledTask, SchedulePatch} from '../protocol/orchestration/schedule.js';
import type {AgentTask} from '../protocol/orchestration/task.js';
import {approvalsOfRun, pendingApprovals} from '../store/approvals.js';
import {approve} from './approve.js';
import type {InputRequest, RunInputResult} from './accept-input.js';
import {archiveTask} from './archive.js';
import {cancelRun, cancelTask, type CancelOptions, type CancelResult} from './cancel-run.js';
import {previewSchedule, type TickPreview} from './cron.js';
import {
  createAgent,
  deleteAgent,
  getAgent,
  listAgents,
  updateAgent,
  type AgentPatch,
  type CreateAgentParams,
} from './profiles.js';
import {
  listRunAttempts,
  listRuns,
  listTasks,
  lookAtRun,
  lookAtTask,
  readEvents,
  readLog,
  readSnapshots,
  streamTaskEvents,
  type Gap,
  type Page,
  type RunFilter,
  type TaskCursors,
  type TaskEventBatch,
  type TaskFilter,
} from './read.js';
import {Schedules, type PauseOptions} from './schedules.js';
import type {AcceptResult, AgentService} from './service.js';
import {taskPort} from './task-port.js';

/** Each method takes the workspace first, and throws the ByError of what it calls. */
export class AgentAPI {
  private readonly runtime: AgentService;
  private readonly schedules: Schedules;

  constructor({runtime}: {readonly runtime: AgentService}) {
    this.runtime = runtime;
    this.schedules = new Schedules({store: runtime.store, port: taskPort(runtime.store)});
  }

  acceptAgentCommand(ws: string, params: AgentCommandParams): Promise<AcceptResult> {
    return this.runtime.acceptAgentCommand(ws, params);
  }

  async createAgent(ws: string, params: CreateAgentParams): Promise<AgentProfile> {
    return createAgent(this.runtime.workspace(ws), params);
  }

  /** @param ifVersion the version that was seen; another one is a VERSION_CONFLICT. */
  async updateAgent(
    ws: string,
    agentId: string,
    patch: AgentPatch,
    ifVersion?: number,
  ): Promise<AgentProfile> {
    return updateAgent(this.runtime.workspace(ws), agentId, patch, ifVersion);
  }

  async getAgent(ws: string, agentId: string): Promise<AgentProfile> {
    return getAgent(this.runtime.workspace(ws), agentId);
  }

  async listAgents(ws: string): Promise<AgentProfile[]> {
    return listAgents(this.runtime.workspace(ws));
  }

  async deleteAgent(
    ws: string,
    agentId: string,
    {force = false}: {readonly force?: boolean} = {},
  ): Promise<void> {
    await deleteAgent(this.runtime.workspace(ws), agentId, force);
  }

  getDefaultConfig(agentKey: string): Record<string, unknown> {
    return defaultAgentConfig(agentKey);
  }

  async getTask(ws: string, taskId: string): Promise<AgentTask> {
    return (await lookAtTask(this.runtime.workspace(ws), taskId)).task;
  }

  async listTasks(ws: string, filter?: TaskFilter): Promise<Page<AgentTask>> {
    return listTasks(this.runtime.workspace(ws), filter);
  }

  cancelTask(ws: string, taskId: string, options?: CancelOptions): Promise<CancelResult> {
    return cancelTask(this.runtime.deps(ws), taskId, options);
  }

  async archiveTask(ws: string, taskId: string): Promise<void> {
    await archiveTask(this.runtime.workspace(ws), taskId);
  }

  /** The whole log that is kept. */
  async getTaskLogs(ws: string, taskId: string): Promise<TaskLogEntry[]> {
    const all: TaskLogEntry[] = [];
    for (let from = 0; ;) {
      const {entries, next} = await this.listTaskLogs(ws, taskId, from);
      if (entries.length === 0) return all;
      all.push(...entries);
      from = next;
    }
  }

  /** @param seq the next number wanted, 0 from the start. @param limit at most 1,000. */
  async listTaskLogs(
    ws: string,
    taskId: string,
    seq: number,
    limit?: number,
  ): Promise<{readonly entries: readonly TaskLogEntry[]; readonly next: number; readonly gap?: Gap}> {
    const workspace = this.runtime.workspace(ws);
    await lookAtTask(workspace, taskId);
    return readLog(workspace, taskId, seq, limit);
  }

  async getRun(ws: string, runId: string): Promise<AgentRun> {
    return (await lookAtRun(this.runtime.workspace(ws), runId)).run;
  }

  async listRuns(ws: string, filter?: RunFilter): Promise<Page<AgentRun>> {
    return listRuns(this.runtime.workspace(ws), filter);
  }

  async listRunAttempts(ws: string, runId: string): Promise<RunAttempt[]> {
    const workspace = this.runtime.workspace(ws);
    await lookAtRun(workspace, runId);
    return listRunAttempts(workspace, runId);
  }

  /** @param from the next number wanted, 0 from the start. @param limit at most 1,000. */
  async listRunEvents(
    ws: string,
    runId: string,
    from = 0,
    limit?: number,
  ): Promise<{readonly events: readonly RunEvent[]; readonly next: number; readonly gap?: Gap}> {
    const workspace = this.runtime.workspace(ws);
    await lookAtRun(workspace, runId);
    const {entries, ...rest} = await readEvents(workspace, runId, from, limit);
    return {events: entries, ...rest};
  }

  async listRunSnapshots(ws: string, runId: string, limit?: number): Promise<readonly AgentRunSnapshot[]> {
    const workspace = this.runtime.workspace(ws);
    await lookAtRun(workspace, runId);
    return readSnapshots(workspace, runId, limit);
  }

  getRunInteraction(ws: string, runId: string): Promise<RunInteraction> {
    return this.runtime.getRunInteraction(ws, runId);
  }

  /** Say something to a run: `mode` says what happens if it is at work, default followup. */
  enqueueRunInput(
    ws: string,
    runId: string,
    {mode = 'followup', message, idempotencyKey, ...more}: InputRequest,
  ): Promise<RunInputResult> {
    return this.runtime.acceptRunInput(ws, runId, mode, message, idempotencyKey, more);
  }

  cancelRun(ws: string, runId: string, options?: CancelOptions): Promise<CancelResult> {
    return cancelRun(this.runtime.deps(ws), runId, options);
  }

  /** What waits for a person, what ends first at the beginning; with `runId`, all of that run. */
  async listApprovals(ws: string, {runId}: {readonly runId?: string} = {}): Promise<Approval[]> {
    const workspace = this.runtime.workspace(ws);
    return runId === undefined ? pendingApprovals(workspace) : approvalsOfRun(workspace, runId);
  }

  /** @param by who decides: noted as it is claimed, not proven. */
  async decideApproval(
    ws: string,
    approvalId: string,
    decision: Decision,
    by: string,
    note?: string,
  ): Promise<Approval> {
    return approve(this.runtime.workspace(ws), approvalId, decision, {by, note});
  }

  /** The same schedule again is the one that is there. */
  async createSchedule(ws: string, params: CreateScheduleParams): Promise<ScheduledTask> {
    return this.schedules.createSchedule(this.checked(ws), params);
  }

  /** @param externalId its name, or its id. */
  async getSchedule(ws: string, externalId: string): Promise<ScheduledTask> {
    return this.schedules.getSchedule(this.checked(ws), externalId);
  }

  /** @param filter `agentId`: of this profile, or this agent type. */
  async listSchedules(
    ws: string,
    filter?: {readonly active?: boolean; readonly agentId?: string},
  ): Promise<ScheduledTask[]> {
    return this.schedules.listSchedules(this.checked(ws), filter);
  }

  /** @param ifVersion the version that was seen; another one is a VERSION_CONFLICT. */
  async updateSchedule(
    ws: string,
    externalId: string,
    patch: SchedulePatch,
    ifVersion?: number,
  ): Promise<ScheduledTask> {
    return this.schedules.updateSchedule(this.checked(ws), externalId, patch, ifVersion);
  }

  async pauseSchedule(ws: string, externalId: string, options?: PauseOptions): Promise<ScheduledTask> {
    return this.schedules.pauseSchedule(this.checked(ws), externalId, options);
  }

  async resumeSchedule(ws: string, externalId: string): Promise<ScheduledTask> {
    return this.schedules.resumeSchedule(this.checked(ws), externalId);
  }

  /** Deleting what is gone is fine. @returns whether it was there. */
  async deleteSchedule(
    ws: string,
    externalId: string,
    options?: {readonly cancelRunning?: boolean},
  ): Promise<boolean> {
    return (await this.schedules.deleteSchedule(this.checked(ws), externalId, options)) !== undefined;
  }

  /** Its task now, out of turn. @param options `key`: the same one again is the same task. */
  async triggerSchedule(
    ws: string,
    externalId: string,
    options?: {readonly key?: string},
  ): Promise<AcceptResult> {
    const workspace = this.runtime.workspace(ws);
    const {taskId, idempotentHit} = await this.schedules.triggerSchedule(ws, externalId, options);
    const [{task}, warnings] = await Promise.all([lookAtTask(workspace, taskId), this.runtime.warnings()]);
    return {accepted: true, idempotentHit, task, runId: task.currentRunId ?? '', warnings};
  }

  /** @param options `from`: default now; `n`: how many, default 10. */
  previewSchedule(
    cron: string,
    timezone: string,
    options?: {readonly from?: Date; readonly n?: number},
  ): TickPreview[] {
    return previewSchedule(cron, timezone, options);
  }

  async streamTaskEvents(ws: string, taskId: string, cursors: TaskCursors): Promise<TaskEventBatch> {
    return streamTaskEvents(this.runtime.workspace(ws), taskId, cursors);
  }

  private checked(ws: string): string {
    return this.runtime.workspace(ws).name;
  }
}
