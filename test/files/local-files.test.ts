/** Files of a session: whole or not at all, within limits, and nothing outside of their folder. */
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Readable} from 'node:stream';
import {execFileSync} from 'node:child_process';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import type {FileStore} from '../../src/files/file-store.js';
import {localFiles} from '../../src/files/local-files.js';

let base = '';
let root = '';
let outside = '';
let files: FileStore;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'by-files-'));
  root = join(base, 'files');
  outside = join(base, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'secret');
  files = localFiles(root);
});
afterEach(() => {
  expect(readdirSync(outside)).toEqual(['secret']);
  expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret');
  rmSync(base, {recursive: true, force: true});
});

const text = async (name: string) => (await files.read(name)).toString();
const ESCAPE = {code: 'WORKSPACE_ESCAPE', exitCode: 13};
const names = async (folder?: string) => (await files.list(folder)).files.map(({name}) => name);

describe('a store of files', () => {
  test('keeps what is put into it: text, bytes, streams, in folders that are made on the way', async () => {
    expect(await files.put('note.txt', 'hello')).toMatchObject({name: 'note.txt', size: 5});
    await files.put('./a//b/data.bin', Buffer.from([0, 255]));
    await files.put('a/stream', Readable.from(['one ', Buffer.from('two')]));
    expect(await text('note.txt')).toBe('hello');
    expect([...(await files.read('a/b/data.bin'))]).toEqual([0, 255]);
    expect(await text('a/stream')).toBe('one two');
    expect(await names()).toEqual(['a/b/data.bin', 'a/stream', 'note.txt']);
    expect(await names('a')).toEqual(['a/b/data.bin', 'a/stream']);
    const {modifiedAt, ...info} = await files.stat('a/./stream');
    expect(info).toEqual({name: 'a/stream', size: 7});
    expect(Math.abs(Date.now() - modifiedAt)).toBeLessThan(60_000);
    expect(await files.delete('a/stream')).toBe(true);
    expect(await files.delete('a/stream')).toBe(false);
    for (const act of ['read', 'get', 'stat'] as const)
      await expect(files[act]('a/stream')).rejects.toMatchObject({code: 'NOT_FOUND'});
  });

  test('gives large files piece by piece', async () => {
    const piece = Buffer.alloc(64 * 1024, 'x');
    await files.put(
      'large',
      (function* () {
        for (let index = 0; index < 320; index++) yield piece;
      })() as unknown as AsyncIterable<Buffer>,
    );
    let length = 0;
    for await (const part of await files.get('large')) length += part.length;
    expect(length).toBe(320 * piece.length);
    await expect(files.read('large')).rejects.toMatchObject({code: 'MESSAGE_TOO_LARGE'});
    (await files.get('large')).on('data', () => undefined).pause();
  });

  test('keeps the old file when a new one fails half way, or is too large, and leaves nothing else', async () => {
    await files.put('kept', 'old');
    async function* broken() {
      yield 'half of it';
      throw new Error('lost the connection');
    }
    await expect(files.put('kept', broken())).rejects.toThrow('lost the connection');
    async function* large() {
      for (;;) yield 'too much ';
    }
    await expect(files.put('kept', large(), {maxBytes: 1000})).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
    await expect(files.put('new', 'four', {maxBytes: 3})).rejects.toMatchObject({code: 'MESSAGE_TOO_LARGE'});
    await files.put('just', 'four', {maxBytes: 4});
    expect(await text('kept')).toBe('old');
    expect(readdirSync(root).sort()).toEqual(['just', 'kept']);
  });

  test('shows whoever reads one whole file or the other, however fast they are replaced', async () => {
    const contents = ['a', 'b'].map(letter => letter.repeat(300_000));
    await files.put('busy', contents[0] ?? '');
    const writing = Promise.all(
      Array.from({length: 40}, (_, index) => files.put('busy', contents[index % 2] ?? '')),
    );
    for (let index = 0; index < 40; index++) expect(contents).toContain(await text('busy'));
    await writing;
    expect(readdirSync(root)).toEqual(['busy']);
  });

  test('is listed in pages, without what is no file of its own', async () => {
    for (const name of ['c', 'a', 'b/1', 'b/2', 'd']) await files.put(name, name);
    writeFileSync(join(root, '.by-put-0123'), 'its process died');
    symlinkSync(join(outside, 'secret'), join(root, 'link'));
    symlinkSync(outside, join(root, 'linked-folder'));
    execFileSync('mkfifo', [join(root, 'pipe')]);
    const found: string[] = [];
    for (let after: string | undefined = ''; after !== undefined;) {
      const page = await files.list('', {limit: 2, after});
      expect(page.files.length).toBeLessThanOrEqual(2);
      found.push(...page.files.map(({name}) => name));
      after = page.next;
    }
    expect(found).toEqual(['a', 'b/1', 'b/2', 'c', 'd']);
    await expect(files.list('', {limit: 0})).rejects.toMatchObject({code: 'INVALID_INPUT'});
    await expect(files.list('nowhere')).rejects.toMatchObject({code: 'NOT_FOUND'});
    await expect(files.list('linked-folder')).rejects.toMatchObject(ESCAPE);
  });

  test('belongs to its owner alone', async () => {
    await files.put('a/b/c', 'x');
    const modes = ['', 'a', 'a/b', 'a/b/c'].map(path => statSync(join(root, path)).mode & 0o777);
    expect(modes).toEqual([0o700, 0o700, 0o700, 0o600]);
  });

  test.each([
    ['..', ESCAPE],
    ['../outside/secret', ESCAPE],
    ['a/../../outside/secret', ESCAPE],
    ['/etc/passwd', ESCAPE],
    ['a\\b', ESCAPE],
    ['', {code: 'INVALID_INPUT'}],
    ['a\0b', {code: 'INVALID_INPUT'}],
    ['a\nb', {code: 'INVALID_INPUT'}],
    ['a./b', {code: 'INVALID_INPUT'}],
    ['a ', {code: 'INVALID_INPUT'}],
    ['\ud800', {code: 'INVALID_INPUT'}],
    ['x'.repeat(256), {code: 'INVALID_INPUT'}],
    ['a/'.repeat(600), {code: 'INVALID_INPUT'}],
    ['.by-put-1', {code: 'INVALID_INPUT'}],
    [7 as unknown as string, {code: 'INVALID_INPUT'}],
  ])('refuses the name %j', async (name, error) => {
    for (const act of [
      () => files.put(name, 'x'),
      () => files.get(name),
      () => files.read(name),
      () => files.stat(name),
      () => files.delete(name),
    ])
      await expect(act()).rejects.toMatchObject(error);
    expect(readdirSync(root)).toEqual([]);
  });

  test('follows no link, and reads no second name of somebody else’s file', async () => {
    symlinkSync(join(outside, 'secret'), join(root, 'link'));
    symlinkSync(outside, join(root, 'folder'));
    linkSync(join(outside, 'secret'), join(root, 'twin'));
    for (const name of ['link', 'folder/secret', 'twin']) {
      await expect(files.read(name)).rejects.toMatchObject(ESCAPE);
      await expect(files.stat(name)).rejects.toMatchObject(ESCAPE);
    }
    for (const name of ['link', 'folder', 'folder/secret', 'folder/new'])
      await expect(files.put(name, 'x')).rejects.toMatchObject(ESCAPE);
    await expect(files.delete('folder/secret')).rejects.toMatchObject(ESCAPE);
    // A name of one's own is replaced, what it was another name of is not.
    await files.put('twin', 'mine');
    expect(await text('twin')).toBe('mine');
    // A link is removed, never what it leads to.
    for (const name of ['link', 'folder']) expect(await files.delete(name)).toBe(true);
    mkdirSync(join(root, 'real'));
    await expect(files.delete('real')).rejects.toMatchObject(ESCAPE);
    await expect(files.put('real', 'x')).rejects.toMatchObject(ESCAPE);
  });

  test('can not be led out by a folder that becomes a link meanwhile', async () => {
    const swap = `
      const {mkdirSync, renameSync, rmSync, symlinkSync} = require('node:fs');
      process.chdir(process.argv[1]);
      for (;;) {
        try {
          rmSync('folder', {recursive: true, force: true});
          symlinkSync(process.argv[2], 'folder');
          rmSync('folder');
          mkdirSync('folder');
        } catch {}
      }`;
    const {spawn} = await import('node:child_process');
    const child = spawn(process.execPath, ['-e', swap, root, outside], {stdio: 'ignore'});
    const ended = new Promise(resolve => child.once('exit', resolve));
    try {
      for (let index = 0; index < 400; index++) {
        await files.put('folder/new', 'x').catch(() => undefined);
        await files.delete('folder/secret').catch(() => undefined);
        const read = await files.read('folder/secret').catch(() => undefined);
        expect(read?.toString()).not.toBe('secret');
      }
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
  });
});
