/** Importing a user's file, TypeScript or not. */
import {pathToFileURL} from 'node:url';

let registered: Promise<void> | undefined;

/** Teach this process to load TypeScript, if the file is some. */
export async function learnTypeScriptFor(file: string): Promise<void> {
  if (!/\.[cm]?tsx?$/.test(file)) return;
  // Once for the process: a worker imports more TypeScript after this file.
  registered ??= import('tsx/esm/api').then(({register}) => void register());
  await registered;
}

/** @returns the module's exports. @throws what loading it throws, syntax errors included. */
export async function importModule(file: string): Promise<Record<string, unknown>> {
  await learnTypeScriptFor(file);
  return (await import(pathToFileURL(file).href)) as Record<string, unknown>;
}
