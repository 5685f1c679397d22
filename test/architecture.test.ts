/** The house of docs/architecture.md, read from the imports: down only, each library in its own place, no rings. */
import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {dirname, join, relative, resolve} from 'node:path';
import {expect, test} from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** Rows of the house, top first. A file may import from rows below its own, and from its own folder. */
const rows: readonly (readonly string[])[] = [
  ['bin'],
  ['commands'],
  ['src/ui'],
  ['src/cli'],
  ['src/integrations'],
  ['src/testing'],
  ['src/dev', 'src/scaffold'],
  ['src/client', 'src/worker', 'src/orchestration'],
  ['src/observe', 'src/plugins', 'src/availability', 'src/history', 'src/files', 'src/sandbox'],
  ['src/registry'],
  ['src/store'],
  ['src/config', 'src/protocol'],
  ['src'],
];

/** Where a library may be used. What is not listed may be used nowhere. */
const owners: Readonly<Record<string, readonly string[]>> = {
  '@aws-sdk/client-s3': ['src/integrations/s3'],
  '@langchain/core': ['src/integrations/langgraph'],
  '@langchain/langgraph': ['src/integrations/langgraph'],
  '@langchain/langgraph-checkpoint': ['src/integrations/langgraph'],
  '@modelcontextprotocol/client': ['src/integrations/mcp'],
  '@modelcontextprotocol/node': ['src/integrations/mcp'],
  '@modelcontextprotocol/server': ['src/integrations/mcp'],
  '@opentelemetry/api': ['src/integrations/otel'],
  '@opentelemetry/exporter-trace-otlp-http': ['src/integrations/otel'],
  '@opentelemetry/resources': ['src/integrations/otel'],
  '@opentelemetry/sdk-trace-node': ['src/integrations/otel'],
  '@oclif/core': ['bin', 'commands', 'src/cli'],
  ai: ['src/integrations/ai-sdk'],
  chokidar: ['src/dev'],
  croner: ['src/orchestration'],
  ink: ['src/ui'],
  ioredis: ['src/store'],
  'lua-redis-wasm': ['src/dev/embedded'],
  pg: ['src/history'],
  picomatch: ['src/sandbox'],
  pino: ['src/json-log.ts'],
  react: ['src/ui'],
  tsx: ['src/config', 'src/dev/embedded'],
  yaml: ['src/config'],
  zod: ['src/protocol', 'src/config', 'src/integrations'],
};

/** config reads key schemas, which are protocol. */
const sideways: readonly (readonly [string, string])[] = [['src/config', 'src/protocol']];

interface Import {
  readonly file: string;
  readonly target: string;
  /** Gone after compiling. */
  readonly typeOnly: boolean;
}

const files = ['bin', 'commands', 'src'].flatMap(dir => sourceFiles(join(root, dir)));
const imports = files.flatMap(importsOf);

function sourceFiles(dir: string): string[] {
  return readdirSync(dir, {withFileTypes: true}).flatMap(entry => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return sourceFiles(path);
    return /\.(ts|tsx|js)$/.test(entry.name) && !entry.name.endsWith('.d.ts') ? [path] : [];
  });
}

function importsOf(file: string): Import[] {
  // Comments may hold examples.
  const text = readFileSync(file, 'utf8')
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/^\s*\/\/.*$/gm, '');
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/g,
  );
  return [...found].map(match => ({
    file: relative(root, file),
    target: match[1] ?? match[2] ?? '',
    typeOnly: /^\s*(import|export) type\b/.test(match[0]),
  }));
}

function folderOf(path: string): string {
  const known = rows.flat().filter(folder => folder !== 'src' && path.startsWith(`${folder}/`));
  return known[0] ?? (path.startsWith('src/') ? 'src' : (path.split('/')[0] ?? ''));
}

const rowOf = (folder: string) => rows.findIndex(row => row.includes(folder));
const localTarget = ({file, target}: Pick<Import, 'file' | 'target'>) =>
  relative(root, resolve(root, dirname(file), target));

test('imports go down the house, never up or sideways', () => {
  const wrong = imports
    .filter(({target}) => target.startsWith('.'))
    .map(one => ({...one, from: folderOf(one.file), to: folderOf(localTarget(one))}))
    // The public entry is the roof, whatever folder it lies in.
    .filter(({file, from, to}) => file !== 'src/index.ts' && from !== to)
    .filter(({from, to}) => rowOf(from) >= rowOf(to) && !sideways.some(([a, b]) => a === from && b === to))
    .filter(({to}) => to !== 'dist');
  expect(wrong.map(({file, target}) => `${file} imports ${target}`)).toEqual([]);
});

test('a library is used only where it belongs', () => {
  const wrong = imports
    .filter(({target}) => !target.startsWith('.') && !target.startsWith('node:'))
    .filter(({file, target}) => {
      const name = target.startsWith('@')
        ? target.split('/').slice(0, 2).join('/')
        : (target.split('/')[0] ?? '');
      return !(owners[name] ?? []).some(place => file === place || file.startsWith(`${place}/`));
    });
  expect(wrong.map(({file, target}) => `${file} imports ${target}`)).toEqual([]);
});

test('no imports in a circle', () => {
  const graph = new Map<string, string[]>();
  for (const one of imports.filter(({target, typeOnly}) => target.startsWith('.') && !typeOnly)) {
    const target = localTarget(one).replace(/\.js$/, '');
    const real = ['.ts', '.tsx', '.js'].map(end => target + end).find(path => existsSync(join(root, path)));
    if (real !== undefined) graph.set(one.file, [...(graph.get(one.file) ?? []), real]);
  }
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const ring = visit(next, [...path, file]);
      if (ring) return ring;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) expect(visit(file, [])).toBeUndefined();
});

test('only the public entries are index files', () => {
  const indexes = files.map(file => relative(root, file)).filter(file => /\/index\.tsx?$/.test(file));
  expect(indexes.sort()).toEqual([
    'src/index.ts',
    'src/integrations/ai-sdk/index.ts',
    'src/integrations/langgraph/index.ts',
    'src/integrations/mcp/index.ts',
    'src/integrations/otel/index.ts',
    'src/integrations/s3/index.ts',
    'src/orchestration/index.ts',
    'src/testing/index.ts',
  ]);
});
