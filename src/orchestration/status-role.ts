/** The part of `by serve` that keeps the status of workers: time passes, foreign workers are looked at. */
import type {Logger} from '../log.js';
import {AgentStatusService, type AgentStatusOptions} from '../registry/agent-status-service.js';
import {enforceExhausted} from '../registry/enforce-exhausted.js';
import {takeStatusTurn} from '../store/agent-status.js';
import type {Store} from '../store/store.js';
import {nowAndThen} from './now-and-then.js';

export interface StatusSweeperOptions extends AgentStatusOptions {
  readonly log: Logger;
  /** Milliseconds between sweeps, more or less. Default 5,000. */
  readonly everyMs?: number;
  /** Suspend foreign workers while they are exhausted. Default false: they go on reading. */
  readonly enforceExhausted?: boolean;
  /**
   * Open the circuit of an agent type while every worker it has is exhausted and a foreign one is among them: routers of
   * every SDK send nothing to it, whatever the policy. Default false.
   */
  readonly openCircuit?: boolean;
}

/** Any number of them may run: each change is made once, and one of them at a time looks at foreign workers. */
export function statusSweeperRole(
  store: Store,
  {
    log,
    everyMs = 5000,
    enforceExhausted: suspends = false,
    openCircuit = false,
    ...options
  }: StatusSweeperOptions,
): {readonly name: string; run(signal: AbortSignal): Promise<void>} {
  const service = new AgentStatusService(store, options);
  const sweep = async () => {
    const observe = await takeStatusTurn(store, everyMs);
    const {offline, recovered, exhausted} = await service.sweep({observe});
    for (const workerId of offline) log.warn('a worker is offline', {worker_id: workerId});
    for (const workerId of recovered) log.info('a quota is there again', {worker_id: workerId});
    for (const workerId of exhausted)
      log.warn('a failed execution says that a quota is used up', {worker_id: workerId});
    if (observe) await enforce();
  };
  const ignoring = new Set<string>();
  const enforce = async () => {
    const done = await enforceExhausted(store, {suspends, opensCircuits: openCircuit});
    for (const workerId of done.suspended) log.warn('suspended until it recovers', {worker_id: workerId});
    for (const workerId of done.resumed) log.info('takes work again', {worker_id: workerId});
    for (const workerId of done.ignoring.filter(id => !ignoring.has(id))) {
      ignoring.add(workerId);
      log.warn('a suspended worker goes on: it does not obey', {worker_id: workerId});
    }
    for (const agentType of done.opened) log.warn('circuit opened', {agent_type: agentType});
    for (const agentType of done.closed) log.info('circuit closed', {agent_type: agentType});
  };
  return {
    name: 'status',
    run: signal =>
      nowAndThen(everyMs, signal, sweep, error => log.warn('sweeping the status of workers failed', {error})),
  };
}
