/** Where plugins come from: a list, a function that makes them, a file, or a folder. */
import {existsSync} from 'node:fs';
import {readdir, stat} from 'node:fs/promises';
import {isAbsolute, join} from 'node:path';
import {importFresh} from '../config/import-fresh.js';
import {importModule} from '../config/import-module.js';
import {within} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {looksLikePlugin, PLUGIN_HINT, pluginProblem, type Plugin, type PluginWorker} from './plugin.js';
import {checkPluginFile, checkPluginFolder} from './plugin-folder.js';

/** Makes plugins for one worker; asked again at each reload. */
export type PluginConfigurator = (
  worker: PluginWorker,
) => Plugin | readonly Plugin[] | Promise<Plugin | readonly Plugin[]>;

/** A plugin, a function that makes some, or the full path of a file or folder that has them. */
export type PluginSource = Plugin | PluginConfigurator | string;

export interface LoadedPlugin {
  readonly plugin: Plugin;
  /** Where it came from: a path, or '' if the program gave it. */
  readonly source: string;
}

/** Files of a folder that can be plugins. */
const CODE = /\.(?:js|mjs|cjs|ts|mts|cts)$/;
const NO_PLUGIN = /^[._]|\.d\.[cm]?ts$|\.(?:test|spec)\.[cm]?[jt]s$/;
const INDEX = ['index.ts', 'index.mts', 'index.js', 'index.mjs', 'index.cjs', 'index.cts'];
/** How long a file, a configurator or a plugin may take to be loaded and to say what it brings. */
export const LOAD_TIMEOUT_MS = 30_000;

/**
 * The plugins of one source, in the order of registration.
 * @param fresh load files again that were loaded before.
 * @throws {ByError} PLUGIN_LOAD_FAILED, naming the file and what is wrong with it; DENIED by the rules for plugin folders.
 */
export async function loadSource(
  source: PluginSource,
  worker: PluginWorker,
  {fresh = false}: {readonly fresh?: boolean} = {},
): Promise<LoadedPlugin[]> {
  if (typeof source !== 'string') {
    const found =
      typeof source === 'function' ? await made('The configurator of plugins', source, worker) : [source];
    return found.map(plugin => ({plugin: checked(plugin, 'A plugin given in code'), source: ''}));
  }
  const loaded: LoadedPlugin[] = [];
  for (const file of await pluginFiles(source)) {
    const plugins = await pluginsOf(file, worker, fresh);
    if (plugins.length === 0) throw failed(`${file} exports no plugin.`, NO_PLUGIN_HINT);
    loaded.push(...plugins.map(plugin => ({plugin: checked(plugin, file), source: file})));
  }
  if (loaded.length === 0) throw failed(`There is no plugin in ${source}.`, FOLDER_HINT);
  return loaded;
}

const NO_PLUGIN_HINT =
  'Export what definePlugin returns, several, or as default a function that makes them. A file that only helps others has a name that begins with _, or lies in a folder without an index.';
const FOLDER_HINT =
  'Files of a plugin end in .js, .mjs, .cjs, .ts, .mts or .cts; a folder of its own has an index file.';

/** The files a path stands for. A folder with an index is one plugin; in any other, each file and each such folder is. */
export async function pluginFiles(path: string): Promise<string[]> {
  if (isAbsolute(path) && !existsSync(path)) {
    throw failed(`There is no file or folder ${path}.`, 'Name the file or the folder of your plugin.');
  }
  if (!isAbsolute(path) || !(await stat(path)).isDirectory()) return [await checkPluginFile(path)];
  const folder = await checkPluginFolder(path);
  const index = indexOf(folder);
  if (index !== undefined) return [index];
  const entries = await readdir(folder, {withFileTypes: true});
  return entries
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(entry => {
      const inside = join(folder, entry.name);
      if (NO_PLUGIN.test(entry.name) || entry.name === 'node_modules') return [];
      if (entry.isDirectory()) return indexOf(inside) ?? [];
      return CODE.test(entry.name) ? [inside] : [];
    });
}

const indexOf = (folder: string): string | undefined =>
  INDEX.map(name => join(folder, name)).find(file => existsSync(file));

async function pluginsOf(file: string, worker: PluginWorker, fresh: boolean): Promise<Plugin[]> {
  let exports: Record<string, unknown> = {};
  await inTime(
    `${file} can not be loaded`,
    (async () => {
      exports = await (fresh ? importFresh(file) : importModule(file));
    })(),
  );
  const found = new Set<Plugin>();
  for (const value of Object.values(exports).flat()) if (looksLikePlugin(value)) found.add(value);
  const {default: main} = exports;
  if (typeof main === 'function') {
    const make = isClass(main) ? () => new (main as new () => Plugin)() : (main as PluginConfigurator);
    for (const plugin of await made(file, make, worker)) found.add(plugin);
  }
  return [...found];
}

async function made(where: string, make: PluginConfigurator, worker: PluginWorker): Promise<Plugin[]> {
  let plugins: readonly Plugin[] = [];
  await inTime(
    `${where} can not make its plugins`,
    (async () => {
      plugins = [(await make(worker)) as Plugin | readonly Plugin[] | undefined].flat() as Plugin[];
    })(),
  );
  return [...plugins];
}

const isClass = (value: object): boolean => /^class\b/.test(Function.prototype.toString.call(value));

function checked(plugin: unknown, where: string): Plugin {
  const problem = pluginProblem(plugin);
  if (problem !== undefined) throw failed(`${where}: this is no plugin: ${problem}.`, PLUGIN_HINT);
  return plugin as Plugin;
}

/** @throws {ByError} PLUGIN_LOAD_FAILED with the reason, also if it takes too long. */
export async function inTime(what: string, work: Promise<unknown>): Promise<void> {
  let isInTime: boolean;
  try {
    isInTime = await within(LOAD_TIMEOUT_MS, work);
  } catch (cause) {
    if (cause instanceof ByError && cause.code === 'PLUGIN_LOAD_FAILED') throw cause;
    throw failed(
      `${what}: ${firstLines(messageOf(cause))}`,
      'Correct it; run with --verbose for the whole error.',
      cause,
    );
  }
  if (!isInTime) throw failed(`${what} within ${LOAD_TIMEOUT_MS / 1000} s.`, 'See what it waits for.');
}

/** A compiler's message may go on for pages; the place and the reason come first. */
const firstLines = (text: string): string => text.split('\n').slice(0, 4).join(' ').slice(0, 500);

const failed = (message: string, hint: string, cause?: unknown) =>
  new ByError('PLUGIN_LOAD_FAILED', message, {hint, cause});
