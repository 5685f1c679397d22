/** `by mcp` as clients start it: a process at the end of two pipes. */
import {resolve} from 'node:path';
import {Client, type ClientOptions} from '@modelcontextprotocol/client';
import {StdioClientTransport} from '@modelcontextprotocol/client/stdio';
import {expect, test} from 'vitest';
import {silentLogger} from '../../src/log.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachServer, type TestStore} from '../support/stores.js';
import {runBy, startBy} from './run-by.js';

const bin = resolve(import.meta.dirname, '../../bin/by.js');

/** The commands have no prefix: what they do is seen in a server of its own, or by ids nobody else has. */
const unique = () => `mcp-${Math.random().toString(36).slice(2, 10)}`;

async function connect(at: TestStore, args: readonly string[], options: ClientOptions): Promise<Client> {
  const client = new Client({name: 'test', version: '1'}, options);
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [bin, 'mcp', ...args],
    env: {BY_REDIS_URL: at.url(), PATH: process.env['PATH'] ?? ''},
    stderr: 'ignore',
  });
  at.cleanup(() => client.close());
  await client.connect(transport);
  return client;
}

describeEachServer('by mcp', at => {
  test.for(['legacy', 'auto'] as const)(
    'lends an agent on its pipes, with its questions (%s)',
    async mode => {
      const type = unique();
      const {openStore} = await import('../../src/store/store.js');
      const store = openStore({url: at.url()});
      at.cleanup(() => store.close());
      const agent = defineAgent({
        type,
        run: async (ctx, ask) => ({content: `${ask.text} ${String(await ctx.askUser('Who?'))}`}),
      });
      const worker = await startWorker(store, {agents: [agent], log: silentLogger});
      at.cleanup(() => worker.stop({drainMs: 0}));
      const asked: string[] = [];
      const client = await connect(at, ['--agent', type], {
        capabilities: {elicitation: {form: {}}},
        versionNegotiation: {mode},
      });
      client.setRequestHandler('elicitation/create', ({params}) => {
        asked.push(params.message);
        return {action: 'accept', content: {answer: 'Ada'}};
      });
      const {tools} = await client.listTools();
      expect(tools.map(({name}) => name)).toContain(type);
      const result = await client.callTool({name: type, arguments: {message: 'hello'}});
      expect(result.content).toEqual([{type: 'text', text: 'hello Ada'}]);
      expect(asked).toEqual(['Who?']);
    },
  );

  test('ends when its client does', async () => {
    const child = startBy(['mcp'], {env: {BY_REDIS_URL: at.url()}});
    expect(await new Promise(done => child.once('close', done))).toBe(0);
  });

  test('serves over HTTP until a signal, and never says its token', async () => {
    const token = 'not-to-be-said-to-anybody';
    const child = startBy(['mcp', '--http', '0', '--agent', 'echo'], {
      env: {BY_REDIS_URL: at.url(), BY_MCP_TOKEN: token},
    });
    let said = '';
    const url = await new Promise<string>(done => {
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        const found = /http:\/\/\S+\/mcp/.exec(said);
        if (found) done(found[0]);
      });
    });
    expect((await fetch(url, {method: 'POST'})).status).toBe(401);
    child.kill('SIGTERM');
    expect(await new Promise(done => child.once('close', done))).toBe(0);
    expect(said).not.toContain(token);
  });

  test.for([
    [['mcp', '--no-views'], 2, 'nothing for a client to do'],
    [['mcp', '--policy', 'wake'], 2, 'is no route policy'],
    [['mcp', '--agent', 'a b'], 2, 'can not be an agent type'],
    [['mcp', '--http', '0.0.0.0:0'], 2, 'Everybody who reaches'],
    [['mcp', '--http', 'x:y:z'], 2, 'no address to listen on'],
    [['mcp', '--http', '0', '--token-file', '/does/not/exist'], 2, 'can not be read'],
  ] as const)('%s is refused', async ([args, code, text]) => {
    const ran = await runBy(args, {env: {BY_REDIS_URL: at.url()}});
    expect(ran.stderr).toContain(text);
    expect(ran.code).toBe(code);
    expect(ran.stdout).toBe('');
  });
});
