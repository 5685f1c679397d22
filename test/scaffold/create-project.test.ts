import {existsSync} from 'node:fs';
import {lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import {
  createProject,
  ownToolkitSpec,
  planProject,
  type ProjectChoice,
} from '../../src/scaffold/create-project.js';
import {agentTypeOf, agentTypeProblem, projectNameProblem} from '../../src/scaffold/names.js';
import {findTemplate} from '../../src/scaffold/templates.js';
import {writeProject} from '../../src/scaffold/write-project.js';

let outside: string;
let cwd: string;
beforeEach(async () => {
  outside = await realpath(await mkdtemp(path.join(tmpdir(), 'by-init-test-')));
  cwd = path.join(outside, 'work');
  await mkdir(cwd);
});
afterEach(async () => {
  await rm(outside, {recursive: true, force: true});
});

const choice = (changes: Partial<ProjectChoice> = {}): ProjectChoice => ({
  directory: 'echo-bot',
  template: findTemplate('worker'),
  name: 'echo-bot',
  agentType: 'echo_bot',
  toolkit: '^0.1.0',
  force: false,
  ...changes,
});
const plan = (changes?: Partial<ProjectChoice>) => planProject(choice(changes), cwd);
const create = async (changes?: Partial<ProjectChoice>) => createProject(await plan(changes));
const refused = (code: string) => expect.objectContaining({code}) as unknown;

describe('names', () => {
  test.each(['echo-bot', 'a', 'my.bot', 'bot_2', '9lives'])('"%s" is a project name', name => {
    expect(projectNameProblem(name)).toBeNull();
  });

  test.each([
    '',
    '.',
    '..',
    '../x',
    'a/b',
    'a\\b',
    '/etc',
    'Echo',
    'a b',
    '-rf',
    '.hidden',
    'a..b',
    'node_modules',
    'a\nb',
    'a"b',
    '$(id)',
    '`id`',
    'ü',
    'x'.repeat(65),
  ])('%j is none', name => {
    expect(projectNameProblem(name)).not.toBeNull();
  });

  test('an agent type is an id, and follows from the name', () => {
    expect(agentTypeOf('echo-bot')).toBe('echo_bot');
    expect(agentTypeProblem('echo_bot')).toBeNull();
    expect(agentTypeProblem("x'; import 'fs")).not.toBeNull();
  });
});

describe('a new project', () => {
  test('has its names filled in everywhere, and no token left', async () => {
    await create({toolkit: '1.0.0 || "odd"'});
    const dir = path.join(cwd, 'echo-bot');
    expect((await readdir(dir)).sort()).toEqual([
      '.editorconfig',
      '.env.example',
      '.gitignore',
      'README.md',
      'by.config.ts',
      'package.json',
      'src',
      'test',
      'tsconfig.json',
    ]);
    const manifest = JSON.parse(await readFile(path.join(dir, 'package.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(manifest).toMatchObject({name: 'echo-bot', dependencies: {'by-toolkit': '1.0.0 || "odd"'}});
    for (const {path: file, content} of (await plan({directory: 'other'})).files) {
      expect(content, file).not.toMatch(/\{\{|\}\}/);
    }
    expect(await readFile(path.join(dir, 'src/worker.ts'), 'utf8')).toContain("type: 'echo_bot'");
  });

  test('may lie deeper, and in an empty folder', async () => {
    await mkdir(path.join(cwd, 'empty'));
    await create({directory: 'empty'});
    await create({directory: 'apps/echo-bot'});
    expect(existsSync(path.join(cwd, 'empty/package.json'))).toBe(true);
    expect(existsSync(path.join(cwd, 'apps/echo-bot/package.json'))).toBe(true);
    expect((await readdir(cwd)).sort()).toEqual(['apps', 'empty']);
  });

  test('may be the current folder, if that is empty', async () => {
    await create({directory: '.'});
    expect(existsSync(path.join(cwd, 'package.json'))).toBe(true);
    expect((await readdir(cwd)).some(name => name.startsWith('.by-init'))).toBe(false);
  });

  test('depends on this checkout of the toolkit, or on what is asked; a path is meant from here', async () => {
    expect(await ownToolkitSpec()).toBe(`file:${path.resolve(import.meta.dirname, '../..')}`);
    const {files} = await plan({toolkit: 'file:../by.tgz'});
    expect(files[0]?.content).toContain(`"by-toolkit": "file:${path.join(outside, 'by.tgz')}"`);
    await expect(plan({toolkit: 'a\nb'})).rejects.toEqual(refused('INVALID_INPUT'));
  });
});

describe('a place that is refused', () => {
  test.each(['../x', '..', 'a/../../x', '/tmp/x', ''])('%j: outside the current folder', async directory => {
    await expect(plan({directory})).rejects.toEqual(refused('INVALID_INPUT'));
  });

  test('a folder with anything in it, without --force', async () => {
    await mkdir(path.join(cwd, 'echo-bot'));
    await writeFile(path.join(cwd, 'echo-bot/.keep'), '');
    await expect(plan()).rejects.toMatchObject({code: 'DIRECTORY_NOT_EMPTY', exitCode: 11});
  });

  test('a file', async () => {
    await writeFile(path.join(cwd, 'echo-bot'), '');
    await expect(plan()).rejects.toEqual(refused('CONFLICT'));
  });

  test('a symbolic link, also one on the way, also with --force', async () => {
    await mkdir(path.join(outside, 'elsewhere'));
    await symlink(path.join(outside, 'elsewhere'), path.join(cwd, 'link'));
    await symlink(path.join(outside, 'nowhere'), path.join(cwd, 'dangling'));
    for (const directory of ['link', 'link/deeper', 'dangling']) {
      await expect(plan({directory, force: true})).rejects.toEqual(refused('INVALID_INPUT'));
    }
    expect(await readdir(path.join(outside, 'elsewhere'))).toEqual([]);
  });

  test('a bad name of the project or the agent type', async () => {
    await expect(plan({name: '../x'})).rejects.toEqual(refused('INVALID_INPUT'));
    await expect(plan({agentType: "a'b"})).rejects.toEqual(refused('INVALID_INPUT'));
  });

  test('a template that does not exist names those that do', () => {
    expect(() => findTemplate('../../etc')).toThrow(
      expect.objectContaining({code: 'INVALID_INPUT', hint: 'Available: worker, plugin.'}),
    );
  });
});

describe('--force', () => {
  beforeEach(async () => {
    await mkdir(path.join(cwd, 'echo-bot'));
    await writeFile(path.join(cwd, 'echo-bot/README.md'), 'mine');
    await writeFile(path.join(cwd, 'echo-bot/notes.md'), 'mine');
  });

  test('replaces files of the same name and leaves the others', async () => {
    await create({force: true});
    expect(await readFile(path.join(cwd, 'echo-bot/README.md'), 'utf8')).toContain('# echo-bot');
    expect(await readFile(path.join(cwd, 'echo-bot/notes.md'), 'utf8')).toBe('mine');
  });

  test('follows no link inside, and then changes nothing at all', async () => {
    await mkdir(path.join(outside, 'elsewhere'));
    await symlink(path.join(outside, 'elsewhere'), path.join(cwd, 'echo-bot/src'));
    const before = await readdir(path.join(cwd, 'echo-bot'));
    await expect(create({force: true})).rejects.toEqual(refused('CONFLICT'));
    expect(await readdir(path.join(cwd, 'echo-bot'))).toEqual(before);
    expect(await readdir(path.join(outside, 'elsewhere'))).toEqual([]);
    expect(await readFile(path.join(cwd, 'echo-bot/README.md'), 'utf8')).toBe('mine');
  });
});

describe('nothing is left half written', () => {
  test('when a file can not be written, also not the folders on the way', async () => {
    const {target, files} = await plan({directory: 'deep/er/echo-bot'});
    const broken = [...files, {path: 'src', content: 'a file where a folder is'}];
    await expect(writeProject(broken, target)).rejects.toThrow();
    expect(await readdir(cwd)).toEqual([]);
  });

  test('when somebody else took the place meanwhile', async () => {
    const ready = await plan();
    await mkdir(path.join(cwd, 'echo-bot'));
    await writeFile(path.join(cwd, 'echo-bot/theirs'), '');
    await expect(createProject(ready)).rejects.toThrow();
    expect(await readdir(cwd)).toEqual(['echo-bot']);
    expect(await readdir(path.join(cwd, 'echo-bot'))).toEqual(['theirs']);
  });
});

test('the templates ship their dotfiles under names npm packs', async () => {
  const folder = path.resolve(import.meta.dirname, '../../templates/base');
  expect(await readdir(folder)).toEqual(expect.arrayContaining(['_gitignore', '_editorconfig']));
  expect((await lstat(folder)).isDirectory()).toBe(true);
});
