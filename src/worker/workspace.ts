/**
 * The folder agent code keeps a session's files in, and nothing outside of it. guarantees.md §2, row "workspace".
 *
 * Ids come from messages, so they become folder names only as a hash. Names of files may come from messages too, and
 * other processes may change the folder meanwhile: every step of a path is opened below the folder opened before, none
 * follows a link, and what was opened is looked at once more before it is used.
 */
import {createHash} from 'node:crypto';
import {constants, existsSync, mkdirSync, realpathSync, utimesSync} from 'node:fs';
import {lstat, mkdir, open, readdir, realpath, rmdir, stat, unlink, type FileHandle} from 'node:fs/promises';
import {join, sep} from 'node:path';
import {ByError} from '../errors.js';

export interface WorkspaceEntry {
  readonly name: string;
  /** `other`: a link, a socket, a device; it can be removed, and not read. */
  readonly kind: 'file' | 'folder' | 'other';
}

/**
 * A session's files. Names are relative, with `/` between folders.
 * All functions throw {ByError} WORKSPACE_ESCAPE for a name that leads out of the workspace, by `..`, by being absolute
 * or over a link; NOT_FOUND for a file that is not there.
 */
export interface Workspace {
  /** The folder; it exists. For programs that are started in it: they are not held back by any of this. */
  readonly path: string;
  readFile(name: string): Promise<Buffer>;
  /** Write a whole file; the folders on its way are made. */
  writeFile(name: string, content: string | Uint8Array): Promise<void>;
  /** What is in a folder, by name. @param folder default the workspace itself. */
  list(folder?: string): Promise<WorkspaceEntry[]>;
  /** Remove a file, or a folder with all it holds. A link is removed, never what it leads to. No error if there is none. */
  remove(name: string): Promise<void>;
}

/** Whose files: the same session id of another user is another workspace. */
export interface WorkspaceOwner {
  readonly sessionId: string;
  readonly userCode: string;
}

const {O_RDONLY, O_WRONLY, O_CREAT} = constants;
/** Not on Windows, where the second look has to do. */
const NOFOLLOW = (constants.O_NOFOLLOW as number | undefined) ?? 0;
const DIRECTORY = (constants.O_DIRECTORY as number | undefined) ?? 0;
/** Opened for writing, a pipe without a reader would wait for one. */
const NONBLOCK = (constants.O_NONBLOCK as number | undefined) ?? 0;
const PRIVATE_FOLDER = 0o700;
const PRIVATE_FILE = 0o600;
/** Where an open folder can be gone on from, whatever becomes of its path: Linux only. */
const HAS_DESCRIPTOR_PATHS = existsSync('/proc/self/fd');

/** The folder name that ids become: nothing of their text is left in it. */
export function workspaceFolder({userCode, sessionId}: WorkspaceOwner): string {
  return createHash('sha256').update(`${userCode}\0${sessionId}`).digest('hex').slice(0, 40);
}

/** Make the workspace of a session, or find it. @param root the operator's folder for all workspaces. */
export function openWorkspace(root: string, owner: WorkspaceOwner): Workspace {
  mkdirSync(root, {recursive: true, mode: PRIVATE_FOLDER});
  const path = join(realpathSync(root), workspaceFolder(owner));
  mkdirSync(path, {recursive: true, mode: PRIVATE_FOLDER});
  if (realpathSync(path) !== path) throw escape(path);
  // When it was used last, for whoever cleans up.
  utimesSync(path, new Date(), new Date());
  return new SessionWorkspace(path);
}

/**
 * Remove the workspaces below `root` that nobody has opened for `unusedMs`.
 * @returns how many.
 */
export async function removeUnusedWorkspaces(root: string, unusedMs: number, now: number): Promise<number> {
  if (!existsSync(root)) return 0;
  const base = new SessionWorkspace(realpathSync(root));
  let removed = 0;
  for (const {name, kind} of await base.list()) {
    if (kind !== 'folder' || !/^[0-9a-f]{40}$/.test(name)) continue;
    const {mtimeMs} = await lstat(join(base.path, name));
    if (now - mtimeMs < unusedMs) continue;
    await base.remove(name);
    removed++;
  }
  return removed;
}

/** A folder that is held open. */
interface Folder {
  readonly handle: FileHandle | undefined;
  readonly path: string;
}

class SessionWorkspace implements Workspace {
  constructor(readonly path: string) {}

  async readFile(name: string): Promise<Buffer> {
    return this.below(name, {make: false}, async (folder, last) => {
      const file = await this.openFile(folder, last, O_RDONLY);
      try {
        return await file.readFile();
      } finally {
        await file.close();
      }
    });
  }

  async writeFile(name: string, content: string | Uint8Array): Promise<void> {
    await this.below(name, {make: true}, async (folder, last) => {
      // Emptied only once it is known to be ours.
      const file = await this.openFile(folder, last, O_WRONLY | O_CREAT);
      try {
        await file.truncate(0);
        await file.writeFile(content);
      } finally {
        await file.close();
      }
    });
  }

  async list(name = '.'): Promise<WorkspaceEntry[]> {
    const steps = this.steps(name);
    return this.within(steps, {make: false}, name, async folder => {
      const found = await readdir(within(folder, '.'), {withFileTypes: true});
      return found
        .map(entry => ({
          name: entry.name,
          kind: entry.isFile()
            ? ('file' as const)
            : entry.isDirectory()
              ? ('folder' as const)
              : ('other' as const),
        }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    });
  }

  async remove(name: string): Promise<void> {
    if (this.steps(name).length === 0) throw escape(name);
    try {
      await this.below(name, {make: false}, (folder, last) => this.removeIn(folder, last));
    } catch (error) {
      if (!(error instanceof ByError) || error.code !== 'NOT_FOUND') throw error;
    }
  }

  private async removeIn(folder: Folder, name: string): Promise<void> {
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
  private steps(name: string): string[] {
    const steps = name.split('/').filter(step => step !== '' && step !== '.');
    // A backslash separates folders on Windows, and a colon names a drive or a stream.
    const isWrong = (step: string) =>
      step === '..' || /[\0\\]/.test(step) || (sep === '\\' && step.includes(':'));
    if (name.startsWith('/') || steps.some(isWrong)) throw escape(name);
    return steps;
  }

  private async below<T>(
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
  private async within<T>(
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

  private async openFolder(parent: Folder | undefined, name: string): Promise<Folder> {
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

  private async openFile(folder: Folder, name: string, flags: number): Promise<FileHandle> {
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

function within({handle, path}: Folder, name: string): string {
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

const escape = (name: string, cause?: unknown) =>
  new ByError(
    'WORKSPACE_ESCAPE',
    `"${name.slice(0, 200)}" leads out of the workspace, or over something that is no plain file.`,
    {
      hint: 'Name files relative to the workspace, without "..", and put no links into it.',
      cause,
    },
  );

const notFound = (name: string, cause?: unknown) =>
  new ByError('NOT_FOUND', `There is no file "${name.slice(0, 200)}" in the workspace.`, {
    hint: 'Look what is there with list().',
    cause,
  });
