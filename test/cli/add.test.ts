import {mkdtemp, readdir, readFile, realpath, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {afterEach, beforeEach, expect, test, vi} from 'vitest';
import Add from '../../commands/add.js';
import {runCommand} from './run-command.js';

let cwd: string;
beforeEach(async () => {
  cwd = await realpath(await mkdtemp(path.join(tmpdir(), 'by-add-test-')));
  vi.spyOn(process, 'cwd').mockReturnValue(cwd);
  Add.id = 'add';
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(cwd, {recursive: true, force: true});
});

const add = (...argv: string[]) => runCommand(Add, argv);
const config = (name: string, text: string) => writeFile(path.join(cwd, name), text);
const code = (json: string) => (JSON.parse(json) as {error: {code: string}}).error.code;

test('outside of a project there is nothing to add to', async () => {
  const {exit, stderr} = await add('worker', 'scribe');
  expect(exit).toBe(2);
  expect(stderr).toContain('by init my-agent');
  expect(await readdir(cwd)).toEqual([]);
});

test('--dry-run shows what would be written and changed, and does neither', async () => {
  await config('by.config.mjs', `export default {workers: []};\n`);
  const {exit, stdout, stderr} = await add('worker', 'scribe', '--dry-run');
  expect({exit, stderr}).toEqual({exit: 0, stderr: 'Nothing was written.\n'});
  expect(stdout).toContain('create  src/scribe.ts');
  expect(stdout).toContain('- export default {workers: []};');
  expect(stdout).toContain(
    `+ export default {workers: [{entry: './src/scribe.ts', agentTypes: ['scribe']}]};`,
  );
  expect(await readdir(cwd)).toEqual(['by.config.mjs']);
});

test('adds, and overwrites nothing the second time', async () => {
  await config('by.config.mjs', `export default {workers: []};\n`);
  const first = JSON.parse((await add('worker', 'old-scribe', '--json')).stdout) as {data: object};
  expect(first.data).toEqual({
    ...{kind: 'worker', name: 'old-scribe', agent_type: 'old_scribe', written: true},
    files: ['src/old-scribe.ts', 'test/old-scribe.test.ts'],
    config: {
      ...{file: 'by.config.mjs', list: 'workers', change: 'edited'},
      item: `{entry: './src/old-scribe.ts', agentTypes: ['old_scribe']}`,
    },
  });
  const mine = path.join(cwd, 'src/old-scribe.ts');
  await writeFile(mine, 'mine');
  const again = await add('worker', 'old-scribe', '--json');
  expect(again.exit).toBe(11);
  expect(code(again.stdout)).toBe('CONFLICT');
  expect(await readFile(mine, 'utf8')).toBe('mine');
  expect((await readFile(path.join(cwd, 'by.config.mjs'), 'utf8')).match(/old-scribe/g)).toHaveLength(1);
});

test('a config that can not be added to is left as it is, and says what to add', async () => {
  const text = `const workers = [];\nexport default Object.assign({}, {workers});\n`;
  await config('by.config.mjs', text);
  const {exit, stdout, stderr} = await add('worker', 'scribe');
  expect(exit).toBe(0);
  expect(stdout).toContain('create  src/scribe.ts');
  expect(stderr).toContain(`{entry: './src/scribe.ts', agentTypes: ['scribe']}`);
  expect(await readFile(path.join(cwd, 'by.config.mjs'), 'utf8')).toBe(text);
});

test('a config that reads otherwise than it looks is put back', async () => {
  const text = `const other = {workers: []};\nexport default {...other, plugins: []};\nexport const config = other;\n`;
  await config('by.config.mjs', text.replace('plugins: []', 'workers: [].concat([])'));
  const {stderr} = await add('worker', 'scribe');
  expect(stderr).toContain('No place was found');
  expect(await readFile(path.join(cwd, 'by.config.mjs'), 'utf8')).toBe(
    text.replace('plugins: []', 'workers: [].concat([])'),
  );
});

test.each([
  [['worker', '../evil']],
  [['worker', 'a b']],
  [['worker', 'ok', '--agent-type', 'a b']],
  [['test', 'nobody']],
  [['nothing', 'ok']],
])('%j is refused, and nothing is written', async argv => {
  await config('by.config.json', '{"workers": []}');
  expect((await add(...argv)).exit).not.toBe(0);
  expect(await readdir(cwd)).toEqual(['by.config.json']);
});

test('a JSON config is added to as well', async () => {
  await config('by.config.json', '{"workers": []}');
  expect((await add('plugin', 'glossary', '--agent-type', 'translator')).exit).toBe(0);
  expect(JSON.parse(await readFile(path.join(cwd, 'by.config.json'), 'utf8'))).toEqual({
    ...{workers: [], plugins: ['./src/glossary.ts']},
  });
  expect(await readFile(path.join(cwd, 'src/glossary.ts'), 'utf8')).toContain('Greet {{who}}, {{tone}}.');
});
