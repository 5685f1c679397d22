/** The part of `by serve` that keeps the status of workers: time passes, foreign workers are looked at. */
import {sleep} from '../clock.js';
import {messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import {AgentStatusService, type AgentStatusOptions} from '../registry/agent-status-service.js';
import {takeStatusTurn} from '../store/agent-status.js';
import type {Store} from '../store/store.js';

export interface StatusSweeperOptions extends AgentStatusOptions {
  readonly log: Logger;
  /** Milliseconds between sweeps, more or less. Default 5,000. */
  readonly everyMs?: number;
}

/** Any number of them may run: each change is made once, and one of them at a time looks at foreign workers. */
export function statusSweeperRole(
  store: Store,
  {log, everyMs = 5000, ...options}: StatusSweeperOptions,
): {readonly name: string; run(signal: AbortSignal): Promise<void>} {
  const service = new AgentStatusService(store, options);
  const sweep = async () => {
    const observe = await takeStatusTurn(store, everyMs);
    const {offline, recovered, exhausted} = await service.sweep({observe});
    for (const workerId of offline) log.warn('a worker is offline', {worker_id: workerId});
    for (const workerId of recovered) log.info('a quota is there again', {worker_id: workerId});
    for (const workerId of exhausted)
      log.warn('a failed execution says that a quota is used up', {worker_id: workerId});
  };
  return {
    name: 'status',
    async run(signal) {
      while (!signal.aborted) {
        try {
          await sweep();
        } catch (error) {
          log.warn('sweeping the status of workers failed', {error: messageOf(error)});
        }
        // Spread out, so that replicas that started together do not ask together.
        await sleep(everyMs * (0.8 + 0.4 * Math.random()), signal);
      }
    },
  };
}
