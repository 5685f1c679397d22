/** Which packages a command loads, whether by import or by require, and also where the build has joined them in. */
import {execFile} from 'node:child_process';
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';

/** Import hooks see modules, require.cache what those required: only both together are everything. */
const RECORDER = `
import {createRequire, register} from 'node:module';
import {writeSync} from 'node:fs';
register('data:text/javascript,' + encodeURIComponent(
  'import {writeSync} from "node:fs";' +
  'export async function load(url, context, next) { writeSync(2, "loaded " + url + "\\\\n"); return next(url, context); }'));
const {cache} = createRequire(import.meta.url);
process.on('exit', () => { for (const file of Object.keys(cache)) writeSync(2, 'required ' + file + '\\n'); });
`;

/** A package that was joined into a chunk of ours is known by a text only it has. */
const MARKS: Readonly<Record<string, string>> = {
  ioredis: 'MaxRetriesPerRequestError',
  ink: 'useInput',
  react: 'react.transitional.element',
  pino: 'pino_asJson',
};

/** @returns those of the packages that were loaded. */
export async function loadedBy(args: readonly string[], packages: readonly string[]): Promise<string[]> {
  const files = await filesLoadedBy(args);
  const texts = await Promise.all(files.filter(isOurs).map(file => readFile(file, 'utf8')));
  return packages.filter(
    name =>
      files.some(file => file.includes(`/node_modules/${name}/`)) ||
      texts.some(text => text.includes(MARKS[name] ?? `/${name}/`)),
  );
}

const isOurs = (file: string) => file.includes('/dist/') && !file.includes('/node_modules/');

async function filesLoadedBy(args: readonly string[]): Promise<string[]> {
  const dir = await mkdtemp(join(tmpdir(), 'by-bench-'));
  try {
    const recorder = join(dir, 'recorder.mjs');
    await writeFile(recorder, RECORDER);
    const {stderr} = await promisify(execFile)(process.execPath, ['--import', recorder, ...args]);
    const imported = [...stderr.matchAll(/^loaded (file:\S+)$/gm)].map(match =>
      fileURLToPath(match[1] ?? ''),
    );
    const required = [...stderr.matchAll(/^required (.+)$/gm)].map(match => match[1] ?? '');
    const files = [...new Set([...imported, ...required])];
    // Seeing nothing at all would pass every check.
    if (!files.some(isOurs)) throw new Error(`no module of ours was seen: ${stderr.slice(-500)}`);
    return files;
  } finally {
    await rm(dir, {recursive: true});
  }
}
