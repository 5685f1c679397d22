/** From a decision to the one change that makes all of it true, or nothing of it. */
import {leaseOwner, RunAttempt} from '../protocol/orchestration/attempt.js';
import {AgentRunSnapshot, RunEvent, TaskLogEntry} from '../protocol/orchestration/history.js';
import {PendingInput} from '../protocol/orchestration/input.js';
import type {RunKeys} from '../protocol/orchestration/keys.js';
import {AgentPool} from '../protocol/orchestration/pool.js';
import {writeRecord} from '../protocol/orchestration/record.js';
import {
  EVENT_CAP,
  HISTORY_TTL_S,
  INDEX_TTL_S,
  LOG_CAP,
  POOL_TTL_S,
  RECORD_TTL_S,
  SNAPSHOT_CAP,
  UNDELIVERABLE_CAP,
} from '../protocol/orchestration/retention.js';
import {AgentRun} from '../protocol/orchestration/run.js';
import {ScheduleEnd} from '../protocol/orchestration/schedule.js';
import {
  ATTEMPT_MOVES,
  isFinalAttempt,
  isFinalRun,
  isFinalTask,
  mayMove,
  PRIORITIES,
  RUN_MOVES,
  TASK_MOVES,
  type Priority,
} from '../protocol/orchestration/states.js';
import {AgentTask} from '../protocol/orchestration/task.js';
import {Change, type Ground, type Work, type Workspace} from '../store/orchestration.js';
import type {Decision} from './decision.js';
import {maskSecrets} from './mask-secrets.js';
import {poolKeyOf} from './pools.js';

/** Bands of the ready set lie farther apart than any time in milliseconds. */
const BAND = 1e13;

/** The lowest is sent first: by priority, then by age. */
const readyScore = (priority: Priority, createdAt: number): number =>
  (PRIORITIES.length - 1 - PRIORITIES.indexOf(priority)) * BAND + createdAt;

/** What is known of a decision's task; nothing, if it is new. */
type Known = Partial<Pick<Work, 'task' | 'run' | 'attempt'>>;

/** Everything a step of the translation needs. */
interface Writing {
  readonly keys: RunKeys;
  readonly w: string;
  readonly ground: Ground & Known;
  readonly decision: Decision;
  readonly change: Change;
}

/**
 * @param ground what was decided on.
 * @throws {TypeError} for a step no state machine knows: a bug, so that nothing is written.
 */
export function toChange({keys, name: w}: Workspace, ground: Ground & Known, decision: Decision): Change {
  const taskKey = keys.orchTask(w, decision.task.taskId);
  const change = new Change(taskKey);
  const writing: Writing = {keys, w, ground, decision, change};
  if (ground.task === undefined) change.unlessThere(taskKey);
  else change.unlessChanged(taskKey, 'version', ground.task.version);
  if (decision.room !== undefined)
    change.ifRoom(keys.orchInflight(w, poolKeyOf(decision.task)), decision.room);
  writeTask(writing);
  for (const run of decision.runs ?? []) writeRun(writing, run);
  for (const attempt of decision.attempts ?? []) writeAttempt(writing, attempt);
  if (decision.pool !== undefined) writePool(writing, decision.pool);
  for (const input of decision.inputs ?? [])
    change.write('HSET', keys.orchInputs(w, input.runId), input.inputId, writeRecord(PendingInput, input));
  moveInSession(writing);
  tell(writing);
  keep(writing);
  tellSchedule(writing);
  return change;
}

function writeTask({keys, w, ground, decision: {task}, change}: Writing): void {
  const was = ground.task;
  checkMove('task', TASK_MOVES, was?.status, task.status);
  const version = (was?.version ?? 0) + 1;
  const doc = writeRecord(AgentTask, {...task, updatedAt: ground.nowMs, version});
  change.write(
    ...(['HSET', keys.orchTask(w, task.taskId), 'doc', doc, 'version', version] as const),
    ...['run', task.currentRunId ?? '', 'session', task.sessionId],
  );
  if (was === undefined && task.expiresAt !== undefined)
    change.write('ZADD', keys.orchExpiring(w), task.expiresAt, task.taskId);
  const {taskId: id, createdAt, agentType} = task;
  index(
    {keys, w, change, ground},
    {kind: 'tasks', id, createdAt, agentType, was: was?.status, is: task.status},
  );
}

function writeRun({keys, w, ground, change}: Writing, run: AgentRun): void {
  const was = ground.run?.runId === run.runId ? ground.run : undefined;
  checkMove('run', RUN_MOVES, was?.status, run.status);
  const version = (was?.version ?? 0) + 1;
  change.write(
    ...(['HSET', keys.orchRun(w, run.runId), 'doc', writeRecord(AgentRun, {...run, version})] as const),
    ...['version', version, 'task', run.taskId, 'att', run.currentAttemptId ?? '', 'pool', run.instanceKey],
  );
  const {runId: id, acceptedAt: createdAt, agentType} = run;
  index(
    {keys, w, change, ground},
    {kind: 'runs', id, createdAt, agentType, was: was?.status, is: run.status},
  );
  if (was !== undefined) return;
  const session = keys.orchSessionRuns(w, run.sessionId);
  change.write('ZADD', session, run.acceptedAt, run.runId).write('EXPIRE', session, INDEX_TTL_S);
}

interface Indexed {
  readonly kind: 'tasks' | 'runs';
  readonly id: string;
  readonly createdAt: number;
  readonly agentType: string;
  readonly was: string | undefined;
  readonly is: string;
}

function index(
  {keys, w, change, ground}: Omit<Writing, 'decision'>,
  {kind, id, createdAt, agentType, was, is}: Indexed,
): void {
  if (was === is) return;
  if (was !== undefined) change.write('ZREM', keys.orchIndex(w, `${kind}:s:${was}`), id);
  const lists = was === undefined ? [kind, `${kind}:a:${agentType}`] : [];
  for (const list of [`${kind}:s:${is}`, ...lists]) {
    const key = keys.orchIndex(w, list);
    change
      .write('ZADD', key, createdAt, id)
      .write('ZREMRANGEBYSCORE', key, '-inf', ground.nowMs - INDEX_TTL_S * 1000)
      .write('EXPIRE', key, INDEX_TTL_S);
  }
}

function writeAttempt(writing: Writing, attempt: RunAttempt): void {
  const {keys, w, ground, decision, change} = writing;
  const {attemptId, runId, place} = attempt;
  const was = ground.attempt?.attemptId === attemptId ? ground.attempt : undefined;
  checkMove('attempt', ATTEMPT_MOVES, was?.status, attempt.status);
  const version = (was?.version ?? 0) + 1;
  const score = readyScore(decision.task.priority, attempt.createdAt);
  const key = keys.orchAttempt(w, attemptId);
  change.write(
    ...(['HSET', key, 'doc', writeRecord(RunAttempt, {...attempt, version}), 'version', version] as const),
    ...['run', runId, 'task', attempt.taskId, 'place', place, 'score', score],
  );
  if (was === undefined) change.write('ZADD', keys.orchRunAttempts(w, runId), attempt.attemptNo, attemptId);
  if (isFinalAttempt(attempt.status)) change.write('EXPIRE', key, RECORD_TTL_S);

  const pool = poolKeyOf(decision.task);
  const places = {
    queued: keys.orchReady(w, pool),
    delayed: keys.orchDelayed(w),
    inflight: keys.orchInflight(w, pool),
  };
  if (was !== undefined && was.place !== 'gone' && was.place !== place)
    change.write('ZREM', places[was.place], attemptId);
  if (place === 'delayed') change.write('ZADD', places.delayed, attempt.notBeforeAt, attemptId);
  if (place === 'inflight' && was?.place !== 'inflight')
    change.write('ZADD', places.inflight, ground.nowMs, attemptId);
  if (place === 'queued' && was?.place !== 'queued' && headAfter(writing) === runId)
    change.write('ZADD', places.queued, score, attemptId);
}

/** The run that has the session once the decision is carried out. */
function headAfter({ground: {heads}, decision: {joins, leaves}}: Writing): string | undefined {
  return [...heads, ...(joins === undefined ? [] : [joins])].find(head => head !== leaves);
}

function writePool({keys, w, ground, change}: Writing, pool: AgentPool): void {
  const key = keys.orchPool(w, pool.key);
  if (ground.pool === undefined) change.unlessThere(key);
  else change.unlessChanged(key, 'version', ground.pool.version);
  const version = (ground.pool?.version ?? 0) + 1;
  const doc = writeRecord(AgentPool, {...pool, updatedAt: ground.nowMs, version});
  change
    .write('HSET', key, 'doc', doc, 'version', version)
    .write('EXPIRE', key, POOL_TTL_S)
    .write('SADD', keys.orchPools(w), pool.key);
}

function moveInSession(writing: Writing): void {
  const {keys, w, ground, decision, change} = writing;
  const {task, joins, leaves, takes, releases} = decision;
  const queue = keys.orchSessionQueue(w, task.sessionId);
  const lease = keys.orchLease(w, task.sessionId);
  const isQueued = decision.attempts?.some(attempt => attempt.place === 'queued') ?? false;
  if (joins !== undefined || leaves !== undefined || takes !== undefined || isQueued)
    change.ifHeads(queue, ground.heads);
  if (joins !== undefined) change.write('ZADD', queue, 'NX', ground.nowMs, joins);
  if (leaves !== undefined) {
    change.write('ZREM', queue, leaves);
    const {second} = ground;
    if (leaves === ground.heads[0] && second?.place === 'queued')
      change.write('ZADD', keys.orchReady(w, second.pool), second.score, second.attemptId);
  }
  if (takes !== undefined)
    change
      .unlessChanged(lease, 'attempt_id', ground.holder)
      .write(
        'HSET',
        lease,
        'attempt_id',
        takes.attemptId,
        'owner',
        leaseOwner(undefined, takes.executionId),
        'fence',
        takes.fence,
      )
      .write('PERSIST', lease);
  const seen = decision.attempts?.find(({attemptId}) => attemptId === ground.holder);
  if (seen?.workerId !== undefined && seen.workerId !== ground.attempt?.workerId)
    change.write('HSET', lease, 'owner', leaseOwner(seen.workerId, seen.executionId));
  if (releases !== undefined && ground.holder === releases)
    change.write('HDEL', lease, 'attempt_id', 'owner', 'expires_at').write('EXPIRE', lease, RECORD_TTL_S);
}

function tell({keys, w, ground: {nowMs}, decision, change}: Writing): void {
  const {task, events = [], snapshots = [], logs = [], undeliverable} = decision;
  const {taskId} = task;
  for (const {data = {}, ...event} of events) {
    const {runId} = event;
    const doc = writeRecord(RunEvent, {...event, data, seq: 0, ts: nowMs});
    const counter = {hash: keys.orchRun(w, runId), field: 'event_seq'};
    change.append(keys.orchEvents(w, runId), counter, EVENT_CAP, doc);
  }
  for (const snapshot of snapshots) {
    const {runId} = snapshot;
    const doc = writeRecord(AgentRunSnapshot, {...snapshot, seq: 0, ts: nowMs});
    const counter = {hash: keys.orchRun(w, runId), field: 'snapshot_seq'};
    change.append(keys.orchSnapshots(w, runId), counter, SNAPSHOT_CAP, doc);
  }
  for (const log of logs) {
    const data = maskSecrets(log.data);
    const doc = writeRecord(TaskLogEntry, {...log, data, ts: log.ts ?? nowMs, taskId, seq: 0});
    const counter = {hash: keys.orchTask(w, taskId), field: 'log_seq'};
    change.append(keys.orchLog(w, taskId), counter, LOG_CAP, doc);
  }
  if (undeliverable !== undefined)
    change.write(
      ...(['XADD', keys.orchUndeliverable(w), 'MAXLEN', '~', UNDELIVERABLE_CAP, '*'] as const),
      ...['doc', JSON.stringify({...undeliverable, at: nowMs})],
    );
}

/** How a schedule's task ended is counted there, by a scheduler. Who cancels it says nothing about it. */
function tellSchedule({keys, w, ground, decision: {task, runs = []}, change}: Writing): void {
  const scheduleId = task.spawnedBy?.startsWith(SCHEDULE) ? task.spawnedBy.slice(SCHEDULE.length) : '';
  const over = runs.find(
    ({runId, status}) => isFinalRun(status) && ground.run?.runId === runId && !isFinalRun(ground.run.status),
  );
  if (scheduleId === '' || over === undefined || over.status === 'cancelled') return;
  const {taskId, createdAt, inputProvenance} = task;
  const {runId, status, error, statusReason} = over;
  const isOk = status === 'ok';
  const why = [error?.code ?? statusReason ?? status, error?.message].filter(Boolean).join(': ');
  const end = writeRecord(ScheduleEnd, {
    ...{scheduleId, taskId, runId, isOk},
    tick: scheduledAt(inputProvenance) ?? createdAt,
    ...(isOk ? {} : {reason: maskSecrets(`${taskId} ${why}`).slice(0, MAX_REASON)}),
  });
  const key = keys.orchScheduleEnds(w);
  change.write('ZADD', key, ground.nowMs, end).write('ZREMRANGEBYRANK', key, 0, -MAX_ENDS - 1);
}

const SCHEDULE = 'schedule:';
const MAX_REASON = 150;
/** Where no scheduler runs for long, the oldest are forgotten. */
const MAX_ENDS = 10_000;

function scheduledAt({schedule}: AgentTask['inputProvenance']): number | undefined {
  const at =
    typeof schedule === 'object' && schedule !== null && 'scheduled_at' in schedule && schedule.scheduled_at;
  return typeof at === 'number' ? at : undefined;
}

/** What has ended gets its lifetime; what is taken up again loses it. */
function keep({keys, w, ground, decision: {task, runs = []}, change}: Writing): void {
  const isOver = isFinalTask(task.status) || task.archivedAt !== undefined;
  const wasOver = ground.task !== undefined && isFinalTask(ground.task.status);
  if (!isOver && !wasOver) return;
  const ofTask = [
    [keys.orchTask(w, task.taskId), RECORD_TTL_S],
    [keys.orchLog(w, task.taskId), HISTORY_TTL_S],
  ] as const;
  const ids = new Set([...runs.map(({runId}) => runId), ...(ground.run ? [ground.run.runId] : [])]);
  const ofRuns = [...ids].flatMap(
    id =>
      [
        [keys.orchRun(w, id), RECORD_TTL_S],
        [keys.orchRunAttempts(w, id), RECORD_TTL_S],
        [keys.orchInputs(w, id), RECORD_TTL_S],
        [keys.orchSnapshots(w, id), RECORD_TTL_S],
        [keys.orchEvents(w, id), HISTORY_TTL_S],
      ] as const,
  );
  // Runs of before keep their lifetime when the task is taken up again.
  if (isOver) for (const [key, seconds] of [...ofTask, ...ofRuns]) change.write('EXPIRE', key, seconds);
  else for (const [key] of ofTask) change.write('PERSIST', key);
}

function checkMove<S extends string>(
  what: string,
  machine: Readonly<Record<S, readonly S[]>>,
  from: S | undefined,
  to: S,
): void {
  if (from === undefined || mayMove(machine, from, to)) return;
  throw new TypeError(`a ${what} can not go from ${from} to ${to}`);
}
