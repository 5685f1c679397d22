/**
 * Work on runs: whether another attempt has taken the place of ours, and a sign that ours is at work. A command that came without
 * a run is none of this.
 */
import {messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import {runMetaOf, type RunMeta} from '../protocol/orchestration/run-meta.js';
import {openWorkspace} from '../store/orchestration.js';
import {renewSessionLease} from '../store/session-leases.js';
import type {Store} from '../store/store.js';
import type {RunningTask} from './running.js';

export interface RunFencesOptions {
  readonly workerId: string;
  readonly log: Logger;
  /** Milliseconds that a sign of life holds; {@link RunFences.beat} is called a few times in that. */
  readonly ttlMs: number;
}

const STALE = 'FENCE_STALE';

/** Whether a task was told to stop because another attempt has its session. */
export const isStaleFence = (reason: string): boolean => reason.startsWith(STALE);

export class RunFences {
  private readonly held = new Map<RunningTask, RunMeta>();

  constructor(
    private readonly store: Store,
    private readonly options: RunFencesOptions,
  ) {}

  /**
   * Before agent code runs.
   * @param metadata of the command that began the execution.
   * @returns false if it must not: another attempt has its session, and the task is told to stop.
   */
  async mayRun(task: RunningTask, metadata: Readonly<Record<string, unknown>>): Promise<boolean> {
    const meta = runMetaOf(metadata);
    if (meta === undefined) return true;
    this.held.set(task, meta);
    await this.renew(task, meta);
    return task.cancelReason === undefined;
  }

  ended(task: RunningTask): void {
    this.held.delete(task);
  }

  /** Look after every run worked on here. Never rejects: who can not be asked has taken nothing from us, as far as we know. */
  async beat(): Promise<void> {
    await Promise.all([...this.held].map(([task, meta]) => this.renew(task, meta)));
  }

  private async renew(task: RunningTask, {workspace, attemptId, fence}: RunMeta): Promise<void> {
    const {workerId, ttlMs, log} = this.options;
    const {sessionId, executionId} = task.turn;
    try {
      const holder = {sessionId, attemptId, fence, workerId, executionId};
      const state = await renewSessionLease(openWorkspace(this.store, workspace), holder, ttlMs);
      if (state.kind !== 'superseded' || !this.held.delete(task)) return;
      log.warn('another attempt has the session: this one ends', {
        ...{session_id: sessionId, execution_id: executionId, fence, higher: state.fence},
      });
      task.cancel(`${STALE}: the session was given to an attempt with fence ${state.fence}`, false);
    } catch (error) {
      log.warn('the lease of a session was not renewed', {
        ...{session_id: sessionId, execution_id: executionId, error: messageOf(error)},
      });
    }
  }
}
