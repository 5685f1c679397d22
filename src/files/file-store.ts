/** Files of a session as agent code sees them, wherever they are. */

export interface FileInfo {
  /** Relative, with `/` between folders. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Unix milliseconds. */
  readonly modifiedAt: number;
}

export type FileContent = string | Uint8Array | AsyncIterable<string | Uint8Array>;

export interface PutOptions {
  /** Most bytes; what is longer is not stored at all. Default 100 MiB. */
  readonly maxBytes?: number;
}

export interface ListOptions {
  /** Files of one page, up to 1,000. Default 1,000. */
  readonly limit?: number;
  /** Begin after this name: `next` of the page before. */
  readonly after?: string;
}

export interface FilePage {
  readonly files: readonly FileInfo[];
  /** The last name of this page if there are more. */
  readonly next?: string;
}

/** Whose files: a session of a user. */
export interface FilesOwner {
  readonly sessionId: string;
  readonly userCode: string;
  /** A name for a folder, made from both: 40 hex digits, whatever the ids are. */
  readonly folder: string;
}

/** Opens the files of a session. */
export type SessionFiles = (owner: FilesOwner) => FileStore;

/**
 * Names are relative, up to 1,024 characters, with `/` between folders; no control characters, no `\`, no `..`, and no part
 * that ends in a dot or a space. Two names that differ only in case, or in how accents are written, are one too many: `put` of the
 * second is a CONFLICT. All functions throw {ByError} INVALID_INPUT for what is no name, WORKSPACE_ESCAPE for one that
 * leads out of the store, over a link or to what is no plain file, NOT_FOUND for a file that is not there.
 */
export interface FileStore {
  /**
   * Store a whole file. Whoever reads meanwhile reads the old one or the new one, and a content that fails half way
   * leaves the old one. @throws {ByError} MESSAGE_TOO_LARGE, also where the store has a quota; CONFLICT.
   */
  put(name: string, content: FileContent, options?: PutOptions): Promise<FileInfo>;
  /** The content as a stream, of the file as it is now: what replaces it meanwhile does not show. Read it, or destroy it. */
  get(name: string): Promise<NodeJS.ReadableStream & AsyncIterable<Buffer>>;
  /** The whole content. @param maxBytes a larger file is MESSAGE_TOO_LARGE. Default 16 MiB. */
  read(name: string, maxBytes?: number): Promise<Buffer>;
  stat(name: string): Promise<FileInfo>;
  /** Plain files, those in folders too, by name. @param folder default all. */
  list(folder?: string, options?: ListOptions): Promise<FilePage>;
  /** @returns false if there was none. */
  delete(name: string): Promise<boolean>;
}
