/** How tasks, runs and what happens to them look to people: one line each. */
import type {RunEvent, TaskLogEntry} from '../../protocol/orchestration/history.js';
import type {AgentRun} from '../../protocol/orchestration/run.js';
import type {AgentTask} from '../../protocol/orchestration/task.js';
import {formatDuration} from '../duration.js';
import {paint, type Printer, type Text} from '../printer.js';
import {clockTime} from '../time.js';

const COLORS = {
  queued: paint.gray,
  accepted: paint.gray,
  running: paint.cyan,
  waiting: paint.yellow,
  idle: paint.blue,
  done: paint.green,
  ok: paint.green,
  error: paint.red,
  timeout: paint.red,
  cancelled: paint.yellow,
  dropped: paint.yellow,
} as const;

export const statusText = (status: AgentTask['status'] | AgentRun['status']): Text => COLORS[status](status);

/** `12:00:01`, in the local time zone. */
export const shortTime = (ms: number): string => clockTime(ms).slice(0, 8);

export const amount = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** What follows a run of so long. */
export const runLength = ({startedAt, acceptedAt, endedAt}: AgentRun, nowMs: number): string =>
  formatDuration((endedAt ?? nowMs) - (startedAt ?? acceptedAt));

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number => (typeof value === 'number' ? value : 0);

/** What happened, for somebody who watches; undefined for what only programs care about. */
export function eventLine(printer: Printer, {type, ts, data, runId}: RunEvent): Text | undefined {
  const line = (what: Text, ...rest: Text[]): Text => [
    paint.dim(shortTime(ts)),
    ' ',
    what,
    ...(rest.length === 0 ? [] : ['  ', ...rest]),
  ];
  const tries = `${number(data['try_no'])}/${number(data['max_attempts'])}`;
  switch (type) {
    case 'dispatched': {
      const workers = data['routable_workers'];
      const routable = typeof workers === 'number' ? [amount(workers, 'routable worker')] : [];
      return line(
        'dispatched ',
        `attempt ${tries}  ${text(data['execution_id'])}  (${[text(data['route_policy']), ...routable].join(', ')})`,
      );
    }
    case 'running':
      return line(paint.cyan('running    '), text(data['worker_id']));
    case 'retry_scheduled': {
      const delayMs = number(data['delay_ms']);
      const when = delayMs === 0 ? 'now' : `in ${formatDuration(delayMs)}`;
      const why = [text(data['class']), text(data['code'])].filter(word => word !== '').join(' ');
      return line(
        paint.yellow('attempt failed'),
        `${why} ${printer.symbol('arrow')} retry ${when} (${tries})`,
      );
    }
    case 'deferred':
      return line(
        paint.yellow('deferred   '),
        `${text(data['code'])}, again in ${formatDuration(number(data['retry_after_ms'] ?? data['delay_ms']))}`,
      );
    case 'pickup_slow':
      return line(paint.yellow('not begun  '), 'nobody has picked it up yet');
    case 'waiting_for_input':
      return line(paint.yellow('asks       '), `it waits for an answer: by run input ${runId} TEXT`);
    case 'approval_requested':
      return line(
        paint.yellow('approval   '),
        `${text(data['summary'])}: by run approve ${text(data['approval_id'])} --once, --always or --deny`,
      );
    case 'approval_decided':
      return line(paint.cyan('decided    '), text(data['state']).replace('_', ' '));
    case 'answered':
      return line(paint.cyan('answered   '));
    case 'orphan_recovered':
      return line(paint.yellow('worker lost'));
    case 'cancel_requested':
      return line(paint.yellow('cancel     '), `requested (${text(data['mode'])})`);
    case 'interrupted':
      return line(paint.yellow('interrupted'), 'by a new message');
    case 'input_dispatched':
      return line(paint.cyan('next turn  '));
    default:
      return undefined;
  }
}

/** `#4 12:00:31.902  lifecycle  retry_scheduled   attempt 2/2, delay 0ms, class agent_error` */
export function eventRow({seq, ts, kind, type, data}: RunEvent): Text {
  const facts = Object.entries(data).flatMap(([name, value]) =>
    typeof value === 'string' || typeof value === 'number' ? [`${name} ${value}`] : [],
  );
  return [
    paint.dim(`#${seq} ${clockTime(ts)}`),
    `  ${kind.padEnd(9)}  ${type.padEnd(17)} `,
    paint.dim(shownFacts(type, data) ?? facts.join(', ')),
  ];
}

function shownFacts(type: string, data: RunEvent['data']): string | undefined {
  if (type !== 'retry_scheduled') return undefined;
  const tries = `${number(data['try_no'])}/${number(data['max_attempts'])}`;
  return `attempt ${tries}, delay ${formatDuration(number(data['delay_ms']))}, class ${text(data['class'])}`;
}

/** `12:00:02.118 agent   #41  Reading the issue …` */
export const logRow = ({seq, ts, stream, data}: TaskLogEntry): Text => [
  paint.dim(clockTime(ts)),
  ` ${stream.padEnd(7)} `,
  paint.dim(`#${seq}`),
  `  ${data}`,
];

/** `12:00:52 ok           51.2s  2 attempts` */
export function endLine(run: AgentRun): Text {
  const {status, endedAt = 0, startedAt, acceptedAt, attemptCount, error} = run;
  const ms = endedAt - (startedAt ?? acceptedAt);
  const why =
    error === undefined || status === 'ok'
      ? ''
      : `  ${error.code}${error.message === '' ? '' : `: ${error.message}`}`;
  return [
    paint.dim(shortTime(endedAt)),
    ' ',
    COLORS[status](status.padEnd(11)),
    `  ${seconds(ms)}  ${amount(attemptCount, 'attempt')}${why}`,
  ];
}

/** Tenths of a second up to a minute: how long a run took is compared. */
export const seconds = (ms: number): string =>
  ms >= 1000 && ms < 60_000 ? `${(ms / 1000).toFixed(1)}s` : formatDuration(ms);
