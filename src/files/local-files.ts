/** Files in a folder of this machine, and nothing outside of it: see safe-folder.ts. */
import {randomBytes} from 'node:crypto';
import {constants, mkdirSync, realpathSync} from 'node:fs';
import {lstat, readdir, rename, unlink, type FileHandle} from 'node:fs/promises';
import {ByError} from '../errors.js';
import type {FileContent, FileInfo, FilePage, FileStore, ListOptions, PutOptions} from './file-store.js';
import {
  checkedName,
  checkLimit,
  isName,
  MAX_FILE_BYTES,
  MAX_PAGE,
  MAX_READ_BYTES,
  plainName,
  refuseTwin,
  tooLarge,
  UNFINISHED,
} from './file-names.js';
import {escape, PRIVATE_FOLDER, SafeFolder, within, type Folder} from './safe-folder.js';

const {O_RDONLY, O_WRONLY, O_CREAT, O_EXCL} = constants;

/** @param path made if it is not there, for its owner alone. */
export function localFiles(path: string): FileStore {
  mkdirSync(path, {recursive: true, mode: PRIVATE_FOLDER});
  return new LocalFiles(new SafeFolder(realpathSync(path)));
}

class LocalFiles implements FileStore {
  constructor(private readonly root: SafeFolder) {}

  async put(name: string, content: FileContent, options: PutOptions = {}): Promise<FileInfo> {
    const {maxBytes = MAX_FILE_BYTES} = options;
    await this.refuseTwins(checkedName(name));
    return this.root.below(name, {make: true}, async (folder, last) => {
      const unfinished = `${UNFINISHED}${randomBytes(8).toString('hex')}`;
      const file = await this.root.openFile(folder, unfinished, O_WRONLY | O_CREAT | O_EXCL);
      try {
        await writeAll(file, content, maxBytes, name);
        const info = infoOf(name, await file.stat());
        await refuseToReplace(folder, last);
        await rename(within(folder, unfinished), within(folder, last));
        return info;
      } catch (error) {
        await unlink(within(folder, unfinished));
        throw error;
      } finally {
        await file.close();
      }
    });
  }

  async get(name: string) {
    const file = await this.open(name);
    return file.createReadStream();
  }

  async read(name: string, maxBytes = MAX_READ_BYTES): Promise<Buffer> {
    const file = await this.open(name);
    try {
      // It may grow while it is read.
      const buffer = Buffer.alloc(Math.min((await file.stat()).size, maxBytes) + 1);
      let length = 0;
      for (let bytes = -1; bytes !== 0 && length < buffer.length;) {
        ({bytesRead: bytes} = await file.read(buffer, length, buffer.length - length));
        length += bytes;
      }
      if (length > maxBytes) throw tooLarge(name, maxBytes);
      return buffer.subarray(0, length);
    } finally {
      await file.close();
    }
  }

  async stat(name: string): Promise<FileInfo> {
    const file = await this.open(name);
    try {
      return infoOf(name, await file.stat());
    } finally {
      await file.close();
    }
  }

  async list(folder = '', {limit = MAX_PAGE, after = ''}: ListOptions = {}): Promise<FilePage> {
    checkLimit(limit);
    const steps = folder === '' ? [] : this.root.steps(checkedName(folder));
    const names: string[] = [];
    await this.root.within(steps, {make: false}, folder, at =>
      this.collect(at, steps.map(step => `${step}/`).join(''), names),
    );
    const later = names.filter(name => name > after).sort((a, b) => (a < b ? -1 : 1));
    const page = later.slice(0, limit);
    const files: FileInfo[] = [];
    for (const name of page) {
      const info = await this.statIfThere(name);
      if (info !== undefined) files.push(info);
    }
    const next = page.at(-1);
    return later.length > page.length && next !== undefined ? {files, next} : {files};
  }

  async delete(name: string): Promise<boolean> {
    try {
      return await this.root.below(checkedName(name), {make: false}, async (folder, last) => {
        if ((await lstat(within(folder, last))).isDirectory()) throw escape(name);
        await unlink(within(folder, last));
        return true;
      });
    } catch (error) {
      if (error instanceof ByError && error.code === 'NOT_FOUND') return false;
      throw error;
    }
  }

  /** Looked at before anything is made. */
  private async refuseTwins(name: string): Promise<void> {
    const steps = this.root.steps(name);
    for (const [depth, step] of steps.entries()) {
      const there = await this.namesIn(steps.slice(0, depth), name);
      if (there === undefined) return;
      refuseTwin(name, step, there);
    }
  }

  /** @returns undefined if there is no such folder, or it is none: whoever wants to go into it is told. */
  private async namesIn(steps: readonly string[], name: string): Promise<string[] | undefined> {
    try {
      return await this.root.within(steps, {make: false}, name, folder => readdir(within(folder, '.')));
    } catch (error) {
      if (error instanceof ByError) return undefined;
      throw error;
    }
  }

  private open(name: string): Promise<FileHandle> {
    return this.root.below(checkedName(name), {make: false}, (folder, last) =>
      this.root.openFile(folder, last, O_RDONLY),
    );
  }

  /** Links, pipes and devices are not among them. */
  private async collect(folder: Folder, prefix: string, names: string[]): Promise<void> {
    for (const entry of await readdir(within(folder, '.'), {withFileTypes: true})) {
      const name = `${prefix}${entry.name}`;
      if (entry.isFile() && !entry.name.startsWith(UNFINISHED) && isName(name)) names.push(name);
      if (!entry.isDirectory()) continue;
      const inner = await this.root.openFolder(folder, entry.name);
      try {
        await this.collect(inner, `${name}/`, names);
      } finally {
        await inner.handle?.close();
      }
    }
  }

  /** A file may go, or become a link, while its folder is listed. */
  private async statIfThere(name: string): Promise<FileInfo | undefined> {
    try {
      return await this.stat(name);
    } catch (error) {
      if (error instanceof ByError && (error.code === 'NOT_FOUND' || error.code === 'WORKSPACE_ESCAPE'))
        return undefined;
      throw error;
    }
  }
}

/** What is replaced must be a file: a folder can not be, and what a link leads to is not ours. */
async function refuseToReplace(folder: Folder, name: string): Promise<void> {
  try {
    if (!(await lstat(within(folder, name))).isFile()) throw escape(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function writeAll(
  file: FileHandle,
  content: FileContent,
  maxBytes: number,
  name: string,
): Promise<void> {
  const pieces = typeof content === 'string' || content instanceof Uint8Array ? [content] : content;
  let written = 0;
  for await (const piece of pieces) {
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
    written += bytes.length;
    if (written > maxBytes) throw tooLarge(name, maxBytes);
    for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
  }
}

const infoOf = (
  name: string,
  {size, mtimeMs}: {readonly size: number; readonly mtimeMs: number},
): FileInfo => ({
  name: plainName(name),
  size,
  modifiedAt: Math.floor(mtimeMs),
});
