import {spawn} from 'node:child_process';
import {resolve} from 'node:path';
import {expect, test} from 'vitest';
import {ProcessPool} from '../../src/availability/process-pool.js';
import {processProvider} from '../../src/availability/process-provider.js';
import {decodeWakeupRequest} from '../../src/protocol/wakeup.js';
import {until} from '../support/stores.js';

const request = decodeWakeupRequest({execution_id: 'exec-1', target_agent_type: 'ocr', timeout_ms: 5000});
const node = (code: string) => ({name: 'ocr', file: process.execPath, args: ['-e', code]});
const forever = 'setInterval(() => {}, 1000); console.log("up")';

test('starts the command once, and is READY when the worker is online', async () => {
  const lines: string[] = [];
  const pool = new ProcessPool({onLine: (_, line) => lines.push(line)});
  const provider = processProvider({pool, commandFor: () => node(forever)});
  const context = {signal: new AbortController().signal, isOnline: async () => lines.length > 0};
  const answers = await Promise.all([provider.wakeup(request, context), provider.wakeup(request, context)]);
  expect(answers.map(answer => answer.status)).toEqual(['READY', 'READY']);
  expect(lines).toEqual(['up']);
  await provider.close?.();
});

test('a command that ends before its worker is online is a failure, with its last words', async () => {
  const provider = processProvider({
    pool: new ProcessPool(),
    commandFor: () => node('console.error("no such model"); process.exit(3)'),
  });
  const answer = await provider.wakeup(request, {
    signal: new AbortController().signal,
    isOnline: async () => false,
  });
  expect(answer).toMatchObject({status: 'FAILED'});
  expect('reason' in answer && answer.reason).toContain('code 3 | no such model');
});

test('a command that can not be started is a failure that names it', async () => {
  const provider = processProvider({
    pool: new ProcessPool(),
    commandFor: () => ({name: 'x', file: '/no/such/program', args: []}),
  });
  const answer = await provider.wakeup(request, {
    signal: new AbortController().signal,
    isOnline: async () => false,
  });
  expect('reason' in answer && answer.reason).toContain('/no/such/program');
});

test('an agent type nobody configured is rejected', async () => {
  const provider = processProvider({pool: new ProcessPool(), commandFor: () => undefined});
  const answer = await provider.wakeup(request, {
    signal: new AbortController().signal,
    isOnline: async () => false,
  });
  expect(answer).toMatchObject({status: 'REJECTED'});
});

test('closing ends what was started, also what ignores a polite request', async () => {
  const lines: string[] = [];
  const pool = new ProcessPool({onLine: (_, line) => lines.push(line), stopMs: 100});
  const started = pool.ensure(node(`process.on('SIGTERM', () => {}); ${forever}`));
  await until(() => lines.length > 0);
  await pool.close();
  expect(started.child.signalCode).toBe('SIGKILL');
});

test('nothing that was started outlives an exit that leaves no time for stopping', async () => {
  const pool = resolve(import.meta.dirname, '../../src/availability/process-pool.ts');
  const deaf = 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("up")';
  const program = `
    const {ProcessPool} = await import(${JSON.stringify(pool)});
    const pool = new ProcessPool({onLine: () => {
      console.log(started.child.pid);
      process.exit(0);
    }});
    const started = pool.ensure({name: 'x', file: process.execPath, args: ['-e', ${JSON.stringify(deaf)}]});`;
  const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    cwd: resolve(import.meta.dirname, '../..'),
  });
  let said = '';
  parent.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  await new Promise(done => parent.once('close', done));
  const pid = Number(said.trim());
  expect(pid).toBeGreaterThan(0);
  await until(() => !isAlive(pid));
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    // Nobody has that id any more.
    return false;
  }
}
