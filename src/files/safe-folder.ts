/**
 * A folder, and nothing outside of it. guarantees.md §2, row "workspace".
 *
 * Names of files may come from messages, and other processes may change the folder meanwhile: every step of a path is opened
 * below the folder opened before, none follows a link, and what was opened is looked at once more before it is used.
 */
import {constants, existsSync} from 'node:fs';
import {lstat, mkdir, open, readdir, realpath, rmdir, stat, unlink, type FileHandle} from 'node:fs/promises';
import {join, sep} from 'node:path';
import {ByError} from '../errors.js';

const {O_RDONLY} = constants;
/** Not on Windows, where the second look has to do. */
const NOFOLLOW = (constants.O_NOFOLLOW as number | undefined) ?? 0;
const DIRECTORY = (constants.O_DIRECTORY as number | undefined) ?? 0;
/** Opened for writing, a pipe without a reader would wait for one. */
const NONBLOCK = (constants.O_NONBLOCK as number | undefined) ?? 0;
/** Mode of every folder that is made. */
export const PRIVATE_FOLDER = 0o700;
const PRIVATE_FILE = 0o600;
/** Where an open folder can be gone on from, whatever becomes of its path: Linux only. */
const HAS_DESCRIPTOR_PATHS = existsSync('/proc/self/fd');

/** A folder that is held open. */
export interface Folder {
  readonly handle: FileHandle | undefined;
  readonly path: string;
}

/** All functions throw {ByError} WORKSPACE_ESCAPE for a name that leads out, NOT_FOUND for one that is not there. */
export class SafeFolder {
  /** @param path real, and there. */
  constructor(readonly path: string) {}

  /** Remove a file, or a folder with all it holds. A link is removed, never what it leads to. */
  async removeIn(folder: Folder, name: string): Promise<void> {
    const path = within(folder, name);
    if (!(await lstat(path)).isDirectory()) return unlink(path);
    const inner = await this.openFolder(folder, name);
    try {
      for (const entry of await readdir(within(inner, '.'))) await this.removeIn(inner, entry);
    } finally {
      await inner.handle?.close();
    }
    await rmdir(path);
  }

  /** A name as its steps; none for the workspace itself. */
  steps(name: string): string[] {
    const steps = name.split('/').filter(step => step !== '' && step !== '.');
    // A backslash separates folders on Windows, and a colon names a drive or a stream.
    const isWrong = (step: string) =>
      step === '..' || /[\0\\]/.test(step) || (sep === '\\' && step.includes(':'));
    if (name.startsWith('/') || steps.some(isWrong)) throw escape(name);
    return steps;
  }

  /** Act in the folder of a file. */
  async below<T>(
    name: string,
    options: {readonly make: boolean},
    act: (folder: Folder, last: string) => Promise<T>,
  ): Promise<T> {
    const steps = this.steps(name);
    const last = steps.pop();
    if (last === undefined || name.endsWith('/')) throw notFound(name);
    return this.within(steps, options, name, folder => act(folder, last));
  }

  /** Walk down, each folder opened below the one before. */
  async within<T>(
    steps: readonly string[],
    {make}: {readonly make: boolean},
    name: string,
    act: (folder: Folder) => Promise<T>,
  ): Promise<T> {
    const held: Folder[] = [];
    try {
      let folder = await this.openFolder(undefined, this.path);
      held.push(folder);
      for (const step of steps) {
        if (make) await makeFolder(within(folder, step));
        folder = await this.openFolder(folder, step);
        held.push(folder);
      }
      return await act(folder);
    } catch (error) {
      throw inOurWords(error, name);
    } finally {
      for (const folder of held) await folder.handle?.close();
    }
  }

  async openFolder(parent: Folder | undefined, name: string): Promise<Folder> {
    const path = parent === undefined ? name : join(parent.path, name);
    if (process.platform === 'win32') {
      await this.assertInside(path);
      return {handle: undefined, path};
    }
    const handle = await open(
      parent === undefined ? name : within(parent, name),
      O_RDONLY | DIRECTORY | NOFOLLOW,
    );
    return {handle, path};
  }

  /** Open what is a plain file with one name, and nobody else's. */
  async openFile(folder: Folder, name: string, flags: number): Promise<FileHandle> {
    const file = await open(within(folder, name), flags | NOFOLLOW | NONBLOCK, PRIVATE_FILE);
    try {
      const opened = await file.stat();
      // A second name of a file may be somebody else's, outside.
      if (!opened.isFile() || opened.nlink > 1) throw escape(name);
      if (!HAS_DESCRIPTOR_PATHS) {
        const real = await this.assertInside(join(folder.path, name));
        const there = await stat(real);
        if (there.ino !== opened.ino || there.dev !== opened.dev) throw escape(name);
      }
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  private async assertInside(path: string): Promise<string> {
    const real = await realpath(path);
    if (real !== this.path && !real.startsWith(this.path + sep)) throw escape(path);
    return real;
  }
}

/** Where something in an open folder is. */
export function within({handle, path}: Folder, name: string): string {
  return handle !== undefined && HAS_DESCRIPTOR_PATHS
    ? `/proc/self/fd/${handle.fd}/${name}`
    : join(path, name);
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, {mode: PRIVATE_FOLDER});
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** ELOOP and ENOTDIR: a link, or a file, where a folder should be. ENXIO: a pipe or a socket. */
function inOurWords(error: unknown, name: string): unknown {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ELOOP':
    case 'EMLINK':
    case 'ENOTDIR':
    case 'ENXIO':
      return escape(name, error);
    case 'ENOENT':
      return notFound(name, error);
    default:
      return error;
  }
}

export const escape = (name: string, cause?: unknown) =>
  new ByError(
    'WORKSPACE_ESCAPE',
    `"${name.slice(0, 200)}" leads out of the workspace, or over something that is no plain file.`,
    {
      hint: 'Name files relative to the workspace, without "..", and put no links into it.',
      cause,
    },
  );

export const notFound = (name: string, cause?: unknown) =>
  new ByError('NOT_FOUND', `There is no file "${name.slice(0, 200)}" in the workspace.`, {
    hint: 'Look what is there with list().',
    cause,
  });
