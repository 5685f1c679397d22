/** History when workers die and databases do not answer: decisions/0013. Needs the build. */
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {HistoryBackend} from '../../src/history/backend.js';
import {HistorySaver} from '../../src/history/saver.js';
import {memoryHistory} from '../../src/history/memory.js';
import {migratePostgresHistory, postgresHistory} from '../../src/history/postgres.js';
import {redisHistory} from '../../src/history/redis.js';
import {loggerTo, silentLogger} from '../../src/log.js';
import type {Store} from '../../src/store/store.js';
import {startFaultProxy, type FaultProxy} from '../support/fault-proxy.js';
import {startPostgres, withClient, type PostgresServer} from '../support/postgres-server.js';
import {describeEachStore, describeRedis, until, type TestStore} from '../support/stores.js';
import {AGENTS_FILE, send, spawnWorker, withStatus, work} from './support.js';

const shown = async (history: HistoryBackend, sessionId: string) =>
  (await history.getHistory(sessionId, 100)).map(({role, content}) => [role, content]);

/** Three workers, of which two die while the agent talks; the last runs it in a process of its own. */
async function killedTwice(at: TestStore, store: Store, place: string, history: HistoryBackend) {
  const options = {agentsFile: AGENTS_FILE};
  const first = await spawnWorker(at, store, options, {history: place});
  const sent = await send(store, 'talk-and-die-twice');
  await first.exit;
  const second = await spawnWorker(at, store, options, {history: place});
  await second.exit;
  const third = await spawnWorker(at, store, options, {history: place});
  await withStatus(store, sent, 'COMPLETED');
  await until(async () => (await shown(history, sent.sessionId)).some(([role]) => role === 'assistant'));
  expect(third.said.filter(line => line.startsWith('read'))).toEqual(['read user,tool']);
  expect(await shown(history, sent.sessionId)).toEqual([
    ['user', 'talk-and-die-twice'],
    ['tool', 'a note'],
    ['assistant', 'half whole'],
  ]);
}

describeEachStore('history in Redis of workers that die', at => {
  test('has each message once, and of the answer what the last attempt said', async () => {
    const store = at.open();
    await killedTwice(at, store, 'redis', redisHistory(store));
  });
});

describe('history in a PostgreSQL that misbehaves', () => {
  let server: PostgresServer;
  let url: string;
  let proxy: FaultProxy;
  let throughProxy: string;
  beforeAll(async () => {
    server = await startPostgres();
    url = await server.createDatabase();
    await migratePostgresHistory({url});
    proxy = await startFaultProxy(url);
    throughProxy = url.replace(/:\d+\//, `:${new URL(proxy.url).port}/`);
  });
  afterAll(async () => {
    await proxy.close();
    await server.stop();
  });

  const rows = (sessionId: string) =>
    withClient(url, async client => {
      const found = await client.query<{role: string; content: string}>(
        'SELECT role, content FROM gateway_session_messages WHERE session_id = $1 ORDER BY id',
        [sessionId],
      );
      return found.rows.map(({role, content}) => [role, content]);
    });

  describeRedis('a worker with it', at => {
    test('has each message once, although two workers died on the way', async () => {
      const history = postgresHistory({url});
      at.cleanup(() => history.close());
      await killedTwice(at, at.open(), url, history);
    });

    test.each(['cut', 'silent', 'slow'] as const)(
      'completes its tasks while the database is %s, and keeps history again afterwards',
      async fault => {
        const store = at.open();
        const history = postgresHistory({url: throughProxy, timeoutMs: 500});
        at.cleanup(() => history.close());
        at.cleanup(() => proxy.heal());
        const lines: string[] = [];
        const log = loggerTo((_level, message) => lines.push(message));
        await work(
          at,
          store,
          async (ctx, text) => {
            if (text === 'during') {
              if (fault === 'slow') proxy.delay(2000);
              else proxy.silence();
              if (fault === 'cut') proxy.cut();
            }
            await ctx.emitChunk(text);
            return text;
          },
          {history, log},
        );
        await withStatus(store, await send(store, 'before'), 'COMPLETED');
        const during = await Promise.all(Array.from({length: 5}, () => send(store, 'during')));
        for (const sent of during) await withStatus(store, sent, 'COMPLETED');
        await until(() => lines.includes('history is not kept'));
        proxy.heal();
        proxy.cut();
        const after = await until(async () => {
          const sent = await send(store, 'after');
          await withStatus(store, sent, 'COMPLETED');
          await new Promise(resolve => setTimeout(resolve, 50));
          return (await rows(sent.sessionId)).length === 2 && sent;
        });
        expect(await rows(after.sessionId)).toEqual([
          ['user', 'after'],
          ['assistant', 'after'],
        ]);
        expect(lines.filter(line => line === 'history is kept again')).toHaveLength(1);
      },
    );
  });

  test('keeps once what is saved again because the reply was lost', async () => {
    const history = postgresHistory({url: throughProxy, timeoutMs: 10_000});
    const saver = new HistorySaver(history, silentLogger);
    await history.getHistory('lost-reply');
    proxy.loseReplies();
    saver.save({
      ...{sessionId: 'lost-reply', role: 'user', content: 'x', key: 'exec-1/ask'},
      metadata: {by_key: 'exec-1/ask'},
    });
    await until(async () => (await rows('lost-reply')).length === 1);
    proxy.heal();
    proxy.cut();
    await saver.flush();
    await history.saveMessage('lost-reply', 'user', 'x', {by_key: 'exec-1/ask'});
    expect(await rows('lost-reply')).toEqual([['user', 'x']]);
    await history.close();
  });
});

describe('what waits to be saved', () => {
  test('is bounded, in order for each session, and of others when one hangs', async () => {
    const inner = memoryHistory();
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    const slow: HistoryBackend = {
      ...{name: 'slow', listSessions: () => inner.listSessions(), close: () => inner.close()},
      getHistory: (...args) => inner.getHistory(...args),
      saveMessage: async (...args) => {
        if (args[0] === 'stuck') await gate;
        return inner.saveMessage(...args);
      },
    };
    const saver = new HistorySaver(slow, silentLogger, {maxWaiting: 10});
    const save = (sessionId: string, content: string) =>
      saver.save({sessionId, role: 'user', content, metadata: {}, key: ''});
    for (let index = 0; index < 20; index++) save('stuck', `${index}`);
    release();
    await saver.flush();
    expect((await shown(inner, 'stuck')).map(([, content]) => content)).toEqual(
      Array.from({length: 10}, (_, index) => `${index}`),
    );
    for (let index = 0; index < 10; index++) save(`s${index % 3}`, `${index}`);
    await saver.flush();
    expect((await shown(inner, 's0')).map(([, content]) => content)).toEqual(['0', '3', '6', '9']);
  });
});
