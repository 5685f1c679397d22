/** What plugins register: asked for within a time, and checked. */
import {ByError} from '../errors.js';
import {loadConfig} from './agent-config.js';
import type {Registered} from './configuration.js';
import {inTime, type LoadedPlugin} from './load-plugins.js';
import type {Plugin, PluginWorker} from './plugin.js';

/** Ask a plugin for its agent configs. @throws {ByError} PLUGIN_LOAD_FAILED, naming the plugin and what is wrong. */
export async function registeredBy(plugin: Plugin, worker: PluginWorker): Promise<Registered> {
  const {name} = plugin.manifest;
  const owner = `Plugin "${name}"`;
  const late = new AbortController();
  let configs: unknown;
  try {
    await inTime(
      `${owner} can not register its agent configs`,
      (async () => {
        configs = await plugin.registerAgentConfigs?.({...worker, signal: late.signal});
      })(),
    );
  } finally {
    late.abort();
  }
  const list = configs ?? [];
  if (!Array.isArray(list)) {
    throw new ByError('PLUGIN_LOAD_FAILED', `${owner}: registerAgentConfigs returned no list.`, {
      hint: 'Return an array of agent configs.',
    });
  }
  return {plugin: name, configs: (list as never[]).map(config => loadConfig(config, owner))};
}

/** @throws {ByError} PLUGIN_LOAD_FAILED if one of the plugins has its name. */
export function assertNew({plugin, source}: LoadedPlugin, plugins: readonly LoadedPlugin[]): void {
  const {name} = plugin.manifest;
  const other = plugins.find(one => one.plugin.manifest.name === name);
  if (other === undefined) return;
  const places = [other.source, source].map(place => (place === '' ? 'code' : place)).join(' and ');
  throw new ByError('PLUGIN_LOAD_FAILED', `Two plugins are called "${name}": from ${places}.`, {
    hint: 'Give one of them another name in its manifest, or leave it out.',
  });
}
