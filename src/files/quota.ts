/** A limit for all files of a store together, wherever they are kept. */
import {ByError} from '../errors.js';
import type {FileContent, FileInfo, FileStore, PutOptions} from './file-store.js';
import {checkedName, MAX_FILE_BYTES, plainName} from './file-names.js';

export interface FileQuota {
  /** Bytes of all files together. */
  readonly maxBytes: number;
  /** Default: as many as there are. */
  readonly maxFiles?: number;
}

/**
 * The store with a quota: `put` of what would not fit is a MESSAGE_TOO_LARGE that says so, and stores nothing. What is replaced
 * makes room for what replaces it. Each put looks at all files there are; those of this process come one after the other, so
 * that they can not exceed it together. Other processes with the same files may.
 */
export function withQuota(files: FileStore, quota: FileQuota): FileStore {
  for (const [name, limit] of Object.entries(quota) as [string, number][]) {
    if (Number.isSafeInteger(limit) && limit >= 0) continue;
    throw new ByError('INVALID_CONFIG', `${name} of a quota is ${String(limit)}.`, {
      hint: 'Give a whole number of bytes or files.',
    });
  }
  let queue: Promise<unknown> = Promise.resolve();
  const put = async (name: string, content: FileContent, options: PutOptions): Promise<FileInfo> => {
    const plain = plainName(checkedName(name));
    const others = await othersThan(files, plain);
    const {maxFiles = Infinity, maxBytes} = quota;
    const left = maxBytes - others.bytes;
    if (others.count + 1 > maxFiles)
      throw full(`There are ${others.count} files, and no more may be.`, quota);
    const own = options.maxBytes ?? MAX_FILE_BYTES;
    if (own <= left) return files.put(name, content, options);
    try {
      return await files.put(name, content, {...options, maxBytes: Math.max(0, left)});
    } catch (error) {
      if (!(error instanceof ByError) || error.code !== 'MESSAGE_TOO_LARGE') throw error;
      throw full(
        `"${plain.slice(0, 200)}" does not fit: ${Math.max(0, left)} bytes are left of ${maxBytes}.`,
        quota,
      );
    }
  };
  return {
    put: (name, content, options = {}) => {
      const work = queue.then(() => put(name, content, options));
      queue = work.catch(() => undefined);
      return work;
    },
    get: name => files.get(name),
    read: (name, maxBytes) => files.read(name, maxBytes),
    stat: name => files.stat(name),
    list: (folder, options) => files.list(folder, options),
    delete: name => files.delete(name),
  };
}

async function othersThan(files: FileStore, name: string): Promise<{bytes: number; count: number}> {
  const sum = {bytes: 0, count: 0};
  for (let after: string | undefined = ''; after !== undefined;) {
    const page = await files.list('', {after});
    for (const file of page.files) {
      if (file.name === name) continue;
      sum.bytes += file.size;
      sum.count++;
    }
    after = page.next;
  }
  return sum;
}

const full = (message: string, quota: FileQuota) =>
  new ByError('MESSAGE_TOO_LARGE', message, {
    hint: 'Delete what is not needed any more, or give the store a larger quota.',
    details: {...quota},
  });
