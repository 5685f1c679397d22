/** Writes a project so that it is there whole or not at all. */
import {randomBytes} from 'node:crypto';
import {lstat, mkdir, rename, rm, rmdir, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {ByError} from '../errors.js';
import type {Target} from './target.js';
import type {ProjectFile} from './templates.js';

/**
 * Into a folder aside first. A new project is then renamed into place in one step. Into a folder that is in use (the
 * current one, or one with files) files move one by one, and move back if one of them can not.
 */
export async function writeProject(
  files: readonly ProjectFile[],
  {directory, shown, state}: Target,
  mayReplace: (path: string) => boolean = () => true,
): Promise<void> {
  const isInUse = state === 'occupied' || shown === '.';
  const parent = isInUse ? directory : path.dirname(directory);
  const firstMade = await mkdir(parent, {recursive: true});
  const stage = path.join(parent, `.by-init-${randomBytes(6).toString('hex')}`);
  try {
    await mkdir(stage);
    const fresh = path.join(stage, 'new');
    for (const file of files) await writeOne(path.join(fresh, file.path), file.content);
    if (isInUse) await moveInto(directory, fresh, path.join(stage, 'old'), files, mayReplace);
    else await renameTo(directory, fresh, state);
  } catch (error) {
    await rm(stage, {recursive: true, force: true});
    // Folders made on the way go too; one that somebody used meanwhile stays, because it is not empty.
    if (firstMade !== undefined) await removeEmptyFrom(parent, firstMade);
    throw error;
  }
  await rm(stage, {recursive: true, force: true});
}

async function writeOne(file: string, content: string): Promise<void> {
  await mkdir(path.dirname(file), {recursive: true});
  await writeFile(file, content, {flag: 'wx'});
}

async function renameTo(directory: string, fresh: string, state: Target['state']): Promise<void> {
  // Fails if something was put there since we looked, which is what we want.
  if (state === 'empty') await rmdir(directory);
  try {
    await rename(fresh, directory);
  } catch (error) {
    if (state === 'empty') await mkdir(directory, {recursive: true});
    throw error;
  }
}

async function moveInto(
  directory: string,
  fresh: string,
  old: string,
  files: readonly ProjectFile[],
  mayReplace: (path: string) => boolean,
): Promise<void> {
  for (const file of files) await refuseLinksInside(directory, file.path);
  const undo: (() => Promise<void>)[] = [];
  try {
    for (const {path: name} of files) {
      const target = path.join(directory, name);
      const kept = path.join(old, name);
      await mkdir(path.dirname(target), {recursive: true});
      await mkdir(path.dirname(kept), {recursive: true});
      if (await isThere(target)) {
        if (!mayReplace(name)) throw alreadyThere([name]);
        await rename(target, kept);
        undo.push(() => rename(kept, target));
      }
      await rename(path.join(fresh, name), target);
      undo.push(() => rm(target));
    }
  } catch (error) {
    for (const step of undo.reverse()) await step();
    throw error;
  }
}

/** @param names relative to the project. */
export const alreadyThere = (names: readonly string[]): ByError =>
  new ByError(
    'CONFLICT',
    `${names.map(name => `"${name}"`).join(' and ')} ${names.length === 1 ? 'is' : 'are'} there already.`,
    {
      hint: 'Choose another name, or move what is there away: nothing is overwritten.',
      details: {files: names},
    },
  );

/** A link among the folders or files to be replaced would lead the write out of the project. */
async function refuseLinksInside(directory: string, name: string): Promise<void> {
  let place = directory;
  for (const part of name.split('/')) {
    place = path.join(place, part);
    if (!(await isThere(place))) return;
    const info = await lstat(place);
    const isLast = place === path.join(directory, name);
    if (info.isSymbolicLink() || info.isDirectory() === isLast) {
      throw new ByError('CONFLICT', `"${path.relative(directory, place)}" in that folder is in the way.`, {
        hint: 'Move it away, or choose another folder.',
      });
    }
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function removeEmptyFrom(deepest: string, first: string): Promise<void> {
  for (let folder = deepest; ; folder = path.dirname(folder)) {
    try {
      await rmdir(folder);
    } catch {
      // Somebody uses it: then it and everything above stays.
      return;
    }
    if (folder === first) return;
  }
}
