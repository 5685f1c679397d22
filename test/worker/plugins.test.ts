/** Plugins at work: what they are told, what agents get from them, and that they are in nobody's way. */
import {expect, test} from 'vitest';
import {z} from 'zod';
import {GatewayClient} from '../../src/client/client.js';
import {messageOf} from '../../src/errors.js';
import {loggerTo, silentLogger} from '../../src/log.js';
import {defineTool, type AgentConfig} from '../../src/plugins/agent-config.js';
import {definePlugin, type HookContext, type Plugin} from '../../src/plugins/plugin.js';
import {findExecution} from '../../src/store/executions.js';
import {readReports} from '../../src/store/plugin-state.js';
import type {Store} from '../../src/store/store.js';
import {contentText, defineAgent, GatewayWorker, type Agent} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

async function work(
  at: TestStore,
  store: Store,
  agents: readonly Agent[],
  plugins: WorkerOptions['plugins'],
  options: Partial<WorkerOptions> = {},
): Promise<WorkerHandle> {
  const worker = await startWorker(store, {log: silentLogger, ...options, agents, plugins});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

const ended = (
  store: Store,
  {sessionId, executionId}: {sessionId: string; executionId: string},
  status: string,
) =>
  until(async () => {
    const record = await findExecution(store, sessionId, executionId);
    return record?.status === status && record;
  });

/** A plugin that notes what it is told, in one line each. */
function watcher(name: string, lines: string[], more: Partial<Plugin> = {}): Plugin {
  const note = (what: string) => void lines.push(`${name} ${what}`);
  const of = (ctx: HookContext) => `${ctx.agentType}#${ctx.attempt}`;
  return definePlugin({
    manifest: {name, version: '1.0.0'},
    onWorkerStartup: ({agentTypes}) => note(`startup ${agentTypes.join(',')}`),
    onWorkerShutdown: () => note('shutdown'),
    onTaskStart: ctx => note(`start ${of(ctx)}`),
    onTaskComplete: (ctx, {status, content}) => note(`complete ${of(ctx)} ${status} ${String(content)}`),
    onTaskError: (ctx, {error, willRetry}) => note(`error ${of(ctx)} ${String(error)} ${willRetry}`),
    onTaskCancel: (ctx, {reason}) => note(`cancel ${of(ctx)} ${reason}`),
    onCallAgentStart: (ctx, call) => {
      call.metadata['seen_by'] = name;
      note(`call ${of(ctx)} -> ${call.agentType}`);
    },
    onCallAgentComplete: (ctx, call) => note(`called ${of(ctx)} -> ${call.agentType}`),
    onCallAgentError: (ctx, call, error) =>
      note(`call failed ${of(ctx)} -> ${call.agentType} ${String(error)}`),
    onAgentReturnStart: (ctx, answer) =>
      note(`return ${of(ctx)} -> ${answer.callerAgentType} ${answer.status}`),
    onAgentReturnComplete: (ctx, answer) => note(`returned ${of(ctx)} -> ${answer.callerAgentType}`),
    onAgentReturnError: (ctx, _answer, error) => note(`return failed ${of(ctx)} ${String(error)}`),
    ...more,
  });
}

const nameOf = (error: unknown) => (error as Error).name;

const echo = defineAgent({type: 'echo', run: (_ctx, ask) => ({content: ask.text})});

describeEachStore('hooks', at => {
  test('are told of a worker’s life and of each task, in the order of registration', async () => {
    const store = at.open();
    const lines: string[] = [];
    const worker = await work(at, store, [echo], [watcher('a', lines), watcher('b', lines)]);
    const sent = await new GatewayClient(store).send({agentType: 'echo', content: 'hi'});
    await ended(store, sent, 'COMPLETED');
    await worker.stop();
    expect(lines).toEqual([
      ...['a startup echo', 'b startup echo', 'a start echo#1', 'b start echo#1'],
      ...['a complete echo#1 COMPLETED hi', 'b complete echo#1 COMPLETED hi', 'a shutdown', 'b shutdown'],
    ]);
  });

  test('are told of a failure that is tried again, of the last one, and of a cancel', async () => {
    const store = at.open();
    const lines: string[] = [];
    const client = new GatewayClient(store);
    const shaky = defineAgent({
      type: 'shaky',
      retry: {maxAttempts: 2, baseMs: 1, maxMs: 2},
      async run(ctx, ask) {
        if (ask.text === 'fail') throw new Error(`boom ${ctx.attempt}`);
        await new Promise((_resolve, reject) => {
          if (ctx.signal.aborted) reject(new Error('stopped'));
          ctx.signal.addEventListener('abort', () => reject(new Error('stopped')));
        });
      },
    });
    await work(at, store, [shaky], [watcher('a', lines)]);
    const failing = await client.send({agentType: 'shaky', content: 'fail'});
    await ended(store, failing, 'FAILED');
    const hanging = await client.send({agentType: 'shaky', content: 'hang'});
    await until(() => lines.filter(line => line.startsWith('a start ')).length === 3);
    await client.cancel({...hanging, reason: 'enough'});
    await ended(store, hanging, 'CANCELLED');

    await until(() => lines.length === 7);
    expect(lines.slice(1)).toEqual([
      ...['a start shaky#1', 'a error shaky#1 Error: boom 1 true'],
      ...['a start shaky#2', 'a error shaky#2 Error: boom 2 false'],
      ...['a start shaky#1', 'a cancel shaky#1 enough'],
    ]);
  });

  test('are told of calls and answers, once however often durable code runs, and add to what is sent', async () => {
    const store = at.open();
    const lines: string[] = [];
    const seen: unknown[] = [];
    const callee = defineAgent({
      type: 'callee',
      run: ctx => {
        seen.push(ctx.metadata['seen_by']);
        return {content: 'there'};
      },
    });
    const caller = defineAgent({
      type: 'caller',
      async run(ctx) {
        await ctx.call('callee', 'one');
        const failed = await ctx.call('nobody', 'two', {policy: 'FAIL_FAST'}).catch(nameOf);
        return {content: `${String(await ctx.call('callee', 'three'))} ${String(failed)}`};
      },
    });
    const worker = await work(at, store, [caller, callee], [watcher('a', lines)]);
    const sent = await new GatewayClient(store).send({agentType: 'caller', content: 'go'});
    await ended(store, sent, 'COMPLETED');
    await worker.stop();
    expect(seen).toEqual(['a', 'a']);
    const of = (agent: string) =>
      lines.filter(line => line.split(' ').includes(agent) || line.includes(`${agent}#`));
    const calls = of('caller').filter(line => line.startsWith('a call'));
    expect(calls.map(line => line.replace(/caller#\d/, 'caller'))).toEqual([
      ...['a call caller -> callee', 'a called caller -> callee'],
      ...[
        'a call caller -> nobody',
        expect.stringMatching(/^a call failed caller -> nobody ByError: /) as unknown,
      ],
      ...['a call caller -> callee', 'a called caller -> callee'],
    ]);
    expect(lines.filter(line => line.includes('return'))).toEqual([
      ...['a return callee#1 -> caller COMPLETED', 'a returned callee#1 -> caller'],
      ...['a return callee#1 -> caller COMPLETED', 'a returned callee#1 -> caller'],
    ]);
    // An answer may come before the turn that asked has ended: then there is one turn less.
    const turns = lines.filter(line => / complete caller/.test(line));
    expect(turns.at(-1)).toMatch(/^a complete caller#[123] COMPLETED there CallFailed$/);
    for (const turn of turns.slice(0, -1)) expect(turn).toMatch(/^a complete caller#[12] WAITING_AGENT $/);
  });

  test('are told of a message agent’s calls and groups', async () => {
    const store = at.open();
    const lines: string[] = [];
    class Boss extends GatewayWorker {
      getAgentTypes() {
        return ['boss'];
      }
      async processCommand(command: Parameters<GatewayWorker['processCommand']>[0], ctx: AgentContext) {
        if (command.action === 'RESUME') return {content: 'done'};
        if (contentText(command.content) === 'group')
          return ctx.dispatchGroup([
            {agentType: 'echo', content: 'x'},
            {agentType: 'echo', content: 'y'},
          ]);
        return ctx.callAgent({agentType: 'echo', content: 'z'});
      }
    }
    await work(at, store, [new Boss(), echo], [watcher('a', lines)]);
    const client = new GatewayClient(store);
    for (const content of ['group', 'call'])
      await ended(store, await client.send({agentType: 'boss', content}), 'COMPLETED');
    const calls = lines.filter(line => line.startsWith('a call'));
    expect(calls).toEqual([
      ...[
        'a call boss#1 -> echo',
        'a call boss#1 -> echo',
        'a called boss#1 -> echo',
        'a called boss#1 -> echo',
      ],
      ...['a call boss#1 -> echo', 'a called boss#1 -> echo'],
    ]);
  });

  test('that throw or hang fail no task and hold none up beyond their time', async () => {
    const store = at.open();
    const warned: string[] = [];
    const log = loggerTo(
      (_level, message, {plugin, hook}) => warned.push(`${message}: ${String(plugin)} ${String(hook)}`),
      'warn',
    );
    const never = () => new Promise(() => undefined);
    const boom = () => {
      throw new Error('boom');
    };
    const all = (act: () => unknown): Partial<Plugin> => ({
      ...{onTaskStart: act, onTaskComplete: act, onAgentReturnStart: act, onAgentReturnComplete: act},
      ...{onCallAgentStart: act, onCallAgentComplete: act, onWorkerStartup: act, onWorkerShutdown: act},
    });
    const bad = [watcher('hangs', [], {...all(never), hookTimeoutMs: 30}), watcher('throws', [], all(boom))];
    const caller = defineAgent({type: 'caller', run: async ctx => ({content: await ctx.call('echo', 'x')})});
    const worker = await work(at, store, [echo, caller], bad, {log});
    const client = new GatewayClient(store);
    for (const content of ['1', '2'])
      await ended(store, await client.send({agentType: 'caller', content}), 'COMPLETED');
    const [report] = await until(async () => {
      const found = await readReports(store, [worker.workerId]);
      return found.length > 0 && found;
    });
    await worker.stop();
    expect(report?.plugins.map(({name}) => name)).toEqual(['hangs', 'throws']);
    expect(warned.filter(line => line.endsWith('onTaskStart'))).toEqual([
      'a hook of a plugin failed; the work goes on: hangs onTaskStart',
      'a hook of a plugin failed; the work goes on: throws onTaskStart',
    ]);
    expect(await readReports(store, [worker.workerId])).toEqual([]);
  });
});

const config = (prompt: string, more: Partial<AgentConfig> = {}): AgentConfig => ({
  ...{agentId: 'writer', prompts: {system: prompt}},
  ...more,
});
const brings = (configs: () => AgentConfig[] | Promise<AgentConfig[]>): Plugin => ({
  manifest: {name: 'writing', version: '1.2.3'},
  registerAgentConfigs: configs,
});

describeEachStore('what plugins give agents', at => {
  test('prompts and tools, the tools of a durable agent as steps', async () => {
    const store = at.open();
    let searches = 0;
    const around: string[] = [];
    const search = defineTool({
      description: 'Search.',
      input: z.object({query: z.string().trim()}),
      execute: ({query}, {agentType, attempt}) => `${agentType}/${attempt}/${++searches}: ${query}`,
    });
    const callbacks: AgentConfig['callbacks'] = {
      beforeTool: (name: string, input: unknown) => void around.push(`${name} ${JSON.stringify(input)}`),
      afterTool: [
        (name: string, _input: unknown, output: unknown) => void around.push(`${name} ${String(output)}`),
      ],
    };
    const plugin = brings(() => [config('Write about {{topic}}.', {tools: {search}, callbacks})]);
    const writer = defineAgent({
      type: 'writer',
      async run(ctx, ask) {
        const found = await ctx.tools.call('search', {query: ` ${ask.text} `});
        const refused = await ctx.tools.call('search', {}).catch(messageOf);
        const inside = await ctx.step('inside', () => ctx.tools.call('search', {query: 'inner'}));
        await ctx.sleep(1);
        const told = ctx.tools.list().map(({name}) => name);
        return {
          content: JSON.stringify([ctx.prompt('system', {topic: 'cats'}), found, inside, refused, told]),
        };
      },
    });
    await work(at, store, [writer], [plugin]);
    const client = new GatewayClient(store);
    const sent = await client.send({agentType: 'writer', content: 'cats'});
    const record = await ended(store, sent, 'COMPLETED');
    const [final] = await answers(store, sent);
    const [prompt, found, inside, refused, told] = JSON.parse(final ?? '[]') as unknown[];
    expect([prompt, found, inside, told]).toEqual([
      ...['Write about cats.', 'writer/1/1: cats', 'writer/1/2: inner', ['search']],
    ]);
    expect(refused).toMatch(/^The tool "search" was called with input it does not take: query: /);
    expect(searches).toBe(2);
    expect(around).toEqual([
      ...['search {"query":"cats"}', 'search writer/1/1: cats'],
      ...['search {"query":"inner"}', 'search writer/1/2: inner'],
    ]);
    expect(record.agentConfigsVersion).toBe(1);
    expect(record.extra['agent_config_audit']).toMatchObject({
      ...{version: 1, target_agent_type: 'writer', target_agent_registered: true, config_count: 1},
    });
  });

  test('an agent without a config is told which would be its own', async () => {
    const store = at.open();
    const lost = defineAgent({
      type: 'lost',
      run: async ctx => {
        expect(ctx.config.agent).toBeUndefined();
        expect(ctx.tools.list()).toEqual([]);
        return {content: ctx.prompt('system')};
      },
    });
    await work(at, store, [lost], [brings(() => [config('x')])]);
    const sent = await new GatewayClient(store).send({agentType: 'lost', content: 'x'});
    const record = await ended(store, sent, 'FAILED');
    expect(record.extra['error_message'] ?? record.errorMessage).toBe(
      'The config of "lost" has no prompt "system".',
    );
  });

  test('a plugin that can not be loaded keeps a first worker from starting, by name and reason', async () => {
    const store = at.open();
    const broken = brings(() => {
      throw new Error('no database');
    });
    await expect(work(at, store, [echo], [broken])).rejects.toMatchObject({
      code: 'PLUGIN_LOAD_FAILED',
      message: 'Plugin "writing" can not register its agent configs: no database',
    });
    await expect(work(at, store, [echo], [watcher('a', []), watcher('a', [])])).rejects.toMatchObject({
      message: 'Two plugins are called "a": from code and code.',
    });
  });

  test('a restarted worker whose plugin breaks goes on with the last configuration, and says so', async () => {
    const store = at.open();
    const search = defineTool({description: 'Search.', execute: () => 'found'});
    const good = brings(() => [config('The good one.', {tools: {search}, extra: {token: 'tok-123456789'}})]);
    const writer = defineAgent({
      type: 'writer',
      async run(ctx) {
        const tool = await ctx.tools.call('search').catch(messageOf);
        return {content: `${ctx.prompt('system')} ${String(tool)}`};
      },
    });
    await (await work(at, store, [writer], [good])).stop();
    const errors: Record<string, unknown>[] = [];
    const log = loggerTo((_level, message, fields) => errors.push({message, ...fields}), 'error');
    const broken = brings(() => {
      throw new Error('no database');
    });
    const worker = await work(at, store, [writer], [broken], {log});
    const sent = await new GatewayClient(store).send({agentType: 'writer', content: 'x'});
    await ended(store, sent, 'COMPLETED');
    expect(await answers(store, sent)).toEqual(['The good one. The tool "search" is known by name only.']);
    expect(errors).toEqual([
      expect.objectContaining({
        message: expect.stringMatching(/^PLUGINS COULD NOT BE LOADED/) as unknown,
        error: 'Plugin "writing" can not register its agent configs: no database',
        missing: 'writer.tools.search, writer.extra.token',
      }),
    ]);
    const [report] = await readReports(store, [worker.workerId]);
    expect(report).toMatchObject({
      config_version: 0,
      problem: expect.stringMatching(/no database/) as unknown,
    });
  });
});

/** The final answers of a session. */
async function answers(store: Store, {sessionId}: {sessionId: string}): Promise<string[]> {
  const {followSession} = await import('../../src/store/data-streams.js');
  const {eventKind, eventText} = await import('../../src/protocol/events.js');
  const found: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event' && eventKind(item.event) === 'final') found.push(eventText(item.event));
  return found;
}
