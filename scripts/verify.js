// Installs what is missing and runs every check. On a machine without a Redis server it gets one the way the machine
// allows, or fails and says what to install: tests that did not run must not look like tests that passed.
import {execFileSync, spawnSync} from 'node:child_process';
import {existsSync, readdirSync, readFileSync, statSync} from 'node:fs';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

const root = path.resolve(fileURLToPath(new URL('..', import.meta.url)));
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';

if (isStale()) run(npm, ['ci', '--no-audit', '--no-fund']);
provideRedis();
provideOpenssl();
provideBubblewrap();
providePostgres();
run(npm, ['run', 'check']);

function isStale() {
  const installed = path.join(root, 'node_modules', '.package-lock.json');
  return (
    !existsSync(installed) ||
    statSync(installed).mtimeMs < statSync(path.join(root, 'package-lock.json')).mtimeMs
  );
}

function provideRedis() {
  if (process.env.BY_TEST_REDIS_URL) return;
  // The differential tests need the program itself, so it comes first.
  if (works('redis-server', ['--version'])) return;
  if (isDebian() && process.getuid?.() === 0) {
    run('apt-get', ['update', '-q']);
    run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'redis-server']);
    return;
  }
  if (works('docker', ['info'])) return;
  console.error(
    'The tests need a Redis server, and this machine has none.\n' +
      'Install one (Debian, Ubuntu: sudo apt-get install redis-server; macOS: brew install redis),\n' +
      'start Docker, or set BY_TEST_REDIS_URL to a server that may be written to.',
  );
  process.exit(1);
}

/** Tests of what is asked over https make themselves a certificate. */
function provideOpenssl() {
  if (works('openssl', ['version'])) return;
  if (!isDebian() || process.getuid?.() !== 0) {
    console.error('The tests need openssl on the PATH, and this machine has none.');
    process.exit(1);
  }
  run('apt-get', ['update', '-q']);
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'openssl']);
}

/** Tests of the sandbox try it with and without; where it can not be installed they try what there is. */
function provideBubblewrap() {
  if (works('bwrap', ['--version']) || !isDebian() || process.getuid?.() !== 0) return;
  // Without it there is less to test, and nothing that fails.
  spawnSync('apt-get', ['update', '-q'], {stdio: 'inherit'});
  spawnSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'bubblewrap'], {stdio: 'inherit'});
}

/** Tests of history start one of their own. */
function providePostgres() {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  if (versions.some(version => existsSync(path.join(debian, version, 'bin', 'initdb')))) return;
  if (works('initdb', ['--version']) && works('postgres', ['--version'])) return;
  if (!isDebian() || process.getuid?.() !== 0) {
    console.error(
      'The tests need PostgreSQL, and this machine has none.\n' +
        'Install it (Debian, Ubuntu: sudo apt-get install postgresql; macOS: brew install postgresql).',
    );
    process.exit(1);
  }
  run('apt-get', ['update', '-q']);
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'postgresql']);
}

function works(command, args) {
  try {
    execFileSync(command, args, {stdio: 'ignore'});
    return true;
  } catch {
    return false;
  }
}

function isDebian() {
  return (
    existsSync('/etc/os-release') && /^(ID|ID_LIKE)=.*debian/m.test(readFileSync('/etc/os-release', 'utf8'))
  );
}

function run(command, args) {
  const {status} = spawnSync(command, args, {cwd: root, stdio: 'inherit'});
  if (status !== 0) process.exit(status ?? 1);
}
