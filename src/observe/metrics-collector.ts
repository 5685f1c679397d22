/** Writes the fleet's history, while this worker holds the collector's lock: spec §9.5. */
import {sleep} from '../clock.js';
import {messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import {dropCollectorLock, holdCollectorLock, writeHistoryPoint} from '../store/metrics-history.js';
import type {Store} from '../store/store.js';
import {fleetSnapshot, historyPointOf} from './fleet-metrics.js';

/** Until the signal aborts. What fails is tried again with the next point. */
export async function collectHistory(
  store: Store,
  {workerId, intervalMs, log}: {readonly workerId: string; readonly intervalMs: number; readonly log: Logger},
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      if (await holdCollectorLock(store, workerId, Math.ceil(intervalMs / 1000)))
        await writeHistoryPoint(store, historyPointOf(await fleetSnapshot(store)));
    } catch (error) {
      log.debug('a point of the history was not written', {error: messageOf(error)});
    }
    await sleep(intervalMs, signal);
  }
  await dropCollectorLock(store, workerId).catch(() => undefined);
}
