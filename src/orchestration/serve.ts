/** An orchestrator: roles that look again and again, any number of them beside each other. */
import {newHexUuid} from '../ids.js';
import {messageOf} from '../errors.js';
import {sleep} from '../clock.js';
import {forgetOrchestrator, noteOrchestrator} from '../store/orchestrators.js';
import type {Workspace} from '../store/orchestration.js';
import type {OrchestratorDeps} from './deps.js';
import {dispatchPass, repairPass} from './dispatch.js';
import {projectPass} from './project.js';
import {sweepPass} from './sweep.js';

/** One part of the work. It ends cleanly when the signal aborts, and never throws for what may pass. */
export interface OrchestratorRole {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
}

export const ROLE_NAMES = ['dispatcher', 'projector', 'scheduler', 'sweeper'] as const;
export type RoleName = (typeof ROLE_NAMES)[number];

export function dispatcherRole(deps: OrchestratorDeps): OrchestratorRole {
  return {
    name: 'dispatcher',
    async run(signal) {
      // A repair may wait for a worker, and must not hold up what is new.
      await Promise.all([
        every(deps, 'dispatcher', deps.times.dispatchEveryMs, signal, () => dispatchPass(deps, signal)),
        every(deps, 'dispatcher', deps.times.repairMs / 2, signal, () => repairPass(deps, signal)),
      ]);
    },
  };
}

export const projectorRole = (deps: OrchestratorDeps): OrchestratorRole => ({
  name: 'projector',
  run: signal => every(deps, 'projector', deps.times.projectEveryMs, signal, () => projectPass(deps)),
});

export const sweeperRole = (deps: OrchestratorDeps): OrchestratorRole => ({
  name: 'sweeper',
  run: signal => every(deps, 'sweeper', deps.times.sweepEveryMs, signal, () => sweepPass(deps)),
});

const MAX_PAUSE_MS = 5000;

/** Look again after a time, longer while looking fails. */
async function every(
  {log}: OrchestratorDeps,
  role: string,
  ms: number,
  signal: AbortSignal,
  look: () => Promise<unknown>,
): Promise<void> {
  const isOver = () => signal.aborted;
  for (let failures = 0; !isOver();) {
    try {
      await look();
      failures = 0;
    } catch (error) {
      failures++;
      if (!isOver()) log.warn(`the ${role} failed; it goes on`, {error: messageOf(error)});
    }
    await sleep(Math.min(ms * 2 ** failures, Math.max(ms, MAX_PAUSE_MS)), signal);
  }
}

const NODE_EVERY_MS = 10_000;

/** Run these roles until the signal aborts; resolves when what they were at is done. */
export async function serve(
  workspace: Workspace,
  roles: readonly OrchestratorRole[],
  deps: OrchestratorDeps,
  signal: AbortSignal,
): Promise<void> {
  const node = `orch-${newHexUuid().slice(0, 8)}|${roles.map(({name}) => name).join(',')}`;
  const alive = every(deps, 'sign of life', NODE_EVERY_MS, signal, () =>
    noteOrchestrator(workspace.store, node),
  );
  try {
    await Promise.all([alive, ...roles.map(role => role.run(signal))]);
  } finally {
    // A sign of life that is not taken back is over by itself in half a minute.
    await forgetOrchestrator(workspace.store, node).catch(() => undefined);
  }
}
