/** `by worker run`: what flags and by.config say of a worker holds. Needs the build. */
import {writeFileSync} from 'node:fs';
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {beforeEach, describe, expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {workerFacts} from '../../src/store/presence.js';
import {until} from '../support/stores.js';
import {ownServer} from './own-server.js';
import {jsonOf, runBy, startBy} from './run-by.js';

const AGENT = `export default {type: 'flaky', retry: {baseMs: 1}, run: () => {
  throw Object.assign(new Error('again'), {retryable: true});
}};`;
const CONFIG = {
  entry: './agent.mjs',
  agentTypes: ['flaky'],
  ...{concurrency: 3, maxAttempts: 2, leaseMs: 60_000},
  circuit: {rate: 1, min: 2, openMs: 600_000},
};

describe('a worker started by by worker run', {timeout: 120_000}, () => {
  const server = ownServer();
  let folder: string;
  const run = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}, cwd: folder});
  const {data, failure} = jsonOf(run);
  const configure = (worker: object) =>
    writeFileSync(join(folder, 'by.config.json'), JSON.stringify({workers: [worker]}));

  beforeEach(async () => {
    await server.store.commands.run(redis => redis.flushall());
    folder = await mkdtemp(join(tmpdir(), 'by-run-'));
    writeFileSync(join(folder, 'agent.mjs'), AGENT);
    configure(CONFIG);
    return () => rm(folder, {recursive: true});
  });

  /** Has it fail twice. @returns what is seen of the worker, and the starts of each execution. */
  async function seenOf(...args: readonly string[]) {
    const child = startBy(['worker', 'run', ...args, '--worker-id', 'w-1'], {
      env: {BY_REDIS_URL: server.url},
      cwd: folder,
    });
    try {
      const lease = await until(
        async () => (await workerFacts(server.store, ['w-1']))[0]?.leaseMs || undefined,
      );
      const client = new GatewayClient(server.store);
      const starts = [];
      for (const sessionId of ['s-1', 's-2']) {
        const {messageId} = await client.send({
          agentType: 'flaky',
          content: 'x',
          sessionId,
          policy: 'SEND_ANYWAY',
        });
        const record = await until(async () => {
          const found = await client.find(sessionId, messageId);
          return found?.status === 'FAILED' && found;
        });
        starts.push(record.extra['x_attempt']);
      }
      const {workers} = (await data('agents', '--workers')) as {workers: {slots_max: number}[]};
      const circuits = async () => JSON.stringify(await data('agent', 'circuit', 'list'));
      return {lease, starts, slots: workers[0]?.slots_max, circuits};
    } finally {
      child.kill('SIGTERM');
      await new Promise(done => child.once('close', done));
    }
  }

  test.each([
    ['alone', []],
    ['by the name of its file', ['agent.mjs']],
  ])('is as by.config says, %s', async (_, args) => {
    const {lease, starts, slots, circuits} = await seenOf(...args);
    expect(lease).toBeGreaterThan(30_000);
    expect([starts, slots]).toEqual([[2, 2], 3]);
    await until(async () => (await circuits()).includes('flaky'));
  });

  test('is as its flags say before that', async () => {
    const {lease, starts, slots} = await seenOf(
      '--max-attempts',
      '3',
      '--lease',
      '20s',
      '--concurrency',
      '7',
    );
    expect(lease).toBeLessThanOrEqual(20_000);
    expect([starts, slots]).toEqual([[3, 3], 7]);
  });

  test.each([
    ['no start', ['--max-attempts', '0'], 'USAGE'],
    ['no number', ['--max-attempts', 'many'], 'USAGE'],
    ['a lease too short', ['--lease', '100ms'], 'INVALID_INPUT'],
    ['a lease without a unit', ['--lease', '15'], 'INVALID_INPUT'],
  ])('is refused with %s', async (_, args, code) => {
    expect(await failure('worker', 'run', ...args)).toMatchObject({code, exit: 2});
  });

  test('is refused with a by.config that asks for no start', async () => {
    configure({...CONFIG, maxAttempts: 0});
    expect(await failure('worker', 'run')).toMatchObject({code: 'INVALID_CONFIG'});
  });
});
