// Puts the Lua interpreter beside the built embedded store, so that the package needs no node_modules/lua-redis-wasm:
// that package asks for Node 22, and installing it would warn our users, or with engine-strict fail.
//
//   node scripts/bundle-lua.js <folder>    the folder that was built into; dist by default
//
// Writes, into its src/dev/embedded/lua, engine.mjs (the package's JavaScript) and what that loads from its own folder: redis_lua.mjs and redis_lua.wasm.
import {copyFile, mkdir, readFile, rm} from 'node:fs/promises';
import {createRequire} from 'node:module';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {build} from 'esbuild';

const root = path.resolve(fileURLToPath(new URL('..', import.meta.url)));
const target = path.resolve(process.argv[2] ?? path.join(root, 'dist'), 'src/dev/embedded/lua');
const source = path.dirname(createRequire(import.meta.url).resolve('lua-redis-wasm'));
const {version} = JSON.parse(await readFile(path.join(source, '../package.json'), 'utf8'));

await rm(target, {recursive: true, force: true});
await mkdir(target, {recursive: true});
await build({
  entryPoints: [path.join(source, 'index.node.mjs')],
  outfile: path.join(target, 'engine.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'inline',
  banner: {js: `// lua-redis-wasm ${version}, MIT. See NOTICES.md.`},
  logLevel: 'warning',
});
for (const file of ['redis_lua.mjs', 'redis_lua.wasm']) {
  await copyFile(path.join(source, file), path.join(target, file));
}
