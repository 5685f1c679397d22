/** Runs the package manager and git for a new project: never through a shell, never their install scripts. */
import {execFile} from 'node:child_process';
import {messageOf} from '../errors.js';

export const packageManagers = ['npm', 'pnpm', 'yarn', 'bun'] as const;
export type PackageManager = (typeof packageManagers)[number];

const INSTALL_LIMIT_MS = 600_000;
const GIT_LIMIT_MS = 30_000;

/** The one that started us (`npm exec by init`, `pnpm dlx …`), npm otherwise. */
export function detectPackageManager(env: Readonly<Record<string, string | undefined>>): PackageManager {
  const agent = env.npm_config_user_agent ?? '';
  return packageManagers.find(name => agent.startsWith(`${name}/`)) ?? 'npm';
}

export type InstallResult =
  | {readonly ok: true; readonly packages: number | null; readonly elapsedMs: number}
  | {readonly ok: false; readonly reason: string};

/** Installs the dependencies. Failing is a result: the project is there, whatever happens to its packages. */
export async function install(
  manager: PackageManager,
  directory: string,
  signal: AbortSignal,
): Promise<InstallResult> {
  const started = Date.now();
  const ran = await run(manager, await installArgs(manager, directory, signal), {
    directory,
    signal,
    limitMs: INSTALL_LIMIT_MS,
  });
  if (!ran.ok) return ran;
  const [, count] = /\b(?:added|installed) (\d+) packages?\b/.exec(ran.output) ?? [];
  return {ok: true, packages: count === undefined ? null : Number(count), elapsedMs: Date.now() - started};
}

async function installArgs(
  manager: PackageManager,
  directory: string,
  signal: AbortSignal,
): Promise<string[]> {
  if (manager === 'npm')
    return ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  if (manager !== 'yarn') return ['install', '--ignore-scripts'];
  const version = await run('yarn', ['--version'], {directory, signal, limitMs: GIT_LIMIT_MS});
  const isClassic = version.ok && version.output.startsWith('1.');
  return isClassic ? ['install', '--ignore-scripts'] : ['install', '--mode=skip-build'];
}

export type GitResult =
  'initialised' | 'initialised_without_commit' | 'inside_another_repository' | 'unavailable';

/** A repository with a first commit, unless the project already lies in one. */
export async function initGit(directory: string, signal: AbortSignal): Promise<GitResult> {
  const git = (...args: string[]) => run('git', args, {directory, signal, limitMs: GIT_LIMIT_MS});
  if ((await git('rev-parse', '--is-inside-work-tree')).ok) return 'inside_another_repository';
  if (!(await git('init', '--quiet')).ok) return 'unavailable';
  if (!(await git('add', '--all')).ok) return 'initialised_without_commit';
  // No signing: it may ask for a passphrase where nobody sees it. No hooks: a new project has none of its own.
  const quiet = ['-c', 'commit.gpgsign=false', '-c', 'core.hooksPath=/dev/null'];
  const commit = await git(...quiet, 'commit', '--quiet', '--message', 'Create the project with by init');
  return commit.ok ? 'initialised' : 'initialised_without_commit';
}

type Ran = {readonly ok: true; readonly output: string} | {readonly ok: false; readonly reason: string};

function run(
  file: string,
  args: readonly string[],
  {directory, signal, limitMs}: {directory: string; signal: AbortSignal; limitMs: number},
): Promise<Ran> {
  return new Promise(resolve => {
    execFile(
      file,
      args,
      {cwd: directory, signal, timeout: limitMs, env: cleanEnvironment(), maxBuffer: 16 * 1024 * 1024},
      (error, stdout, stderr) => {
        if (error === null) resolve({ok: true, output: stdout});
        else resolve({ok: false, reason: lastLines(stderr) || messageOf(error)});
      },
    ).stdin?.end();
  });
}

/** Inside a git hook or `npm run`, these would point git and npm at the surrounding project. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !['GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE', 'GIT_PREFIX', 'INIT_CWD'].includes(name),
    ),
  );
}

const lastLines = (text: string) => text.trim().split('\n').slice(-5).join('\n');
