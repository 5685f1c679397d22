/** `by plugin list|check|reload`, as an operator types them. Needs the build. */
import {chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {afterAll, afterEach, beforeAll, expect, test} from 'vitest';
import {startRedisServer, type RedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {runBy, startBy, type RunOptions} from './run-by.js';

let server: RedisServer;
let dir = '';
beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(() => server.stop());
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of cleanups.splice(0).reverse()) await act();
});

/** A project with one worker and a folder of plugins; its files are written by {@link file}. */
function project(): RunOptions {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'by-plugin-')));
  cleanups.push(() => rmSync(dir, {recursive: true}));
  chmodSync(dir, 0o755);
  mkdirSync(join(dir, 'node_modules'), {mode: 0o755});
  symlinkSync(resolve(import.meta.dirname, '../..'), join(dir, 'node_modules/by-toolkit'));
  file('package.json', '{"type": "module"}');
  const run = `async run(ctx) { return {content: ctx.prompt('system')}; }`;
  file(
    'worker.ts',
    `import {defineAgent} from 'by-toolkit'; export default defineAgent({type: 'writer', ${run}});`,
  );
  file(
    'by.config.json',
    '{"plugins": ["plugins"], "workers": [{"entry": "worker.ts", "agentTypes": ["writer"]}]}',
  );
  file('plugins/_words.ts', `export const system: string = 'one';`);
  file(
    'plugins/writing.ts',
    `import {system} from './_words.js';
    export default {
      manifest: {name: 'writing', version: '1.2.3'},
      registerAgentConfigs: () => [{agentId: 'writer', prompts: {system}}],
      onTaskStart: () => undefined,
      onTaskComplete: () => { throw new Error('oops'); },
    };`,
  );
  return {cwd: dir, env: {BY_REDIS_URL: server.url}};
}

function file(name: string, text: string): string {
  const path = join(dir, name);
  mkdirSync(join(path, '..'), {recursive: true, mode: 0o755});
  writeFileSync(path, text, {mode: 0o644});
  return path;
}

async function startWorkerBy(options: RunOptions, workerId: string): Promise<{log(): string}> {
  const child = startBy(['worker', 'run', '--worker-id', workerId, '--drain', '1s'], options);
  const exit = new Promise(done => child.once('close', done));
  cleanups.push(async () => {
    child.kill('SIGTERM');
    await exit;
  });
  let said = '';
  for (const output of [child.stdout, child.stderr])
    output.setEncoding('utf8').on('data', (text: string) => (said += text));
  await until(() => said.includes(`${workerId} online`) || child.exitCode !== null);
  return {log: () => said};
}

interface Listed {
  readonly workers: readonly {
    readonly worker_id: string;
    readonly problem: string;
    readonly plugins: readonly {
      readonly name: string;
      readonly hooks: readonly {readonly hook: string; readonly failures: number}[];
    }[];
  }[];
}

test('check says what a plugin brings, and refuses what a worker would', async () => {
  const options = project();
  const good = await runBy(['plugin', 'check', 'plugins'], options);
  expect([good.code, good.stdout.replaceAll(dir, '')]).toEqual([
    0,
    '✓ writing  version 1.2.3 from /plugins/writing.ts: onTaskStart, onTaskComplete\n' +
      '✓ writing  config of "writer": prompts system; no tools\n',
  ]);
  file(
    'plugins/other.js',
    `export default {manifest: {name: 'other', version: '1'}, registerAgentConfigs: () => [{agentId: 'writer'}]};`,
  );
  file('plugins/idle.js', `console.log('hello'); export default {manifest: {name: 'idle', version: '1'}};`);
  const conflict = await runBy(['plugin', 'check', 'plugins', '--json'], options);
  expect(conflict.code).toBe(12);
  const {error} = conflict.json() as unknown as {
    error: {code: string; details: {findings: {level: string; about: string; text: string}[]}};
  };
  expect(error.code).toBe('FINDINGS');
  expect(error.details.findings.filter(({level}) => level !== 'ok')).toEqual([
    expect.objectContaining({
      level: 'warning',
      about: 'idle',
      text: 'it brings nothing and looks at nothing',
    }),
    expect.objectContaining({
      level: 'problem',
      text: expect.stringMatching(/"writing" registers a config for "writer"/) as unknown,
    }),
  ]);

  const one = async (text: string, ...flags: string[]) => {
    const ran = await runBy(['plugin', 'check', file('one.mjs', text), ...flags], options);
    return [ran.code, ran.stderr.replaceAll(dir, '').split('\n')[0]];
  };
  expect(await one('export default {')).toEqual([
    2,
    expect.stringMatching(/PLUGIN_LOAD_FAILED {2}\/one\.mjs can not be loaded: /),
  ]);
  expect(await one('console.error("bye"); process.exit(3)')).toEqual([
    2,
    expect.stringMatching(/one\.mjs ended the process that loaded it: bye/),
  ]);
  expect(await one('for (;;);', '--answer-within', '2s')).toEqual([
    2,
    expect.stringMatching(/was not loaded within 2 s/),
  ]);
  chmodSync(join(dir, 'plugins'), 0o777);
  expect((await runBy(['plugin', 'check', 'plugins'], options)).code).toBe(13);
  expect((await runBy(['plugin', 'check', 'none'], options)).code).toBe(2);
});

test('worker run --check loads what the workers would, plugins included, and names what is wrong', async () => {
  const options = project();
  const check = async () => {
    const {code, stdout, stderr} = await runBy(['worker', 'run', '--check'], options);
    return {code, said: `${stdout}${stderr}`.replaceAll(dir, '')};
  };
  expect(await check()).toEqual({
    code: 0,
    said:
      '✓ worker.ts  serves writer\n' +
      '✓ writing    version 1.2.3 from /plugins/writing.ts: onTaskStart, onTaskComplete\n' +
      '✓ writing    config of "writer": prompts system; no tools\n',
  });
  const more = file(
    'more.mjs',
    `export default {manifest: {name: 'more', version: '1'}, registerAgentConfigs: () => [{agentId: 'writer'}]};`,
  );
  const conflict = await runBy(
    ['worker', 'run', 'worker.ts', '--check', '--plugin', more, '--json'],
    options,
  );
  expect(conflict.code).toBe(12);
  expect(JSON.stringify(conflict.json().error)).toMatch(/registers a config for .{1,4}writer/);
  file('plugins/_words.ts', 'export const system = ;');
  expect(await check()).toEqual({
    code: 2,
    said: expect.stringMatching(
      /PLUGIN_LOAD_FAILED {2}\/plugins\/writing\.ts can not be loaded: /,
    ) as unknown,
  });
});

test('workers are reloaded from their files, fail whole, and are listed with what they have', async () => {
  const options = project();
  const nobody = await runBy(['plugin', 'reload', 'writer', '--wait', '1s', '--json'], options);
  expect([nobody.code, (nobody.json().error as unknown as {code: string}).code]).toEqual([
    5,
    'AGENT_TYPE_UNAVAILABLE',
  ]);
  await startWorkerBy(options, 'worker-a');
  await startWorkerBy(options, 'worker-b');
  const said = async () => {
    const ran = await runBy(['send', 'writer', 'x', '--wait', '--json'], options);
    expect(ran.code).toBe(0);
    return JSON.stringify(ran.json());
  };
  expect(await said()).toContain('"one"');

  file('plugins/_words.ts', `export const system: string = 'two';`);
  const reloaded = await runBy(
    ['plugin', 'reload', 'writer', '--wait', '20s', '--reason', 'words', '--json'],
    options,
  );
  expect(reloaded.code).toBe(0);
  expect(reloaded.json().data).toMatchObject({
    agent_type: 'writer',
    worker_ids: ['worker-a', 'worker-b'],
    acks: ['worker-a', 'worker-b'].map(worker => ({
      worker_id: worker,
      status: 'success',
      reason: 'words',
      version_before: 1,
      version_after: 2,
    })),
    ...{failed: [], missing: []},
  });
  expect(await said()).toContain('"two"');

  file('plugins/_words.ts', `export const system: string = ;`);
  const failed = await runBy(['plugin', 'reload', 'writer', '--wait', '20s'], options);
  expect(failed.code).toBe(10);
  expect(failed.stdout).toMatch(/worker-a +failed +2 to 2 .*writing\.ts can not be loaded/);
  expect(failed.stderr).toMatch(/PARTIAL {2}Not all reloaded: 2 workers could not\./);
  expect(await said()).toContain('"two"');

  const third = await startWorkerBy(options, 'worker-c');
  expect(third.log()).toMatch(/PLUGINS COULD NOT BE LOADED/);
  const list = async () =>
    (await runBy(['plugin', 'list', '--json'], options)).json().data as unknown as Listed;
  const counted = await until(async () => {
    const listed = await list();
    const hooks = listed.workers.flatMap(({plugins}) => plugins.flatMap(plugin => plugin.hooks));
    return hooks.reduce((sum, {failures}) => sum + failures, 0) === 3 && listed;
  });
  expect(
    counted.workers.map(({worker_id: id, problem, plugins}) => [
      id,
      problem === '',
      plugins.map(({name}) => name),
    ]),
  ).toEqual([
    ...[
      ['worker-a', true, ['writing']],
      ['worker-b', true, ['writing']],
      ['worker-c', false, []],
    ],
  ]);
  const table = await runBy(['plugin', 'list'], options);
  expect(table.stdout).toMatch(/worker-c +none loaded +- +kept [0-9a-f]{8} /);
  expect((await runBy(['plugin', 'list', '--agent-type', 'nobody'], options)).stderr).toMatch(
    /No worker of "nobody"/,
  );
}, 90_000);
