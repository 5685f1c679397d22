/** guarantees.md §2, row "workspace": what a session's files are, and that nothing leads out of them. */
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Worker} from 'node:worker_threads';
import {execFileSync} from 'node:child_process';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import {openWorkspace, removeUnusedWorkspaces, workspaceFolder} from '../../src/worker/workspace.js';

const ESCAPE = {code: 'WORKSPACE_ESCAPE', exitCode: 13};
const owner = {sessionId: 'sess-1', userCode: 'u-1'};

let base = '';
let root = '';
let outside = '';
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'by-ws-'));
  root = join(base, 'workspaces');
  outside = join(base, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'secret');
});
afterEach(() => rmSync(base, {recursive: true, force: true}));

/** What lies outside is as it was. */
const expectOutsideUntouched = () => {
  expect(readdirSync(outside)).toEqual(['secret']);
  expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret');
};

describe('a workspace', () => {
  test('keeps files, in folders that are made on the way', async () => {
    const files = openWorkspace(root, owner);
    await files.writeFile('a/b/note.txt', 'first, and longer');
    await files.writeFile('a/b/note.txt', 'second');
    await files.writeFile('top', Buffer.from([0, 255]));
    expect((await files.readFile('./a//b/note.txt')).toString()).toBe('second');
    expect([...(await files.readFile('top'))]).toEqual([0, 255]);
    expect(await files.list()).toEqual([
      {name: 'a', kind: 'folder'},
      {name: 'top', kind: 'file'},
    ]);
    expect(await files.list('a/b')).toEqual([{name: 'note.txt', kind: 'file'}]);
    await files.remove('a');
    await files.remove('a');
    expect(await files.list()).toEqual([{name: 'top', kind: 'file'}]);
  });

  test('is found again by its session, and is another one for another user or session', async () => {
    await openWorkspace(root, owner).writeFile('x', '1');
    expect((await openWorkspace(root, owner).readFile('x')).toString()).toBe('1');
    for (const other of [
      {...owner, userCode: 'u-2'},
      {...owner, sessionId: 'sess-2'},
    ])
      expect(await openWorkspace(root, other).list()).toEqual([]);
  });

  test.each(['../..', '/etc', '..', 'a\0b', 'C:\\x', 'x'.repeat(4000)])(
    'takes nothing of an id into its path: %j',
    id => {
      const name = workspaceFolder({sessionId: id, userCode: id});
      expect(name).toMatch(/^[0-9a-f]{40}$/);
      expect(openWorkspace(root, {sessionId: id, userCode: id}).path).toBe(join(root, name));
    },
  );

  test('says what is not there', async () => {
    const files = openWorkspace(root, owner);
    await expect(files.readFile('none')).rejects.toMatchObject({code: 'NOT_FOUND'});
    await expect(files.readFile('none/x')).rejects.toMatchObject({code: 'NOT_FOUND'});
    await expect(files.list('none')).rejects.toMatchObject({code: 'NOT_FOUND'});
    await expect(files.readFile('')).rejects.toMatchObject({code: 'NOT_FOUND'});
  });

  test.each(['../x', 'a/../../x', '/etc/passwd', '..', 'a\\..\\x', 'nul\0', '.././x'])(
    'refuses the name %j',
    async name => {
      const files = openWorkspace(root, owner);
      mkdirSync(`${files.path}-evil`);
      writeFileSync(join(root, 'x'), 'theirs');
      for (const act of [
        () => files.readFile(name),
        () => files.writeFile(name, 'x'),
        () => files.list(name),
        () => files.remove(name),
      ])
        await expect(act()).rejects.toMatchObject(ESCAPE);
      await expect(files.readFile(`../${workspaceFolder(owner)}-evil/x`)).rejects.toMatchObject(ESCAPE);
      expect(readFileSync(join(root, 'x'), 'utf8')).toBe('theirs');
    },
  );

  test('follows no link: to a file, to a folder, on the way, into nothing', async () => {
    const files = openWorkspace(root, owner);
    symlinkSync(join(outside, 'secret'), join(files.path, 'file'));
    symlinkSync(outside, join(files.path, 'folder'));
    symlinkSync(join(outside, 'new'), join(files.path, 'dangling'));
    symlinkSync('.', join(files.path, 'here'));
    for (const name of ['file', 'folder/secret', 'folder/new', 'dangling', 'here/file']) {
      await expect(files.readFile(name)).rejects.toMatchObject(ESCAPE);
      await expect(files.writeFile(name, 'x')).rejects.toMatchObject(ESCAPE);
    }
    await expect(files.list('folder')).rejects.toMatchObject(ESCAPE);
    await expect(files.remove('folder/secret')).rejects.toMatchObject(ESCAPE);
    expect((await files.list()).map(({kind}) => kind)).toEqual(['other', 'other', 'other', 'other']);
    for (const name of ['file', 'folder', 'dangling', 'here']) await files.remove(name);
    expect(await files.list()).toEqual([]);
    expectOutsideUntouched();
  });

  test('refuses a second name of a file that is elsewhere, and what is no file', async () => {
    const files = openWorkspace(root, owner);
    linkSync(join(outside, 'secret'), join(files.path, 'hard'));
    execFileSync('mkfifo', [join(files.path, 'pipe')]);
    mkdirSync(join(files.path, 'folder'));
    for (const name of ['hard', 'pipe', 'folder']) {
      await expect(files.writeFile(name, 'x')).rejects.toThrow();
      await expect(files.readFile(name)).rejects.toThrow();
    }
    await files.writeFile('plain', 'x');
    await expect(files.writeFile('plain/x', 'x')).rejects.toMatchObject(ESCAPE);
    expectOutsideUntouched();
  });

  test('is refused where a link lies in place of its folder', () => {
    mkdirSync(root);
    symlinkSync(outside, join(root, workspaceFolder(owner)));
    expect(() => openWorkspace(root, owner)).toThrow(/leads out/);
  });

  test('stays closed while somebody swaps a folder for a link, again and again', async () => {
    const files = openWorkspace(root, owner);
    // Another process of the same user: `sub` is a folder, then a link to outside, then a folder, and so on.
    const swap = `
      const {mkdirSync, renameSync, symlinkSync, rmSync} = require('node:fs');
      const {workerData: {dir, outside}} = require('node:worker_threads');
      mkdirSync(dir + '/real', {recursive: true});
      symlinkSync(outside, dir + '/link');
      for (;;) {
        for (const one of ['real', 'link']) {
          try {
            renameSync(dir + '/' + one, dir + '/sub');
            renameSync(dir + '/sub', dir + '/' + one);
          } catch {}
        }
      }`;
    const swapper = new Worker(swap, {eval: true, workerData: {dir: files.path, outside}});
    const ends = {done: 0, refused: 0};
    const count = async (act: Promise<unknown>) => {
      try {
        expect(String(await act)).not.toContain('secret');
        ends.done++;
      } catch (error) {
        expect(['WORKSPACE_ESCAPE', 'NOT_FOUND']).toContain((error as {code?: string}).code);
        ends.refused++;
      }
    };
    while (ends.done < 200 || ends.refused < 200) {
      await count(files.writeFile('sub/mine', 'mine'));
      await count(files.readFile('sub/secret'));
      await count(files.remove('sub/mine'));
      await count(files.remove('sub/secret'));
    }
    await swapper.terminate();
    expectOutsideUntouched();
  });
});

test('workspaces nobody has used for a week go, with no step outside of them', async () => {
  const week = 7 * 86_400_000;
  const old = openWorkspace(root, owner);
  await old.writeFile('a/b', 'x');
  symlinkSync(outside, join(old.path, 'a', 'link'));
  const fresh = openWorkspace(root, {...owner, sessionId: 'sess-2'});
  mkdirSync(join(root, 'not-ours'));
  symlinkSync(outside, join(root, 'f'.repeat(40)));
  const then = new Date(Date.now() - week - 1000);
  for (const path of [old.path, join(root, 'not-ours')]) utimesSync(path, then, then);
  expect(await removeUnusedWorkspaces(root, week, Date.now())).toBe(1);
  expect(existsSync(old.path)).toBe(false);
  expect(readdirSync(root).sort()).toEqual(
    [fresh.path.slice(root.length + 1), 'f'.repeat(40), 'not-ours'].sort(),
  );
  expect(await removeUnusedWorkspaces(join(base, 'none'), week, Date.now())).toBe(0);
  expectOutsideUntouched();
});
