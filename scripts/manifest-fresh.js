// Fails when oclif.manifest.json is not what the built commands say: a stale one makes `by` deny its own commands.
import {readFileSync, rmSync} from 'node:fs';
import {spawnSync} from 'node:child_process';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

const root = path.resolve(fileURLToPath(new URL('..', import.meta.url)));
const file = path.join(root, 'oclif.manifest.json');
const before = readFileSync(file, 'utf8');
rmSync(path.join(root, 'dist', '.build-stamp'), {force: true});
const {status} = spawnSync(process.execPath, [path.join(root, 'scripts', 'build.js')], {stdio: 'inherit'});
if (status !== 0) process.exit(status ?? 1);
if (readFileSync(file, 'utf8') !== before) {
  console.error('oclif.manifest.json was stale; it is fresh now. Run the check again.');
  process.exit(1);
}
