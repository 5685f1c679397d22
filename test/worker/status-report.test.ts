/** A worker that learns of a used-up quota while Redis can not be told. */
import {afterEach, expect, test, vi} from 'vitest';
import {loggerTo} from '../../src/log.js';
import {openStore, type Store} from '../../src/store/store.js';
import {StatusReport} from '../../src/worker/status-report.js';
import {until} from '../support/stores.js';

let store: Store | undefined;
afterEach(() => store?.close());

function unreachable() {
  // Nobody listens there.
  store = openStore({url: 'redis://127.0.0.1:1'});
  const changes: boolean[] = [];
  const warnings: string[] = [];
  const report = new StatusReport(store, {
    ...{workerId: 'w-1', agentTypes: ['a'], slotsMax: 1, slotsUsed: () => 0, reserveOnCall: false},
    log: loggerTo((_level, message) => void warnings.push(message), 'warn'),
    onChange: isExhausted => void changes.push(isExhausted),
  });
  return {report, changes, warnings};
}

test('it stops reading all the same, and goes on when the time has come', async () => {
  const {report, changes} = unreachable();
  await report.exhaust({reason: 'rate_limit', recoveryAt: Date.now() + 6000});
  expect(report.isExhausted).toBe(true);
  expect(changes).toEqual([true]);
  await until(() => changes.length === 2);
  expect(changes).toEqual([true, false]);
  expect(report.isExhausted).toBe(false);
  report.close();
});

test('it goes on also if its timer was early', async () => {
  const {report, changes} = unreachable();
  await report.exhaust({reason: 'rate_limit', recoveryAt: Date.now() + 300});
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now());
  const beats = vi.spyOn(report, 'beat');
  await until(() => beats.mock.results.length > 0);
  await beats.mock.results[0]?.value;
  expect(changes).toEqual([true]);
  clock.mockRestore();
  await until(() => changes.length === 2);
  report.close();
});

test('a part that is used up stops nothing', async () => {
  const {report, changes} = unreachable();
  await report.exhaust({reason: 'billing', scope: 'openai/gpt-6'});
  expect([report.isExhausted, changes]).toEqual([false, []]);
  report.close();
});

test('it is said once that the status can not be told, not with every heartbeat', async () => {
  const {report, warnings} = unreachable();
  await report.beat();
  await report.beat();
  expect(warnings).toEqual(['telling the status failed']);
  report.close();
});
