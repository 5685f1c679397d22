/** The command of an attempt: an ordinary one, with what a worker may want to know of its run in its metadata. */
import type {Draft} from '../availability/send.js';
import {spanIdHex} from '../ids.js';
import {createHeader} from '../protocol/header.js';
import {recordDocument} from '../protocol/orchestration/record.js';
import {materialisedPolicy, RunExecutionPolicy} from '../protocol/orchestration/policy.js';
import type {Priority} from '../protocol/orchestration/states.js';
import type {Begun} from './ending.js';

const PRIORITY: Readonly<Record<Priority, number>> = {low: -1, normal: 0, high: 1, urgent: 2};

/**
 * @param nowMs by this machine's clock, for metadata that other SDKs write so.
 * @param signal ends waiting for a worker.
 */
export function draftOf({task, run, attempt}: Begun, nowMs: number, signal?: AbortSignal): Draft {
  const {messageId, executionId} = attempt;
  const span = spanIdHex(`${messageId}:client.dispatch`);
  const metadata = {
    by_execution_id: executionId,
    by_sent_at: nowMs,
    by_run: byRun({task, run, attempt}),
    slot_type: task.slotType,
    ...given({
      extra_system_prompt: task.extraSystemPrompt,
      input_provenance: some(task.inputProvenance),
      routing: some(task.routing),
      attachments: task.attachments.length === 0 ? undefined : task.attachments,
      retry_of: attempt.tryNo > 1 ? run.runId : undefined,
    }),
  };
  return {
    request: {priority: PRIORITY[task.priority], ...(signal === undefined ? {} : {signal})},
    policy: task.routePolicy,
    command: {
      action: 'ASK_AGENT',
      header: createHeader({
        ...{messageId, sessionId: task.sessionId, traceId: run.runId, targetAgentType: task.agentType},
        ...{metadata, traceParentSpanId: span, langfuseParentObservationId: span},
      }),
      content: attempt.message ?? task.message,
      waitForReply: false,
      extraPayload: {},
    },
    executionId,
    // Known to everybody who may send it again.
    freshMessage: false,
    counts: false,
  };
}

function byRun({task, run, attempt}: Pick<Begun, 'task' | 'run' | 'attempt'>): Record<string, unknown> {
  return {
    v: 1,
    workspace: task.workspace,
    ...{task_id: task.taskId, run_id: run.runId, attempt_id: attempt.attemptId},
    ...{attempt_no: attempt.attemptNo, fence: attempt.fence, slot_type: task.slotType},
    // The clock of the attempt begins with its work, so this is how long it may take.
    timeout_ms: task.timeoutMs,
    policy: recordDocument(RunExecutionPolicy, materialisedPolicy(task.policy)),
  };
}

const some = (value: Readonly<Record<string, unknown>>) =>
  Object.keys(value).length === 0 ? undefined : value;

const given = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
