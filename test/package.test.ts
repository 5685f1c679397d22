/** T17: what is published, and what it may do on somebody's machine. */
import {execFile, execFileSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {resolve} from 'node:path';
import {promisify} from 'node:util';
import {expect, test} from 'vitest';

const root = resolve(import.meta.dirname, '..');
const read = (file: string) =>
  JSON.parse(readFileSync(resolve(root, file), 'utf8')) as Record<string, unknown>;
const manifest = read('package.json') as {
  name: string;
  exports: Record<string, string | Record<string, string>>;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
};

test('the package holds what it needs to run, and nothing else', () => {
  const out = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [pack] = JSON.parse(String(out)) as {files: {path: string}[]}[];
  const files = pack?.files.map(({path}) => path) ?? [];
  const expected =
    /^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md|NOTICES\.md|oclif\.manifest\.json|bin\/by\.js|(?:dist|templates)\/.+)$/;
  expect(files.filter(path => !expected.test(path))).toEqual([]);
  expect(
    files.filter(path => /\.(?:env|pem|key|log)$|^dist\/.*(?:test\/|\.test\.)|node_modules/.test(path)),
  ).toEqual([]);
  for (const needed of [
    'bin/by.js',
    'dist/src/index.js',
    'dist/src/index.d.ts',
    'dist/src/testing/index.js',
    'LICENSE',
  ])
    expect(files).toContain(needed);
  const exported = Object.values(manifest.exports).flatMap(entry =>
    typeof entry === 'string' ? [entry] : Object.values(entry),
  );
  expect(exported.map(path => path.replace('./', '')).filter(path => !files.includes(path))).toEqual([]);
});

test('what is exported can be loaded, with the packages it names', async () => {
  for (const name of Object.keys(manifest.exports).filter(path => path !== './package.json')) {
    const program = `const loaded = await import('${name.replace('.', manifest.name)}');
      if (Object.keys(loaded).length === 0) process.exit(1);`;
    const loading = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
      cwd: root,
    });
    await expect(loading, name).resolves.toMatchObject({stderr: ''});
  }
});

test('nothing of ours runs when it is installed, and installing here runs nothing of others', () => {
  const atInstallation = [
    'preinstall',
    'install',
    'postinstall',
    'prepare',
    'preprepare',
    'postprepare',
    'prepublish',
  ];
  expect(Object.keys(manifest.scripts).filter(name => atInstallation.includes(name))).toEqual([]);
  expect(readFileSync(resolve(root, '.npmrc'), 'utf8')).toMatch(/^ignore-scripts=true$/m);
});

test('every dependency is one version, and the lockfile knows what each package must hash to', () => {
  for (const version of Object.values(manifest.dependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  const {packages} = read('package-lock.json') as {
    packages: Record<string, {integrity?: string; link?: boolean}>;
  };
  const unlocked = Object.entries(packages).filter(
    ([path, {integrity, link}]) => path !== '' && link !== true && integrity === undefined,
  );
  expect(unlocked.map(([path]) => path)).toEqual([]);
});
