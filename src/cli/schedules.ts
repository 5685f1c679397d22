/** `by schedule …`. */
import {recordDocument} from '../protocol/orchestration/record.js';
import {
  ScheduleDefinition,
  ScheduledTask,
  stateOf,
  type CreateScheduleParams,
  type SchedulePatch,
} from '../protocol/orchestration/schedule.js';
import {ByError} from '../errors.js';
import {cronTimes, previewSchedule, previewTick, type TickPreview} from '../orchestration/cron.js';
import {jitterOf} from '../orchestration/plan-ticks.js';
import type {SchedulePort} from '../orchestration/schedule-port.js';
import {Schedules, type BackfilledTick} from '../orchestration/schedules.js';
import {serverNowMs, type Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {opaque} from './json.js';
import {paint, type Printer} from './printer.js';
import {
  lastText,
  minuteText,
  nextText,
  previewLine,
  scheduleColumns,
  scheduleLine,
  shortTaskId,
  tickText,
} from './schedule-text.js';

/** Where commands about schedules work. */
export interface Place {
  readonly store: Store;
  readonly workspace: string;
  readonly printer: Printer;
  /** What runs its tasks. */
  readonly port: SchedulePort;
}

const schedulesOf = ({store, port}: Place) => new Schedules({store, port});
const nowOf = ({store}: Place): Promise<number> => serverNowMs(store);

/** As `--json` prints it: the record itself. */
const view = (schedule: ScheduledTask) =>
  opaque({...recordDocument(ScheduledTask, schedule), state: stateOf(schedule)});

/** @throws {ByError} as {@link Schedules.createSchedule}. */
export async function createForPeople(place: Place, params: CreateScheduleParams, dryRun: boolean) {
  const {workspace, printer} = place;
  const schedules = schedulesOf(place);
  if (dryRun) {
    const {definition, first} = await schedules.planSchedule(params);
    const ticks = previewSchedule(definition.cronExpr, definition.timezone, {
      from: new Date(first - 1),
      n: 3,
    });
    printer.out(scheduleLine(definition.externalId, 'would be created; its first ticks:'));
    for (const tick of ticks) printer.out(`  ${previewLine(tick, 0, true)}`);
    return {
      dryRun,
      schedule: opaque(recordDocument(ScheduleDefinition, definition)),
      ticks: ticks.map(tickView),
    };
  }
  const {schedule, isNew} = await schedules.ensureSchedule(workspace, params);
  const text = schedule.active ? nextText(schedule, await nowOf(place)) : stateOf(schedule);
  const verb = isNew ? 'created' : 'is there already';
  printer.out(scheduleLine(schedule.externalId, `${verb} (${schedule.scheduleId}), ${text}`));
  if (params.timezone === undefined) printer.note(paint.dim('Its times are UTC; --tz names another zone.'));
  return {dryRun, created: isNew, schedule: view(schedule)};
}

/** @returns the schedules in the order of their names. */
export async function listForPeople(
  place: Place,
  output: string,
  {state, agent}: {readonly state: 'active' | 'paused' | undefined; readonly agent: string | undefined},
) {
  const {workspace, printer, port} = place;
  const found = await schedulesOf(place).listSchedules(workspace);
  const chosen = found
    .filter(schedule => state === undefined || stateOf(schedule) === state)
    .filter(({agentId, agentType}) => agent === undefined || agent === agentId || agent === agentType)
    .sort((a, b) => (a.externalId < b.externalId ? -1 : 1));
  if (output === 'name') for (const {externalId} of chosen) printer.out(externalId);
  else {
    const rows = await Promise.all(
      chosen.map(async schedule => {
        const {lastTaskId} = schedule;
        return {schedule, status: lastTaskId && (await port.taskStatus?.(workspace, lastTaskId))};
      }),
    );
    printer.table(rows, scheduleColumns(await nowOf(place)), {header: false});
    if (rows.length === 0)
      printer.note(
        found.length > 0
          ? `No schedule fits; there are ${found.length}.`
          : `Workspace ${workspace} has no schedules; make one with \`by schedule create\`.`,
      );
  }
  return {schedules: chosen.map(view)};
}

export async function showForPeople(place: Place, name: string, runs: number) {
  const {workspace, printer, port} = place;
  const schedules = schedulesOf(place);
  const schedule = await schedules.getSchedule(workspace, name);
  const [ticks, now, status] = await Promise.all([
    schedules.listTicks(workspace, schedule, runs),
    nowOf(place),
    schedule.lastTaskId && port.taskStatus?.(workspace, schedule.lastTaskId),
  ]);
  const note = schedule.pauseNote ?? schedule.finishedReason;
  const {taskDefaults: defaults} = schedule;
  const optional = (name: string, value: string | number | undefined) =>
    value === undefined ? undefined : ([name, String(value)] as const);
  showFacts(printer, [
    ['schedule', `${schedule.externalId}  ${schedule.scheduleId}  version ${schedule.version}`],
    ['state', `${stateOf(schedule)}${note === undefined ? '' : `: ${note}`}`],
    ['times', `${schedule.cronExpr}  ${schedule.timezone}`],
    ['next', nextText(schedule, now).replace(/^next /, '')],
    [
      'last',
      schedule.lastTaskId === undefined ? '-' : `${lastText(schedule, status)}  ${schedule.lastTaskId}`,
    ],
    [
      'counts',
      `${schedule.runCount} runs  ${schedule.missedCount} missed  ${schedule.failureStreak} failures in a row`,
    ],
    schedule.retries > 0
      ? [
          'retrying',
          `${schedule.retries} submits failed; again ${nextText({...schedule, nextRunAt: schedule.retryAt}, now).slice(5)}`,
        ]
      : undefined,
    ['agent', schedule.agentType ?? schedule.agentId ?? '-'],
    ['missed', `${schedule.missedPolicy}, within ${formatDuration(schedule.catchupWindowMs)}`],
    ['overlap', `${schedule.overlapPolicy}, ${schedule.sessionMode} session`],
    schedule.jitterMs > 0 ? ['jitter', formatDuration(schedule.jitterMs)] : undefined,
    optional('starts', schedule.startsAt && new Date(schedule.startsAt).toISOString()),
    optional('ends', schedule.endsAt && new Date(schedule.endsAt).toISOString()),
    optional('max runs', schedule.maxRuns),
    optional(
      'pause after',
      schedule.pauseAfterFailures > 0 ? `${schedule.pauseAfterFailures} failures` : undefined,
    ),
    optional('lane', defaults.lane),
    optional('priority', defaults.priority),
    optional('timeout', defaults.timeoutMs === undefined ? undefined : formatDuration(defaults.timeoutMs)),
    schedule.skillPaths.length > 0 ? ['skills', schedule.skillPaths.join('  ')] : undefined,
  ]);
  printer.out(paint.bold('prompt'));
  printer.block(schedule.prompt);
  if (ticks.length > 0) printer.out(paint.bold('ticks'));
  printer.table(
    ticks,
    [
      {header: '', value: ({tick}) => minuteText(tick)},
      {header: '', value: tickText},
    ],
    {header: false},
  );
  return {schedule: view(schedule), ticks};
}

export async function updateForPeople(
  place: Place,
  name: string,
  patch: SchedulePatch,
  ifVersion: number | undefined,
) {
  const {workspace, printer} = place;
  const changed = Object.keys(patch);
  if (changed.length === 0)
    throw new ByError('USAGE', 'There is nothing to change.', {
      hint: 'Name what is to be another: --cron, --prompt …',
    });
  const schedule = await schedulesOf(place).updateSchedule(workspace, name, patch, ifVersion);
  const words = changed.flatMap(field =>
    field === 'taskDefaults' ? Object.keys(patch.taskDefaults ?? {}).map(wordOf) : wordOf(field),
  );
  const next =
    stateOf(schedule) === 'active'
      ? `, ${nextText(schedule, await nowOf(place)).replace(/ \(.*/, '')}`
      : `, ${stateOf(schedule)}`;
  printer.out(
    scheduleLine(
      schedule.externalId,
      `updated (version ${schedule.version}): ${words.join(', ')} changed${next}`,
    ),
  );
  return {schedule: view(schedule), changed: words};
}

/** A field as its flag calls it. */
const WORDS: Readonly<Record<string, string>> = {
  ...{cronExpr: 'cron', timezone: 'tz', agentId: 'agent', agentType: 'agent', missedPolicy: 'missed'},
  ...{
    catchupWindowMs: 'catchup',
    overlapPolicy: 'overlap',
    jitterMs: 'jitter',
    startsAt: 'starts',
    endsAt: 'ends',
  },
  ...{maxRuns: 'max-runs', sessionMode: 'session-mode', skillPaths: 'skill', timeoutMs: 'attempt-timeout'},
  pauseAfterFailures: 'pause-after-failures',
};
const wordOf = (field: string): string => WORDS[field] ?? field;

export async function pauseForPeople(
  place: Place,
  name: string,
  {note, cancelRunning}: {readonly note: string | undefined; readonly cancelRunning: boolean},
) {
  const {workspace, printer} = place;
  const schedules = schedulesOf(place);
  const running = await schedules.runningTask(workspace, await schedules.getSchedule(workspace, name));
  const schedule = await schedules.pauseSchedule(workspace, name, {
    cancelRunning,
    ...(note !== undefined && {note}),
  });
  const why = schedule.pauseNote === undefined ? '' : `: "${schedule.pauseNote}"`;
  const task =
    running === undefined
      ? ''
      : cancelRunning
        ? `; the running tick ${shortTaskId(running)} is being cancelled`
        : `; the running tick ${shortTaskId(running)} continues (use --cancel-running)`;
  printer.out(scheduleLine(schedule.externalId, `paused${why}${task}`));
  return {schedule: view(schedule), runningTaskId: running ?? null};
}

export async function resumeForPeople(place: Place, name: string) {
  const schedule = await schedulesOf(place).resumeSchedule(place.workspace, name);
  place.printer.out(scheduleLine(schedule.externalId, `resumed, ${nextText(schedule, await nowOf(place))}`));
  return {schedule: view(schedule)};
}

/** @throws {ByError} CONFLICT if the person says no, INPUT_NEEDED. */
export async function deleteForPeople(
  place: Place,
  name: string,
  {
    cancelRunning,
    confirm,
  }: {readonly cancelRunning: boolean; readonly confirm: (question: string) => Promise<boolean>},
) {
  const {workspace, printer} = place;
  const schedules = schedulesOf(place);
  let found: ScheduledTask;
  try {
    found = await schedules.getSchedule(workspace, name);
  } catch (error) {
    if (!(error instanceof ByError) || error.code !== 'SCHEDULE_NOT_FOUND') throw error;
    printer.note(`There is no schedule "${name}": nothing to delete. ${error.hint}`);
    return {deleted: false, schedule: null};
  }
  if (
    !(await confirm(
      `Delete the schedule "${found.externalId}"? Its tasks are kept, what it remembers of its ticks is not.`,
    ))
  )
    throw new ByError('CONFLICT', 'Nothing was deleted.', {hint: 'Answer yes, or give --yes.'});
  const deleted = await schedules.deleteSchedule(workspace, found.externalId, {cancelRunning});
  const kept = `${found.runCount} past ${found.runCount === 1 ? 'task' : 'tasks'} kept`;
  printer.out(
    scheduleLine(found.externalId, deleted === undefined ? 'was gone already' : `deleted; ${kept}`),
  );
  return {deleted: deleted !== undefined, schedule: view(found)};
}

export interface NextRequest {
  readonly count: number;
  readonly from: Date | undefined;
  readonly explain: boolean;
}

/** The ticks to come of an expression, without any server. */
export function nextOfExpression(
  printer: Printer,
  cron: string,
  tz: string,
  {count, from, explain}: NextRequest,
) {
  const ticks = previewSchedule(cron, tz, {n: count, ...(from && {from})});
  for (const tick of ticks) printer.out(previewLine(tick, 0, explain));
  return {cronExpr: cron, timezone: tz, ticks: ticks.map(tickView)};
}

/** The ticks to come of a schedule, with its jitter, between its start and its end. */
export async function nextOfSchedule(place: Place, name: string, {count, from, explain}: NextRequest) {
  const {workspace, printer} = place;
  const schedule = await schedulesOf(place).getSchedule(workspace, name);
  const {scheduleId, cronExpr, timezone, startsAt = 0, endsAt = Infinity, jitterMs} = schedule;
  const times = cronTimes(cronExpr, timezone);
  const ticks: (TickPreview & {readonly jitterMs: number})[] = [];
  let after = Math.max(from?.getTime() ?? (await nowOf(place)), startsAt - 1);
  for (
    let tick = times.next(after);
    tick !== null && tick <= endsAt && ticks.length < count;
    tick = times.next(after)
  ) {
    ticks.push({...previewTick(times, tick), jitterMs: jitterOf(scheduleId, tick, jitterMs)});
    after = tick;
  }
  for (const tick of ticks) printer.out(previewLine(tick, tick.jitterMs, explain));
  if (ticks.length === 0) printer.note('It has no tick before its end.');
  const state = stateOf(schedule);
  if (state !== 'active')
    printer.note(`It is ${state}: none of these fires${state === 'paused' ? ' until it is resumed' : ''}.`);
  return {
    ...{cronExpr, timezone, state},
    ticks: ticks.map(tick => ({...tickView(tick), jitterMs: tick.jitterMs})),
  };
}

const tickView = ({at, local, note, explanation}: TickPreview) => ({
  ...{at: at.getTime(), atIso: at.toISOString(), local, note: note ?? null, explanation: explanation ?? null},
});

export async function runNowForPeople(
  place: Place,
  name: string,
  {key, dryRun}: {readonly key: string | undefined; readonly dryRun: boolean},
) {
  const {workspace, printer} = place;
  const schedules = schedulesOf(place);
  if (dryRun) {
    const schedule = await schedules.getSchedule(workspace, name);
    printer.out(
      scheduleLine(schedule.externalId, `would submit a task for ${schedule.agentType ?? schedule.agentId}`),
    );
    return {dryRun, taskId: null, idempotentHit: false};
  }
  const {taskId, idempotentHit, schedule} = await schedules.triggerSchedule(
    workspace,
    name,
    key === undefined ? {} : {key},
  );
  printer.out(
    scheduleLine(
      schedule.externalId,
      `${taskId} ${idempotentHit ? 'was submitted under this key before' : 'submitted'}`,
    ),
  );
  return {dryRun, taskId, idempotentHit};
}

export interface BackfillRequest {
  readonly from: number;
  readonly to: number;
  readonly limit: number;
  readonly dryRun: boolean;
}

export async function backfillForPeople(place: Place, name: string, request: BackfillRequest) {
  const {workspace, printer} = place;
  const tell = ({tick, result, taskId}: BackfilledTick) =>
    printer.out(`${minuteText(tick)}  ${RESULTS[result]}${taskId === undefined ? '' : `  ${taskId}`}`);
  const {ticks, hasMore} = await schedulesOf(place).backfillSchedule(workspace, name, request, tell);
  const submitted = ticks.filter(({result}) => result !== 'already_ran').length;
  printer.note(
    `${submitted} ${request.dryRun ? 'would be submitted' : 'submitted'}, ${ticks.length - submitted} ran already.` +
      (hasMore ? ` There are more after these ${ticks.length}: raise --limit, or go on from there.` : ''),
  );
  return {dryRun: request.dryRun, ticks, hasMore};
}

const RESULTS: Readonly<Record<BackfilledTick['result'], string>> = {
  ...{submitted: 'submitted', already_ran: 'ran already', planned: 'would be submitted'},
};
