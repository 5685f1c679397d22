/** `by task list|show|cancel|logs|archive`. */
import {serverNowMs} from '../../store/store.js';
import {ByError} from '../../errors.js';
import {AgentAPI} from '../../orchestration/api.js';
import {resolveId} from '../../orchestration/find.js';
import {listTasks, lookAtTask, type TaskFilter} from '../../orchestration/read.js';
import {AgentService} from '../../orchestration/service.js';
import {RunExecutionPolicy} from '../../protocol/orchestration/policy.js';
import {recordDocument} from '../../protocol/orchestration/record.js';
import {AgentRun} from '../../protocol/orchestration/run.js';
import {AgentTask} from '../../protocol/orchestration/task.js';
import {isFinalTask} from '../../protocol/orchestration/states.js';
import {liveOrchestrators} from '../../store/orchestrators.js';
import {lookAt, type Workspace} from '../../store/orchestration.js';
import type {Store} from '../../store/store.js';
import {formatDuration} from '../duration.js';
import {showFacts} from '../facts.js';
import {opaque} from '../json.js';
import {paint, type Printer, type Text} from '../printer.js';
import {isoTime, relativeTime} from '../time.js';
import {followTask} from './follow.js';
import {amount, logRow, runLength, shortTime, statusText} from './lines.js';

export interface At {
  readonly store: Store;
  readonly printer: Printer;
  readonly workspace: string;
}

const open = ({store, workspace}: At): {api: AgentAPI; ws: Workspace; service: AgentService} => {
  const service = new AgentService({store});
  return {service, api: new AgentAPI({runtime: service}), ws: service.workspace(workspace)};
};

export async function listForPeople(at: At, output: string, filter: TaskFilter) {
  const {ws} = open(at);
  const {printer} = at;
  const {items, cursor} = await listTasks(ws, filter);
  const nowMs = await serverNowMs(ws.store);
  if (output === 'name') for (const {taskId} of items) printer.out(taskId);
  else
    printer.table(await Promise.all(items.map(task => rowOf(ws, task, nowMs))), [
      {header: 'TASK', value: row => row.task.taskId},
      {header: 'STATUS', value: row => statusText(row.task.status)},
      {header: 'AGENT', value: row => row.task.agentType},
      {header: 'PRIORITY', value: row => row.task.priority},
      {header: 'RUNS', value: row => String(row.task.runCount), align: 'right'},
      {header: 'AGE', value: row => formatAge(nowMs - row.task.createdAt), align: 'right'},
      {header: 'WHAT', value: row => row.note, shrink: true},
    ]);
  if (items.length === 0) printer.note('No task fits. Submit one with by task submit');
  if (cursor !== undefined) printer.note(paint.dim(`more with --cursor ${cursor}`));
  return {tasks: items.map(task => opaque(recordDocument(AgentTask, task))), cursor: cursor ?? null};
}

/** `5s`, `2m`, `3h`: the largest unit is enough for a list. */
const formatAge = (ms: number): string => relativeTime(0, Math.max(1000, ms)).replace(' ago', '');

/** What it is about, or what it waits for. */
async function rowOf(ws: Workspace, task: AgentTask, nowMs: number): Promise<{task: AgentTask; note: Text}> {
  const plain = task.label ?? task.message.replaceAll(/\s+/g, ' ').slice(0, 200);
  if (task.status !== 'queued')
    return {
      task,
      note:
        isFinalTask(task.status) && task.statusReason !== undefined
          ? `${plain}  (${task.statusReason})`
          : plain,
    };
  const attempt = (await lookAt(ws, 'task', task.taskId))?.attempt;
  if (attempt?.place !== 'delayed' || attempt.notBeforeAt <= nowMs) return {task, note: plain};
  if (attempt.deferrals === 0)
    return {task, note: [paint.dim(`begins at ${isoTime(attempt.notBeforeAt)}  `), plain]};
  const why = `${attempt.statusReason ?? ''}, ${amount(attempt.deferrals, 'deferral')}`;
  return {task, note: paint.yellow(`deferred until ${shortTime(attempt.notBeforeAt)} (${why})`)};
}

export async function showForPeople(
  at: At,
  text: string,
  {runs: withRuns, policy: withPolicy}: {readonly runs: boolean; readonly policy: boolean},
) {
  const {api, ws} = open(at);
  const {printer} = at;
  const work = await lookAtTask(ws, await resolveId(ws, 'task', text));
  const {task, run, nowMs} = work;
  showFacts(printer, [
    ['task', task.taskId],
    [
      'status',
      [statusText(task.status), ...(task.statusReason === undefined ? [] : [` (${task.statusReason})`])],
    ],
    ['agent', task.agentId === undefined ? task.agentType : `${task.agentType}  (${task.agentId})`],
    ['session', task.sessionId],
    ['priority', task.priority],
    task.lane === undefined ? undefined : ['lane', task.lane],
    task.label === undefined ? undefined : ['label', task.label],
    ['accepted', `${isoTime(task.createdAt)}  (${relativeTime(task.createdAt, nowMs)})`],
    task.archivedAt === undefined ? undefined : ['archived', isoTime(task.archivedAt)],
    run === undefined
      ? undefined
      : [
          'run',
          [
            run.runId,
            '  ',
            statusText(run.status),
            `  ${runLength(run, nowMs)}  ${amount(run.attemptCount, 'attempt')}`,
          ],
        ],
    run?.error === undefined ? undefined : ['error', `${run.error.code}: ${run.error.message}`],
    ['message', task.message.slice(0, 500)],
    run?.result === undefined ? undefined : ['result', run.result.text.slice(0, 500)],
    ...(withPolicy
      ? Object.entries(recordDocument(RunExecutionPolicy, task.policy)).map(
          ([name, value]) =>
            [`policy ${name}`, typeof value === 'string' ? value : JSON.stringify(value)] as const,
        )
      : []),
  ]);
  const all = withRuns ? await allRuns(api, at.workspace, task.taskId) : undefined;
  for (const one of all ?? [])
    printer.out(
      `${one.runId}  `,
      statusText(one.status),
      `  ${amount(one.attemptCount, 'attempt')}  ${runLength(one, nowMs)}`,
    );
  return {
    task: opaque(recordDocument(AgentTask, task)),
    run: run === undefined ? null : opaque(recordDocument(AgentRun, run)),
    ...(all === undefined ? {} : {runs: all.map(one => opaque(recordDocument(AgentRun, one)))}),
  };
}

async function allRuns(api: AgentAPI, workspace: string, taskId: string): Promise<AgentRun[]> {
  const runs: AgentRun[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await api.listRuns(workspace, {
      taskId,
      limit: 200,
      ...(cursor === undefined ? {} : {cursor}),
    });
    runs.push(...page.items);
    if (page.cursor === undefined) return runs;
    cursor = page.cursor;
  }
}

export interface CancelRequest {
  readonly mode: 'graceful' | 'force';
  readonly reason: string;
  readonly wait: boolean;
  readonly signal: AbortSignal;
}

export async function cancelForPeople(at: At, text: string, request: CancelRequest) {
  const {api, ws} = open(at);
  const {printer} = at;
  const taskId = await resolveId(ws, 'task', text);
  const result = await api.cancelTask(at.workspace, taskId, request);
  const {outcome, already, run, workerId} = result;
  if (outcome === 'requested') {
    const where = workerId === undefined ? '' : ` on ${workerId}`;
    printer.out(
      `${taskId}  cancel requested (${request.mode}); attempt ${run?.attemptCount ?? 1} is stopping${where}: a plain worker may go on until it checks for cancel`,
    );
  } else printer.out(`${taskId}  `, statusText('cancelled'), already ? ' before' : '');
  const document = {taskId, outcome, already, status: result.task.status};
  if (!request.wait || outcome !== 'requested') return document;
  await warnWithoutOrchestrator(printer, ws);
  return {...document, ...(await waitForEnd(api, at, taskId, request.signal))};
}

/** Somebody has to note the end that is waited for. */
export async function warnWithoutOrchestrator(printer: Printer, ws: Workspace): Promise<void> {
  const nodes = await liveOrchestrators(ws.store);
  if (nodes.some(({roles}) => roles.includes('projector'))) return;
  printer.warn('No orchestrator was seen for 30 s: nobody notes the end until `by serve` runs.');
}

/** Cancelled is what was wanted here; what finished first has finished. */
async function waitForEnd(api: AgentAPI, at: At, taskId: string, signal: AbortSignal) {
  const logs = `by task logs ${taskId} --follow`;
  try {
    return await followTask(api, {...at, taskId, mode: 'submit', signal, logs});
  } catch (error) {
    if (!(error instanceof ByError) || error.code !== 'TASK_CANCELLED') throw error;
    at.printer.out(`${taskId}  `, statusText('cancelled'));
    return {status: 'cancelled'};
  }
}

export interface LogsRequest {
  readonly follow: boolean;
  readonly from: number | undefined;
  readonly tail: number | undefined;
  readonly stream: string | undefined;
  readonly run: string | undefined;
  readonly raw: boolean;
  readonly signal: AbortSignal;
}

const FOLLOW_WAIT_MS = 2000;

export async function logsForPeople(at: At, text: string, request: LogsRequest) {
  const {api, ws} = open(at);
  const {printer, workspace} = at;
  const taskId = await resolveId(ws, 'task', text);
  const runId = request.run === undefined ? undefined : await resolveId(ws, 'run', request.run);
  const kept: object[] = [];
  let next = await firstWanted(api, workspace, taskId, request);
  for (;;) {
    const batch = await api.streamTaskEvents(workspace, taskId, {
      ...{logCursor: next, runEventCursor: -1, signal: request.signal},
      ...(request.follow ? {waitMs: FOLLOW_WAIT_MS} : {}),
    });
    if (batch.gap?.logs !== undefined)
      printer.warn(`Entries ${batch.gap.logs.from} to ${batch.gap.logs.to} are no longer kept.`);
    for (const entry of batch.logs) {
      if (request.stream !== undefined && entry.stream !== request.stream) continue;
      if (runId !== undefined && entry.runId !== runId) continue;
      if (request.raw) printer.raw(entry.data.endsWith('\n') ? entry.data : `${entry.data}\n`);
      else printer.out(logRow(entry));
      printer.event(entry);
      if (!request.follow) kept.push(entry);
    }
    const isOver = isFinalTask(batch.task.status) || batch.task.status === 'idle';
    const isDone = batch.logs.length === 0 && (!request.follow || isOver);
    if (isDone || request.signal.aborted) return {taskId, entries: kept, next: batch.nextLogCursor};
    next = batch.nextLogCursor;
  }
}

async function firstWanted(api: AgentAPI, workspace: string, taskId: string, {from, tail}: LogsRequest) {
  if (tail === undefined) return from ?? 0;
  const {next} = await api.listTaskLogs(workspace, taskId, -1);
  return Math.max(1, next - tail);
}

export interface ArchiveRequest {
  readonly olderThanMs: number | undefined;
  readonly status: TaskFilter['status'];
}

export async function archiveForPeople(at: At, texts: readonly string[], request: ArchiveRequest) {
  const {api, ws} = open(at);
  const {printer, workspace} = at;
  const {olderThanMs, status} = request;
  if (texts.length === 0 && olderThanMs === undefined && status === undefined)
    throw new ByError('USAGE', 'Which tasks?', {hint: 'Name them, or say --older-than and --status.'});
  const named = await Promise.all(texts.map(text => resolveId(ws, 'task', text)));
  const ids = texts.length > 0 ? named : await oldTasks(ws, request);
  const archived: string[] = [];
  const skipped: {taskId: string; code: string; status: string}[] = [];
  for (const taskId of ids) {
    try {
      await api.archiveTask(workspace, taskId);
      archived.push(taskId);
    } catch (error) {
      if (!(error instanceof ByError) || error.code !== 'TASK_NOT_ARCHIVABLE') throw error;
      skipped.push({taskId, code: error.code, status: String(error.details['status'])});
    }
  }
  const age = olderThanMs === undefined ? '' : ` older than ${formatDuration(olderThanMs)}`;
  const which = status === undefined && age === '' ? '' : ` (${status ?? 'ended'}${age})`;
  const left = skipped.map(({taskId, code, status: is}) => `${taskId} is ${is} (${code})`).join(', ');
  printer.out(
    `archived ${amount(archived.length, 'task')}${which}`,
    ...(skipped.length === 0 ? [] : [`; ${skipped.length} skipped: ${left}`]),
  );
  if (skipped.length > 0 && archived.length === 0 && texts.length === 1)
    throw new ByError('TASK_NOT_ARCHIVABLE', left, {
      hint: 'Wait for its end, or cancel it first.',
      details: {skipped},
    });
  return {archived, skipped};
}

async function oldTasks(ws: Workspace, {olderThanMs = 0, status}: ArchiveRequest): Promise<string[]> {
  const before = (await serverNowMs(ws.store)) - olderThanMs;
  const ids: string[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await listTasks(ws, {
      limit: 200,
      ...(status === undefined ? {} : {status}),
      ...(cursor === undefined ? {} : {cursor}),
    });
    const isOver = (task: AgentTask) =>
      status !== undefined || isFinalTask(task.status) || task.status === 'idle';
    ids.push(
      ...page.items.filter(task => isOver(task) && task.updatedAt <= before).map(({taskId}) => taskId),
    );
    if (page.cursor === undefined) return ids;
    cursor = page.cursor;
  }
}
