import {expect, test} from 'vitest';
import {alertsOf} from '../../src/observe/alerts.js';
import type {FleetSnapshot} from '../../src/observe/fleet-metrics.js';
import {latencyOf, summaryOf} from '../../src/observe/latency.js';
import type {WorkerMetrics} from '../../src/protocol/worker-metrics.js';

const NOTHING = summaryOf([]);
type Facts = Omit<FleetSnapshot, 'alerts'>;

const queue = (changes: Partial<Facts['queues'][number]> = {}): Facts['queues'][number] => ({
  ...{agentType: 'ocr', depth: 0, waiting: 0, pending: 0, consumers: 0, oldestPendingMs: null},
  ...{maxDeliveries: 0, onCall: 0, heldBack: 0, workersOnline: 1},
  ...changes,
});

const fleet = (queues: Facts['queues'], changes: Partial<Facts> = {}, deadLetters = 0): Facts => ({
  generatedAt: 0,
  totals: {
    ...{workersOnline: 1, agentTypes: 1, activeExecutions: 0, queuedExecutions: 0, queueDepth: 0},
    ...{deadLetters, maxDeliveries: 0, completed: 0, failed: 0, cancelled: 0},
  },
  recent: {ended: 0, failed: 0},
  latency: {queue: NOTHING, run: NOTHING, total: NOTHING},
  freshnessAgeMs: 0,
  queues,
  controlPlane: {wakeup: 0, deliveryPending: 0, deadletter: 0},
  ...changes,
});

const kinds = (facts: Facts) =>
  alertsOf(facts).map(({severity, kind, about}) => `${severity} ${kind} ${about}`);

test('a fleet that does its work has no alerts', () => {
  expect(
    kinds(fleet([queue({waiting: 1000, pending: 50, oldestPendingMs: 3_600_000, maxDeliveries: 2})])),
  ).toEqual([]);
  expect(kinds(fleet([queue({workersOnline: 0})], {recent: {ended: 19, failed: 19}}))).toEqual([]);
});

test.each([
  [queue({waiting: 1, workersOnline: 0}), 'critical no_workers ocr'],
  [queue({heldBack: 1, workersOnline: 0}), 'critical no_workers ocr'],
  [queue({waiting: 2001, workersOnline: 2}), 'warning backlog ocr'],
  [queue({oldestPendingMs: 3_600_001}), 'warning stalled ocr'],
  [queue({maxDeliveries: 3}), 'warning redelivered ocr'],
])('%j is %s', (one, alert) => {
  expect(kinds(fleet([one]))).toEqual([alert]);
});

test('failures and dead letters are of the whole fleet; the worst comes first', () => {
  expect(kinds(fleet([], {recent: {ended: 20, failed: 2}}))).toEqual(['warning failing ']);
  expect(kinds(fleet([queue({maxDeliveries: 9})], {recent: {ended: 20, failed: 10}}, 1))).toEqual([
    ...['critical failing ', 'warning dead_letters ', 'warning redelivered ocr'],
  ]);
});

test('times are those that were measured, over all workers that tell', () => {
  const told = (recent: WorkerMetrics['recent']): WorkerMetrics => ({
    ...{schema: 1, worker_id: 'w', at: 0, started: 0, ended: {completed: 0, failed: 0, cancelled: 0}, recent},
  });
  const many = Array.from({length: 19}, (_, i): WorkerMetrics['recent'][number] => [
    10,
    'c',
    1,
    i + 1,
    i + 2,
  ]);
  const {queue: waited, run} = latencyOf(
    [
      told(many),
      told([
        [10, 'f', null, 1000, null],
        [9, 'c', 1, 5000, 5000],
      ]),
    ],
    10,
  );
  expect(run).toEqual({count: 20, avgMs: 60, p50Ms: 10, p95Ms: 19, maxMs: 1000});
  expect(waited).toEqual({count: 19, avgMs: 1, p50Ms: 1, p95Ms: 1, maxMs: 1});
  expect(summaryOf([])).toEqual({count: 0, avgMs: 0, p50Ms: 0, p95Ms: 0, maxMs: 0});
});
