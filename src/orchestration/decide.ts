/** Look, decide, write; and again where somebody else was faster. */
import {setTimeout as wait} from 'node:timers/promises';
import {ByError} from '../errors.js';
import {commit, lookAt, type Ground, type Work, type Workspace} from '../store/orchestration.js';
import type {Decision} from './decision.js';
import {toChange} from './to-change.js';

/** Everything that changes a task makes a decision be made anew; more than this in a row is no accident. */
const MAX_TRIES = 50;

/**
 * Change a task.
 * @param decide gets what is there now; undefined leaves it as it is.
 * @returns what was decided on, and what was decided; undefined where there is no such task, run or attempt.
 * @throws {ByError} STATE_CONFLICT if it never stood still.
 */
export async function decideOn<D extends {readonly decision?: Decision}>(
  workspace: Workspace,
  kind: 'task' | 'run' | 'att',
  id: string,
  decide: (work: Work) => D | undefined,
): Promise<{readonly work: Work; readonly done: D | undefined} | undefined> {
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    const work = await lookAt(workspace, kind, id);
    if (work === undefined) return undefined;
    const done = decide(work);
    if (done?.decision === undefined || (await carryOut(workspace, work, done.decision))) return {work, done};
    await wait(Math.random() * 2 * attempt);
  }
  throw new ByError('STATE_CONFLICT', `What was to be changed changes too fast (${id}).`, {
    hint: 'Look at it, and try again.',
  });
}

/** @returns false if something it rests on has changed. */
export const carryOut = (
  workspace: Workspace,
  ground: Ground & Partial<Work>,
  decision: Decision,
): Promise<boolean> => commit(workspace, toChange(workspace, ground, decision));
