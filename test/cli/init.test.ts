import {mkdtemp, readdir, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {afterEach, beforeEach, describe, expect, test, vi} from 'vitest';
import Init from '../../commands/init.js';
import {runCommand} from './run-command.js';

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'by-init-test-'));
  vi.spyOn(process, 'cwd').mockReturnValue(cwd);
  Init.id = 'init';
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(cwd, {recursive: true, force: true});
});

const init = (...argv: string[]) => runCommand(Init, argv);

describe('by init', () => {
  test('creates a project and says what to do next', async () => {
    const {exit, stdout, stderr} = await init('echo-bot', '--yes', '--no-install', '--no-git');
    expect({exit, stderr}).toEqual({exit: 0, stderr: ''});
    expect(stdout).toContain('create  package.json');
    expect(stdout).toContain('cd echo-bot && npm install && npx by dev');
    expect(stdout).toContain('by send echo_bot "hi" --follow');
    expect(await readdir(cwd)).toEqual(['echo-bot']);
  });

  test('reports as data under --json', async () => {
    const {stdout} = await init(
      'echo-bot',
      '--json',
      '--no-install',
      '--no-git',
      '--agent-type',
      'echo',
      '--pm',
      'pnpm',
    );
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      schema: 'by.init/1',
      data: {
        dir: 'echo-bot',
        name: 'echo-bot',
        template: 'worker',
        agent_type: 'echo',
        pm: 'pnpm',
        written: true,
        installed: false,
        git: 'skipped',
      },
    });
  });

  test('--print lists the files and writes nothing', async () => {
    const {exit, stdout} = await init('echo-bot', '--print');
    expect(exit).toBe(0);
    expect(stdout.split('\n')).toContain('src/worker.ts');
    expect(await readdir(cwd)).toEqual([]);
  });

  test('names what is missing where nobody can be asked', async () => {
    const {exit, stderr} = await init('--yes');
    expect(exit).toBe(2);
    expect(stderr).toContain('✗ USAGE  DIR is missing');
  });

  test('refuses a folder that is not empty, whatever --yes says', async () => {
    await init('echo-bot', '--no-install', '--no-git');
    const again = await init('echo-bot', '--no-install', '--no-git', '--yes', '--json');
    expect(again.exit).toBe(11);
    expect(JSON.parse(again.stdout)).toMatchObject({error: {code: 'DIRECTORY_NOT_EMPTY', exit: 11}});
    expect((await init('echo-bot', '--no-install', '--no-git', '--force')).exit).toBe(0);
  });

  test('refuses to leave the current folder, and templates it does not have', async () => {
    expect((await init('../x', '--yes')).exit).toBe(2);
    expect((await init('x', '--name', '../x')).exit).toBe(2);
    const {exit, stderr} = await init('x', '--template', 'langgraph');
    expect(exit).toBe(2);
    expect(stderr).toContain('Available: worker, plugin.');
    expect(await readdir(cwd)).toEqual([]);
  });
});
