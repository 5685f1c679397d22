/** `by history` and what of `by session` shows messages, as a user types them. Needs the build. */
import {existsSync} from 'node:fs';
import {mkdtemp, readFile, rm, stat, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {memoryHistory} from '../../src/history/memory.js';
import {postgresHistory} from '../../src/history/postgres.js';
import {redisHistory} from '../../src/history/redis.js';
import {silentLogger} from '../../src/log.js';
import {openStore, type Store} from '../../src/store/store.js';
import {defineAgent, GatewayWorker} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {startPostgres, type PostgresServer} from '../support/postgres-server.js';
import {startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {ESCAPES, runBy, startBy} from './run-by.js';

const evil = 'a\u001b]52;c;ZXZpbA==\u0007b\u009bc\u202ed';

class Plain extends GatewayWorker {
  getAgentTypes() {
    return ['plain'];
  }
  async processCommand(command: {content: unknown}, ctx: AgentContext) {
    await ctx.emitChunk('answer to ');
    await ctx.emitChunk(String(command.content));
  }
}

describe('by history and the messages of sessions', () => {
  let redis: {url: string; stop: () => Promise<void>};
  let postgres: PostgresServer;
  let database: string;
  let folder: string;
  let store: Store;
  let client: GatewayClient;
  let worker: WorkerHandle;
  const by = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    runBy(args, {env: {BY_REDIS_URL: redis.url, ...env}, cwd: folder});
  const data = async (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    const ran = await by([...args, '--json'], env);
    expect(ran.stdout).not.toMatch(ESCAPES);
    return (ran.json() as unknown as {data: Record<string, unknown>}).data;
  };
  const inPostgres = () => ({BY_HISTORY_URL: database});

  beforeAll(async () => {
    [redis, postgres] = await Promise.all([startRedisServer(), startPostgres()]);
    database = await postgres.createDatabase();
    folder = await mkdtemp(join(tmpdir(), 'by-history-'));
    store = openStore({url: redis.url});
    client = new GatewayClient(store);
    worker = await startWorker(
      {url: redis.url},
      {
        history: memoryHistory(),
        log: silentLogger,
        agents: [
          new Plain(),
          defineAgent({
            type: 'asker',
            async run(ctx, {text}) {
              await ctx.emitChunk('Let me ask. ');
              const city = await ctx.askUser({prompt: 'Which city?', choices: ['Paris', 'Rome']});
              return `${text}: ${String(city)}`;
            },
          }),
        ],
      },
    );
  });
  afterAll(async () => {
    await worker.stop({drainMs: 0});
    store.close();
    await Promise.all([redis.stop(), postgres.stop(), rm(folder, {recursive: true, force: true})]);
  });

  test('migrate says what it would do, does it once, and what is missing is said with what to do', async () => {
    const empty = await by(['session', 'messages', 's-none'], inPostgres());
    expect([empty.code, empty.stderr]).toEqual([3, expect.stringContaining('by history migrate')]);
    const plan = await by(['history', 'migrate', '--dry-run'], inPostgres());
    expect(plan.stdout).toMatch(
      /^BEGIN;\n[^]*CREATE TABLE IF NOT EXISTS gateway_session_messages[^]*COMMIT;\n$/,
    );
    expect(plan.stderr).toContain('would go from version 0 to 2');
    const both = await Promise.all([
      data(['history', 'migrate'], inPostgres()),
      data(['history', 'migrate'], {BYAI_HISTORY_PG_DSN: database}),
    ]);
    expect(both.map(({from}) => from).sort()).toEqual([0, 2]);
    const again = await by(['history', 'migrate'], inPostgres());
    expect([again.code, again.stdout, again.stderr]).toEqual([
      0,
      '',
      expect.stringContaining('at version 2; nothing to do'),
    ]);
    expect(await data(['history', 'migrate', '--dry-run'], inPostgres())).toMatchObject({sql: ''});
  });

  test('migrate refuses what has no schema, and never shows a password', async () => {
    const wrong = database.replace(postgres.password, 'wrong-pass%2Fword');
    for (const [env, code, words] of [
      [{}, 2, 'memory'],
      [{BY_HISTORY: 'redis'}, 2, 'redis'],
      [{BY_HISTORY: 'postgres'}, 2, 'BY_HISTORY_URL'],
      [{BY_HISTORY: 'mysql'}, 2, 'BY_HISTORY is "mysql"'],
      [{BY_HISTORY_URL: 'wrong-pass/word'}, 2, 'no PostgreSQL URL'],
      [{BY_HISTORY_URL: wrong}, 3, 'password authentication failed'],
      [{BY_HISTORY_URL: wrong.replace(/:\d+\//, ':1/')}, 3, 'ECONNREFUSED'],
    ] as const) {
      const ran = await by(['history', 'migrate', '--verbose'], env);
      expect([ran.code, ran.stderr]).toEqual([code, expect.stringContaining(words)]);
      expect(ran.stdout + ran.stderr).not.toMatch(/wrong-pass/);
    }
    await writeFile(join(folder, 'by.config.json'), JSON.stringify({history: {backend: 'postgres'}}));
    expect((await by(['history', 'migrate'])).stderr).toContain('by.config asks for history in PostgreSQL');
    await writeFile(join(folder, 'by.config.json'), JSON.stringify({history: {backend: 'paper'}}));
    expect((await by(['history', 'migrate'])).stderr).toContain('by.config.json at history.backend');
    await rm(join(folder, 'by.config.json'));
  });

  describe('a session without a history', () => {
    beforeAll(async () => {
      const asked = await client.send({agentType: 'asker', content: 'weather', sessionId: 's-1'});
      const [question] = await until(async () => {
        const found = await client.questions('s-1');
        return found.length > 0 && found;
      });
      await client.reply({
        ...{sessionId: 's-1', executionId: asked.executionId},
        ...{questionId: question?.questionId ?? '', content: 'Paris'},
      });
      await until(async () => (await client.find('s-1', asked.messageId))?.status === 'COMPLETED');
      const plain = await client.send({agentType: 'plain', content: evil, sessionId: 's-1'});
      await until(async () => (await client.find('s-1', plain.messageId))?.status === 'COMPLETED');
    });

    const EXPECTED = [
      ['user', 'message', 'weather'],
      ['assistant', 'message', 'Let me ask. '],
      ['assistant', 'question', 'Which city?'],
      ['user', 'reply', 'Paris'],
      ['assistant', 'message', 'weather: Paris'],
      ['user', 'message', null],
      ['assistant', 'message', `answer to ${evil}`],
    ];
    const triples = (messages: unknown) =>
      (messages as {role: string; kind: string; content: unknown}[]).map(({role, kind, content}) => [
        role,
        kind,
        content,
      ]);

    test('is rebuilt from its events: asks, answers, questions and replies', async () => {
      const shown = await data(['session', 'messages', 's-1']);
      expect(shown).toMatchObject({session_id: 's-1', source: 'events'});
      expect(triples(shown['messages'])).toEqual(EXPECTED);
      const [, , question, reply] = shown['messages'] as {metadata: Record<string, unknown>}[];
      expect(reply?.metadata['question_id']).toBe(question?.metadata['question_id']);
      const {stdout, stderr} = await by(['session', 'messages', 's-1', '--limit', '2']);
      expect(stdout).toMatch(
        /^user {2}to plain {2}20[^\n]*\n\(not kept\)\n\nassistant {2}plain [^\n]*\nanswer to a/,
      );
      expect(stdout + stderr).not.toMatch(ESCAPES);
      expect(stderr).toContain('rebuilt from the session’s events'.replace('’', "'"));
    });

    test('is exported as lines, as one document, and for people, to a file that is nobody else’s', async () => {
      const lines = (await by(['session', 'export', 's-1'])).stdout.trim().split('\n');
      expect(triples(lines.map(line => JSON.parse(line) as unknown))).toEqual(EXPECTED);
      const whole = await by(['session', 'export', 's-1', '--format', 'json']);
      expect(triples(JSON.parse(whole.stdout))).toEqual(EXPECTED);
      const file = join(folder, 'out.md');
      const to = ['session', 'export', 's-1', '--format', 'md', '-o', file];
      const written = await by(to);
      expect([written.code, written.stdout]).toEqual([0, '']);
      const text = await readFile(file, 'utf8');
      expect(text).toMatch(/^# Session s-1\n\n## user\n\n_to asker · 20[^\n]*_\n\nweather\n\n## assistant\n/);
      expect((await stat(file)).mode & 0o777).toBe(0o600);

      const again = await by(to);
      expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('--yes')]);
      expect(await data([...to, '--yes'])).toMatchObject({file, format: 'md', count: 7, source: 'events'});
      expect(await data(['session', 'export', 's-1', '-o', '-'])).toMatchObject({count: 7});
    });

    test('says what is wrong with a file, a session or a limit', async () => {
      for (const [args, code] of [
        [['session', 'messages', 'nope'], 4],
        [['session', 'messages', 's 1'], 2],
        [['session', 'messages', 's-1', '--limit', '0'], 2],
        [['session', 'messages', 's-1', '--user-code', 'somebody'], 4],
        [['session', 'export', 'nope', '-o', join(folder, 'nope')], 4],
        [['session', 'export', 's-1', '-o', 'table'], 2],
        [['session', 'export', 's-1', '-o', folder], 11],
        [['session', 'export', 's-1', '-o', join(folder, 'no/such/folder')], 2],
        [['session', 'export', 's-1', '--format', 'pdf'], 2],
      ] as const) {
        const ran = await by(args);
        expect([args, ran.code, ran.stdout]).toEqual([args, code, '']);
      }
      expect(existsSync(join(folder, 'nope'))).toBe(false);
    });
  });

  test('what history has comes from there, wherever that is, also when the session is forgotten', async () => {
    for (const [history, env, source] of [
      [postgresHistory({url: database}), inPostgres(), 'postgres'],
      [redisHistory(store), {BY_HISTORY: 'redis'}, 'redis'],
    ] as const) {
      for (let index = 1; index <= 3; index++)
        await history.saveMessage('s-kept', 'user', `${evil} ${index}`, {agent_id: 'x', api_key: 'k'});
      await history.saveMessage('s-kept', 'tool', [{text: 'one'}, {text: 'two'}]);
      await history.close();
      const shown = await data(['session', 'messages', 's-kept', '--limit', '2'], env);
      expect(shown).toMatchObject({
        source,
        messages: [
          {role: 'user', content: `${evil} 3`, metadata: {agent_id: 'x', api_key: 'k'}},
          {role: 'tool', content: [{text: 'one'}, {text: 'two'}]},
        ],
      });
      const {stdout} = await by(['session', 'messages', 's-kept'], env);
      expect(stdout).not.toMatch(ESCAPES);
      expect(stdout).toContain('one\n\ntwo\n');
      expect((await by(['session', 'export', 's-kept'], env)).stdout.trim().split('\n')).toHaveLength(4);
    }
  });

  test('a worker keeps it where the environment or by.config says', async () => {
    const agents = join(folder, 'agents.mjs');
    const library = JSON.stringify(new URL('../../dist/src/index.js', import.meta.url).href);
    await writeFile(
      agents,
      `import {defineAgent} from ${library};
       export const bot = defineAgent({type: 'bot', run: async ctx => 'knows ' + (await ctx.history.get()).length});`,
    );
    await writeFile(join(folder, 'by.config.json'), JSON.stringify({history: {backend: 'redis'}}));
    const histories = [
      ['s-a', {}, redisHistory(store)],
      ['s-b', inPostgres(), postgresHistory({url: database})],
    ] as const;
    for (const [sessionId, env, history] of histories) {
      const running = startBy(['worker', 'run', agents], {
        env: {BY_REDIS_URL: redis.url, ...env},
        cwd: folder,
      });
      let said = '';
      running.stderr.on('data', (text: Buffer) => (said += text.toString()));
      const ended = new Promise(resolve => running.once('close', resolve));
      for (const content of ['one', 'two'])
        await client
          .send({agentType: 'bot', content, sessionId, policy: 'SEND_ANYWAY'})
          .then(sent =>
            until(async () => (await client.find(sessionId, sent.messageId))?.status === 'COMPLETED'),
          );
      running.kill('SIGTERM');
      await ended;
      const messages = await history.getHistory(sessionId);
      expect(messages.map(({content}) => content).sort()).toEqual(['knows 1', 'knows 3', 'one', 'two']);
      expect(said).toContain(`"history":"${history.name}"`);
      expect(said).not.toContain(postgres.password);
      await history.close();
    }
    await rm(join(folder, 'by.config.json'));
  });
});
