/** An orchestrator: roles that look again and again, any number of them beside each other. */
import {newHexUuid} from '../ids.js';
import {messageOf} from '../errors.js';
import {forgetOrchestrator, noteOrchestrator} from '../store/orchestrators.js';
import type {Workspace} from '../store/orchestration.js';
import {Bell} from './bell.js';
import type {OrchestratorDeps} from './deps.js';
import {counting, dispatchPass, repairPass} from './dispatch.js';
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
      const routable = counting(deps);
      const dispatch = async () => {
        const claims = await dispatchPass(deps, signal, routable);
        if (claims > 0) deps.bells.projector.ring();
        return claims;
      };
      // A repair may wait for a worker, and must not hold up what is new.
      await Promise.all([
        every(deps, 'dispatcher', deps.times.dispatchEveryMs, signal, dispatch, deps.bells.dispatcher),
        every(deps, 'dispatcher', deps.times.repairMs / 2, signal, () => repairPass(deps, signal)),
      ]);
    },
  };
}

export const projectorRole = (deps: OrchestratorDeps): OrchestratorRole => ({
  name: 'projector',
  run: signal => {
    const project = async () => {
      const changes = await projectPass(deps);
      // What has ended leaves room, and what waits for its run may go.
      if (changes > 0) deps.bells.dispatcher.ring();
      return changes;
    };
    return every(deps, 'projector', deps.times.projectEveryMs, signal, project, deps.bells.projector);
  },
});

export const sweeperRole = (deps: OrchestratorDeps): OrchestratorRole => ({
  name: 'sweeper',
  run: signal => every(deps, 'sweeper', deps.times.sweepEveryMs, signal, () => sweepPass(deps)),
});

const MAX_PAUSE_MS = 5000;
/** Where something was found, more is to be expected. */
const SOON_MS = 10;

/**
 * Look again after a time: longer while looking fails, and soon after a look that found something, then less and less often.
 * A look that takes long, because much is under way, is followed by a pause as long as itself, up to `ms`.
 * @param look returns how much it found, where that may mean more; nothing for a look that keeps its time.
 */
async function every(
  {log}: OrchestratorDeps,
  role: string,
  ms: number,
  signal: AbortSignal,
  look: () => Promise<unknown>,
  bell = new Bell(),
): Promise<void> {
  const isOver = () => signal.aborted;
  for (let failures = 0, pause = ms; !isOver();) {
    const begunAt = performance.now();
    let wait: number;
    try {
      const found = await look();
      pause = typeof found === 'number' && found > 0 ? SOON_MS : Math.min(ms, 2 * pause);
      failures = 0;
      wait = Math.max(pause, Math.min(ms, performance.now() - begunAt));
    } catch (error) {
      failures++;
      if (!isOver()) log.warn(`the ${role} failed; it goes on`, {error: messageOf(error)});
      wait = Math.min(ms * 2 ** failures, Math.max(ms, MAX_PAUSE_MS));
    }
    if (await bell.wait(wait, signal)) pause = SOON_MS;
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
