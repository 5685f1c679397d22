/** A deployment as an MCP server, asked by the SDK's own client over HTTP, in the newest revision and in the older ones. */
import {Client, StreamableHTTPClientTransport} from '@modelcontextprotocol/client';
import {describe, expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {
  mcpServerFactory,
  mcpTools,
  serveMcpHttp,
  type McpHttpOptions,
  type McpOptions,
} from '../../src/integrations/mcp/index.js';
import {toolNames} from '../../src/integrations/mcp/agent-tools.js';
import {silentLogger} from '../../src/log.js';
import {sessionExecutions} from '../../src/store/executions.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

type Era = 'legacy' | 'auto';
type Person = (
  message: string,
  schema: unknown,
) => {action: 'accept' | 'decline' | 'cancel'; answer?: string};

async function work(at: TestStore, store: Store, ...agents: Agent[]): Promise<void> {
  const worker = await startWorker(store, {agents, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
}

async function serve(
  at: TestStore,
  store: Store,
  options: McpOptions,
  http: McpHttpOptions = {},
): Promise<string> {
  const serving = await serveMcpHttp(mcpServerFactory(new GatewayClient(store), options), http);
  at.cleanup(() => serving.close());
  return serving.url;
}

async function connect(
  at: TestStore,
  url: string,
  era: Era,
  person?: Person,
  token?: string,
): Promise<Client> {
  const client = new Client(
    {name: 'test', version: '1'},
    {
      capabilities: person === undefined ? {} : {elicitation: {form: {}}},
      versionNegotiation: {mode: era},
    },
  );
  if (person !== undefined) {
    client.setRequestHandler('elicitation/create', ({params}) => {
      const {action, answer} = person(
        params.message,
        'requestedSchema' in params ? params.requestedSchema : {},
      );
      return {action, ...(answer === undefined ? {} : {content: {answer}})};
    });
  }
  const headers: Record<string, string> = token === undefined ? {} : {authorization: `Bearer ${token}`};
  await client.connect(new StreamableHTTPClientTransport(new URL(url), {requestInit: {headers}}));
  at.cleanup(() => client.close());
  return client;
}

const textOf = (result: {content: readonly {type: string}[]}): string =>
  result.content.map(part => ('text' in part ? String(part.text) : '')).join('');

const echo = defineAgent({type: 'echo', run: (_ctx, ask) => ({content: `you said ${ask.text}`})});

describeEachStore('a deployment as an MCP server', at => {
  for (const era of ['auto', 'legacy'] as const) {
    describe(
      era === 'auto' ? 'to a client of the newest revision' : 'to a client of an older revision',
      () => {
        test('lends its agents as tools, and goes on with a session', async () => {
          const store = at.open();
          await work(at, store, echo);
          const client = await connect(at, await serve(at, store, {agents: 'all'}), era);
          const {tools} = await client.listTools();
          expect(tools.map(({name}) => name)).toEqual(
            expect.arrayContaining([
              'echo',
              'wait_for_agent',
              'answer_agent',
              'list_agents',
              'list_dead_letters',
            ]),
          );
          const first = await client.callTool({name: 'echo', arguments: {message: 'hello'}});
          expect(textOf(first)).toBe('you said hello');
          const {session_id: sessionId} = first.structuredContent as {session_id: string};
          await client.callTool({name: 'echo', arguments: {message: 'again', session_id: sessionId}});
          const records = await sessionExecutions(store, sessionId);
          expect(records.map(({status}) => status)).toEqual(['COMPLETED', 'COMPLETED']);
          const shown = await client.callTool({name: 'show_session', arguments: {session_id: sessionId}});
          expect(JSON.parse(textOf(shown))).toMatchObject({
            state: 'ended',
            executions: [{status: 'COMPLETED'}, {status: 'COMPLETED'}],
          });
        });

        // In the older revisions a form needs a connection that outlives its request: over standard input.
        if (era === 'auto')
          test('puts a question before its person, with the choices', async () => {
            const store = at.open();
            const agent = defineAgent({
              type: 'deploy',
              run: async ctx => ({
                content: `deployed to ${String(await ctx.askUser({prompt: 'Where?', choices: ['staging', 'prod']}))}`,
              }),
            });
            await work(at, store, agent);
            const asked: unknown[] = [];
            const client = await connect(
              at,
              await serve(at, store, {agents: ['deploy']}),
              era,
              (message, schema) => {
                asked.push([message, schema]);
                return {action: 'accept', answer: 'prod'};
              },
            );
            const result = await client.callTool({name: 'deploy', arguments: {message: 'go'}});
            expect(textOf(result)).toBe('deployed to prod');
            expect(asked).toMatchObject([['Where?', {properties: {answer: {enum: ['staging', 'prod']}}}]]);
          });

        test('says what is asked where nobody can be shown a form, and takes the answer by a tool', async () => {
          const store = at.open();
          await work(
            at,
            store,
            defineAgent({
              type: 'greet',
              run: async ctx => ({content: `Hello ${String(await ctx.askUser('Name?'))}`}),
            }),
          );
          const client = await connect(at, await serve(at, store, {agents: ['greet']}), era);
          const asked = await client.callTool({name: 'greet', arguments: {message: 'go'}});
          const told = asked.structuredContent as {
            session_id: string;
            execution_id: string;
            question: {question_id: string};
          };
          expect(told).toMatchObject({status: 'WAITING_USER', question: {prompt: 'Name?'}});
          expect(textOf(asked)).toContain('answer_agent');
          const answered = await client.callTool({
            name: 'answer_agent',
            arguments: {
              ...{session_id: told.session_id, execution_id: told.execution_id, answer: 'Ada'},
              question_id: told.question.question_id,
            },
          });
          expect(textOf(answered)).toBe('Hello Ada');
          // The first answer counts, and who comes second is told.
          const late = await client.callTool({
            name: 'answer_agent',
            arguments: {
              ...{session_id: told.session_id, execution_id: told.execution_id, answer: 'Eve'},
              question_id: told.question.question_id,
            },
          });
          expect(late.isError).toBe(true);
          expect(textOf(late)).toMatch(/^(NOT_WAITING|ANSWER_TOO_LATE|ALREADY_ANSWERED): /);
        });

        test('does not hold a call for longer than clients wait', async () => {
          const store = at.open();
          let finish = false;
          await work(
            at,
            store,
            defineAgent({
              type: 'slow',
              run: async ctx => {
                await ctx.emitChunk('thinking');
                await ctx.step('work', () => until(() => finish));
                return {content: 'done'};
              },
            }),
          );
          const client = await connect(at, await serve(at, store, {agents: ['slow'], waitMs: 300}), era);
          const first = await client.callTool({name: 'slow', arguments: {message: 'go'}});
          const {session_id, execution_id} = first.structuredContent as Record<string, string>;
          expect(textOf(first)).toContain('wait_for_agent');
          const waiting = async (status: string) => {
            const result = await client.callTool({
              name: 'wait_for_agent',
              arguments: {session_id, execution_id},
            });
            return (result.structuredContent as {status: string}).status === status && result;
          };
          // How far it is within the first 300 ms is open.
          await until(async () => {
            const result = await waiting('RUNNING');
            return result !== false && textOf(result).includes('thinking');
          });
          expect(finish).toBe(false);
          finish = true;
          expect(textOf(await until(() => waiting('COMPLETED')))).toMatch(/thinking\s+done/);
        });

        test('says why an agent failed, and what is wrong with what it was asked', async () => {
          const store = at.open();
          await work(
            at,
            store,
            defineAgent({
              type: 'broken',
              run: () => ({status: 'FAILED', content: 'no paper', retryable: false}),
            }),
          );
          const client = await connect(
            at,
            await serve(at, store, {agents: ['broken', 'nobody'], policy: 'FAIL_FAST'}),
            era,
          );
          const failed = await client.callTool({name: 'broken', arguments: {message: 'go'}});
          expect(failed).toMatchObject({isError: true, structuredContent: {status: 'FAILED'}});
          expect(textOf(failed)).toContain('no paper');
          const refused = await client.callTool({name: 'nobody', arguments: {message: 'go'}});
          expect(refused.isError).toBe(true);
          expect(textOf(refused)).toMatch(/^AGENT_TYPE_UNAVAILABLE: /);
          for (const [name, args] of [
            ['wait_for_agent', {session_id: 'sess-none', execution_id: 'exec-none'}],
            ['show_session', {session_id: 'sess-none'}],
            ['show_dead_letter', {id: '1-1'}],
            ['show_dead_letter', {id: 'FLUSHALL'}],
          ] as const) {
            const result = await client.callTool({name, arguments: args});
            expect(result.isError, name).toBe(true);
            expect(textOf(result)).toMatch(/^NOT_FOUND: /);
          }
        });
      },
    );
  }

  test('shows a user what is theirs alone', async () => {
    const store = at.open();
    await work(at, store, echo);
    const url = await serve(at, store, {agents: ['echo'], userCode: 'ada'});
    const client = await connect(at, url, 'auto');
    const {tools} = await client.listTools();
    expect(tools.map(({name}) => name).sort()).toEqual(
      ['answer_agent', 'echo', 'list_agents', 'show_session', 'wait_for_agent'].sort(),
    );
    const own = await client.callTool({name: 'echo', arguments: {message: 'x'}});
    const {session_id: ownSession} = own.structuredContent as {session_id: string};
    expect(
      (await client.callTool({name: 'show_session', arguments: {session_id: ownSession}})).isError,
    ).not.toBe(true);
    const other = await new GatewayClient(store).send({agentType: 'echo', content: 'x', userCode: 'eve'});
    const foreign = await client.callTool({name: 'show_session', arguments: {session_id: other.sessionId}});
    expect(textOf(foreign)).toMatch(/^NOT_FOUND/);
    const taken = await client.callTool({
      name: 'echo',
      arguments: {message: 'x', session_id: other.sessionId},
    });
    expect(taken.isError).toBe(true);
  });

  test('cancels what a client takes back', async () => {
    const store = at.open();
    await work(
      at,
      store,
      defineAgent({type: 'slow', run: ctx => ctx.step('wait', ({signal}) => until(() => signal.aborted))}),
    );
    const client = await connect(at, await serve(at, store, {agents: ['slow']}), 'auto');
    const over = new AbortController();
    const calling = client.callTool(
      {name: 'slow', arguments: {message: 'go', session_id: 'sess-mine'}},
      {signal: over.signal},
    );
    const hasStatus = (status: string) =>
      until(async () => (await sessionExecutions(store, 'sess-mine'))[0]?.status === status);
    await hasStatus('RUNNING');
    over.abort();
    await expect(calling).rejects.toThrow();
    await hasStatus('CANCELLED');
  });

  test('without agents only shows, and never more than it is asked for', async () => {
    const store = at.open();
    const client = await connect(at, await serve(at, store, {}), 'auto');
    const {tools} = await client.listTools();
    expect(tools.every(({annotations}) => annotations?.readOnlyHint === true)).toBe(true);
    const blind = await connect(at, await serve(at, store, {agents: ['echo'], views: false}), 'auto');
    const named = (await blind.listTools()).tools.map(({name}) => name).sort();
    expect(named).toEqual(['answer_agent', 'echo', 'wait_for_agent']);
  });

  test('lends the tools of an MCP server to a durable agent', async () => {
    const store = at.open();
    await work(at, store, echo);
    const client = await connect(at, await serve(at, store, {agents: ['echo']}), 'auto');
    const tools = await mcpTools(client, {prefix: 'far_'});
    expect(tools['far_echo']?.inputJsonSchema).toMatchObject({required: ['message']});
    expect([tools['far_echo']?.isReadOnly, tools['far_show_session']?.isReadOnly]).toEqual([false, true]);
    let calls = 0;
    const echoing = tools['far_echo']!;
    tools['far_echo'] = {
      ...echoing,
      execute: (input, ctx) => {
        calls++;
        return echoing.execute(input, ctx);
      },
    };
    let failure: unknown;
    await work(
      at,
      store,
      defineAgent({
        type: 'user-of-tools',
        run: async ctx => {
          const all = ctx.tools.and(tools);
          // A step by itself: in the second turn it is not called again.
          const told = await all.call('far_echo', {message: 'from afar'});
          await ctx.sleep(1);
          failure = await all.call('far_show_session', {session_id: 'none'}).catch((error: unknown) => error);
          return {content: JSON.stringify(told)};
        },
      }),
    );
    const sent = await new GatewayClient(store).send({agentType: 'user-of-tools', content: 'x'});
    const record = await until(async () => {
      const found = await new GatewayClient(store).find(sent.sessionId, sent.messageId);
      return found?.status === 'COMPLETED' && found;
    });
    expect(record.status).toBe('COMPLETED');
    expect(calls).toBe(1);
    expect(failure).toMatchObject({name: 'StepFailed', message: expect.stringContaining('none') as unknown});
  });
});

describeEachStore('the address of an MCP server', at => {
  test('is closed to who has no token, to pages of other origins, and to other host names', async () => {
    const store = at.open();
    const token = 'a-secret-of-some-length';
    const url = await serve(at, store, {}, {token});
    const post = (headers: Record<string, string>) =>
      fetch(url, {method: 'POST', headers: {'content-type': 'application/json', ...headers}, body: '{}'});
    expect((await post({})).status).toBe(401);
    expect((await post({authorization: 'Bearer wrong-secret-of-some'})).status).toBe(401);
    const held = {authorization: `Bearer ${token}`};
    expect((await post({...held, origin: 'https://evil.example'})).status).toBe(403);
    expect((await fetch(url.replace('/mcp', '/else'), {headers: held})).status).toBe(404);
    const client = await connect(at, url, 'auto', undefined, token);
    expect((await client.listTools()).tools.length).toBeGreaterThan(0);
  });

  test('is of this machine only unless there is a token', async () => {
    const factory = mcpServerFactory(new GatewayClient(at.open()));
    await expect(serveMcpHttp(factory, {host: '0.0.0.0'})).rejects.toMatchObject({code: 'INVALID_CONFIG'});
    await expect(serveMcpHttp(factory, {token: 'short'})).rejects.toMatchObject({code: 'INVALID_CONFIG'});
    const first = await serveMcpHttp(factory);
    at.cleanup(() => first.close());
    const port = Number(new URL(first.url).port);
    await expect(serveMcpHttp(factory, {port})).rejects.toMatchObject({code: 'CONFLICT'});
  });
});

test('agent types have tools of different names, as clients take them', () => {
  const long = 'x'.repeat(80);
  const names = toolNames(['ocr', 'team:a.b', 'team:a@b', 'answer_agent', long, `${long}y`]);
  expect([...names.values()].every(name => /^[\w-]{1,64}$/.test(name))).toBe(true);
  expect(new Set(names.values()).size).toBe(6);
  expect(names.get('ocr')).toBe('ocr');
  expect(names.get('answer_agent')).toMatch(/^answer_agent_[\da-f]{8}$/);
});
