import {describe, expect, test} from 'vitest';
import {withEntry, type ConfigEntry} from '../../src/scaffold/edit-config.js';

const WORKER: ConfigEntry = {list: 'workers', value: {entry: './src/b.ts', agentTypes: ['b']}};
const PLUGIN: ConfigEntry = {list: 'plugins', value: './src/p.ts'};
const inTs = (text: string, entry: ConfigEntry) => withEntry(text, entry, false);

describe('a list in code', () => {
  test('of one line gets its entry at the end', () => {
    expect(
      inTs(
        `export default defineConfig({\n  workers: [{entry: './a.ts', agentTypes: ['a']}],\n});\n`,
        WORKER,
      ),
    ).toBe(
      `export default defineConfig({\n  workers: [{entry: './a.ts', agentTypes: ['a']}, {entry: './src/b.ts', agentTypes: ['b']}],\n});\n`,
    );
  });

  test('of several lines gets a line, comments stay where they are', () => {
    const text = `defineConfig({
  // workers: [ is not this
  workers: [
    {entry: './a.ts', agentTypes: ['a'], plugins: ['x']} // the ] first
    // and no more
  ],
});`;
    expect(inTs(text, WORKER)).toBe(`defineConfig({
  // workers: [ is not this
  workers: [
    {entry: './a.ts', agentTypes: ['a'], plugins: ['x']},
    {entry: './src/b.ts', agentTypes: ['b']}, // the ] first
    // and no more
  ],
});`);
  });

  test('that is empty, or not there, gets its first entry', () => {
    expect(inTs('export default {workers: []};', WORKER)).toBe(
      `export default {workers: [{entry: './src/b.ts', agentTypes: ['b']}]};`,
    );
    expect(inTs(`export default defineConfig({\n  redisUrl: '',\n});`, PLUGIN)).toBe(
      `export default defineConfig({\n  plugins: ['./src/p.ts'],\n  redisUrl: '',\n});`,
    );
  });

  test("of a worker is not the project's", () => {
    const text = `defineConfig({\n  workers: [{entry: 'a', agentTypes: ['a'], plugins: ['x']}],\n});`;
    expect(inTs(text, PLUGIN)).toBe(
      `defineConfig({\n  plugins: ['./src/p.ts'],\n  workers: [{entry: 'a', agentTypes: ['a'], plugins: ['x']}],\n});`,
    );
  });

  test('is left to a person where it is not plain', () => {
    expect(inTs('const workers = [];\nexport default make(workers);', WORKER)).toBeUndefined();
    expect(inTs('export default defineConfig({workers: [], workers: []});', WORKER)).toBeUndefined();
  });
});

test('JSON stays JSON, in its own indentation', () => {
  expect(withEntry('{\n    "workers": []\n}', PLUGIN, true)).toBe(
    '{\n    "workers": [],\n    "plugins": [\n        "./src/p.ts"\n    ]\n}\n',
  );
  expect(() => withEntry('{"plugins": 3}', PLUGIN, true)).toThrow('no list');
});
