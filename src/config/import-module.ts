/** Importing a user's file, TypeScript or not. */
import {pathToFileURL} from 'node:url';

let registered: Promise<void> | undefined;

/** @returns the module's exports. @throws what loading it throws, syntax errors included. */
export async function importModule(file: string): Promise<Record<string, unknown>> {
  if (/\.[cm]?tsx?$/.test(file)) {
    // Once for the process: a worker imports more TypeScript after this file.
    registered ??= import('tsx/esm/api').then(({register}) => void register());
    await registered;
  }
  return (await import(pathToFileURL(file).href)) as Record<string, unknown>;
}
