/** by-toolkit/orchestration: tasks that are tried again, watched, cancelled, and outlive whoever submitted them. */
export {AgentAPI} from './api.js';
export {serveHttp, type HttpOptions, type HttpServing} from './http/server.js';
export {openApiDocument} from './http/openapi.js';
export {AgentService, type AcceptResult, type AgentServiceOptions, type StartOptions} from './service.js';
export type {OrchestratorRole, RoleName} from './serve.js';
export {reconcileStaleSessionLease} from './reconcile.js';
export type {OrchestratorDeps, OrchestratorTimes, Summarise} from './deps.js';
export type {InputRequest, RunInputResult} from './accept-input.js';
export type {CancelOptions, CancelResult} from './cancel-run.js';
export type {AgentPatch, CreateAgentParams} from './profiles.js';
export type {Gap, Page, RunFilter, TaskCursors, TaskEventBatch, TaskFilter} from './read.js';
export {validateAgentCommandParams, type AgentCommandParams} from '../protocol/orchestration/command.js';
export {extractLeaseExecutionID, type RunAttempt} from '../protocol/orchestration/attempt.js';
export type {Approval, ApprovalState, Decision} from '../protocol/orchestration/approval.js';
export type {AgentRunSnapshot, RunEvent, TaskLogEntry} from '../protocol/orchestration/history.js';
export type {PendingInput} from '../protocol/orchestration/input.js';
export type {AgentPool} from '../protocol/orchestration/pool.js';
export {defaultAgentConfig, type AgentProfile} from '../protocol/orchestration/profile.js';
export type {AgentRun, RunInteraction} from '../protocol/orchestration/run.js';
export type {AgentTask} from '../protocol/orchestration/task.js';
export {
  defaultRunExecutionPolicy,
  executionClassKey,
  normalizeRunExecutionPolicy,
  normalizeRunRetryPolicy,
  retryPolicyOrDefault,
  validateRunExecutionPolicy,
  type PolicyRequest,
  type RunExecutionPolicy,
  type RunRetryPolicy,
} from '../protocol/orchestration/policy.js';
export type {AgentQueueMode, Priority, RunState, TaskState} from '../protocol/orchestration/states.js';
export {openStore, type Store, type StoreOptions} from '../store/store.js';
export {nextCronTime, previewSchedule, type TickPreview} from './cron.js';
export {CronScheduler, schedulerRole, type CronSchedulerOptions, type TickReport} from './cron-scheduler.js';
export type {ScheduledSubmit, SchedulePort, SubmitTask} from './schedule-port.js';
export {Schedules, type BackfilledTick, type PauseOptions} from './schedules.js';
export type {
  CreateScheduleParams,
  MissedPolicy,
  OverlapPolicy,
  ScheduledTask,
  SchedulePatch,
  TickRecord,
} from '../protocol/orchestration/schedule.js';
export {
  AgentStatusService,
  type AgentStatusOptions,
  type StatusEvent,
  type SweepReport,
} from '../registry/agent-status-service.js';
export {
  AgentStatusError,
  checkExhaustedRecovery,
  checkHeartbeatTimeout,
  DEFAULT_RECOVERY_MS,
  HEARTBEAT_TIMEOUT_MS,
  recordHeartbeat,
  transitionToBusy,
  transitionToExhausted,
  transitionToIdle,
  transitionToOffline,
  type AgentStatusState,
} from '../registry/agent-status.js';
export {parseRecoveryAt, type HeaderLike} from '../registry/recovery-time.js';
export type {AgentWorker, TypeAggregate} from '../registry/agent-workers.js';
export {statusSweeperRole} from './status-role.js';
export {orphansRole} from './ack-orphans.js';
export {taskPort} from './task-port.js';
