/**
 * Which folders plugins may be loaded from. A plugin is code, so whoever can change a file of it, or swap a folder above
 * it, runs as us. guarantees.md §2, row "plugins".
 */
import type {Stats} from 'node:fs';
import {lstat, readdir, realpath, stat} from 'node:fs/promises';
import {dirname, isAbsolute, join, relative, sep} from 'node:path';
import {ByError} from '../errors.js';

/** What is wrong with a folder. */
export type PluginFolderProblem =
  /** Not an absolute path: what it means would depend on where we were started. */
  | 'relative'
  | 'missing'
  | 'not-a-folder'
  /** It, or what is in or above it, belongs neither to us nor to root. */
  | 'foreign-owner'
  /** Others may change it, or what is in or above it. */
  | 'writable-by-others'
  /** A link in it leads out of it. */
  | 'link-outside'
  /** Something in it is neither file nor folder nor link. */
  | 'not-a-file'
  /** More files than any plugin has. */
  | 'too-many-files';

export interface PluginUser {
  readonly uid: number;
  readonly gid: number;
}

/** A folder with more is no plugin; perhaps it is the root of the disk. */
const MAX_ENTRIES = 20_000;
const GROUP_WRITE = 0o020;
const OTHERS_WRITE = 0o002;
/** In such a folder only the owner of a file may remove or rename it: /tmp. */
const STICKY = 0o1000;

/** Who we are; undefined on Windows, where files have no such owners and only the shape is checked. */
export function currentUser(): PluginUser | undefined {
  const [uid, gid] = [process.getuid?.(), process.getgid?.()];
  return uid === undefined || gid === undefined ? undefined : {uid, gid};
}

/**
 * Check a folder before anything of it is loaded, with everything in it and every folder above it.
 *
 * @param path absolute: as an operator named it, never the current folder because nobody named one.
 * @returns its real path, from which to load.
 * @throws {ByError} DENIED; `details.problem` is a {@link PluginFolderProblem}, `details.path` where.
 */
export async function checkPluginFolder(path: string, user = currentUser()): Promise<string> {
  if (!isAbsolute(path)) throw refused('relative', path);
  const real = await realpath(path).catch((error: unknown) => {
    throw refused('missing', path, error);
  });
  const facts = await stat(real);
  if (!facts.isDirectory()) throw refused('not-a-folder', real);
  assertOurs(real, facts, user);
  for (let above = dirname(real); ; above = dirname(above)) {
    assertSafeAbove(above, await stat(above), user);
    if (above === dirname(above)) break;
  }
  await checkContents(real, user);
  return real;
}

/**
 * The same for a single file and the folders above it. What it imports is the operator's own choice, as with any program.
 *
 * @returns its real path.
 * @throws {ByError} DENIED, as {@link checkPluginFolder}.
 */
export async function checkPluginFile(path: string, user = currentUser()): Promise<string> {
  if (!isAbsolute(path)) throw refused('relative', path);
  const real = await realpath(path).catch((error: unknown) => {
    throw refused('missing', path, error);
  });
  const facts = await stat(real);
  if (!facts.isFile()) throw refused('not-a-file', real);
  assertOurs(real, facts, user);
  for (let above = dirname(real); ; above = dirname(above)) {
    assertSafeAbove(above, await stat(above), user);
    if (above === dirname(above)) break;
  }
  return real;
}

async function checkContents(root: string, user: PluginUser | undefined): Promise<void> {
  const waiting = [root];
  let seen = 0;
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const name of await readdir(folder)) {
      if (++seen > MAX_ENTRIES) throw refused('too-many-files', root);
      const path = join(folder, name);
      const facts = await lstat(path);
      if (facts.isSymbolicLink()) await assertLinkInside(root, path);
      else if (facts.isDirectory()) waiting.push(path);
      else if (!facts.isFile()) throw refused('not-a-file', path);
      if (!facts.isSymbolicLink()) assertOurs(path, facts, user);
    }
  }
}

async function assertLinkInside(root: string, path: string): Promise<void> {
  const target = await realpath(path).catch((error: unknown) => {
    throw refused('link-outside', path, error);
  });
  const way = relative(root, target);
  if (way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way)) throw refused('link-outside', path);
}

function assertOurs(path: string, facts: Stats, user: PluginUser | undefined): void {
  if (user === undefined) return;
  if (facts.uid !== user.uid && facts.uid !== 0) throw refused('foreign-owner', path);
  if (isWritableByOthers(facts, user)) throw refused('writable-by-others', path);
}

/** Above it others may write where they may not replace what is ours: in /tmp. */
function assertSafeAbove(path: string, facts: Stats, user: PluginUser | undefined): void {
  if (user === undefined) return;
  if (facts.uid !== user.uid && facts.uid !== 0) throw refused('foreign-owner', path);
  if (isWritableByOthers(facts, user) && (facts.mode & STICKY) === 0)
    throw refused('writable-by-others', path);
}

function isWritableByOthers({mode, gid}: Stats, user: PluginUser): boolean {
  return (mode & OTHERS_WRITE) !== 0 || ((mode & GROUP_WRITE) !== 0 && gid !== user.gid && gid !== 0);
}

const IN_WORDS: Readonly<Record<PluginFolderProblem, string>> = {
  relative: 'is no absolute path',
  missing: 'is not there',
  'not-a-folder': 'is no folder',
  'foreign-owner': 'belongs to another user',
  'writable-by-others': 'can be changed by other users',
  'link-outside': 'is a link that leads out of the folder',
  'not-a-file': 'is neither a file nor a folder',
  'too-many-files': `holds more than ${MAX_ENTRIES} files`,
};

const refused = (problem: PluginFolderProblem, path: string, cause?: unknown) =>
  new ByError('DENIED', `Plugins are not loaded from there: "${path}" ${IN_WORDS[problem]}.`, {
    hint: 'Name the full path of a folder that belongs to you, and that nobody else may write to or above.',
    details: {problem, path},
    cause,
  });
