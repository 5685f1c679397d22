/** Reading tasks, runs, attempts and what is told of them. */
import {createHash} from 'node:crypto';
import {setTimeout as wait} from 'node:timers/promises';
import {ByError} from '../errors.js';
import {RunAttempt} from '../protocol/orchestration/attempt.js';
import {canonical} from '../protocol/orchestration/command.js';
import {AgentRunSnapshot, RunEvent, TaskLogEntry} from '../protocol/orchestration/history.js';
import type {PendingInput} from '../protocol/orchestration/input.js';
import {readRecord} from '../protocol/orchestration/record.js';
import {AgentRun, type RunInteraction} from '../protocol/orchestration/run.js';
import type {RunState, TaskState} from '../protocol/orchestration/states.js';
import {AgentTask} from '../protocol/orchestration/task.js';
import {listNewest, members, readDocs, readNumbered, type Listed} from '../store/orchestration-lists.js';
import {lookAt, type Work, type Workspace} from '../store/orchestration.js';
import {notFound} from './find.js';

export interface Page<T> {
  readonly items: readonly T[];
  /** For the next page; absent on the last. */
  readonly cursor?: string;
}

export interface TaskFilter {
  readonly status?: TaskState;
  /** Agent type, or id of a profile. */
  readonly agent?: string;
  readonly sessionId?: string;
  readonly label?: string;
  /** Only those that were archived. Default: only those that were not. */
  readonly archived?: boolean;
  /** Accepted since then, Unix milliseconds. */
  readonly since?: number;
  readonly cursor?: string;
  /** 1 to 200. Default 50. */
  readonly limit?: number;
}

export interface RunFilter extends Pick<TaskFilter, 'agent' | 'sessionId' | 'since' | 'cursor' | 'limit'> {
  readonly status?: RunState;
  readonly taskId?: string;
}

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 200;
/** So many records are looked at for one page; the cursor goes on from there. */
const MAX_LOOKED_AT = 5000;

/** @throws {ByError} CURSOR_INVALID, INVALID_INPUT. */
export function listTasks(workspace: Workspace, filter: TaskFilter = {}): Promise<Page<AgentTask>> {
  const {status, agent, sessionId, label, archived = false} = filter;
  const index = status === undefined ? 'tasks' : `tasks:s:${status}`;
  return list(workspace, index, filter, {
    keyOf: id => workspace.keys.orchTask(workspace.name, id),
    read: doc => readRecord(AgentTask, doc),
    fits: task =>
      (agent === undefined || task.agentType === agent || task.agentId === agent) &&
      (sessionId === undefined || task.sessionId === sessionId) &&
      (label === undefined || task.label === label) &&
      (task.archivedAt !== undefined) === archived,
  });
}

/** @throws {ByError} CURSOR_INVALID, INVALID_INPUT. */
export function listRuns(workspace: Workspace, filter: RunFilter = {}): Promise<Page<AgentRun>> {
  const {status, agent, sessionId, taskId} = filter;
  const index = status === undefined ? 'runs' : `runs:s:${status}`;
  return list(workspace, index, filter, {
    keyOf: id => workspace.keys.orchRun(workspace.name, id),
    read: doc => readRecord(AgentRun, doc),
    fits: run =>
      (agent === undefined || run.agentType === agent || run.agentId === agent) &&
      (sessionId === undefined || run.sessionId === sessionId) &&
      (taskId === undefined || run.taskId === taskId),
  });
}

interface Listing<T> {
  readonly keyOf: (id: string) => string;
  readonly read: (doc: string | undefined) => T | undefined;
  readonly fits: (one: T) => boolean;
}

async function list<T>(
  workspace: Workspace,
  index: string,
  filter: TaskFilter | RunFilter,
  {keyOf, read, fits}: Listing<T>,
): Promise<Page<T>> {
  const {limit = DEFAULT_LIMIT, cursor, ...rest} = filter;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
    throw new ByError('INVALID_INPUT', `${limit} can not be a limit.`, {hint: `Give 1 to ${MAX_LIMIT}.`});
  const filterHash = createHash('sha256')
    .update(canonical({index, ...rest}))
    .digest('hex')
    .slice(0, 8);
  const key = workspace.keys.orchIndex(workspace.name, index);
  const items: T[] = [];
  let before = cursor === undefined ? undefined : readCursor(cursor, filterHash);
  for (let looked = 0; looked < MAX_LOOKED_AT;) {
    const rows = await listNewest(workspace, key, {
      count: MAX_LIMIT,
      ...(before === undefined ? {} : {before}),
      ...(filter.since === undefined ? {} : {since: filter.since}),
    });
    if (rows.length === 0) return {items};
    const docs = await readDocs(
      workspace,
      rows.map(({id}) => keyOf(id)),
    );
    for (const [at, row] of rows.entries()) {
      before = row;
      const one = read(docs[at]);
      if (one !== undefined && fits(one)) items.push(one);
      if (items.length === limit) return {items, cursor: writeCursor(row, filterHash)};
    }
    looked += rows.length;
  }
  return {items, ...(before === undefined ? {} : {cursor: writeCursor(before, filterHash)})};
}

const writeCursor = ({id, at}: Listed, filterHash: string): string =>
  Buffer.from(JSON.stringify([at, id, filterHash])).toString('base64url');

function readCursor(text: string, filterHash: string): Listed {
  try {
    const [at, id, hash] = JSON.parse(Buffer.from(text, 'base64url').toString()) as [number, string, string];
    if (Number.isFinite(at) && typeof id === 'string' && hash === filterHash) return {at, id};
  } catch {
    // Not even JSON: no cursor of ours either.
  }
  throw new ByError('CURSOR_INVALID', 'This cursor belongs to another list.', {
    hint: 'Begin again without it.',
  });
}

/** @throws {ByError} TASK_NOT_FOUND */
export async function lookAtTask(workspace: Workspace, taskId: string): Promise<Work> {
  const work = await lookAt(workspace, 'task', taskId);
  if (work === undefined) throw notFound('task', taskId);
  return work;
}

/** @throws {ByError} RUN_NOT_FOUND */
export async function lookAtRun(
  workspace: Workspace,
  runId: string,
): Promise<Work & {readonly run: AgentRun}> {
  const work = await lookAt(workspace, 'run', runId);
  if (work?.run === undefined) throw notFound('run', runId);
  return {...work, run: work.run};
}

export async function listRunAttempts(workspace: Workspace, runId: string): Promise<RunAttempt[]> {
  const {keys, name} = workspace;
  const ids = await members(workspace, keys.orchRunAttempts(name, runId));
  const docs = await readDocs(
    workspace,
    ids.map(id => keys.orchAttempt(name, id)),
  );
  return docs.flatMap(doc => readRecord(RunAttempt, doc) ?? []);
}

/** What is missing: retention took it. Both numbers belong to it. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

export interface Numbered<T> {
  readonly entries: readonly T[];
  /** Where to go on. */
  readonly next: number;
  readonly gap?: Gap;
  /** The cursor lay behind the end, so it was put there. */
  readonly cursorReset?: true;
}

export const MAX_PAGE = 1000;

/**
 * Entries of a numbered stream from a cursor on: the next number wanted, 0 from the start, −1 only where to go on.
 * @throws {ByError} INVALID_INPUT for what is no cursor.
 */
async function numbered<T extends {readonly seq: number}>(
  workspace: Workspace,
  stream: string,
  from: number,
  limit: number,
  read: (doc: string) => T | undefined,
): Promise<Numbered<T>> {
  if (!Number.isSafeInteger(from) || from < -1)
    throw new ByError('INVALID_INPUT', `${from} can not be a cursor.`, {hint: 'Give a number from -1.'});
  const first = Math.max(from, 1);
  const {entries, last} = await readNumbered(workspace, stream, first, Math.min(limit, MAX_PAGE));
  if (from === -1) return {entries: [], next: last + 1};
  if (from > last + 1) return {entries: [], next: last + 1, cursorReset: true};
  const found = entries.flatMap(({seq, doc}) => {
    const one = read(doc);
    return one === undefined ? [] : [{...one, seq}];
  });
  const begins = entries[0]?.seq ?? first;
  return {
    entries: found,
    next: (entries.at(-1)?.seq ?? first - 1) + 1,
    ...(begins > first ? {gap: {from: first, to: begins - 1}} : {}),
  };
}

export const readLog = (workspace: Workspace, taskId: string, from: number, limit = MAX_PAGE) =>
  numbered<TaskLogEntry>(workspace, workspace.keys.orchLog(workspace.name, taskId), from, limit, doc =>
    readRecord(TaskLogEntry, doc),
  );

export const readEvents = (workspace: Workspace, runId: string, from: number, limit = MAX_PAGE) =>
  numbered<RunEvent>(workspace, workspace.keys.orchEvents(workspace.name, runId), from, limit, doc =>
    readRecord(RunEvent, doc),
  );

export async function readSnapshots(
  workspace: Workspace,
  runId: string,
  limit = 500,
): Promise<readonly AgentRunSnapshot[]> {
  const stream = workspace.keys.orchSnapshots(workspace.name, runId);
  const {entries} = await numbered<AgentRunSnapshot>(workspace, stream, 0, limit, doc =>
    readRecord(AgentRunSnapshot, doc),
  );
  return entries;
}

export interface TaskCursors {
  /** Of the task's log: the next number wanted, 0 from the start, −1 from now. */
  readonly logCursor: number;
  /** Of the run's events. */
  readonly runEventCursor: number;
  /** The run that cursor belongs to; another one is read from its start. */
  readonly cursorRunId?: string;
  /** Milliseconds to wait for something new, at most 30,000. Default 0. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

export interface TaskEventBatch {
  readonly taskId: string;
  readonly runId?: string;
  readonly task: AgentTask;
  readonly run?: AgentRun;
  readonly interaction?: RunInteraction;
  readonly logs: readonly TaskLogEntry[];
  readonly runEvents: readonly RunEvent[];
  readonly pendingInputs: readonly PendingInput[];
  readonly nextLogCursor: number;
  readonly nextRunEventCursor: number;
  readonly runChanged?: true;
  readonly cursorReset?: true;
  readonly gap?: {readonly logs?: Gap; readonly runEvents?: Gap};
}

const MAX_WAIT_MS = 30_000;
const LOOK_EVERY_MS = 100;

/** What is new of a task since the cursors; waits for it as long as it may. @throws {ByError} TASK_NOT_FOUND */
export async function streamTaskEvents(
  workspace: Workspace,
  taskId: string,
  cursors: TaskCursors,
): Promise<TaskEventBatch> {
  const until = performance.now() + Math.min(cursors.waitMs ?? 0, MAX_WAIT_MS);
  for (;;) {
    const batch = await taskEvents(workspace, taskId, cursors);
    const isNew = batch.logs.length + batch.runEvents.length > 0 || batch.runChanged === true;
    if (isNew || performance.now() >= until || cursors.signal?.aborted === true) return batch;
    // Whoever stops waiting gets what there is.
    await wait(LOOK_EVERY_MS, undefined, cursors.signal ? {signal: cursors.signal} : {}).catch(
      () => undefined,
    );
  }
}

async function taskEvents(
  workspace: Workspace,
  taskId: string,
  {logCursor, runEventCursor, cursorRunId}: TaskCursors,
): Promise<TaskEventBatch> {
  // The records first: all that led to what they say is found after them.
  const work = await lookAtTask(workspace, taskId);
  const {task, run, inputs} = work;
  const runId = run?.runId;
  const isOther = cursorRunId !== undefined && cursorRunId !== runId;
  const [logs, events] = await Promise.all([
    readLog(workspace, taskId, logCursor),
    runId === undefined ? undefined : readEvents(workspace, runId, isOther ? 0 : runEventCursor),
  ]);
  const gap = {
    ...(logs.gap === undefined ? {} : {logs: logs.gap}),
    ...(events?.gap === undefined ? {} : {runEvents: events.gap}),
  };
  return {
    ...{taskId, task, logs: logs.entries, runEvents: events?.entries ?? []},
    ...(run === undefined ? {} : {runId: run.runId, run, interaction: run.interaction}),
    pendingInputs: inputs.filter(({state}) => state === 'buffered'),
    nextLogCursor: logs.next,
    nextRunEventCursor: events?.next ?? 0,
    ...(isOther ? {runChanged: true} : {}),
    ...(logs.cursorReset === true || events?.cursorReset === true ? {cursorReset: true} : {}),
    ...(Object.keys(gap).length > 0 ? {gap} : {}),
  };
}
