/** `.by/dev.json`: how other terminals find a running `by dev` of the same project. */
import {existsSync, readFileSync} from 'node:fs';
import {mkdir, rm, writeFile} from 'node:fs/promises';
import {dirname, join, resolve} from 'node:path';

export interface DevFile {
  readonly url: string;
  readonly pid: number;
  readonly version: string;
}

/** The nearest running `by dev` at or above a folder. A file whose process is gone counts as none. */
export function findDev(from: string): DevFile | undefined {
  let dir = resolve(from);
  for (;;) {
    const found = readDevFile(join(dir, '.by', 'dev.json'));
    if (found) return found;
    const parent = dirname(dir);
    if (parent === dir) return undefined;
    dir = parent;
  }
}

function readDevFile(file: string): DevFile | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const {url, pid, version} = JSON.parse(readFileSync(file, 'utf8')) as Partial<DevFile>;
    if (typeof url !== 'string' || typeof pid !== 'number' || !isAlive(pid)) return undefined;
    return {url, pid, version: version ?? ''};
  } catch {
    // Half written or damaged: as good as absent, and replaced by the next `by dev`.
    return undefined;
  }
}

/** Announce a `by dev`; readable by its owner alone. */
export async function writeDevFile(dir: string, content: DevFile): Promise<void> {
  await mkdir(join(dir, '.by'), {recursive: true});
  await writeFile(join(dir, '.by', 'dev.json'), JSON.stringify(content), {mode: 0o600});
}

export async function removeDevFile(dir: string): Promise<void> {
  await rm(join(dir, '.by', 'dev.json'), {force: true});
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process is alive all the same.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
