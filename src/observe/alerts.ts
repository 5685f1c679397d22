/** What in a snapshot of the fleet somebody should look at. A pure function: the same snapshot has the same alerts. */
import type {FleetSnapshot} from './fleet-metrics.js';

export const SEVERITIES = ['critical', 'warning'] as const;

export interface Alert {
  readonly severity: (typeof SEVERITIES)[number];
  readonly kind: 'no_workers' | 'backlog' | 'stalled' | 'redelivered' | 'failing' | 'dead_letters';
  /** The agent type, or '' for all of the fleet. */
  readonly about: string;
  readonly text: string;
}

/** Entries waiting for one worker that is online. */
const BACKLOG_EACH = 1000;
/** Since when the oldest entry was given to a worker: long work is no alert by itself, but hours of it are rare. */
const STALLED_MS = 3_600_000;
/** An entry that was given out so often has crashed or lost its workers. */
const REDELIVERED = 3;
/** Executions that must have ended lately before their share says anything. */
const ENOUGH_ENDS = 20;
const FAILING = {warning: 0.1, critical: 0.5} as const;

/** The worst first, then by agent type. */
export function alertsOf(snapshot: Omit<FleetSnapshot, 'alerts'>): Alert[] {
  return [...snapshot.queues.flatMap(ofQueue), ...ofFleet(snapshot)].sort(
    (a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || (a.about < b.about ? -1 : 1),
  );
}

function ofQueue(queue: FleetSnapshot['queues'][number]): Alert[] {
  const {agentType: about, workersOnline, oldestPendingMs, maxDeliveries} = queue;
  const waiting = (queue.waiting ?? 0) + queue.heldBack;
  const found: Alert[] = [];
  if (waiting > 0 && workersOnline === 0)
    found.push({
      severity: 'critical',
      kind: 'no_workers',
      about,
      text: `${waiting} wait, and no worker is online`,
    });
  if (workersOnline > 0 && waiting > BACKLOG_EACH * workersOnline)
    found.push({
      severity: 'warning',
      kind: 'backlog',
      about,
      text: `${waiting} wait for ${workersOnline} workers`,
    });
  if (oldestPendingMs !== null && oldestPendingMs > STALLED_MS)
    found.push({
      ...{severity: 'warning', kind: 'stalled', about},
      text: `one was given to a worker ${Math.round(oldestPendingMs / 60_000)} minutes ago and is not settled`,
    });
  if (maxDeliveries >= REDELIVERED)
    found.push({
      severity: 'warning',
      kind: 'redelivered',
      about,
      text: `one was given to workers ${maxDeliveries} times`,
    });
  return found;
}

function ofFleet({totals, recent}: Omit<FleetSnapshot, 'alerts'>): Alert[] {
  const found: Alert[] = [];
  const share = recent.ended === 0 ? 0 : recent.failed / recent.ended;
  if (recent.ended >= ENOUGH_ENDS && share >= FAILING.warning)
    found.push({
      severity: share >= FAILING.critical ? 'critical' : 'warning',
      ...{kind: 'failing', about: '', text: `${recent.failed} of the last ${recent.ended} executions failed`},
    });
  if (totals.deadLetters > 0)
    found.push({
      ...{severity: 'warning', kind: 'dead_letters', about: ''},
      text: `${totals.deadLetters} ${totals.deadLetters === 1 ? 'dead letter waits' : 'dead letters wait'} for somebody`,
    });
  return found;
}
