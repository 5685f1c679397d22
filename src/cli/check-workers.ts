/** `by worker run --check`: agents and plugins as the workers would have them, and nothing started. */
import {relative} from 'node:path';
import {ByError} from '../errors.js';
import {silentLogger} from '../log.js';
import type {PluginFinding} from '../plugins/check-plugin.js';
import type {PluginSource} from '../plugins/load-plugins.js';
import {tryPlugins} from '../plugins/try-plugins.js';
import {redact} from '../redact.js';
import {toHandler, type Agent} from '../worker/agent.js';
import {showFindings} from './findings.js';
import type {Printer} from './printer.js';

export interface LoadedWorker {
  readonly entry: string;
  readonly agents: readonly Agent[];
  readonly plugins: readonly PluginSource[];
}

export interface CheckedWorker {
  readonly entry: string;
  readonly agentTypes: readonly string[];
  readonly plugins: readonly {readonly name: string; readonly version: string; readonly source: string}[];
  readonly findings: readonly PluginFinding[];
}

/** @throws {ByError} FINDINGS; PLUGIN_LOAD_FAILED, DENIED: as the worker would. */
export async function checkWorkers(
  printer: Printer,
  workers: readonly LoadedWorker[],
  settings: Readonly<Record<string, unknown>>,
): Promise<CheckedWorker[]> {
  const checked: CheckedWorker[] = [];
  for (const worker of workers) {
    const one = await checkWorker(worker, settings);
    showFindings(printer, one.findings);
    checked.push(one);
  }
  const problems = checked.flatMap(({findings}) => findings.filter(({level}) => level === 'problem'));
  if (problems.length === 0) return checked;
  throw new ByError(
    'FINDINGS',
    `${problems.length} of what the workers load would keep them from starting.`,
    {
      hint: 'The line below each says what to do.',
      details: {checked},
    },
  );
}

async function checkWorker(
  {entry, agents, plugins}: LoadedWorker,
  settings: Readonly<Record<string, unknown>>,
): Promise<CheckedWorker> {
  const agentTypes = [...new Set(agents.flatMap(agent => toHandler(agent).agentTypes))];
  const file = relative(process.cwd(), entry) || entry;
  const serves: PluginFinding = {level: 'ok', about: file, text: `serves ${agentTypes.join(', ')}`};
  // One after the other: a plugin that two workers share may be asked by only one at a time.
  const tried = await tryPlugins(plugins, {
    workerId: 'worker-check',
    agentTypes,
    settings,
    log: silentLogger,
  });
  const about = tried.findings.map(finding => ({...finding, text: redact(finding.text)}));
  return {
    ...{entry: file, agentTypes, findings: [serves, ...about]},
    plugins: tried.plugins.map(({name, version, source}) => ({name, version, source})),
  };
}
