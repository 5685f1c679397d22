/** Importing a user's file again: the file and what it imports by a relative path begin anew. */
import {createRequire, register} from 'node:module';
import {dirname, sep} from 'node:path';
import {pathToFileURL} from 'node:url';
import {learnTypeScriptFor} from './import-module.js';

/**
 * Runs in the thread of Node's loader. A module is known by its address, so what begins anew has another: the mark goes
 * from each module to those it imports by a relative path. Packages are not loaded again.
 */
const HOOK = `
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  if (!context.parentURL?.includes('by-reload=') || !/^(?:\\.{1,2}\\/|#)/.test(specifier)) return found;
  if (!found.url.startsWith('file:') || found.url.includes('/node_modules/')) return found;
  const mark = new URL(context.parentURL).searchParams.get('by-reload');
  if (mark === null) return found;
  const url = new URL(found.url);
  url.searchParams.set('by-reload', mark);
  return {...found, url: url.href};
}`;

let isRegistered = false;
let marks = 0;

/**
 * As importModule, but never from what was loaded before. What was loaded stays in memory as long as the process.
 * @throws what loading it throws, syntax errors included.
 */
export async function importFresh(file: string): Promise<Record<string, unknown>> {
  await learnTypeScriptFor(file);
  if (!isRegistered) {
    isRegistered = true;
    register(`data:text/javascript,${encodeURIComponent(HOOK)}`);
  }
  forgetRequired(file);
  const url = pathToFileURL(file);
  url.searchParams.set('by-reload', String(++marks));
  return (await import(url.href)) as Record<string, unknown>;
}

/** CommonJS is known by its path, whatever the address says. */
function forgetRequired(file: string): void {
  const {cache} = createRequire(file);
  const folder = dirname(file) + sep;
  for (const path of Object.keys(cache)) {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- the only way Node has for it
    if (path.startsWith(folder) && !path.includes(`${sep}node_modules${sep}`)) delete cache[path];
  }
}
