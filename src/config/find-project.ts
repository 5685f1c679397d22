/** Finding a project's config file, without loading anything. */
import {existsSync} from 'node:fs';
import {dirname, join, resolve} from 'node:path';

const NAMES = ['by.config.ts', 'by.config.mjs', 'by.config.js', 'by.config.json'];

/** The nearest config file at or above a folder; undefined if there is none. */
export function findProjectFile(from: string): string | undefined {
  let dir = resolve(from);
  for (;;) {
    for (const name of NAMES) {
      const file = join(dir, name);
      if (existsSync(file)) return file;
    }
    const parent = dirname(dir);
    if (parent === dir) return undefined;
    dir = parent;
  }
}
