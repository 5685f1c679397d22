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
import {execFileSync} from 'node:child_process';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import type {FileStore} from '../../src/files/file-store.js';
import {localFiles} from '../../src/files/local-files.js';
import {describeFileStore, ESCAPE} from './store-suite.js';

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

describeFileStore('local', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'by-files-'));
  return Promise.resolve({
    files: localFiles(folder),
    kept: () => readdirSync(folder),
    close: () => rmSync(folder, {recursive: true}),
  });
});

describe('files in a folder', () => {
  test('is listed without what is no file of its own', async () => {
    await files.put('b/1', 'x');
    writeFileSync(join(root, '.by-put-0123'), 'its process died');
    symlinkSync(join(outside, 'secret'), join(root, 'link'));
    symlinkSync(outside, join(root, 'linked-folder'));
    execFileSync('mkfifo', [join(root, 'pipe')]);
    expect((await files.list()).files.map(({name}) => name)).toEqual(['b/1']);
    await expect(files.list('linked-folder')).rejects.toMatchObject(ESCAPE);
  });

  test('belongs to its owner alone', async () => {
    await files.put('a/b/c', 'x');
    const modes = ['', 'a', 'a/b', 'a/b/c'].map(path => statSync(join(root, path)).mode & 0o777);
    expect(modes).toEqual([0o700, 0o700, 0o700, 0o600]);
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
