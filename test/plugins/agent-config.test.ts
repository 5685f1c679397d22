/** What plugins register: checked, put together, audited, kept and restored. */
import {expect, test} from 'vitest';
import {z} from 'zod';
import {defineTool, loadConfig, type AgentConfig} from '../../src/plugins/agent-config.js';
import {
  auditOf,
  mergeConfigs,
  missingIn,
  restoreConfigs,
  snapshotConfigs,
} from '../../src/plugins/configuration.js';
import {definePlugin, type Plugin} from '../../src/plugins/plugin.js';
import {readSnapshot} from '../../src/protocol/config-snapshot.js';
import {EMPTY_CONFIGS_SNAPSHOT} from '../../src/protocol/agent-config.js';
import {checkedInput} from '../../src/protocol/tool-schema.js';

const search = defineTool({
  description: 'Search the web.',
  input: z.object({query: z.string().min(1), limit: z.number().int().default(3)}),
  execute: ({query, limit}) => `${query} ${limit}`,
});

const writer: AgentConfig = {
  agentId: 'writer',
  name: 'Writer',
  prompts: {system: 'You write.', greet: {text: 'Hi {{name}}', defaults: {name: 'you'}}},
  tools: {search},
  skills: {drafting: {level: 2}},
  extra: {endpoint: 'https://x', api_key: 'sk-1234567890', nested: [{token: 'tok-abcdefgh'}]},
  callbacks: {beforeTool: () => undefined},
  subAgents: ['critic'],
};

const load = (config: AgentConfig) => loadConfig(config, 'Plugin "p"');
const merged = (...configs: AgentConfig[]) =>
  mergeConfigs(configs.map((config, at) => ({plugin: `p${at + 1}`, configs: [load(config)]})));

test('a tool’s input is described to models as JSON Schema, with what may be left out', () => {
  const {search: loaded} = load(writer).tools;
  expect(loaded?.inputSchema).toEqual({
    type: 'object',
    properties: {
      query: {type: 'string', minLength: 1},
      limit: expect.objectContaining({type: 'integer', default: 3}) as unknown,
    },
    required: ['query'],
  });
});

test('input is checked and transformed by the schema; what is wrong is named with its place', async () => {
  const {input} = search;
  expect(await checkedInput('search', input!, {query: 'cats'})).toEqual({query: 'cats', limit: 3});
  await expect(checkedInput('search', input!, {query: '', limit: 'x'})).rejects.toMatchObject({
    code: 'INVALID_INPUT',
    message: expect.stringMatching(/"search".*query: .*; limit: /s) as unknown,
  });
});

test('a schema of another library needs its JSON Schema beside it', () => {
  const foreign = {
    '~standard': {version: 1 as const, vendor: 'other', validate: (value: unknown) => ({value})},
  };
  const tool = defineTool({description: 'd', input: foreign, execute: () => 1});
  expect(() => load({agentId: 'a', tools: {t: tool}})).toThrow(/no inputJsonSchema/);
  const described = {...tool, inputJsonSchema: {type: 'object'}};
  expect(load({agentId: 'a', tools: {t: described}}).tools['t']?.inputSchema).toEqual({type: 'object'});
});

test.each([
  [{agentId: 'no id'}, /agentId "no id"/],
  [{agentId: 'a', prompt: {}}, /unknown field "prompt"/],
  [{agentId: 'a', prompts: {system: 5}}, /prompts\.system is no prompt/],
  [{agentId: 'a', tools: {'a b': search}}, /tools\.a b has a name that models do not take/],
  [{agentId: 'a', tools: {t: {description: 'd'}}}, /tools\.t has no execute function/],
  [{agentId: 'a', tools: {t: {execute: () => 1}}}, /tools\.t has no description/],
  [{agentId: 'a', extra: {client: {run: () => 1}}}, /extra\.client\.run is no JSON/],
  [{agentId: 'a', skills: {when: new Date()}}, /skills\.when is no JSON/],
  [{agentId: 'a', callbacks: {onTool: () => 1}}, /callbacks\.onTool can not be used/],
  [{agentId: 'a', onConflict: 'replace'}, /onConflict is "replace"/],
  [null, /no agent config/],
])('what is wrong with a config is named: %#', (config, message) => {
  expect(() => load(config as unknown as AgentConfig)).toThrow(message);
  expect(() => load(config as unknown as AgentConfig)).toThrow(
    expect.objectContaining({code: 'PLUGIN_LOAD_FAILED'}),
  );
});

test('what was registered does not change afterwards', () => {
  const extra = {list: [1]};
  const loaded = load({agentId: 'a', extra});
  extra.list.push(2);
  expect(loaded.extra).toEqual({list: [1]});
  expect(() => (loaded.extra['list'] as number[]).push(3)).toThrow(TypeError);
});

test('of two configs for one agent the second says which counts', () => {
  const second = (onConflict?: AgentConfig['onConflict']) => ({
    agentId: 'writer',
    name: 'Second',
    onConflict,
  });
  expect(() => merged(writer, second())).toThrow(
    'Plugin "p2" registers a config for "writer", which plugin "p1" has registered.',
  );
  expect(merged(writer, second('overwrite')).get('writer')?.name).toBe('Second');
  expect(merged(writer, second('skip')).get('writer')?.name).toBe('Writer');
});

test('what is kept has no code and no secret, and is restored with those of today', () => {
  const kept = snapshotConfigs(merged(writer));
  const text = JSON.stringify({schema: 1, worker_id: 'w', at: 1, plugins: [], ...kept});
  expect(text).not.toMatch(/sk-1234|tok-abc/);
  const read = readSnapshot(text);
  expect(read?.hash).toBe(kept.hash);

  const today = merged({
    ...writer,
    prompts: {system: 'Changed.'},
    extra: {...writer.extra, api_key: 'sk-new'},
  });
  const restored = restoreConfigs(read?.configs ?? [], today);
  const config = restored.get('writer');
  expect(config?.prompts['system']).toBe('You write.');
  expect(config?.extra).toEqual({
    endpoint: 'https://x',
    api_key: 'sk-new',
    nested: [{token: 'tok-abcdefgh'}],
  });
  expect(config?.tools['search']?.execute).toBeDefined();
  expect(missingIn(restored)).toEqual([]);
  expect(missingIn(restoreConfigs(read?.configs ?? [], new Map()))).toEqual([
    'writer.tools.search',
    'writer.extra.api_key',
    'writer.extra.nested.0.token',
  ]);
});

test('the hash is that of the data: neither order nor secrets change it', () => {
  const hash = (...configs: AgentConfig[]) => snapshotConfigs(merged(...configs)).hash;
  const critic = {agentId: 'critic'};
  expect(hash(writer, critic)).toBe(hash(critic, {...writer, extra: {...writer.extra, api_key: 'other'}}));
  expect(hash(writer)).not.toBe(hash({...writer, prompts: {system: 'You write well.'}}));
});

test('Python’s pickles, other versions and damage are no snapshots', () => {
  for (const text of [EMPTY_CONFIGS_SNAPSHOT, '{"schema":2}', '{', 'null', '{"__proto__":{}}'])
    expect(readSnapshot(text)).toBeUndefined();
});

test('the audit has the form dashboards know, with secrets redacted', () => {
  expect(auditOf(2, 'writer', merged(writer))).toMatchObject({
    version: 2,
    target_agent_registered: true,
    agent_ids: ['writer'],
    target_agent_config: {
      prompt_keys: ['greet', 'system'],
      extra: {api_key: '[REDACTED]', endpoint: 'https://x', nested: [{token: '[REDACTED]'}]},
      tools: {search: {redacted_config: {description: 'Search the web.'}}},
    },
  });
});

test.each([
  [{}, /no manifest/],
  [{manifest: {name: 'a b', version: '1'}}, /its name is "a b"/],
  [{manifest: {name: 'a'}}, /"a" has no version/],
  [{manifest: {name: 'a', version: '1'}, onTaskStarted: () => 1}, /"onTaskStarted", which nobody calls/],
  [{manifest: {name: 'a', version: '1'}, onTaskStart: 5}, /onTaskStart of "a" is no function/],
  [{manifest: {name: 'a', version: '1'}, hookTimeoutMs: -1}, /hookTimeoutMs/],
])('what is wrong with a plugin is named: %#', (plugin, message) => {
  expect(() => definePlugin(plugin as unknown as Plugin)).toThrow(message);
});
