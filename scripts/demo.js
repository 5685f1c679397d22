// The whole story on this machine, nothing installed but Node: a project is made from the shipped template, its worker
// sleeps, a real document is sent to it, it is woken, it answers, and the session is read again from its beginning.
// Everything it makes lies in a temporary folder that is removed at the end, so any number of demos run at once.
import {spawn, spawnSync} from 'node:child_process';
import {existsSync} from 'node:fs';
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

const root = path.resolve(fileURLToPath(new URL('..', import.meta.url)));
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
// What the reader's shell says about Redis must not lead the demo to a real server.
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(BY_|BYAI_|REDIS_|npm_)/.test(name)),
);

const dir = await mkdtemp(path.join(tmpdir(), 'by-demo-'));
let dev;
try {
  await story();
} catch (error) {
  console.error(`\nThe demo failed: ${error.message}`);
  process.exitCode = 1;
} finally {
  await stopDev();
  await rm(dir, {recursive: true, force: true, maxRetries: 5});
}

async function story() {
  step('Install and build by itself');
  if (!existsSync(path.join(root, 'node_modules', '.package-lock.json')))
    run(npm, ['ci', '--no-audit', '--no-fund'], root);
  run(process.execPath, ['scripts/build.js', '--if-stale'], root);
  const packed = JSON.parse(
    run(npm, ['pack', '--json', '--ignore-scripts', '--pack-destination', dir], root, 'quiet'),
  );
  const tarball = path.join(dir, (Array.isArray(packed) ? packed[0] : Object.values(packed)[0]).filename);

  step('by init demo-agent --template worker');
  const by = path.join(root, 'bin', 'by.js');
  run(
    process.execPath,
    [
      by,
      'init',
      'demo-agent',
      '--template',
      'worker',
      '--yes',
      '--no-git',
      '--pm',
      'npm',
      '--toolkit',
      `file:${tarball}`,
    ],
    dir,
  );
  const project = path.join(dir, 'demo-agent');
  // From here on the project's own copy runs, as packed.
  const own = path.join(project, 'node_modules', 'by-toolkit', 'bin', 'by.js');

  step('by dev --no-workers            (store and manager; the worker sleeps)');
  await startDev(own, project);

  step('cat README.md | by send demo_agent - --policy wake-and-wait --follow');
  const document = await readFile(path.join(root, 'README.md'));
  const session = `demo-${Date.now().toString(36)}`;
  await pipe(
    own,
    ['send', 'demo_agent', '-', '--policy', 'wake-and-wait', '--follow', '--session', session],
    project,
    document,
  );

  step(`by tail ${session} --lines all   (the same session, from its beginning)`);
  await pipe(own, ['tail', session, '--lines', 'all', '--no-follow', '--timestamps'], project, '');

  const facts = JSON.parse(
    run(process.execPath, [own, 'registry', 'executions', session, '--json'], project, 'quiet'),
  );
  const [execution] = facts.data.executions;
  const took = ((execution.finished_at - execution.created_at) / 1000).toFixed(1);
  step('Done');
  console.log(
    `${execution.status}: ${document.length} bytes were read by ${execution.worker_id}, which was asleep; ` +
      `woken, answered and finished in ${took}s, execution ${execution.execution_id}.`,
  );
  if (execution.status !== 'COMPLETED') throw new Error(`the execution ended ${execution.status}`);
}

function step(title) {
  console.log(`\n── ${title}`);
}

function run(file, args, cwd, mode = 'shown') {
  const stdio = mode === 'shown' ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'];
  const {status, stdout, stderr, error} = spawnSync(file, args, {cwd, env, encoding: 'utf8', stdio});
  if (error) throw error;
  if (status !== 0) {
    throw new Error(
      `${path.basename(file)} ${args.join(' ')} ended with ${status}\n${stdout ?? ''}${stderr ?? ''}`,
    );
  }
  return stdout;
}

async function startDev(own, project) {
  // A port of its own; if somebody takes it first, `by dev` chooses another.
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  dev = spawn(process.execPath, [own, 'dev', '--no-workers', '--no-watch', '--port', String(port)], {
    cwd: project,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ready = new Promise((resolve, reject) => {
    let shown = '';
    dev.stdout.setEncoding('utf8');
    dev.stdout.on('data', text => {
      process.stdout.write(text.replaceAll(/^/gm, '  ').trimEnd() + '\n');
      shown += text;
      if (shown.includes('ready in')) resolve();
    });
    dev.once('exit', code => reject(new Error(`by dev ended with ${code}`)));
  });
  await ready;
}

async function stopDev() {
  if (!dev || dev.exitCode !== null) return;
  const ended = new Promise(resolve => dev.once('exit', resolve));
  dev.kill('SIGTERM');
  await ended;
}

function pipe(own, args, cwd, input) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [own, ...args], {cwd, env, stdio: ['pipe', 'inherit', 'inherit']});
    child.once('error', reject);
    child.once('exit', code =>
      code === 0 ? resolve() : reject(new Error(`by ${args[0]} ended with ${code}`)),
    );
    child.stdin.end(input);
  });
}
