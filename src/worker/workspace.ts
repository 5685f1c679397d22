/**
 * The folder agent code keeps a session's files in, and nothing outside of it: files/safe-folder.ts. Ids come from messages,
 * so they become folder names only as a hash.
 */
import {createHash} from 'node:crypto';
import {constants, existsSync, mkdirSync, realpathSync, utimesSync} from 'node:fs';
import {lstat, readdir} from 'node:fs/promises';
import {join} from 'node:path';
import {ByError} from '../errors.js';
import {escape, PRIVATE_FOLDER, SafeFolder, within} from '../files/safe-folder.js';

const {O_RDONLY, O_WRONLY, O_CREAT} = constants;

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

class SessionWorkspace implements Workspace {
  private readonly folder: SafeFolder;

  constructor(readonly path: string) {
    this.folder = new SafeFolder(path);
  }

  async readFile(name: string): Promise<Buffer> {
    return this.folder.below(name, {make: false}, async (folder, last) => {
      const file = await this.folder.openFile(folder, last, O_RDONLY);
      try {
        return await file.readFile();
      } finally {
        await file.close();
      }
    });
  }

  async writeFile(name: string, content: string | Uint8Array): Promise<void> {
    await this.folder.below(name, {make: true}, async (folder, last) => {
      // Emptied only once it is known to be ours.
      const file = await this.folder.openFile(folder, last, O_WRONLY | O_CREAT);
      try {
        await file.truncate(0);
        await file.writeFile(content);
      } finally {
        await file.close();
      }
    });
  }

  async list(name = '.'): Promise<WorkspaceEntry[]> {
    const steps = this.folder.steps(name);
    return this.folder.within(steps, {make: false}, name, async folder => {
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
    if (this.folder.steps(name).length === 0) throw escape(name);
    try {
      await this.folder.below(name, {make: false}, (folder, last) => this.folder.removeIn(folder, last));
    } catch (error) {
      if (!(error instanceof ByError) || error.code !== 'NOT_FOUND') throw error;
    }
  }
}
