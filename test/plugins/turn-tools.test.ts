/** Tools of a turn: those of plugins and whatever else, listed and called alike. */
import {expect, test} from 'vitest';
import {z} from 'zod';
import {defineTool, loadConfig, type ToolContext} from '../../src/plugins/agent-config.js';
import {TurnConfig, TurnTools} from '../../src/plugins/turn-config.js';

const log = defineTool({description: 'Logs.', execute: () => 'logged'});
const double = defineTool({
  description: 'Doubles.',
  input: z.object({value: z.number()}),
  execute: ({value}) => 2 * value,
});

function toolsOf(steps: string[] = []) {
  const seen: unknown[] = [];
  const own = loadConfig(
    {agentId: 'a', tools: {log}, callbacks: {beforeTool: (name: string) => void seen.push(name)}},
    'test',
  );
  const config = new TurnConfig({
    ...{agentType: 'a', version: 1, configs: new Map([['a', own]]), hash: 'h', isOriginal: true},
  });
  const tools = new TurnTools(config, (name, effect) => {
    steps.push(name);
    return effect({} as ToolContext);
  });
  return {tools, seen};
}

test('more tools are listed, checked, called, and looked at like those of plugins', async () => {
  const steps: string[] = [];
  const {tools, seen} = toolsOf(steps);
  const all = tools.and({double});
  expect(all.list().map(({name}) => name)).toEqual(['log', 'double']);
  expect(all.list()[1]?.inputSchema).toMatchObject({required: ['value']});
  expect([await all.call('log'), await all.call('double', {value: 2})]).toEqual(['logged', 4]);
  expect([steps, seen]).toEqual([
    ['log', 'double'],
    ['log', 'double'],
  ]);
  await expect(all.call('double', {value: 'x'})).rejects.toMatchObject({code: 'INVALID_INPUT'});
  // Those that were there before know nothing of it.
  expect(tools.has('double')).toBe(false);
  await expect(tools.call('double', {value: 2})).rejects.toMatchObject({code: 'NOT_FOUND'});
});

test('what is no tool, and a second one of a name, is refused', () => {
  const {tools} = toolsOf();
  expect(() => tools.and({log})).toThrow('There is a tool "log" already');
  expect(() => tools.and({double}).and({double})).toThrow('already');
  expect(() => tools.and({'a b': double})).toThrow('models do not take');
  expect(() => tools.and({empty: {} as never})).toThrow('has no description');
});
