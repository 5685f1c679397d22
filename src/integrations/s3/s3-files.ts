/**
 * Files in a bucket of S3, or of what speaks its protocol. A file is an object, `/` is only a character of its key: what a
 * folder is there, the names of this store say, so that both kinds of stores hold the same names.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  type CompletedPart,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import {Readable} from 'node:stream';
import {ByError} from '../../errors.js';
import type {
  FileContent,
  FileInfo,
  FilePage,
  FileStore,
  ListOptions,
  PutOptions,
} from '../../files/file-store.js';
import {
  checkedName,
  checkLimit,
  MAX_FILE_BYTES,
  MAX_PAGE,
  MAX_READ_BYTES,
  plainName,
  refuseTwin,
  tooLarge,
} from '../../files/file-names.js';
import {escape, notFound} from '../../files/safe-folder.js';

export interface S3FilesOptions {
  readonly bucket: string;
  /** Where in the bucket, for example `agents/files`. Nothing outside of it is read or written. Default: all of it. */
  readonly prefix?: string;
  /** A client of yours, or how to make one; without both, credentials and region are found as the SDK finds them. */
  readonly client?: S3Client;
  readonly config?: S3ClientConfig;
  /** Bytes of one part of a larger file, from 5 MiB. A file up to this is one request. Default 8 MiB. */
  readonly partBytes?: number;
}

const MIN_PART_BYTES = 5 * 1024 * 1024;
const PART_BYTES = 8 * 1024 * 1024;

/** @throws {ByError} INVALID_CONFIG for a prefix or a size of parts that can not be. */
export function s3Files(options: S3FilesOptions): FileStore {
  const {bucket, prefix = '', partBytes = PART_BYTES} = options;
  if (bucket === '' || !Number.isSafeInteger(partBytes) || partBytes < MIN_PART_BYTES) {
    throw new ByError('INVALID_CONFIG', 'The bucket is missing, or parts are too small.', {
      hint: `Name a bucket; partBytes is a whole number from ${MIN_PART_BYTES}.`,
    });
  }
  const root = prefix === '' ? '' : `${stepsOf(checkedName(prefix)).join('/')}/`;
  return new S3Files(options.client ?? new S3Client(options.config ?? {}), bucket, root, partBytes);
}

class S3Files implements FileStore {
  constructor(
    private readonly client: S3Client,
    private readonly bucket: string,
    private readonly root: string,
    private readonly partBytes: number,
  ) {}

  async put(name: string, content: FileContent, options: PutOptions = {}): Promise<FileInfo> {
    const steps = fileSteps(name);
    await this.refuseNeighbours(name, steps);
    const at = this.at(steps);
    const parts = partsOf(content, this.partBytes, options.maxBytes ?? MAX_FILE_BYTES, name);
    const first = await parts.next();
    const whole = first.done === true || first.value.isLast;
    if (whole)
      await this.client.send(new PutObjectCommand({...at, Body: first.value?.bytes ?? Buffer.alloc(0)}));
    else await this.putParts(at, first.value.bytes, parts);
    return this.stat(name);
  }

  async get(name: string) {
    const {Body: body} = await this.orNotFound(name, at => this.client.send(new GetObjectCommand(at)));
    if (body instanceof Readable) return body;
    throw new ByError('INTERNAL', 'The S3 client gave no stream of Node.', {hint: 'Use its build for Node.'});
  }

  async read(name: string, maxBytes = MAX_READ_BYTES): Promise<Buffer> {
    const stream = await this.get(name);
    const pieces: Buffer[] = [];
    let length = 0;
    // Leaving the loop destroys the stream, and with it the request.
    for await (const piece of stream as AsyncIterable<Buffer>) {
      length += piece.length;
      if (length > maxBytes) throw tooLarge(name, maxBytes);
      pieces.push(piece);
    }
    return Buffer.concat(pieces, length);
  }

  async stat(name: string): Promise<FileInfo> {
    const {ContentLength: size = 0, LastModified: modified} = await this.orNotFound(name, at =>
      this.client.send(new HeadObjectCommand(at)),
    );
    return {name: plainName(name), size, modifiedAt: modified?.getTime() ?? 0};
  }

  async list(folder = '', {limit = MAX_PAGE, after = ''}: ListOptions = {}): Promise<FilePage> {
    checkLimit(limit);
    const steps = folder === '' ? [] : stepsOf(checkedName(folder));
    const prefix = `${this.root}${steps.map(step => `${step}/`).join('')}`;
    const page = await this.client.send(
      new ListObjectsV2Command({
        ...{Bucket: this.bucket, Prefix: prefix, MaxKeys: limit},
        ...(after === '' ? {} : {StartAfter: `${this.root}${after}`}),
      }),
    );
    const objects = page.Contents ?? [];
    if (objects.length === 0 && after === '' && steps.length > 0) throw notFound(folder);
    const files = objects.flatMap(({Key: key = '', Size: size = 0, LastModified: modified}) => {
      const name = key.slice(this.root.length);
      // What others put into the bucket may have names that are none here.
      return isOurs(name) ? [{name, size, modifiedAt: modified?.getTime() ?? 0}] : [];
    });
    const last = objects.at(-1)?.Key?.slice(this.root.length);
    return page.IsTruncated === true && last !== undefined ? {files, next: last} : {files};
  }

  async delete(name: string): Promise<boolean> {
    const at = this.at(fileSteps(name));
    try {
      await this.stat(name);
    } catch (error) {
      if (!(error instanceof ByError) || error.code !== 'NOT_FOUND') throw error;
      await this.refuseFolder(name);
      return false;
    }
    await this.client.send(new DeleteObjectCommand(at));
    return true;
  }

  private at(steps: readonly string[]) {
    return {Bucket: this.bucket, Key: `${this.root}${steps.join('/')}`};
  }

  private async orNotFound<T>(
    name: string,
    ask: (at: {Bucket: string; Key: string}) => Promise<T>,
  ): Promise<T> {
    try {
      return await ask(this.at(fileSteps(name)));
    } catch (error) {
      if (isMissing(error)) throw notFound(name, error);
      throw error;
    }
  }

  /** Parts one after the other; nothing is seen of them until all are there, and what fails half way is thrown away. */
  private async putParts(
    at: {Bucket: string; Key: string},
    first: Buffer,
    more: AsyncIterable<Part>,
  ): Promise<void> {
    const {UploadId} = await this.client.send(new CreateMultipartUploadCommand(at));
    const done: CompletedPart[] = [];
    const send = async (bytes: Buffer) => {
      const PartNumber = done.length + 1;
      const {ETag} = await this.client.send(
        new UploadPartCommand({...at, UploadId, PartNumber, Body: bytes}),
      );
      done.push({PartNumber, ETag});
    };
    try {
      await send(first);
      for await (const {bytes} of more) await send(bytes);
      await this.client.send(
        new CompleteMultipartUploadCommand({...at, UploadId, MultipartUpload: {Parts: done}}),
      );
    } catch (error) {
      // A rule of the bucket removes what can not be thrown away now; the first failure is what counts.
      await this.client.send(new AbortMultipartUploadCommand({...at, UploadId})).catch(() => undefined);
      throw error;
    }
  }

  /** A key may be both a file and a folder of others, and have twins: names here may not. One look for each folder of the name. */
  private async refuseNeighbours(name: string, steps: readonly string[]): Promise<void> {
    for (const [depth, step] of steps.entries()) {
      const {files, folders} = await this.level(steps.slice(0, depth));
      refuseTwin(name, step, [...files, ...folders]);
      const isLast = depth === steps.length - 1;
      if ((isLast ? folders : files).includes(step)) throw escape(name);
      if (!isLast && !folders.includes(step)) return;
    }
  }

  private async refuseFolder(name: string): Promise<void> {
    const steps = fileSteps(name);
    const {folders} = await this.level(steps.slice(0, -1));
    if (folders.includes(steps.at(-1) ?? '')) throw escape(name);
  }

  private async level(steps: readonly string[]): Promise<{files: string[]; folders: string[]}> {
    const prefix = `${this.root}${steps.map(step => `${step}/`).join('')}`;
    const found = {files: [] as string[], folders: [] as string[]};
    for (let token: string | undefined, isMore = true; isMore;) {
      const page = await this.client.send(
        new ListObjectsV2Command({
          ...{Bucket: this.bucket, Prefix: prefix, Delimiter: '/'},
          ...(token === undefined ? {} : {ContinuationToken: token}),
        }),
      );
      for (const {Key: key = ''} of page.Contents ?? []) found.files.push(key.slice(prefix.length));
      for (const {Prefix: folder = ''} of page.CommonPrefixes ?? [])
        found.folders.push(folder.slice(prefix.length, -1));
      token = page.NextContinuationToken;
      isMore = page.IsTruncated === true && token !== undefined;
    }
    return found;
  }
}

interface Part {
  readonly bytes: Buffer;
  /** Nothing comes after it. */
  readonly isLast: boolean;
}

/** The content in parts of one size, the last one shorter. @throws {ByError} MESSAGE_TOO_LARGE */
async function* partsOf(
  content: FileContent,
  size: number,
  maxBytes: number,
  name: string,
): AsyncGenerator<Part, undefined> {
  const pieces = typeof content === 'string' || content instanceof Uint8Array ? [content] : content;
  let held: Buffer[] = [];
  let length = 0;
  let total = 0;
  for await (const piece of pieces) {
    // A copy: whoever made it may use it for the next piece.
    const bytes = Buffer.from(piece as Uint8Array);
    total += bytes.length;
    if (total > maxBytes) throw tooLarge(name, maxBytes);
    held.push(bytes);
    length += bytes.length;
    if (length <= size) continue;
    const all = Buffer.concat(held, length);
    let from = 0;
    // One byte stays at least, so that the last part is known to be the last.
    for (; length - from > size; from += size) yield {bytes: all.subarray(from, from + size), isLast: false};
    held = [all.subarray(from)];
    length -= from;
  }
  yield {bytes: Buffer.concat(held, length), isLast: true};
  return undefined;
}

/** @throws {ByError} INVALID_INPUT, WORKSPACE_ESCAPE for a name that leads out. */
function stepsOf(name: string): string[] {
  const steps = plainName(name).split('/');
  if (name.startsWith('/') || steps.some(step => step === '..' || step.includes('\\'))) throw escape(name);
  return steps;
}

function fileSteps(name: string): string[] {
  const steps = stepsOf(checkedName(name));
  if (name.endsWith('/') || steps[0] === '') throw notFound(name);
  return steps;
}

function isOurs(name: string): boolean {
  try {
    return plainName(checkedName(name)) === name && stepsOf(name).length > 0;
  } catch {
    // What is wrong with it is of no use to whoever lists.
    return false;
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && ['NoSuchKey', 'NotFound'].includes(error.name);
