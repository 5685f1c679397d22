// Builds the package into dist/, and oclif.manifest.json beside it.
//
//   node scripts/build.js              always
//   node scripts/build.js --if-stale   only if a source changed since the last build
//
// Everything is built in a folder aside and moved into place at the end, so a running `by` meets the old build or the
// new one. Two builds at once wait for each other.
import {execFile} from 'node:child_process';
import {createHash} from 'node:crypto';
import {cp, mkdir, readdir, readFile, realpath, rename, rm, stat, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';

const root = path.resolve(fileURLToPath(new URL('..', import.meta.url)));
const at = (...parts) => path.join(root, ...parts);
// node_modules is ignored by every tool; the hash keeps apart checkouts that share one node_modules.
const workshop = at(
  'node_modules',
  '.cache',
  `by-build-${createHash('sha256').update(root).digest('hex').slice(0, 12)}`,
);
const lock = path.join(workshop, 'lock');
const dist = at('dist');
const stampFile = path.join(dist, '.build-stamp');

const SOURCES = [
  'src',
  'commands',
  'bin',
  'templates',
  'scripts',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
];
const LOCK_WAIT_MS = 300_000;
const LOCK_WITHOUT_OWNER_MS = 10_000;

const started = Date.now();
const onlyIfStale = process.argv.includes('--if-stale');
if (onlyIfStale && (await isFresh())) process.exit(0);

await takeLock();
try {
  // Whoever held the lock may have built exactly what we want.
  if (!(onlyIfStale && (await isFresh()))) await build();
} catch (error) {
  console.error(error?.stdout || error?.stack || String(error));
  process.exitCode = 1;
} finally {
  await rm(lock, {recursive: true, force: true});
}

async function build() {
  const stage = path.join(workshop, `stage-${process.pid}`);
  await rm(stage, {recursive: true, force: true});
  await mkdir(stage, {recursive: true});
  try {
    // Before anything is read: a source that changes during the build leaves a stamp that no longer fits.
    const stamp = await sourceHash();
    const staged = path.join(stage, 'dist');
    await run(at('node_modules/typescript/bin/tsc'), ['-p', at('tsconfig.build.json'), '--outDir', staged]);
    await run(at('scripts/bundle.js'), [staged]);
    await copyLua(at('src'), path.join(staged, 'src'));
    // Puts the Lua interpreter into the dist folder it is given: not the one in use.
    await run(at('scripts/bundle-lua.js'), [staged]);
    await cp(at('package.json'), path.join(stage, 'package.json'));
    const manifest = await oclifManifest(stage);
    await writeFile(path.join(staged, '.build-stamp'), `${stamp}\n`);
    await putInPlace(staged, manifest, stage);
  } finally {
    await rm(stage, {recursive: true, force: true});
  }
  console.log(`built in ${((Date.now() - started) / 1000).toFixed(1)}s`);
}

function run(script, args) {
  return promisify(execFile)(process.execPath, [script, ...args], {cwd: root, maxBuffer: 64 * 1024 * 1024});
}

async function copyLua(from, to) {
  await cp(from, to, {
    recursive: true,
    filter: async source => (await stat(source)).isDirectory() || source.endsWith('.lua'),
  });
}

/** What `oclif manifest` writes. Commands are sorted, so that equal sources give equal bytes. */
async function oclifManifest(stage) {
  const {Plugin, settings} = await import('@oclif/core');
  settings.enableAutoTranspile = false;
  const plugin = new Plugin({
    // Modules know their real path; through a linked node_modules the manifest would lead out of the package.
    root: await realpath(stage),
    type: 'core',
    ignoreManifest: true,
    errorOnManifestCreate: true,
    respectNoCacheDefault: true,
  });
  await plugin.load();
  // Not sorted deeper: the order of a command's arguments is their position.
  const commands = Object.entries(plugin.manifest.commands).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${JSON.stringify({...plugin.manifest, commands: Object.fromEntries(commands)}, null, 2)}\n`;
}

/** The order matters: a manifest that names a command which is not there yet is worse than one that lacks it. */
async function putInPlace(staged, manifest, stage) {
  const manifestAside = at(`oclif.manifest.json.${process.pid}`);
  const old = path.join(stage, 'dist.old');
  const hasOld = await exists(dist);
  await writeFile(manifestAside, manifest);
  try {
    if (hasOld) await move(dist, old);
    await move(staged, dist);
    await rename(manifestAside, at('oclif.manifest.json'));
  } catch (error) {
    await rm(manifestAside, {force: true});
    if (hasOld && !(await exists(dist))) await move(old, dist);
    throw error;
  }
}

async function move(from, to) {
  try {
    await rename(from, to);
  } catch (error) {
    // node_modules may be on another disk (a container's volume); then the last step is a copy and a rename.
    if (error.code !== 'EXDEV') throw error;
    const near = `${to}.${process.pid}`;
    await cp(from, near, {recursive: true});
    await rename(near, to);
    await rm(from, {recursive: true, force: true});
  }
}

async function isFresh() {
  if (!(await exists(at('oclif.manifest.json')))) return false;
  const stamp = await readFile(stampFile, 'utf8').catch(() => '');
  return stamp.trim() === (await sourceHash());
}

/** Names and contents of all sources. */
async function sourceHash() {
  const hash = createHash('sha256').update(process.version);
  for (const source of SOURCES) {
    for (const file of await filesUnder(at(source))) {
      hash.update(`\0${path.relative(root, file)}\0`).update(await readFile(file));
    }
  }
  return hash.digest('hex');
}

async function filesUnder(target) {
  const info = await stat(target).catch(() => null);
  if (info === null) return [];
  if (!info.isDirectory()) return [target];
  const names = (await readdir(target)).sort();
  return (await Promise.all(names.map(name => filesUnder(path.join(target, name))))).flat();
}

/** A folder is the lock: making one is atomic everywhere. */
async function takeLock() {
  await mkdir(workshop, {recursive: true});
  for (let isFirst = true; ; isFirst = false) {
    try {
      await mkdir(lock);
      await writeFile(path.join(lock, 'owner'), String(process.pid));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (await isAbandoned()) {
      // Renamed first, because only one of several waiting builds can succeed in that.
      const trash = `${lock}-${process.pid}-${Date.now()}`;
      await rename(lock, trash).catch(() => undefined);
      await rm(trash, {recursive: true, force: true});
      continue;
    }
    if (Date.now() - started > LOCK_WAIT_MS) {
      throw new Error(`Another build has held ${lock} for five minutes. Delete it if none is running.`);
    }
    if (isFirst) console.error('waiting for another build…');
    await sleep(100);
  }
}

async function isAbandoned() {
  const info = await stat(lock).catch(() => null);
  if (info === null) return false;
  const owner = Number(await readFile(path.join(lock, 'owner'), 'utf8').catch(() => ''));
  // Between mkdir and the owner's name there is a moment without one.
  if (!owner) return Date.now() - info.mtimeMs > LOCK_WITHOUT_OWNER_MS;
  try {
    process.kill(owner, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

async function exists(target) {
  return (await stat(target).catch(() => null)) !== null;
}
