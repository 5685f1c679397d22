// Joins what the compiler wrote into few files, ioredis and zod included: loading a hundred small modules costs a
// command more time than it works. Entries keep their paths; what they share goes into dist/chunks.
//
//   node scripts/bundle.js DIST     DIST: the folder the compiler wrote into
import {mkdir, readdir, readFile, realpath, rename, rm, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {build} from 'esbuild';

// Its real path: esbuild names inputs by theirs, also where node_modules is a link.
const dist = await realpath(path.resolve(process.argv[2] ?? 'dist'));
const out = `${dist}.bundle`;

const ENTRIES = [
  'src/index.js',
  'src/testing/index.js',
  'src/history/postgres.js',
  'src/orchestration/index.js',
  'src/integrations/ai-sdk/index.js',
  'src/integrations/langgraph/index.js',
  'src/integrations/mcp/index.js',
  'src/integrations/otel/index.js',
  'src/integrations/s3/index.js',
  'src/cli/oclif.js',
  'src/cli/unexpected.js',
  'src/cli/hooks/command-not-found.js',
  'src/availability/provider-thread.js',
  'src/dev/embedded/thread.js',
  'src/worker/isolated.js',
  'src/plugins/check-process.js',
];

const compiled = (await filesUnder(dist)).filter(file => file.endsWith('.js'));
const entries = compiled.filter(file => file.startsWith('commands/') || ENTRIES.includes(file));
const {metafile} = await build({
  metafile: true,
  entryPoints: entries.map(file => path.join(dist, file)),
  outbase: dist,
  outdir: out,
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  // Ours to bundle is only what a command needs at once; the others are loaded when they are used.
  // oclif asks for typescript only where it runs sources, which we never let it do.
  // OpenTelemetry is the user's own: ours would be another one.
  external: [
    ...['ink', 'react', 'tsx', 'chokidar', 'lua-redis-wasm', 'yaml', 'pg', 'typescript', 'ts-node'],
    ...['@opentelemetry/*', '@modelcontextprotocol/*', '@langchain/*', '@aws-sdk/*', 'ai'],
  ],
  // ioredis is CommonJS: what it asks for by require must be there in a module.
  banner: {
    js: "import {createRequire as __createRequire} from 'node:module';const require=__createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
await writeFile(path.join(dist, 'THIRD_PARTY_LICENSES.txt'), await licences(Object.keys(metafile.inputs)));
for (const file of compiled) await rm(path.join(dist, file));
for (const file of await filesUnder(out)) await place(file);
await rm(out, {recursive: true});

/** The licence of every package of which something went into the build. */
async function licences(inputs) {
  const foreign = inputs.filter(input => !path.resolve(input).startsWith(dist + path.sep));
  const folders = foreign.flatMap(
    input => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path.resolve(input))?.[0] ?? [],
  );
  const parts = [];
  for (const folder of [...new Set(folders)].sort()) {
    const {name, version, license} = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
    const file = (await readdir(folder)).find(entry => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? `Licence: ${license}` : await readFile(path.join(folder, file), 'utf8');
    parts.push(`${name} ${version}\n\n${text.trim()}\n`);
  }
  if (parts.length === 0) throw new Error('no licences were found');
  return parts.join(`\n${'-'.repeat(80)}\n\n`);
}

async function place(file) {
  await mkdir(path.dirname(path.join(dist, file)), {recursive: true});
  await rename(path.join(out, file), path.join(dist, file));
}

async function filesUnder(dir, prefix = '') {
  const found = [];
  for (const entry of await readdir(path.join(dir, prefix), {withFileTypes: true})) {
    const name = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await filesUnder(dir, name)));
    else found.push(name);
  }
  return found;
}
