/** The project `by init` makes, as its owner would check it: types and tests, against this build of the toolkit. */
import {execFile} from 'node:child_process';
import {mkdir, mkdtemp, rm, symlink} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {promisify} from 'node:util';
import {afterAll, beforeAll, expect, test} from 'vitest';
import {createProject, planProject} from '../../src/scaffold/create-project.js';
import {findTemplate} from '../../src/scaffold/templates.js';

const root = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
let cwd: string;
let project: string;

beforeAll(async () => {
  await run(process.execPath, [path.join(root, 'scripts/build.js'), '--if-stale']);
  cwd = await mkdtemp(path.join(tmpdir(), 'by-template-'));
  project = path.join(cwd, 'echo-bot');
  await createProject(
    await planProject(
      {
        directory: 'echo-bot',
        template: findTemplate('worker'),
        name: 'echo-bot',
        agentType: 'echo_bot',
        toolkit: '^0.1.0',
        force: false,
      },
      cwd,
    ),
  );
  // In place of an installation: what package.json names, from here.
  await mkdir(path.join(project, 'node_modules/@types'), {recursive: true});
  await symlink(root, path.join(project, 'node_modules/by-toolkit'));
  for (const name of ['tsx', 'typescript', '@types/node']) {
    await symlink(path.join(root, 'node_modules', name), path.join(project, 'node_modules', name));
  }
}, 180_000);
afterAll(async () => {
  await rm(cwd, {recursive: true, force: true});
});

test('its types are right', async () => {
  await run(process.execPath, ['node_modules/typescript/bin/tsc', '--noEmit'], {cwd: project});
}, 60_000);

test('its tests pass, without a Redis server', async () => {
  const {stdout} = await run('npm', ['test'], {
    cwd: project,
    // Without vitest's own settings, which would change what node:test does.
    env: {PATH: process.env.PATH, HOME: process.env.HOME, WORD_PAUSE_MS: '5'},
  });
  expect(stdout).toMatch(/^(#|ℹ) pass [1-9]/m);
  expect(stdout).toMatch(/^(#|ℹ) fail 0$/m);
}, 60_000);
