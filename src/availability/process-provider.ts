/** A provider that starts a command and waits until its worker is online. */
import {sleep} from '../clock.js';
import type {ProcessPool, StartCommand} from './process-pool.js';
import type {Provider, ProviderDecision} from './provider.js';

export interface ProcessProviderOptions {
  /** Runs the processes; closed with the provider. */
  readonly pool: ProcessPool;
  /** The command for an agent type; undefined if this provider does not know it. */
  readonly commandFor: (agentType: string) => StartCommand | undefined;
}

const POLL_MS = 50;

export function processProvider(options: ProcessProviderOptions): Provider {
  const {pool} = options;
  return {
    name: 'process',
    async wakeup({targetAgentType}, {signal, isOnline, onlineWorkers}): Promise<ProviderDecision> {
      const command = options.commandFor(targetAgentType);
      if (command === undefined) {
        return {status: 'REJECTED', reason: `no command is configured that starts "${targetAgentType}"`};
      }
      const started = pool.ensure(command);
      while (!signal.aborted) {
        if (await isOnline()) return {status: 'READY', workerIds: (await onlineWorkers?.()) ?? []};
        if (started.failure !== undefined) {
          return {
            status: 'FAILED',
            reason: [started.failure, ...started.lastLines].join(' | ').slice(0, 1000),
          };
        }
        await sleep(POLL_MS, signal);
      }
      return {status: 'FAILED', reason: 'the worker was started, but did not come online in time'};
    },
    close: () => pool.close(),
  };
}
