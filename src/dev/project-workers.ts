/** The workers of a project as commands that can be started. */
import {basename, extname, resolve} from 'node:path';
import type {StartCommand} from '../availability/process-pool.js';
import {packageInfo} from '../config/package-info.js';
import type {Project} from '../config/project.js';

export interface ProjectWorker {
  /** Shown in front of its lines. */
  readonly name: string;
  readonly entry: string;
  /** What it serves, as far as it is known without loading it. */
  readonly agentTypes: readonly string[];
  readonly command: StartCommand;
  /** Loads the code and starts nothing: whether a changed file would work. */
  readonly check: StartCommand;
}

export interface WorkerPlace {
  /** Address of the store; may hold a password, so it goes through the environment. */
  readonly redisUrl: string;
  readonly keySchema: string;
  readonly drainMs: number;
}

/** Workers of the config, or of the files named in their place. */
export function projectWorkers(
  project: Project | undefined,
  entries: readonly string[],
  cwd: string,
  place: WorkerPlace,
): ProjectWorker[] {
  const planned =
    entries.length > 0
      ? entries.map(entry => ({
          entry: resolve(cwd, entry),
          agentTypes: [] as readonly string[],
          workerId: undefined,
        }))
      : (project?.config.workers ?? []).map(worker => ({
          ...worker,
          entry: resolve(project?.dir ?? cwd, worker.entry),
        }));
  const dir = project?.dir ?? cwd;
  const {bin} = packageInfo();
  const env = {...process.env, BY_REDIS_URL: place.redisUrl, REDIS_KEY_SCHEMA_VERSION: place.keySchema};
  return planned.map((worker, index) => {
    const name = planned.length === 1 ? 'worker' : `worker-${index + 1}`;
    const workerId = worker.workerId ?? `worker-${workerName(worker.agentTypes, worker.entry)}-${index + 1}`;
    const run = [bin, 'worker', 'run', worker.entry];
    // People read what it says, behind its name.
    const options = ['--worker-id', workerId, '--drain', `${place.drainMs}ms`, '--log-format', 'pretty'];
    const base = {name, file: process.execPath, cwd: dir, env};
    return {
      name,
      entry: worker.entry,
      agentTypes: worker.agentTypes,
      command: {...base, args: [...run, ...options]},
      check: {...base, name: `${name} check`, args: [...run, '--check']},
    };
  });
}

/** A stable id: after a reload the same worker takes up what the last one left. */
function workerName(agentTypes: readonly string[], entry: string): string {
  const name = agentTypes[0] ?? basename(entry, extname(entry));
  return name.replaceAll(/[^A-Za-z0-9._-]/g, '-').slice(0, 60) || 'worker';
}
