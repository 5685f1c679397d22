/** A process that loads plugins to see whether they can be, and ends: what they do to it harms nobody. */
import {ByError, messageOf} from '../errors.js';
import {silentLogger} from '../log.js';
import type {CheckedPlugins, CheckJob, FromCheck, PluginFinding} from './check-plugin.js';
import {mergeConfigs, type Registered} from './configuration.js';
import {loadSource, type LoadedPlugin} from './load-plugins.js';
import {HOOK_NAMES} from './plugin.js';
import {promptVariables} from './prompt.js';
import {assertNew, registeredBy} from './register.js';

process.title = 'by plugin check';
process.on('disconnect', () => process.exit(1));
process.on('message', (job: CheckJob) => {
  check(job).then(
    checked => tell({kind: 'checked', checked}),
    (error: unknown) => tell({kind: 'failed', ...failureOf(error)}),
  );
});

/** A plugin may keep the process from ending: it is ended. */
function tell(message: FromCheck): void {
  process.send?.(message, undefined, undefined, () => process.exit(0));
}

function failureOf(error: unknown): Omit<Extract<FromCheck, {kind: 'failed'}>, 'kind'> {
  if (!(error instanceof ByError))
    return {code: 'INTERNAL', message: messageOf(error), hint: '', details: {}};
  const {code, message, hint, details} = error;
  return {code, message, hint, details};
}

async function check({path, agentTypes, settings}: CheckJob): Promise<CheckedPlugins> {
  const worker = {workerId: 'worker-check', agentTypes, settings, log: silentLogger};
  const plugins: LoadedPlugin[] = [];
  const registered: Registered[] = [];
  const findings: PluginFinding[] = [];
  const attempt = async (about: string, act: () => Promise<void> | void) => {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof ByError)) throw error;
      findings.push({level: 'problem', about, text: error.message, fix: error.hint});
    }
  };
  for (const one of await loadSource(path, worker)) {
    await attempt(one.plugin.manifest.name, () => assertNew(one, plugins));
    plugins.push(one);
  }
  for (const {plugin, source} of plugins) {
    const {name, version} = plugin.manifest;
    const hooks = HOOK_NAMES.filter(hook => plugin[hook] !== undefined);
    const told = hooks.length === 0 ? 'no hooks' : hooks.join(', ');
    findings.push({level: 'ok', about: name, text: `version ${version} from ${source}: ${told}`});
    if (hooks.length === 0 && plugin.registerAgentConfigs === undefined) {
      findings.push({
        ...{level: 'warning', about: name, text: 'it brings nothing and looks at nothing'},
        fix: 'Give it hooks or registerAgentConfigs.',
      });
    }
    await attempt(name, async () => {
      const own = await registeredBy(plugin, worker);
      registered.push(own);
      findings.push(...own.configs.flatMap(config => aboutConfig(name, config)));
    });
  }
  await attempt('all of them', () => void mergeConfigs(registered));
  return {
    plugins: plugins.map(({plugin: {manifest}, source}) => ({
      ...{name: manifest.name, version: manifest.version, description: manifest.description ?? '', source},
    })),
    agentIds: [...new Set(registered.flatMap(({configs}) => configs.map(({agentId}) => agentId)))],
    findings,
  };
}

function aboutConfig(plugin: string, config: Registered['configs'][number]): PluginFinding[] {
  const {agentId, prompts, tools} = config;
  const described = Object.entries(prompts).map(([name, prompt]) => {
    const variables = promptVariables(prompt);
    return variables.length === 0 ? name : `${name} (${variables.join(', ')})`;
  });
  const parts = [
    described.length === 0 ? 'no prompts' : `prompts ${described.join(', ')}`,
    Object.keys(tools).length === 0 ? 'no tools' : `tools ${Object.keys(tools).join(', ')}`,
  ];
  const unused = Object.entries(prompts).flatMap(([name, prompt]) => {
    const variables = promptVariables(prompt);
    const defaults = typeof prompt === 'string' ? {} : (prompt.defaults ?? {});
    return Object.keys(defaults)
      .filter(variable => !variables.includes(variable))
      .map((variable): PluginFinding => ({
        ...{level: 'warning', about: plugin, fix: `Write {{${variable}}} where it belongs, or leave it out.`},
        text: `the prompt "${name}" of "${agentId}" has a default for "${variable}", which is not in it`,
      }));
  });
  return [{level: 'ok', about: plugin, text: `config of "${agentId}": ${parts.join('; ')}`}, ...unused];
}
