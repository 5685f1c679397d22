/** How a task, a run and an attempt begin. Pure. */
import {newExecutionId, newMessageId} from '../ids.js';
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import {requestedPolicy, requestHash, type AgentCommandParams} from '../protocol/orchestration/command.js';
import {newOrchestrationId} from '../protocol/orchestration/ids.js';
import {stricterPolicy} from '../protocol/orchestration/policy.js';
import type {AgentProfile} from '../protocol/orchestration/profile.js';
import type {AgentRun} from '../protocol/orchestration/run.js';
import {DEFAULT_ATTEMPT_TIMEOUT_MS, type AgentTask} from '../protocol/orchestration/task.js';
import type {Ground} from '../store/orchestration.js';
import type {Decision} from './decision.js';
import {newPool, poolKeyOf} from './pools.js';

/** The task of a request, all but its times: those are Redis's. */
export function newTask(
  workspace: string,
  params: AgentCommandParams,
  sessionId: string,
  profile: AgentProfile | undefined,
): AgentTask {
  const policy = requestedPolicy(params);
  const taskId = newOrchestrationId('task');
  const {sessionKey, lane, notBeforeAt, expiresAt, extraSystemPrompt, label, spawnedBy, hookId} = params;
  return {
    ...{
      taskId,
      workspace,
      sessionKey,
      lane,
      notBeforeAt,
      expiresAt,
      extraSystemPrompt,
      label,
      spawnedBy,
      hookId,
    },
    agentId: profile?.agentId,
    agentType: profile?.agentType ?? params.agentType ?? '',
    message: params.message,
    attachments: params.attachments ?? [],
    sessionId,
    status: 'queued',
    priority: params.priority ?? 'normal',
    queueMode: params.queueMode ?? 'followup',
    deliver: params.deliver ?? true,
    slotType: params.slotType ?? 'work',
    routePolicy: params.routePolicy ?? 'FAIL_FAST',
    timeoutMs: params.timeoutMs ?? DEFAULT_ATTEMPT_TIMEOUT_MS,
    policy: profile === undefined ? policy : stricterPolicy(profile.defaultPolicy, policy),
    inputProvenance: params.inputProvenance ?? {},
    routing: params.routing ?? {},
    idempotencyKey: params.idempotencyKey ?? taskId,
    requestHash: requestHash(params),
    runCount: 0,
    createdAt: 0,
    updatedAt: 0,
    version: 0,
  };
}

/** A run of the task with its first attempt. */
export function newRun(
  task: AgentTask,
  nowMs: number,
  over: Partial<Pick<AgentRun, 'resumeOfRunId' | 'resumeSession'>> = {},
): AgentRun {
  const runId = newOrchestrationId('run');
  return {
    runId,
    taskId: task.taskId,
    agentId: task.agentId,
    agentType: task.agentType,
    sessionId: task.sessionId,
    status: 'accepted',
    resumeSession: false,
    instanceKey: poolKeyOf(task),
    attemptCount: 0,
    interaction: {runId, state: 'working', pendingCount: 0, updatedAt: nowMs},
    acceptedAt: nowMs,
    version: 0,
    ...over,
  };
}

/** The next attempt of a run, and the run as it is with it. Its ids are fixed here, before anything is sent. */
export function nextAttempt(
  run: AgentRun,
  nowMs: number,
  over: Pick<RunAttempt, 'strategy' | 'tryNo'> & Partial<RunAttempt>,
): {readonly run: AgentRun; readonly attempt: RunAttempt} {
  const attempt: RunAttempt = {
    attemptId: newOrchestrationId('attempt'),
    runId: run.runId,
    taskId: run.taskId,
    attemptNo: run.attemptCount + 1,
    status: 'pending',
    place: 'queued',
    dispatchPhase: 'none',
    phaseAt: nowMs,
    messageId: newMessageId(),
    executionId: newExecutionId(),
    fence: 0,
    notBeforeAt: nowMs,
    deferrals: 0,
    dispatchFailures: 0,
    firstCursor: '0-0',
    logCursor: '0-0',
    createdAt: nowMs,
    version: 0,
    ...over,
  };
  return {
    attempt,
    run: {...run, attemptCount: attempt.attemptNo, currentAttemptId: attempt.attemptId},
  };
}

/** Accept a task: it wants its session at once, or waits for its time. */
export function accepted(drafted: AgentTask, ground: Ground, profile: AgentProfile | undefined): Decision {
  const {nowMs, pool} = ground;
  const begun = {...drafted, createdAt: nowMs, runCount: 1};
  const first = newRun(begun, nowMs);
  const isLater = (begun.notBeforeAt ?? 0) > nowMs;
  const {run, attempt} = nextAttempt(first, nowMs, {
    ...{strategy: 'primary', tryNo: 1, place: isLater ? 'delayed' : 'queued'},
    notBeforeAt: begun.notBeforeAt ?? nowMs,
  });
  const task = {...begun, currentRunId: run.runId};
  const {runId} = run;
  return {
    task,
    ...{runs: [run], attempts: [attempt]},
    ...(isLater ? {} : {joins: runId}),
    ...(pool === undefined ? {pool: newPool(task, profile, nowMs)} : {}),
    events: [
      {
        type: 'accepted',
        kind: 'lifecycle',
        runId,
        data: {agent_type: task.agentType, session_id: task.sessionId},
      },
    ],
    logs: [{runId, stream: 'user', data: task.message, chunkType: 'input'}],
  };
}
