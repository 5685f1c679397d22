/** The provider a user's file exports. */
import {existsSync} from 'node:fs';
import {basename, extname, resolve} from 'node:path';
import {importModule} from '../config/import-module.js';
import {ByError, messageOf} from '../errors.js';
import type {Provider} from './provider.js';

/**
 * Load a file and take what it exports as `default` or as `provider`: an object with a `wakeup` method, or the function
 * itself. Without a name of its own it is called like the file.
 * @throws {ByError} PROVIDER_LOAD_FAILED, naming the file and what is wrong with it.
 */
export async function loadProvider(entry: string): Promise<Provider> {
  const file = resolve(entry);
  if (!existsSync(file))
    throw unusable(`There is no file ${entry}.`, 'Name the file that exports your provider.');
  let exports: Record<string, unknown>;
  try {
    exports = await importModule(file);
  } catch (cause) {
    throw unusable(
      `${entry} can not be loaded: ${firstLines(messageOf(cause))}`,
      'Correct the file; run with --verbose for the whole error.',
      cause,
    );
  }
  const found = toProvider(exports['default'], nameOf(file)) ?? toProvider(exports['provider'], nameOf(file));
  if (found === undefined) {
    throw unusable(
      `${entry} exports no provider.`,
      'Export as default an object with name and wakeup(request, context), or that function.',
    );
  }
  return found;
}

/** Recognised by shape, not by class: the user's project may hold its own copy of this package. */
function toProvider(value: unknown, name: string): Provider | undefined {
  if (typeof value === 'function' && !isClass(value)) return {name, wakeup: value as Provider['wakeup']};
  const made: unknown = typeof value === 'function' ? new (value as new () => unknown)() : value;
  if (typeof made !== 'object' || made === null || !('wakeup' in made) || typeof made.wakeup !== 'function')
    return undefined;
  const provider = made as Provider;
  if (typeof provider.name === 'string' && provider.name !== '') return provider;
  return {
    name,
    wakeup: (request, context) => provider.wakeup(request, context),
    ...(typeof provider.close === 'function' ? {close: () => provider.close?.() ?? Promise.resolve()} : {}),
  };
}

const isClass = (value: object): boolean => {
  const {prototype} = value as {prototype?: unknown};
  return typeof prototype === 'object' && prototype !== null && 'wakeup' in prototype;
};

const nameOf = (file: string): string => basename(file, extname(file));

/** A compiler's message may go on for pages; the place and the reason come first. */
const firstLines = (text: string): string => text.split('\n').slice(0, 4).join(' ').slice(0, 500);

const unusable = (message: string, hint: string, cause?: unknown) =>
  new ByError('PROVIDER_LOAD_FAILED', message, {hint, cause});
