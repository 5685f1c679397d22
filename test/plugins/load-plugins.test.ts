/** The three ways plugins come: a list, a function, and files or folders, which may be loaded again. */
import {execFileSync} from 'node:child_process';
import {chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {silentLogger} from '../../src/log.js';
import {loadSource, type PluginSource} from '../../src/plugins/load-plugins.js';
import type {PluginWorker} from '../../src/plugins/plugin.js';

const worker: PluginWorker = {
  ...{workerId: 'w-1', agentTypes: ['writer'], settings: {tone: 'kind'}, log: silentLogger},
};

let base = '';
beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'by-load-')));
  chmodSync(base, 0o755);
  write('package.json', '{"type": "module"}');
});
afterEach(() => rmSync(base, {recursive: true, force: true}));

function write(name: string, text: string): string {
  const file = join(base, name);
  mkdirSync(join(file, '..'), {recursive: true});
  writeFileSync(file, text, {mode: 0o644});
  return file;
}

const code = (name: string) => `{manifest: {name: '${name}', version: '1'}}`;
const load = async (source: PluginSource, fresh = false) =>
  (await loadSource(source, worker, {fresh})).map(({plugin}) => plugin.manifest.name);

test('a plugin, and a function that makes some from the worker’s facts and settings', async () => {
  expect(await load({manifest: {name: 'a', version: '1'}})).toEqual(['a']);
  const make: PluginSource = async ({workerId, settings}) => [
    {manifest: {name: workerId, version: '1'}},
    {manifest: {name: String(settings['tone']), version: '1'}},
  ];
  expect(await load(make)).toEqual(['w-1', 'kind']);
});

test('a file: by name, by default, several, a class, a function', async () => {
  expect(await load(write('named.js', `export const one = ${code('one')}, two = [${code('two')}];`))).toEqual(
    [...['one', 'two']],
  );
  expect(await load(write('default.ts', `const name: string = 'ts'; export default ${code('ts')};`))).toEqual(
    ['ts'],
  );
  expect(
    await load(write('class.js', `export default class { manifest = ${code('class')}.manifest; }`)),
  ).toEqual(['class']);
  const configurator = `export default worker => ({manifest: {name: worker.settings.tone, version: '1'}});`;
  expect(await load(write('function.js', configurator))).toEqual(['kind']);
});

test('a folder: each file and each folder with an index, by name; helpers and tests are passed over', async () => {
  write('plugins/b.js', `import {name} from './_names.js'; export default {manifest: {name, version: '1'}};`);
  write('plugins/_names.js', `export const name = 'b';`);
  write('plugins/a.mjs', `export default ${code('a')};`);
  write('plugins/a.test.js', `throw new Error('a test was loaded');`);
  write('plugins/a.d.ts', `export {};`);
  write('plugins/README.md', 'no code');
  write('plugins/deep/index.ts', `export default ${code('deep')};`);
  write('plugins/lib/helper.js', `throw new Error('a helper was loaded');`);
  expect(await load(join(base, 'plugins'))).toEqual(['a', 'b', 'deep']);
  expect(await load(join(base, 'plugins', 'deep'))).toEqual(['deep']);
});

test.each([
  ['is not there', 'none.js', undefined, /There is no file or folder .*none\.js/],
  ['does not parse', 'broken.js', 'export default {', /broken\.js can not be loaded: /],
  ['throws', 'throws.js', `throw new Error('no key')`, /throws\.js can not be loaded: no key/],
  ['exports no plugin', 'empty.js', 'export const x = 1;', /empty\.js exports no plugin/],
  [
    'has a bad manifest',
    'bad.js',
    `export default {manifest: {name: 'x'}};`,
    /bad\.js: .*"x" has no version/,
  ],
  [
    'fails to make it',
    'make.js',
    `export default () => { throw new Error('no'); };`,
    /make\.js can not make its plugins: no/,
  ],
  ['makes nothing', 'nothing.js', `export default () => undefined;`, /nothing\.js: this is no plugin/],
])('a file that %s is named with the reason', async (_what, name, text, message) => {
  const file = text === undefined ? join(base, name) : write(name, text);
  await expect(load(file)).rejects.toMatchObject({
    code: 'PLUGIN_LOAD_FAILED',
    message: expect.stringMatching(message) as unknown,
  });
});

test('a file of a folder that is no plugin is an error, and so is an empty folder', async () => {
  write('plugins/a.js', 'export const x = 1;');
  await expect(load(join(base, 'plugins'))).rejects.toThrow(/a\.js exports no plugin/);
  mkdirSync(join(base, 'empty'), {mode: 0o755});
  await expect(load(join(base, 'empty'))).rejects.toThrow(/There is no plugin in/);
});

test('what others may write to, links that lead out, and paths that depend on where we are, are refused', async () => {
  const file = write('plugins/a.js', `export default ${code('a')};`);
  await expect(load('plugins/a.js')).rejects.toMatchObject({code: 'DENIED', details: {problem: 'relative'}});
  chmodSync(file, 0o666);
  for (const path of [file, join(base, 'plugins')])
    await expect(load(path)).rejects.toMatchObject({
      code: 'DENIED',
      details: {problem: 'writable-by-others', path: file},
    });
  chmodSync(file, 0o644);
  symlinkSync('/etc/hostname', join(base, 'plugins', 'b.js'));
  await expect(load(join(base, 'plugins'))).rejects.toMatchObject({details: {problem: 'link-outside'}});
});

test('loaded again, a file and what it imports by a relative path begin anew, as ES modules and as CommonJS', () => {
  mkdirSync(join(base, 'lib'));
  const files = [
    write('p.js', `import {name} from './lib/name.js'; export default {manifest: {name, version: '1'}};`),
    write('p.ts', `import {name} from './lib/typed.js'; export default {manifest: {name, version: '1'}};`),
    write('p.cjs', `module.exports = {manifest: {name: require('./lib/name.cjs'), version: '1'}};`),
  ];
  const script = join(import.meta.dirname, 'load-again.ts');
  const told = execFileSync(process.execPath, ['--import', 'tsx', script, base, ...files], {
    encoding: 'utf8',
  });
  expect(told.trim().split('\n')).toEqual([
    'first first first',
    'first first first',
    'second second second',
    'third third third',
    // A name with a brace is no plugin's either.
    'ByError ByError ByError',
    'fixed fixed fixed',
  ]);
});
