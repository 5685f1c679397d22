// Puts the Lua interpreter into the build: lua-redis-wasm as one file, its WebAssembly beside it, and its notices.
// Bundled rather than depended upon because it declares a newer Node than it needs, which would warn or fail users.
//
//   node scripts/bundle-lua.js DIST     DIST: the folder the build goes into
import {cp, mkdir} from 'node:fs/promises';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {build} from 'esbuild';

const out = path.resolve(process.argv[2] ?? 'dist', 'src/dev/embedded/lua');
const from = fileURLToPath(new URL('../node_modules/lua-redis-wasm', import.meta.url));

await mkdir(out, {recursive: true});
await build({
  entryPoints: [path.join(from, 'dist/index.node.mjs')],
  outfile: path.join(out, 'engine.mjs'),
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  legalComments: 'inline',
  logLevel: 'warning',
});
for (const [name, as] of [
  // Loaded by address, so esbuild can not follow it.
  ['dist/redis_lua.mjs', 'redis_lua.mjs'],
  ['dist/redis_lua.wasm', 'redis_lua.wasm'],
  ['LICENSE', 'LICENSE'],
  ['THIRD_PARTY_NOTICES.md', 'THIRD_PARTY_NOTICES.md'],
]) {
  await cp(path.join(from, name), path.join(out, as));
}
