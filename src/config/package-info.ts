/** Where this package is, and its version: the same from source and when built. */
import {existsSync, readFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

export interface PackageInfo {
  readonly root: string;
  readonly version: string;
  /** The program `by`, to be run with node. */
  readonly bin: string;
}

let known: PackageInfo | undefined;

export function packageInfo(): PackageInfo {
  if (known) return known;
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'package.json'))) root = dirname(root);
  const {version} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {version: string};
  return (known = {root, version, bin: join(root, 'bin', 'by.js')});
}
