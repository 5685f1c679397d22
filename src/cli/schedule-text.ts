/** Schedules in lines. */
import {stateOf, type ScheduledTask, type TickRecord} from '../protocol/orchestration/schedule.js';
import type {TickPreview} from '../orchestration/cron.js';
import {formatDuration} from './duration.js';
import {paint, type Column, type Text} from './printer.js';

const DAY_MS = 86_400_000;

/** `07:30:00Z`, with its date if that is not today's. */
export function utcTime(at: number, now: number): string {
  const [date = '', time = ''] = new Date(at).toISOString().split('T');
  const clock = `${time.slice(0, 8)}Z`;
  return at - now < DAY_MS && at >= now ? clock : `${date} ${clock}`;
}

/** `next 07:30:00Z (3h12m)`. */
export function nextText({nextRunAt}: ScheduledTask, now: number): string {
  if (nextRunAt === undefined) return 'next -';
  const wait = nextRunAt - now;
  return `next ${utcTime(nextRunAt, now)} (${wait >= 0 ? minutesText(wait) : `late ${minutesText(-wait)}`})`;
}

/** Nobody wants the seconds of hours. */
const minutesText = (ms: number): string =>
  formatDuration(ms < 60_000 ? ms : Math.round(ms / 60_000) * 60_000);

const STATUSES: Readonly<Record<string, string>> = {done: 'ok', skipped_overlap: 'skipped'};

/** What became of its last tick. @param status of its task, if anybody knows. */
export const lastText = ({lastOutcome}: ScheduledTask, status: string | undefined): string => {
  const last = lastOutcome === 'submitted' ? (status ?? lastOutcome) : (lastOutcome ?? '-');
  return STATUSES[last] ?? last;
};

export interface ScheduleRow {
  readonly schedule: ScheduledTask;
  readonly status: string | undefined;
}

/** The columns of `by schedule list`. */
export const scheduleColumns = (now: number): Column<ScheduleRow>[] => [
  // A name stands a little apart, here as in every line about one schedule.
  {header: '', value: ({schedule}) => `${schedule.externalId} `},
  {header: '', value: ({schedule}) => stateText(schedule)},
  {header: '', value: ({schedule}) => schedule.cronExpr},
  {header: '', value: ({schedule}) => schedule.timezone},
  {header: '', value: ({schedule}) => nextText(schedule, now)},
  {header: '', value: ({schedule, status}) => `last ${lastText(schedule, status)}`},
  {header: '', value: ({schedule}) => `missed ${schedule.missedCount}`},
  {header: '', value: ({schedule}) => `overlap ${schedule.overlapPolicy}`},
];

function stateText(schedule: ScheduledTask): Text {
  const state = stateOf(schedule);
  return state === 'active'
    ? paint.green(state)
    : state === 'paused'
      ? paint.yellow(state)
      : paint.dim(state);
}

/** A line about one schedule. */
export const scheduleLine = (externalId: string, ...text: readonly Text[]): Text => [
  `${externalId}   `,
  ...text,
];

/** One tick of `by schedule next`. */
export function previewLine(
  {at, local, note, explanation}: TickPreview,
  jitterMs: number,
  explain: boolean,
): string {
  const [date, time = ''] = new Date(at.getTime() + jitterMs).toISOString().split('T');
  const clock = `${time.slice(0, 8)}Z`;
  const utc = local.startsWith(date ?? '') ? clock : `${date} ${clock}`;
  const jitter = jitterMs > 0 ? `  jitter ${formatDuration(jitterMs)}` : '';
  return `${local}  ${utc}${jitter}${explain && note !== undefined ? `  ${note}: ${explanation}` : ''}`;
}

/** `task_01JD3K…9QZ`. */
export const shortTaskId = (id: string): string =>
  /^task_.{13,}$/.test(id) ? `${id.slice(0, 11)}…${id.slice(-3)}` : id;

export const minuteText = (at: number): string =>
  `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')}Z`;

/** What became of a tick, in a line. */
export function tickText({outcome, taskId, reason, count, until, trigger}: TickRecord): string {
  if (outcome === 'missed')
    return `missed ${count ?? 1}${until === undefined ? '' : `, to ${minuteText(until)}`}: ${reason ?? ''}`;
  const by = trigger === 'run_now' ? ' (run now)' : trigger === 'backfill' ? ' (backfill)' : '';
  return [`${outcome}${by}`, taskId, reason].filter(part => part !== undefined).join('  ');
}
