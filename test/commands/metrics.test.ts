/** `by metrics` as a user types it. Needs the build. */
import {expect, test} from 'vitest';
import {writeHistoryPoint} from '../../src/store/metrics-history.js';
import {serverTimeMs} from '../../src/store/store.js';
import {ownServer} from './own-server.js';
import {runBy, startBy} from './run-by.js';

const server = ownServer();
const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});

test('snapshot: for people, for Prometheus, for programs', async () => {
  expect((await by('metrics', 'snapshot')).stdout).toMatch(/workers online +0/);
  const text = (await by('metrics', 'snapshot', '-o', 'prometheus')).stdout;
  expect(text).toContain('by_framework_workers_online 0\n');
  expect((await by('metrics', 'snapshot', '--json')).json()).toMatchObject({
    ...{schema: 'by.metrics.snapshot/1', data: {totals: {workers_online: 0}}},
  });
});

test('history: what was written, the newest last; nothing is said to be nothing', async () => {
  expect((await by('metrics', 'history')).stderr).toContain('No history');
  const now = Math.floor(await serverTimeMs(server.store));
  for (const [ago, workersOnline] of [
    [2000, 1],
    [1000, 2],
  ] as const)
    await writeHistoryPoint(server.store, {generatedAt: now - ago, workersOnline});
  expect((await by('metrics', 'history', '--json')).json()).toMatchObject({
    data: {points: [{workers_online: 1}, {workers_online: 2, failed_executions: 0}]},
  });
  expect((await by('metrics', 'history', '--limit', '1')).stderr).toContain('the newest 1 of 2');
});

test('serve: answers until it is told to stop; an address that is none, or taken, is refused', async () => {
  expect((await by('metrics', 'serve', '--listen', 'x:y', '--json')).json()).toMatchObject({
    error: {code: 'INVALID_INPUT'},
  });
  const child = startBy(['metrics', 'serve', '--listen', '0'], {env: {BY_REDIS_URL: server.url}});
  let said = '';
  const address = await new Promise<string>(resolve => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      const url = /http:\/\/[\d.:]+/.exec(said)?.[0];
      if (url !== undefined) resolve(url);
    });
  });
  const page = await fetch(`${address}/metrics`);
  expect(page.status).toBe(200);
  expect(await page.text()).toContain('by_framework_agent_types 0');
  const taken = await by('metrics', 'serve', '--listen', address.slice('http://'.length), '--json');
  expect(taken.json()).toMatchObject({error: {code: 'CONFLICT'}});
  const ended = new Promise<number | null>(resolve => child.once('close', resolve));
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
});
