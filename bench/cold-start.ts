/** How long the program takes to start, against node itself, and what `by --help` loads. */
import {execFileSync, spawnSync} from 'node:child_process';
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {fileURLToPath} from 'node:url';

const root = resolve(import.meta.dirname, '..');
const by = join(root, 'bin', 'by.js');

export const isBuilt = (): boolean => existsSync(join(root, 'dist', 'src'));

/** Milliseconds of one run. */
export function timeRun(args: readonly string[], env: NodeJS.ProcessEnv = {}): number {
  const startedAt = performance.now();
  execFileSync(process.execPath, args, {stdio: 'ignore', env: {...process.env, ...env}});
  return performance.now() - startedAt;
}

export const commands = (
  url: string,
): Readonly<Record<string, {args: readonly string[]; env?: NodeJS.ProcessEnv}>> => ({
  node: {args: ['-e', '0']},
  'by --version': {args: [by, '--version']},
  'by --help': {args: [by, '--help']},
  'by worker list --json': {args: [by, 'worker', 'list', '--json'], env: {BY_REDIS_URL: url}},
});

/** Libraries that must not be loaded for help, and are. */
export function loadedByHelp(): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'by-bench-'));
  const hook = join(dir, 'hook.mjs');
  writeFileSync(
    hook,
    `import {register} from 'node:module';
register('data:text/javascript,' + encodeURIComponent(
  'export async function load(url, context, next) { process._rawDebug("loaded " + url); return next(url, context); }'));`,
  );
  try {
    const {stderr} = spawnSync(process.execPath, ['--import', hook, by, '--help'], {encoding: 'utf8'});
    const files = [...stderr.matchAll(/^loaded (file:\S+)/gm)].map(match => fileURLToPath(match[1] ?? ''));
    const text = files.map(file => readFileSync(file, 'utf8')).join('\n');
    // ioredis is joined into the build, so it is known by a name only it has.
    return ['ink', 'react', 'ioredis'].filter(
      name =>
        files.some(file => file.includes(`/node_modules/${name}/`)) ||
        (name === 'ioredis' && text.includes('MaxRetriesPerRequestError')),
    );
  } finally {
    rmSync(dir, {recursive: true});
  }
}
