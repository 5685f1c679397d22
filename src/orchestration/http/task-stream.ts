/** What happens in a task, as server-sent events. The id of each is where to go on after it. */
import {ByError} from '../../errors.js';
import {RunEvent, TaskLogEntry} from '../../protocol/orchestration/history.js';
import {TaskState} from '../../protocol/orchestration/http-api.js';
import {recordDocument} from '../../protocol/orchestration/record.js';
import type {AgentAPI} from '../api.js';
import type {TaskEventBatch} from '../read.js';

export interface Frame {
  readonly id: string;
  readonly event: 'log' | 'event' | 'state' | 'gap';
  readonly data: unknown;
}

/** Nothing happened for a while: a sign of life. */
export const QUIET = 'quiet';

interface Position {
  readonly logCursor: number;
  readonly runEventCursor: number;
  readonly cursorRunId?: string;
}

/** @param text an event's id, `end`, or nothing: from the beginning. @throws {ByError} CURSOR_INVALID */
export function readPosition(text: string | undefined): Position {
  if (text === undefined || text === '') return {logCursor: 0, runEventCursor: 0};
  if (text === 'end') return {logCursor: -1, runEventCursor: -1};
  const [, log, event, runId = ''] = /^(\d{1,15})\.(\d{1,15})\.(run_\w{1,64})?$/.exec(text) ?? [];
  if (log === undefined || event === undefined)
    throw new ByError('CURSOR_INVALID', 'This is no id of an event of this stream.', {
      hint: 'Begin again without it, or at the "end".',
    });
  const position = {logCursor: Number(log), runEventCursor: Number(event)};
  return runId === '' ? position : {...position, cursorRunId: runId};
}

const writePosition = ({logCursor, runEventCursor, cursorRunId = ''}: Position): string =>
  `${logCursor}.${runEventCursor}.${cursorRunId}`;

const HEARTBEAT_MS = 15_000;

export interface TaskStreamRequest {
  readonly workspace: string;
  readonly taskId: string;
  readonly from: Position;
  readonly signal: AbortSignal;
}

/** Goes on until the signal. @throws {ByError} TASK_NOT_FOUND, at once or when it is gone. */
export async function* taskFrames(
  api: AgentAPI,
  {workspace, taskId, from, signal}: TaskStreamRequest,
): AsyncGenerator<Frame | typeof QUIET, void> {
  let position = from;
  let version = -1;
  for (let waitMs = 0; !signal.aborted;) {
    const batch = await api.streamTaskEvents(workspace, taskId, {...position, waitMs, signal});
    let frames = 0;
    for (const frame of framesOf(batch, batch.task.version !== version)) {
      yield frame;
      frames++;
    }
    if (frames === 0) yield QUIET;
    version = batch.task.version;
    position = endOf(batch);
    // The records were read before what was told of them: look once more before waiting.
    waitMs = batch.logs.length + batch.runEvents.length > 0 ? 0 : HEARTBEAT_MS;
  }
}

const runOf = ({runId}: TaskEventBatch) => (runId === undefined ? {} : {cursorRunId: runId});

const endOf = (batch: TaskEventBatch): Position => ({
  ...{logCursor: batch.nextLogCursor, runEventCursor: batch.nextRunEventCursor},
  ...runOf(batch),
});

function* framesOf(batch: TaskEventBatch, isChanged: boolean): Generator<Frame> {
  const {logs, runEvents, gap, task, run, pendingInputs} = batch;
  let position: Position = {
    logCursor: logs[0]?.seq ?? batch.nextLogCursor,
    runEventCursor: runEvents[0]?.seq ?? batch.nextRunEventCursor,
    ...runOf(batch),
  };
  const frame = (event: Frame['event'], data: unknown): Frame => ({
    ...{id: writePosition(position), event, data},
  });
  if (gap !== undefined) yield frame('gap', {logs: gap.logs ?? null, events: gap.runEvents ?? null});
  const items = [
    ...runEvents.map(event => ({ts: event.ts, event})),
    ...logs.map(log => ({ts: log.ts, log})),
  ].sort((a, b) => a.ts - b.ts);
  for (const item of items) {
    if ('event' in item) {
      position = {...position, runEventCursor: item.event.seq + 1};
      yield frame('event', recordDocument(RunEvent, item.event));
    } else {
      position = {...position, logCursor: item.log.seq + 1};
      yield frame('log', recordDocument(TaskLogEntry, item.log));
    }
  }
  if (isChanged)
    yield frame(
      'state',
      recordDocument(TaskState, {task, run: run ?? null, pendingInputs: [...pendingInputs]}),
    );
}
