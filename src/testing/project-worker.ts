/** A worker as its project's by.config describes it, for a test. */
import {resolve} from 'node:path';
import {loadProject, pluginsOf, workerOfEntry} from '../config/project.js';
import {loadAgents} from '../worker/load-agents.js';
import type {TestStackOptions} from './test-stack.js';

/**
 * What `createTestStack` needs to run the worker of a file: its agents, and its plugins with their settings.
 *
 * @param entry relative to the current folder, which lies in the project.
 * @throws {ByError} WORKER_LOAD_FAILED, INVALID_CONFIG
 */
export async function projectWorker(
  entry: string,
): Promise<Pick<TestStackOptions, 'agents' | 'plugins' | 'pluginSettings'>> {
  const project = await loadProject(process.cwd());
  const agents = await loadAgents(entry);
  if (project === undefined) return {agents};
  const plugins = pluginsOf(project, workerOfEntry(project, resolve(entry)));
  const {pluginSettings} = project.config;
  return {
    agents,
    // What they are is looked at when they are loaded.
    plugins: plugins as NonNullable<TestStackOptions['plugins']>,
    ...(pluginSettings === undefined ? {} : {pluginSettings}),
  };
}
