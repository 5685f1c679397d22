/** Where this package is, and its version: the same from source and when built. */
import {existsSync, readFileSync} from 'node:fs';
import {dirname, join, sep} from 'node:path';
import {fileURLToPath} from 'node:url';

export interface PackageInfo {
  readonly root: string;
  readonly version: string;
  /** Where the sources' counterparts are: the root, or `dist` when built. */
  readonly code: string;
  /** The program `by`, to be run with node. */
  readonly bin: string;
}

let known: PackageInfo | undefined;

export function packageInfo(): PackageInfo {
  if (known) return known;
  const here = dirname(fileURLToPath(import.meta.url));
  let root = here;
  while (!existsSync(join(root, 'package.json'))) root = dirname(root);
  const {version} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {version: string};
  const dist = join(root, 'dist');
  const code = here.startsWith(dist + sep) ? dist : root;
  return (known = {root, version, code, bin: join(root, 'bin', 'by.js')});
}

/**
 * A file that belongs to the code but is no module of it (a script, a thread's entry), by its place among the sources.
 * The build joins modules, so a path beside one of them would lead nowhere.
 */
export const codeFile = (path: string): string => join(packageInfo().code, path);

/** Whether this is the built package; otherwise the sources run as they are. */
export const isBuilt = (): boolean => packageInfo().code !== packageInfo().root;
