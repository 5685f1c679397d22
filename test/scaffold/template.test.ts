/** The projects `by init` makes, as their owners would check them: types and tests, against this build of the toolkit. */
import {execFile} from 'node:child_process';
import {mkdir, mkdtemp, readFile, rm, symlink} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {promisify} from 'node:util';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {carryOut, planAddition} from '../../src/scaffold/add-to-project.js';
import {createProject, planProject} from '../../src/scaffold/create-project.js';
import {PARTS, templates} from '../../src/scaffold/templates.js';

const root = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
let cwd: string;

beforeAll(async () => {
  await run(process.execPath, [path.join(root, 'scripts/build.js'), '--if-stale']);
  cwd = await mkdtemp(path.join(tmpdir(), 'by-template-'));
}, 180_000);
afterAll(async () => {
  await rm(cwd, {recursive: true, force: true});
});

describe.each(templates.map(template => [template.name, template] as const))(
  'the template %s',
  (name, template) => {
    let project: string;
    beforeAll(async () => {
      const directory = `my-${name}`;
      project = path.join(cwd, directory);
      await createProject(
        await planProject(
          {directory, template, name: directory, agentType: `my_${name}`, toolkit: '^0.1.0', force: false},
          cwd,
        ),
      );
      // In place of an installation: what package.json names, from here.
      await mkdir(path.join(project, 'node_modules/@types'), {recursive: true});
      await symlink(root, path.join(project, 'node_modules/by-toolkit'));
      for (const needed of ['tsx', 'typescript', '@types/node', 'zod'])
        await symlink(path.join(root, 'node_modules', needed), path.join(project, 'node_modules', needed));
    });

    const typesAreRight = () =>
      run(process.execPath, ['node_modules/typescript/bin/tsc', '--noEmit'], {cwd: project});
    const by = (...args: string[]) =>
      run(process.execPath, [path.join(root, 'bin/by.js'), ...args], {cwd: project});

    async function passing(): Promise<number> {
      const {stdout} = await run('npm', ['test'], {
        cwd: project,
        // Without vitest's own settings, which would change what node:test does.
        env: {PATH: process.env.PATH, HOME: process.env.HOME, WORD_PAUSE_MS: '5'},
      });
      expect(stdout).toMatch(/^(#|ℹ) fail 0$/m);
      return Number(/^(?:#|ℹ) pass (\d+)$/m.exec(stdout)?.[1]);
    }

    test('has right types, and tests that pass without a Redis server', async () => {
      await typesAreRight();
      expect(await passing()).toBeGreaterThan(0);
    });

    test('starts as it is, plugins included', async () => {
      await by('worker', 'run', '--check');
    });

    test('has no token of ours left in it', async () => {
      const files = (await planProject(
        {directory: 'other', template, name: 'other', agentType: 'other', toolkit: '^0.1.0', force: false},
        cwd,
      ).then(plan => plan.files)) as readonly {content: string}[];
      for (const {content} of files)
        expect(content).not.toMatch(/__name__|\{\{(?:name|agentType|toolkit|entry)\}\}/);
    });

    test('takes whatever can be added: types, tests and config stay whole', async () => {
      const before = await passing();
      for (const part of PARTS) {
        // A test is of a worker that is there: the one that was just added has none of its own yet under that name.
        const [added, agentType] =
          part === 'test' ? [`my_${name}`, undefined] : [`extra-${part}`, `extra_${part}`];
        const change = await carryOut(await planAddition({part, name: added, agentType}, project));
        expect([part, change]).toEqual([
          part,
          part === 'worker' || part === 'plugin' ? 'edited' : 'unchanged',
        ]);
      }
      const config = await readFile(path.join(project, 'by.config.ts'), 'utf8');
      expect(config).toContain(`{entry: './src/extra-worker.ts', agentTypes: ['extra_worker']}`);
      expect(config).toContain(`'./src/extra-plugin.ts'`);
      await typesAreRight();
      expect(await passing()).toBe(before + 5);
      await by('worker', 'run', '--check');
      await by('plugin', 'check', 'src/extra-plugin.ts', '--strict');
    }, 120_000);
  },
);
