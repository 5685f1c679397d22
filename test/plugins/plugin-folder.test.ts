/** guarantees.md §2, row "plugins": a folder is code, and code is loaded only from where nobody else may put it. */
import {execFileSync} from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import type {ByError} from '../../src/errors.js';
import {checkPluginFolder, currentUser} from '../../src/plugins/plugin-folder.js';

let base = '';
let folder = '';
beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'by-plugins-')));
  folder = join(base, 'above', 'plugin');
  mkdirSync(join(folder, 'lib'), {recursive: true});
  for (const one of [join(base, 'above'), folder, join(folder, 'lib')]) chmodSync(one, 0o755);
  writeFileSync(join(folder, 'index.js'), '', {mode: 0o644});
  writeFileSync(join(folder, 'lib', 'part.js'), '', {mode: 0o644});
});
afterEach(() => rmSync(base, {recursive: true, force: true}));

const problemOf = async (path: string, user = currentUser()): Promise<unknown> => {
  try {
    return await checkPluginFolder(path, user);
  } catch (error) {
    expect(error).toMatchObject({code: 'DENIED', exitCode: 13});
    return (error as ByError).details['problem'];
  }
};

test('a folder of ours is taken, under its real path, with links that stay inside', async () => {
  symlinkSync('lib/part.js', join(folder, 'part.js'));
  symlinkSync(folder, join(base, 'link'));
  expect(await problemOf(join(base, 'link'))).toBe(folder);
});

test.each(['.', 'plugin', './plugin', ''])(
  'a path that depends on where we were started is refused: %j',
  async path => {
    expect(await problemOf(path)).toBe('relative');
  },
);

test('what is not there, or no folder, is refused', async () => {
  expect(await problemOf(join(base, 'none'))).toBe('missing');
  expect(await problemOf(join(folder, 'index.js'))).toBe('not-a-folder');
});

test.each(['.', 'index.js', 'lib', 'lib/part.js', '..'])(
  'what others may write to is refused: %s',
  async name => {
    chmodSync(join(folder, name), name.endsWith('.js') ? 0o646 : 0o757);
    expect(await problemOf(folder)).toBe('writable-by-others');
  },
);

test('our own group may write, another may not', async () => {
  const {uid, gid} = currentUser() ?? {uid: 0, gid: 0};
  chmodSync(join(folder, 'index.js'), 0o664);
  expect(await problemOf(folder)).toBe(folder);
  if (uid !== 0) return;
  chownSync(join(folder, 'index.js'), uid, gid + 4321);
  expect(await problemOf(folder)).toBe('writable-by-others');
});

test('what belongs to somebody else is refused, wherever it lies', async () => {
  const {uid, gid} = currentUser() ?? {uid: 0, gid: 0};
  if (uid === 0) {
    for (const path of [join(folder, 'lib', 'part.js'), folder, join(base, 'above')]) {
      chownSync(path, 4321, gid);
      expect(await problemOf(folder)).toBe('foreign-owner');
      chownSync(path, 0, gid);
    }
  } else {
    // Seen by another user, ours is somebody else's.
    expect(await problemOf(folder, {uid: uid + 1, gid})).toBe('foreign-owner');
  }
  expect(await problemOf(folder)).toBe(folder);
});

test('links that lead out are refused, also by a name that begins the same, and into nothing', async () => {
  mkdirSync(`${folder}-evil`);
  for (const target of [`${folder}-evil`, '/etc', '../../outside', join(base, 'none')]) {
    symlinkSync(target, join(folder, 'lib', 'link'));
    expect(await problemOf(folder)).toBe('link-outside');
    rmSync(join(folder, 'lib', 'link'));
  }
});

test('pipes and sockets are refused', async () => {
  execFileSync('mkfifo', ['-m', '644', join(folder, 'lib', 'pipe')]);
  expect(await problemOf(folder)).toBe('not-a-file');
});
