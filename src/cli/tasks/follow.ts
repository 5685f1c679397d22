/** Watching a task to the end of its run. */
import {ByError} from '../../errors.js';
import type {AgentAPI} from '../../orchestration/api.js';
import type {TaskEventBatch} from '../../orchestration/read.js';
import {AgentRun} from '../../protocol/orchestration/run.js';
import {recordDocument} from '../../protocol/orchestration/record.js';
import {isFinalRun} from '../../protocol/orchestration/states.js';
import {opaque} from '../json.js';
import type {Printer} from '../printer.js';
import {endLine, eventLine} from './lines.js';

export interface FollowRequest {
  readonly printer: Printer;
  readonly workspace: string;
  readonly taskId: string;
  readonly mode: 'submit' | 'wait' | 'follow';
  readonly signal: AbortSignal;
  /** The command that goes on watching. */
  readonly logs: string;
}

const WAIT_MS = 1000;

/** @throws {ByError} TASK_FAILED, TASK_CANCELLED as the run ended; TIMEOUT if it had not by then. */
export async function followTask(api: AgentAPI, request: FollowRequest) {
  const {printer, workspace, taskId, mode, signal} = request;
  const cursor = {logCursor: 0, runEventCursor: 0, cursorRunId: undefined as string | undefined};
  for (;;) {
    const {cursorRunId, ...cursors} = cursor;
    const batch = await api.streamTaskEvents(workspace, taskId, {
      ...cursors,
      ...(cursorRunId === undefined ? {} : {cursorRunId}),
      ...{waitMs: WAIT_MS, signal},
    });
    if (mode === 'follow') tell(printer, batch);
    else if (mode === 'wait') tellProgress(printer, batch);
    const {run} = batch;
    if (run !== undefined && isFinalRun(run.status) && isCaughtUp(batch)) return atEnd(printer, run, mode);
    if (signal.aborted) throw goesOn(batch, request);
    cursor.logCursor = batch.nextLogCursor;
    cursor.runEventCursor = batch.nextRunEventCursor;
    cursor.cursorRunId = batch.runId;
  }
}

/** All that was told is in this batch. */
const isCaughtUp = ({logs, runEvents}: TaskEventBatch): boolean =>
  logs.length < 1000 && runEvents.length < 1000;

function tell(printer: Printer, {logs, runEvents}: TaskEventBatch): void {
  const items = [...runEvents.map(event => ({ts: event.ts, event})), ...logs.map(log => ({ts: log.ts, log}))];
  for (const item of items.sort((a, b) => a.ts - b.ts)) {
    if ('event' in item) {
      const line = eventLine(printer, item.event);
      if (line !== undefined) printer.out(line);
      printer.event({of: 'event', ...item.event, data: opaque(item.event.data)});
    } else {
      if (item.log.stream !== 'user')
        for (const line of item.log.data.trimEnd().split('\n')) printer.out('  ', line);
      printer.event({of: 'log', ...item.log});
    }
  }
}

/** Where it is, and what it waits for. */
function tellProgress(printer: Printer, {runEvents}: TaskEventBatch): void {
  for (const event of runEvents) {
    if (!PROGRESS.has(event.type)) continue;
    const line = eventLine(printer, event);
    if (line !== undefined) printer.note(line);
  }
}

const PROGRESS: ReadonlySet<string> = new Set([
  ...['dispatched', 'deferred', 'waiting_for_input', 'answered'],
  ...['approval_requested', 'approval_decided'],
]);

function atEnd(printer: Printer, run: AgentRun, mode: FollowRequest['mode']) {
  if (mode === 'follow') printer.out(endLine(run));
  else if (run.result !== undefined && run.status === 'ok') printer.block(run.result.text);
  const document = {run: opaque(recordDocument(AgentRun, run)), status: run.status};
  if (run.status === 'ok') return document;
  const {taskId, runId, error} = run;
  const why =
    error === undefined || error.message === ''
      ? (run.statusReason ?? '')
      : `${error.code}: ${error.message}`;
  const details = {taskId, runId, status: run.status, error: error ?? null};
  const next = [`by run show ${runId}`];
  if (run.status === 'cancelled')
    throw new ByError('TASK_CANCELLED', `The run was cancelled${why === '' ? '' : ` (${why})`}.`, {
      hint: 'Submit it again if it is wanted after all.',
      ...{details, next},
    });
  throw new ByError('TASK_FAILED', `The run ended ${run.status}${why === '' ? '' : `: ${why}`}.`, {
    hint: 'See its tries.',
    ...{details, next},
  });
}

const goesOn = ({taskId, task, runId}: TaskEventBatch, {logs}: FollowRequest): ByError =>
  new ByError('TIMEOUT', `Still ${task.status}; the task goes on.`, {
    hint: 'Watch it again, or wait longer.',
    next: [logs],
    details: {taskId, runId: runId ?? null, status: task.status},
  });
