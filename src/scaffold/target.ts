/**
 * Where a new project may go: inside the current folder, through no symbolic link, and not over anything that is
 * already there unless told so (guarantees.md §2, "by init").
 */
import {lstat, readdir, realpath} from 'node:fs/promises';
import path from 'node:path';
import {ByError} from '../errors.js';

export interface Target {
  /** Absolute. */
  readonly directory: string;
  /** As a person would `cd` to it: relative to the current folder. */
  readonly shown: string;
  /** What is there now: nothing, an empty folder, or a folder with files in it (`--force`). */
  readonly state: 'absent' | 'empty' | 'occupied';
}

/**
 * @throws {ByError} INVALID_INPUT if it is outside the current folder or behind a link, DIRECTORY_NOT_EMPTY if it
 * holds anything and `force` is not given, CONFLICT if it is a file.
 */
export async function chooseTarget(
  asked: string,
  {cwd, force}: {cwd: string; force: boolean},
): Promise<Target> {
  const base = await realpath(cwd);
  const directory = path.resolve(base, asked);
  const shown = path.relative(base, directory) || '.';
  if (asked === '' || isOutside(base, directory)) {
    throw new ByError('INVALID_INPUT', `"${asked}" is not inside the current folder.`, {
      hint: 'Go to the folder the project shall be created in, and give only its name.',
    });
  }
  await refuseLinks(base, shown);
  return {directory, shown, state: await stateOf(directory, shown, force)};
}

function isOutside(base: string, directory: string): boolean {
  const relative = path.relative(base, directory);
  return relative === '..' || relative.startsWith(`..${path.sep}`) || path.isAbsolute(relative);
}

/** Every existing folder on the way must be a real one: a link could lead anywhere. */
async function refuseLinks(base: string, shown: string): Promise<void> {
  let folder = base;
  for (const part of shown.split(path.sep)) {
    folder = path.join(folder, part);
    const info = await infoOf(folder);
    if (info === null) return;
    if (info.isSymbolicLink()) {
      throw new ByError('INVALID_INPUT', `"${path.relative(base, folder)}" is a symbolic link.`, {
        hint: 'Go to the folder it points to and run by init there.',
      });
    }
  }
}

async function stateOf(directory: string, shown: string, force: boolean): Promise<Target['state']> {
  const info = await infoOf(directory);
  if (info === null) return 'absent';
  if (!info.isDirectory()) {
    throw new ByError('CONFLICT', `"${shown}" is a file.`, {hint: 'Choose another name for the project.'});
  }
  const names = await readdir(directory);
  if (names.length === 0) return 'empty';
  if (force) return 'occupied';
  throw new ByError('DIRECTORY_NOT_EMPTY', `The folder "${shown}" is not empty.`, {
    hint: 'Choose another folder, or add --force to write into this one (files of the same name are replaced).',
    details: {directory: shown, entries: names.length},
  });
}

async function infoOf(file: string) {
  try {
    return await lstat(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
