/** A user's provider in a thread: whatever it does to its thread, the manager goes on. */
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {choosingProvider} from '../../src/availability/choose-provider.js';
import {startManager} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import type {Provider} from '../../src/availability/provider.js';
import {threadProvider, type ThreadProviderOptions} from '../../src/availability/thread-provider.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {readWakeupRequest} from '../../src/protocol/wakeup.js';
import {describeEachStore, until} from '../support/stores.js';

let dir = '';
let opened: Provider[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'by-thread-'));
  writeFileSync(join(dir, 'package.json'), '{"type": "module"}');
});
afterEach(async () => {
  for (const provider of opened) await provider.close?.().catch(() => undefined);
  opened = [];
  rmSync(dir, {recursive: true});
});

/** Only for threads that never give control back: on a busy machine any other may be silent for as long. */
const QUICK: ThreadProviderOptions = {silentMs: 200};
const PATIENT: ThreadProviderOptions = {silentMs: 30_000};

/** A provider whose `wakeup` has this body; `count` says how often its thread was asked. */
function fileOf(body: string, more = '', extension = 'mjs'): string {
  const file = join(dir, `mine.${extension}`);
  const typed = extension === 'ts' ? 'let count: number = 0;' : 'let count = 0;';
  writeFileSync(
    file,
    `${typed}\nexport default {name: 'mine', async wakeup(request, context) { count++; ${body} }, ${more}};`,
  );
  return file;
}

async function open(file: string, options: ThreadProviderOptions = PATIENT): Promise<Provider> {
  const provider = await threadProvider(file, options);
  opened.push(provider);
  return provider;
}

const request = (over: object = {}) =>
  readWakeupRequest(JSON.stringify({execution_id: 'exec-1', target_agent_type: 'ocr', ...over}));

const context = (signal = new AbortController().signal) => ({
  signal,
  isOnline: () => Promise.resolve(true),
  onlineWorkers: () => Promise.resolve(['w-1']),
});

test.each(['mjs', 'ts'])('a provider in a .%s file is asked, asks back, and answers', async extension => {
  const body = `return {status: 'READY', reason: request.targetAgentType + await context.isOnline(), workerIds: await context.onlineWorkers()};`;
  const provider = await open(fileOf(body, '', extension));
  expect(provider.name).toBe('mine');
  expect(await provider.wakeup(request(), context())).toEqual({
    ...{status: 'READY', reason: 'ocrtrue', workerIds: ['w-1']},
  });
});

test('what it throws, and an answer that can not be copied, are errors of that wakeup', async () => {
  const body = `if (request.region === 'eu') throw new Error('no node'); return {status: 'READY', then2: () => 1};`;
  const provider = await open(fileOf(body));
  await expect(provider.wakeup(request({region: 'eu'}), context())).rejects.toThrow('no node');
  await expect(provider.wakeup(request(), context())).rejects.toThrow(/could not be cloned/);
});

test('it hears that its time is over, and keeps its thread if it listens', async () => {
  const body = `if (count > 1) return {status: 'QUEUED', reason: String(count)};
    await new Promise(done => context.signal.addEventListener('abort', done)); return {status: 'FAILED', reason: 'stopped'};`;
  const provider = await open(fileOf(body));
  const end = new AbortController();
  const answer = provider.wakeup(request(), context(end.signal));
  end.abort();
  expect(await answer).toMatchObject({status: 'FAILED', reason: 'stopped'});
  expect(await provider.wakeup(request(), context())).toMatchObject({reason: '2'});
});

test.each([
  ['never gives control back', 'for (;;);', /no control back/, QUICK],
  ['exits', 'process.exit(3);', /thread ended/, PATIENT],
  [
    'throws where nobody catches',
    `setTimeout(() => { throw new Error('stray'); }); await new Promise(() => {});`,
    /stray/,
    PATIENT,
  ],
])(
  'one that %s loses its thread, and the next wakeup has a new one',
  async (_case, wrong, reason, options) => {
    const body = `if (request.region === 'wrong') { ${wrong} } return {status: 'QUEUED', reason: String(count)};`;
    const provider = await open(fileOf(body), options);
    expect(await provider.wakeup(request(), context())).toMatchObject({reason: '1'});
    const end = new AbortController();
    const lost = provider.wakeup(request({region: 'wrong'}), context(end.signal));
    end.abort();
    await expect(lost).rejects.toThrow(reason);
    // Its memory is new.
    expect(await provider.wakeup(request(), context())).toMatchObject({reason: '1'});
  },
);

test('a file that is none, exports none, or does not end to load is named', async () => {
  await expect(threadProvider(join(dir, 'nothing.mjs'))).rejects.toMatchObject({
    code: 'PROVIDER_LOAD_FAILED',
    hint: expect.stringContaining('Name the file') as string,
  });
  const file = join(dir, 'endless.mjs');
  writeFileSync(file, 'export default 1;');
  await expect(threadProvider(file)).rejects.toThrow(/exports no provider/);
  writeFileSync(file, 'for (;;);');
  await expect(threadProvider(file, {loadMs: 300})).rejects.toThrow(/did not load within 300 ms/);
});

test('it is closed with what it started, and ended if it does not close', async () => {
  const said = join(dir, 'closed');
  const closes = `async close() { (await import('node:fs')).writeFileSync(${JSON.stringify(said)}, 'yes'); }`;
  const first = await threadProvider(fileOf('', closes), PATIENT);
  await first.close?.();
  expect(readFileSync(said, 'utf8')).toBe('yes');
  const second = await threadProvider(fileOf('', 'close() { for (;;); }', 'js'), QUICK);
  await second.close?.();
});

describeEachStore('a manager whose provider never gives control back', at => {
  test('goes on with other agent types, and with this one once it behaves', async () => {
    const store = at.open();
    const body = `if (request.userCode === 'bad') for (;;); return {status: 'REJECTED', reason: 'not today'};`;
    const rules = [
      {pattern: 'mine', provider: await open(fileOf(body), QUICK)},
      {pattern: '*', provider: mockProvider({mode: {kind: 'reject'}})},
    ];
    const manager = await startManager(store, {provider: choosingProvider(rules), log: silentLogger});
    at.cleanup(() => manager.stop());
    const client = new GatewayClient(store);
    const wake = (agentType: string, userCode: string, availabilityTimeoutMs: number) =>
      client.send({agentType, content: 'x', policy: 'WAKE_AND_WAIT', userCode, availabilityTimeoutMs});
    const bad = wake('mine', 'bad', 700).catch((error: unknown) => error);
    await expect(wake('other', 'good', 20_000)).rejects.toThrow(/mock: reject/);
    expect(await bad).toMatchObject({code: 'AGENT_TYPE_UNAVAILABLE'});
    await until(() =>
      wake('mine', 'good', 20_000).then(
        () => false,
        (error: unknown) => String(error).includes('not today'),
      ),
    );
  });
});
