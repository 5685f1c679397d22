/** What plugins would bring a worker, and what is wrong with them, without a worker. */
import {ByError} from '../errors.js';
import type {CheckedPlugins, PluginFinding} from './check-plugin.js';
import {mergeConfigs, type Registered} from './configuration.js';
import {loadSource, type LoadedPlugin, type PluginSource} from './load-plugins.js';
import {HOOK_NAMES, type PluginWorker} from './plugin.js';
import {promptVariables} from './prompt.js';
import {assertNew, registeredBy} from './register.js';

/**
 * What a worker would have of these plugins; hooks are not called.
 * @throws {ByError} PLUGIN_LOAD_FAILED, DENIED where one can not even be loaded.
 */
export async function tryPlugins(
  sources: readonly PluginSource[],
  worker: PluginWorker,
): Promise<CheckedPlugins> {
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
  for (const path of sources) {
    for (const one of await loadSource(path, worker)) {
      await attempt(one.plugin.manifest.name, () => assertNew(one, plugins));
      plugins.push(one);
    }
  }
  for (const {plugin, source} of plugins) {
    const {name, version} = plugin.manifest;
    const hooks = HOOK_NAMES.filter(hook => plugin[hook] !== undefined);
    const told = hooks.length === 0 ? 'no hooks' : hooks.join(', ');
    findings.push({level: 'ok', about: name, text: `version ${version} from ${source || 'code'}: ${told}`});
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
