/** One suite on every place where history can be kept. */
import {PGlite} from '@electric-sql/pglite';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import type {HistoryBackend, HistoryRole} from '../../src/history/backend.js';
import {memoryHistory} from '../../src/history/memory.js';
import {migratePostgresHistory, postgresHistory, singleSession} from '../../src/history/postgres.js';
import {redisHistory} from '../../src/history/redis.js';
import type {Content} from '../../src/protocol/commands.js';
import {startPostgres, withClient, type PostgresServer} from '../support/postgres-server.js';
import {describeEachStore} from '../support/stores.js';

/** @param open a backend of which nobody else uses these sessions. */
function behavesLikeHistory(open: () => Promise<HistoryBackend> | HistoryBackend): void {
  const shown = async (history: HistoryBackend, sessionId: string, limit?: number) =>
    (await history.getHistory(sessionId, limit)).map(({role, content}) => [role, content]);

  test('gives a session’s newest messages, oldest first, with what was saved beside them', async () => {
    const history = await open();
    expect(await history.getHistory('s-1')).toEqual([]);
    for (let index = 1; index <= 12; index++)
      await history.saveMessage('s-1', index % 2 === 1 ? 'user' : 'assistant', `m${index}`, {index});
    await history.saveMessage('s-2', 'system', 'another session');
    const messages = await history.getHistory('s-1');
    expect(messages.map(({content}) => content)).toEqual(
      Array.from({length: 10}, (_, index) => `m${index + 3}`),
    );
    expect(messages[0]).toMatchObject({role: 'user', metadata: {index: 3}});
    expect(messages[0]?.at).toBeGreaterThan(Date.parse('2024-01-01'));
    expect(await shown(history, 's-1', 2)).toEqual([
      ['user', 'm11'],
      ['assistant', 'm12'],
    ]);
    expect(await history.getHistory('s-1', 1000)).toHaveLength(12);
    expect(await shown(history, 's-2')).toEqual([['system', 'another session']]);
  });

  test('keeps a message with a key once, however often and however fast it is saved', async () => {
    const history = await open();
    const save = (sessionId: string, content: string, key: string) =>
      history.saveMessage(sessionId, 'user', content, {by_key: key});
    await Promise.all(Array.from({length: 20}, () => save('s-3', 'once', 'exec-1/ask')));
    await save('s-3', 'once', 'exec-1/ask');
    await save('s-3', 'twice', 'exec-2/ask');
    await save('s-4', 'once', 'exec-1/ask');
    await history.saveMessage('s-3', 'user', 'no key');
    await history.saveMessage('s-3', 'user', 'no key');
    expect((await shown(history, 's-3')).map(([, content]) => content)).toEqual([
      'once',
      'twice',
      'no key',
      'no key',
    ]);
    expect(await shown(history, 's-4')).toEqual([['user', 'once']]);
  });

  test('keeps any text, lists of objects, and metadata as they were', async () => {
    const history = await open();
    const texts = [
      'ünï “✓” 🙂',
      "'; DROP TABLE x; --",
      'a\nb\tc\u001b[31m',
      'x'.repeat(200_000),
      '[1]',
      '{"a":1}',
    ];
    const lists: Content[] = [
      [{content: {text: 'hi'}}, {content: {text: 'ho', files: []}}],
      [{big: 'y'.repeat(200_000)}, {big: 'z'.repeat(200_000)}],
    ];
    const metadata = {a: {b: [1, null, true, 'x']}, "quote'": '"', ünï: '🙂'};
    for (const content of [...texts, ...lists]) await history.saveMessage('s-5', 'tool', content, metadata);
    const messages = await history.getHistory('s-5');
    expect(messages.map(({content}) => content)).toEqual([...texts, ...lists]);
    for (const message of messages) expect(message).toMatchObject({role: 'tool', metadata});
  });

  test('makes of what no database can hold something that it can', async () => {
    const history = await open();
    await history.saveMessage('s-6', 'user', 'a\0b\ud800c', {'k\0': ['v\0', '\\u0000', '\udc00']});
    await history.saveMessage('s-6', 'user', [{text: 'a\0b\ud800c'}]);
    const [text, list] = await history.getHistory('s-6');
    expect(text).toMatchObject({
      content: 'a\ufffdb\ufffdc',
      metadata: {'k\ufffd': ['v\ufffd', '\\u0000', '\ufffd']},
    });
    expect(list?.content).toEqual([{text: 'a\ufffdb\ufffdc'}]);
  });

  test('saves nothing for nothing, and refuses what can not be a message', async () => {
    const history = await open();
    for (const empty of ['', '  \n', []]) await history.saveMessage('s-7', 'user', empty);
    const save = (sessionId: unknown, role: unknown, content: unknown, metadata?: unknown) =>
      history.saveMessage(
        sessionId as string,
        role as HistoryRole,
        content as Content,
        metadata as Record<string, unknown>,
      );
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const wrong of [
      ['s 7', 'user', 'x'],
      ['', 'user', 'x'],
      [undefined, 'user', 'x'],
      ['s-7', 'bot', 'x'],
      ['s-7', 'user', 7],
      ['s-7', 'user', null],
      ['s-7', 'user', ['x']],
      ['s-7', 'user', 'x', 'metadata'],
      ['s-7', 'user', 'x', circle],
      ['s-7', 'user', 'x', {n: 1n}],
      ['s-7', 'user', 'x', {by_key: 7}],
      ['s-7', 'user', 'x', {by_key: 'a\nb'}],
    ])
      await expect(save(...(wrong as [unknown, unknown, unknown, unknown]))).rejects.toMatchObject({
        code: 'INVALID_INPUT',
      });
    for (const large of [
      ['s-7', 'user', 'x'.repeat(300_000)],
      ['s-7', 'user', 'x', {large: 'y'.repeat(70_000)}],
    ])
      await expect(save(...(large as [unknown, unknown, unknown, unknown]))).rejects.toMatchObject({
        code: 'MESSAGE_TOO_LARGE',
      });
    for (const limit of [0, -1, 1.5, NaN, 10_001, '5'])
      await expect(history.getHistory('s-7', limit as number)).rejects.toMatchObject({code: 'INVALID_INPUT'});
    await expect(history.getHistory('../s')).rejects.toMatchObject({code: 'INVALID_INPUT'});
    expect(await history.getHistory('s-7')).toEqual([]);
  });

  test('lists the sessions, the one that was active last first', async () => {
    const history = await open();
    for (const sessionId of ['l-1', 'l-2', 'l-1', 'l-3']) {
      await history.saveMessage(sessionId, 'user', 'x');
      // They are told apart by the millisecond.
      const [last] = await history.getHistory(sessionId, 1);
      while (Date.now() <= (last?.at ?? 0)) await new Promise(resolve => setTimeout(resolve, 1));
    }
    const sessions = (await history.listSessions()).filter(({sessionId}) => sessionId.startsWith('l-'));
    expect(sessions.map(({sessionId, messageCount}) => [sessionId, messageCount])).toEqual([
      ['l-3', 1],
      ['l-1', 2],
      ['l-2', 1],
    ]);
    const [newest] = await history.getHistory('l-3');
    expect(Math.abs((sessions[0]?.lastActiveAt ?? 0) - (newest?.at ?? 0))).toBeLessThanOrEqual(1);
    expect(await history.listSessions(1)).toHaveLength(1);
  });
}

describe('history in memory', () => {
  behavesLikeHistory(() => memoryHistory());

  test('keeps so many messages, sessions and characters, and lets the oldest go', async () => {
    const history = memoryHistory({maxMessages: 3, maxSessions: 2, maxCharacters: 3000});
    for (const content of ['1', '2', '3', '4']) await history.saveMessage('a', 'user', content);
    expect((await history.getHistory('a')).map(({content}) => content)).toEqual(['2', '3', '4']);
    await history.saveMessage('b', 'user', 'b');
    await history.saveMessage('a', 'user', '5');
    await history.saveMessage('c', 'user', 'c');
    expect((await history.listSessions()).map(({sessionId}) => sessionId)).toEqual(['c', 'a']);
    await history.saveMessage('d', 'user', 'x'.repeat(5000));
    expect(await history.listSessions()).toMatchObject([{sessionId: 'd', messageCount: 1}]);
    await history.saveMessage('e', 'user', 'e');
    expect(await history.listSessions()).toMatchObject([{sessionId: 'e', messageCount: 1}]);
  });

  test('hands out copies', async () => {
    const history = memoryHistory();
    const metadata = {list: ['a']};
    await history.saveMessage('s', 'user', 'x', metadata);
    metadata.list.push('b');
    const [first] = await history.getHistory('s');
    (first?.metadata as typeof metadata).list.push('c');
    expect((await history.getHistory('s'))[0]?.metadata).toEqual({list: ['a']});
  });
});

describeEachStore('history in Redis', at => {
  behavesLikeHistory(() => redisHistory(at.open()));

  test('keeps so many messages and bytes of a session, and forgets their keys with them', async () => {
    const store = at.open();
    const few = redisHistory(store, {maxMessages: 3});
    for (const content of ['1', '2', '3', '4'])
      await few.saveMessage('s', 'user', content, {by_key: content});
    await few.saveMessage('s', 'user', '4', {by_key: '4'});
    await few.saveMessage('s', 'user', '1', {by_key: '1'});
    expect((await few.getHistory('s')).map(({content}) => content)).toEqual(['3', '4', '1']);
    const small = redisHistory(store, {maxBytes: 1000});
    await small.saveMessage('s', 'user', 'x'.repeat(950));
    expect((await small.getHistory('s')).map(({content}) => content)).toEqual(['x'.repeat(950)]);
    await small.saveMessage('s', 'user', 'y'.repeat(2000));
    await small.saveMessage('s', 'user', 'z');
    expect((await small.getHistory('s')).map(({content}) => content)).toEqual(['z']);
    const key = store.keys.history('s');
    expect(await at.redis().hlen(key)).toBe(5);
    expect(await at.redis().ttl(key)).toBeGreaterThan(600_000);
  });

  test('is read although somebody wrote nonsense into it', async () => {
    const store = at.open();
    const history = redisHistory(store);
    await history.saveMessage('s', 'user', 'x');
    await history.saveMessage('s', 'user', 'y');
    await at.redis().hset(store.keys.history('s'), 'm:1', 'nonsense');
    expect(await history.getHistory('s')).toMatchObject([{role: 'system', content: ''}, {content: 'y'}]);
  });
});

describe('history in PGlite', () => {
  let database: PGlite;
  beforeAll(async () => {
    database = new PGlite();
    await migratePostgresHistory({database: singleSession(database)});
  });
  afterAll(() => database.close());
  behavesLikeHistory(() => postgresHistory({database: singleSession(database)}));
});

describe('history in PostgreSQL', () => {
  let server: PostgresServer;
  let url: string;
  const opened: HistoryBackend[] = [];
  const open = () => {
    const history = postgresHistory({url});
    opened.push(history);
    return history;
  };
  beforeAll(async () => {
    server = await startPostgres();
    url = await server.createDatabase();
    await migratePostgresHistory({url});
  });
  afterAll(async () => {
    for (const history of opened) await history.close();
    await server.stop();
  });

  behavesLikeHistory(open);

  test('shares its table with other SDKs: their rows are read, and ours are text to them', async () => {
    const history = open();
    await withClient(url, async client => {
      await client.query(
        `INSERT INTO gateway_session_messages (session_id, role, content) VALUES ('p-1', 'user', '[{"a": 1}]')`,
      );
      await history.saveMessage('p-1', 'assistant', [{text: 'hi'}], {trace_id: 't'});
      const {rows} = await client.query(
        `SELECT role, content, metadata FROM gateway_session_messages WHERE session_id = 'p-1' ORDER BY id`,
      );
      expect(rows[1]).toMatchObject({
        role: 'assistant',
        content: '[{"text":"hi"}]',
        metadata: {trace_id: 't'},
      });
    });
    expect(await history.getHistory('p-1')).toMatchObject([
      {role: 'user', content: '[{"a": 1}]', metadata: {}},
      {role: 'assistant', content: [{text: 'hi'}]},
    ]);
  });

  test('saves once also where another SDK made the table, and nobody our index', async () => {
    const other = await server.createDatabase();
    await withClient(other, client =>
      client.query(`CREATE TABLE gateway_session_messages (id BIGSERIAL PRIMARY KEY, session_id VARCHAR(128) NOT NULL,
        role VARCHAR(32) NOT NULL, content TEXT NOT NULL, metadata JSONB NOT NULL DEFAULT '{}',
        created_at TIMESTAMPTZ NOT NULL DEFAULT now())`),
    );
    const history = postgresHistory({url: other});
    opened.push(history);
    for (let time = 0; time < 3; time++) await history.saveMessage('s', 'user', 'x', {by_key: 'k'});
    expect(await history.getHistory('s')).toHaveLength(1);
  });

  test('says what is missing: the tables, the server, a password that is right, and never the password', async () => {
    const empty = postgresHistory({url: await server.createDatabase()});
    const gone = postgresHistory({url: url.replace(/:\d+\//, ':1/')});
    const wrong = postgresHistory({url: url.replace(server.password, 'wrong-password')});
    opened.push(empty, gone, wrong);
    await expect(empty.getHistory('s')).rejects.toMatchObject({
      code: 'HISTORY_SCHEMA',
      hint: 'Make them: by history migrate',
    });
    for (const history of [gone, wrong]) {
      const error: unknown = await history.saveMessage('s', 'user', 'x').catch((caught: unknown) => caught);
      expect(error).toMatchObject({code: 'HISTORY_UNAVAILABLE', retryable: true});
      expect(JSON.stringify([error, String(error), (error as Error).stack])).not.toContain(
        history === wrong ? 'wrong-password' : server.password,
      );
    }
  });
});
