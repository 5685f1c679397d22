import {execFileSync} from 'node:child_process';
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {detectPackageManager, initGit} from '../../src/scaffold/tools.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'by-tools-test-'));
});
afterEach(async () => {
  await rm(directory, {recursive: true, force: true});
});

const signal = new AbortController().signal;

test('the package manager is the one that started us, npm otherwise', () => {
  expect(detectPackageManager({npm_config_user_agent: 'pnpm/9.1.0 npm/? node/v20.20.2 linux x64'})).toBe(
    'pnpm',
  );
  expect(detectPackageManager({npm_config_user_agent: 'npmish/1.0'})).toBe('npm');
  expect(detectPackageManager({})).toBe('npm');
});

test('git makes a repository once, and leaves one around it alone', async () => {
  await writeFile(path.join(directory, 'a.txt'), 'a');
  expect(await initGit(directory, signal)).toMatch(/^initialised/);
  expect(
    execFileSync('git', ['status', '--porcelain', '--ignored'], {cwd: directory, encoding: 'utf8'}),
  ).toMatch(/^(A {2}a\.txt\n)?$/);
  expect(await initGit(directory, signal)).toBe('inside_another_repository');
});
