/** `by task submit`: accepted, and followed to its end where that is asked for. */
import {prepareTask} from '../../orchestration/submit.js';
import {poolKeyOf} from '../../orchestration/pools.js';
import {AgentAPI} from '../../orchestration/api.js';
import {AgentService, type AcceptResult} from '../../orchestration/service.js';
import type {AgentCommandParams} from '../../protocol/orchestration/command.js';
import {AgentTask} from '../../protocol/orchestration/task.js';
import {recordDocument} from '../../protocol/orchestration/record.js';
import {onlineMembers} from '../../store/presence.js';
import type {Store} from '../../store/store.js';
import {formatDuration} from '../duration.js';
import {showFacts} from '../facts.js';
import {opaque} from '../json.js';
import {paint, type Printer} from '../printer.js';
import {followTask} from './follow.js';
import {inputLine} from './input.js';
import {amount, statusText} from './lines.js';
import {moreRoles, serveLog} from './roles.js';

export interface SubmitRequest {
  readonly store: Store;
  readonly printer: Printer;
  readonly workspace: string;
  readonly params: AgentCommandParams;
  readonly mode: 'submit' | 'wait' | 'follow';
  /** Run the orchestrator in this process until the task has ended. */
  readonly inline: boolean;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  /** What goes on with it, if this ends before. */
  readonly setResume: (command: string) => void;
}

/** @throws {ByError} as the API; TASK_FAILED, TASK_CANCELLED or TIMEOUT where the end was waited for. */
export async function submitForPeople(request: SubmitRequest) {
  const {store, printer, workspace, params, mode, inline, dryRun} = request;
  const service = new AgentService(inline ? {store, log: serveLog(printer)} : {store});
  if (dryRun) return showPlan(service, request);
  const api = new AgentAPI({runtime: service});
  const accepted = await api.acceptAgentCommand(workspace, params);
  const {task, runId} = accepted;
  for (const warning of accepted.warnings) if (!inline) printer.warn(warning);
  if (mode !== 'wait') tellAccepted(printer, accepted);
  if (accepted.convertedToInput !== undefined)
    printer.note(`the session is at work: ${inputLine(accepted.convertedToInput)}`);
  const logs = `by task logs ${task.taskId} --follow${workspace === 'default' ? '' : ` --workspace ${workspace}`}`;
  request.setResume(logs);
  const {convertedToInput: input, idempotentHit} = accepted;
  const document = {
    ...{taskId: task.taskId, runId, idempotentHit},
    ...(input === undefined ? {} : {convertedToInput: true, outcome: input.outcome, inputId: input.inputId}),
  };
  if (mode === 'submit' && !inline) {
    if (task.status === 'queued') printer.note(paint.dim(`follow it with ${logs}`));
    return {...document, task: opaque(recordDocument(AgentTask, task))};
  }
  const orchestrator = new AbortController();
  const running = inline
    ? service.start({
        ...{workspace, signal: AbortSignal.any([orchestrator.signal, request.signal])},
        more: moreRoles(store, workspace, {log: serveLog(printer)}),
      })
    : Promise.resolve();
  try {
    const run = await followTask(api, {...request, taskId: task.taskId, logs});
    return {...document, ...run};
  } finally {
    orchestrator.abort();
    await running;
  }
}

function tellAccepted(printer: Printer, {task, runId, idempotentHit}: AcceptResult): void {
  printer.out(
    paint.bold(task.taskId),
    '  ',
    statusText(task.status),
    `  ${runId}  session ${task.sessionId}`,
    idempotentHit ? paint.dim('  (accepted before)') : '',
  );
}

/** What would be accepted, and what would become of it now. */
async function showPlan(service: AgentService, {store, printer, workspace, params}: SubmitRequest) {
  const {task} = await prepareTask(service.workspace(workspace), params);
  const {workerIds} = await onlineMembers(store, task.agentType);
  const pool = poolKeyOf(task);
  const {policy} = task;
  showFacts(printer, [
    ['agent type', task.agentType],
    ['session', task.sessionId],
    ['pool', pool],
    [
      'route',
      `${task.routePolicy}: ${workerIds.length === 0 ? 'nobody is online, it would be put off' : `${amount(workerIds.length, 'worker')} online`}`,
    ],
    [
      'tries',
      `${policy.retry.maxAttempts}, each at most ${task.timeoutMs === 0 ? 'as long as it takes' : formatDuration(task.timeoutMs)}`,
    ],
    [
      'policy',
      `security ${policy.security}, ask ${policy.ask}, workspace ${policy.workspaceAccess}, network ${policy.networkEnabled ? 'on' : 'off'}`,
    ],
  ]);
  printer.note(
    paint.dim(
      'Nothing was submitted. Tries and times are kept by the orchestrator; the rest is told to the worker.',
    ),
  );
  const {
    task_id: _id,
    created_at: _created,
    updated_at: _updated,
    version: _version,
    ...request
  } = recordDocument(AgentTask, task);
  return {dryRun: true, pool, workersOnline: workerIds.length, request: opaque(request)};
}
