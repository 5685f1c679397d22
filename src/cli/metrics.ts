/** `by metrics snapshot|history|serve`. */
import {aborted} from '../clock.js';
import {fleetSnapshot, fleetText} from '../observe/fleet-metrics.js';
import type {FleetLatency} from '../observe/latency.js';
import {
  healthPages,
  healthWarning,
  parseHealthAddress,
  startHealthServer,
  type HealthAnswer,
} from '../observe/health-server.js';
import {HISTORY_WINDOW_MS, type HistoryPoint} from '../protocol/metrics.js';
import {readHistory} from '../store/metrics-history.js';
import {serverNowMs, checkServer, serverTimeMs, type Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {paint, type Printer} from './printer.js';
import {clockTime} from './time.js';

export async function snapshotForPeople(store: Store, printer: Printer, output: string) {
  const snapshot = await fleetSnapshot(store);
  if (output === 'prometheus') {
    printer.block(fleetText(snapshot, store.keys));
    return snapshot;
  }
  const {totals, controlPlane, queues, latency, alerts} = snapshot;
  showFacts(printer, [
    ['workers online', String(totals.workersOnline)],
    ['agent types', String(totals.agentTypes)],
    ['under way', String(totals.activeExecutions)],
    ['waiting', String(totals.queuedExecutions)],
    ['dead letters', String(totals.deadLetters)],
    ['ended', `${totals.completed} completed, ${totals.failed} failed, ${totals.cancelled} cancelled`],
    ['took (p95)', latencyText(latency)],
    ['wakeups', String(controlPlane.wakeup)],
  ]);
  if (queues.length > 0) printer.out();
  printer.table(queues, [
    {header: 'AGENT TYPE', value: ({agentType}) => agentType},
    {header: 'WORKERS', value: ({workersOnline}) => String(workersOnline), align: 'right'},
    {header: 'WAITING', value: ({waiting}) => (waiting === null ? '-' : String(waiting)), align: 'right'},
    {header: 'UNDER WAY', value: ({pending}) => String(pending), align: 'right'},
    {
      header: 'OLDEST',
      value: ({oldestPendingMs: ms}) => (ms === null ? '-' : formatDuration(Math.round(ms))),
      align: 'right',
    },
    {header: 'HELD BACK', value: ({heldBack}) => String(heldBack), align: 'right'},
  ]);
  if (alerts.length > 0) printer.out();
  for (const {severity, about, text} of alerts) {
    const paintIt = severity === 'critical' ? paint.red : paint.yellow;
    printer.out(paintIt(printer.symbol('warning')), ' ', about === '' ? '' : `${about}: `, text);
  }
  return snapshot;
}

const latencyText = ({queue, run, total}: FleetLatency): string =>
  total.count === 0
    ? 'nothing has ended lately'
    : [
        `${formatDuration(total.p95Ms)} in all`,
        `${formatDuration(queue.p95Ms)} waiting`,
        `${formatDuration(run.p95Ms)} running`,
      ].join(', ');

/** @param sinceMs how far back, in milliseconds. @param limit most points to show. */
export async function historyForPeople(store: Store, printer: Printer, sinceMs: number, limit: number) {
  if (sinceMs > HISTORY_WINDOW_MS) printer.warn('Two hours are kept: there is nothing before.');
  const now = await serverNowMs(store);
  const all = await readHistory(store, now - sinceMs);
  const points = all.slice(-limit);
  const number = (header: string, of: (point: HistoryPoint) => number) => ({
    header,
    value: (point: HistoryPoint) => String(of(point)),
    align: 'right' as const,
  });
  printer.table(points, [
    {header: 'AT', value: ({generatedAt}) => clockTime(generatedAt)},
    number('WORKERS', ({workersOnline}) => workersOnline),
    number('UNDER WAY', ({activeExecutions}) => activeExecutions),
    number('WAITING', ({queuedExecutions}) => queuedExecutions),
    number('IN STREAMS', ({queueDepthTotal}) => queueDepthTotal),
    number('FAILED', ({failedExecutions}) => failedExecutions),
    number('P95 MS', ({totalLatencyP95Ms}) => totalLatencyP95Ms),
    number('DEAD LETTERS', ({deadletterCount}) => deadletterCount),
    number('ALERTS', ({alertCount}) => alertCount),
  ]);
  if (points.length === 0)
    printer.note('No history is kept here. A worker with --metrics-history writes it.');
  if (points.length < all.length)
    printer.note(paint.dim(`the newest ${points.length} of ${all.length}; more with --limit`));
  return {points};
}

/**
 * Answer Prometheus until the signal aborts.
 * @throws {ByError} INVALID_INPUT, CONFLICT for an address that is taken, and what connecting throws.
 */
export async function serveForPeople(
  store: Store,
  printer: Printer,
  listen: string,
  signal: AbortSignal,
): Promise<{served: number}> {
  const wanted = parseHealthAddress(listen);
  await checkServer(store);
  let served = 0;
  const answer = (ok: boolean, reason: string): HealthAnswer => ({ok, reason, facts: {served}});
  const server = await startHealthServer(wanted, {
    alive: () => answer(true, 'alive'),
    async ready() {
      await serverTimeMs(store);
      return answer(true, 'serving');
    },
    async metrics() {
      const text = fleetText(await fleetSnapshot(store), store.keys);
      served++;
      return text;
    },
  });
  try {
    printer.out(paint.green(printer.symbol('dot')), ' ', healthPages(server));
    const warning = healthWarning(server);
    if (warning !== undefined) printer.warn(warning);
    await aborted(signal);
    return {served};
  } finally {
    await server.close();
  }
}
