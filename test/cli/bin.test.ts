/** bin/by.js as a process: what only shows from outside. */
import {execFile, spawn} from 'node:child_process';
import {mkdtemp, readdir, readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {promisify} from 'node:util';
import {beforeAll, describe, expect, test} from 'vitest';
import {loadedBy} from '../../bench/workloads/module-graph.js';
import {startRedisServer} from '../support/redis-server.js';

const root = path.resolve(import.meta.dirname, '../..');
const bin = path.join(root, 'bin/by.js');

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [path.join(root, 'scripts/build.js'), '--if-stale']);
}, 180_000);

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function by(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return new Promise(resolve => {
    const child = spawn(process.execPath, [bin, ...args], {
      env: {...process.env, ...env},
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    child.on('close', code => resolve({code, stdout, stderr}));
  });
}

test('what only asks Redis loads nothing to log with; a worker does', async () => {
  const server = await startRedisServer();
  try {
    const asks = [bin, 'worker', 'list', '--redis-url', server.url];
    expect(await loadedBy(asks, ['pino', 'ioredis', 'react'])).toEqual(['ioredis']);
  } finally {
    await server.stop();
  }
  const works = [bin, 'worker', 'run', '--check', path.join(root, 'examples/chat.ts')];
  expect(await loadedBy(works, ['pino'])).toEqual(['pino']);
});

describe('by', () => {
  test.each([['--version'], ['-v'], ['version']])('%s tells the version', async flag => {
    expect(await by([flag])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^by-toolkit\/\d+\.\d+\.\d+ \w+-\w+ node-v\d+\.\d+\.\d+\n$/) as string,
      stderr: '',
    });
    const json = await by([flag, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({
      ok: true,
      schema: 'by.version/1',
      data: {name: 'by-toolkit'},
    });
  });

  test('an unknown command exits 2 with the nearest one, and as JSON under --json', async () => {
    const people = await by(['innit']);
    expect(people).toMatchObject({code: 2, stdout: ''});
    expect(people.stderr).toContain('✗ USAGE  "innit" is not a command; did you mean "init"?');
    const json = await by(['innit', '--json']);
    expect(json).toMatchObject({code: 2, stderr: ''});
    expect(JSON.parse(json.stdout)).toMatchObject({
      ok: false,
      schema: 'by.error/1',
      error: {code: 'USAGE', exit: 2},
    });
  });

  test('a bad flag exits 2 with one small JSON document, also where NODE_ENV says test', async () => {
    const {code, stdout, stderr} = await by(['init', 'x', '--bogus', '--json'], {NODE_ENV: 'test'});
    expect({code, stderr}).toEqual({code: 2, stderr: ''});
    expect(stdout.length).toBeLessThan(500);
    expect(JSON.parse(stdout)).toMatchObject({error: {code: 'USAGE', message: 'No such flag: --bogus.'}});
  });

  test('help is `--help` and `help`, and BY_ASCII and NO_COLOR are heard', async () => {
    expect(await by(['help', 'init'])).toEqual(await by(['init', '--help']));
    const {stderr} = await by(['innit'], {BY_ASCII: '1', FORCE_COLOR: '1', NO_COLOR: '1'});
    expect(stderr).toMatch(/^x USAGE/);
  });

  test('help loads neither Ink nor React nor the Redis client', async () => {
    const coverage = await mkdtemp(path.join(tmpdir(), 'by-loaded-'));
    try {
      expect((await by(['--help'], {NODE_V8_COVERAGE: coverage})).code).toBe(0);
      const reports = await Promise.all(
        (await readdir(coverage)).map(file => readFile(path.join(coverage, file), 'utf8')),
      );
      expect(reports.join('')).toContain('@oclif/core');
      expect(reports.join('')).not.toMatch(/node_modules\/(ink|react|ioredis|zod)\//);
    } finally {
      await rm(coverage, {recursive: true, force: true});
    }
  });

  test('a reader that goes away is no error', async () => {
    const child = spawn(process.execPath, [bin, 'init', '--help'], {stdio: ['ignore', 'pipe', 'pipe']});
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const code = await new Promise(resolve => child.on('close', resolve));
    expect({code, stderr}).toEqual({code: 0, stderr: ''});
  });
});
