/** `by dev`: the banner, the lines of everything that runs, a few keys. */
import {connectionFromEnv} from '../config/load.js';
import {packageInfo} from '../config/package-info.js';
import {loadProject} from '../config/project.js';
import {startDev, type DevOptions, type DevStack} from '../dev/dev.js';
import {parseHealthAddress} from '../observe/health-server.js';
import type {ConnectionChoice} from './flags.js';
import {paint, type Printer} from './printer.js';

export interface RunDev extends Omit<
  DevOptions,
  'dir' | 'project' | 'server' | 'keySchema' | 'onLine' | 'health'
> {
  /** `HOST:PORT`, or a port of this machine. */
  readonly health: string | undefined;
  readonly connection: ConnectionChoice;
  readonly printer: Printer;
  readonly signal: AbortSignal;
  /** Whether keys may be read from the terminal. */
  readonly canRead: boolean;
}

export async function runDev(run: RunDev): Promise<{url: string}> {
  const {printer, connection} = run;
  const startedAt = Date.now();
  const health = run.health === undefined ? undefined : parseHealthAddress(run.health);
  const project = await loadProject(process.cwd());
  const settings = connectionFromEnv({
    flagUrl: connection.redisUrl,
    password: connection.redisPassword,
    flagKeySchema: connection.keySchema,
    configUrl: project?.config.redisUrl,
    configKeySchema: project?.config.keySchema,
  });
  const stack = await startDev({
    ...run,
    health,
    dir: project?.dir ?? process.cwd(),
    project,
    keySchema: settings.keySchema,
    ...(settings.source === 'default' ? {} : {server: settings}),
    onLine: (from, line, kind) => {
      const prefix = paint.dim(from.padEnd(9));
      const text = kind === 'error' ? paint.red(line) : kind === 'warn' ? paint.yellow(line) : line;
      printer.out(prefix, text);
      printer.event({type: 'line', from, kind, line});
    },
  });
  printer.out(paint.bold(`by dev ${packageInfo().version}`), project ? `  ${project.dir}` : '');
  for (const fact of stack.facts) printer.out('  ', paint.bold(fact.name.padEnd(10)), fact.text);
  if (stack.workers.length === 0) {
    printer.warn(
      'No worker is configured here: name a file (by dev src/worker.ts), or start a project with `by init`.',
    );
  }
  printer.out(
    paint.green(`ready in ${((Date.now() - startedAt) / 1000).toFixed(1)}s`),
    run.canRead ? '      r restarts the workers, q or Ctrl-C quits' : '',
  );
  printer.event({type: 'ready', url: stack.url});
  try {
    await untilTold(run, stack);
  } finally {
    printer.out(paint.dim('stopping …'));
    await stack.close();
  }
  return {url: stack.url};
}

/** Resolves at the first signal, or when the person presses q. */
function untilTold(run: RunDev, stack: DevStack): Promise<void> {
  return new Promise(resolve => {
    const {stdin} = process;
    const onKey = (key: string) => {
      if (key === 'q' || key === '\u0003') done();
      if (key === 'r') void stack.restart('restart');
    };
    const done = () => {
      if (run.canRead) {
        stdin.off('data', onKey);
        stdin.setRawMode(false);
        stdin.pause();
      }
      resolve();
    };
    run.signal.addEventListener('abort', done, {once: true});
    if (run.signal.aborted) done();
    else if (run.canRead) {
      stdin.setRawMode(true);
      stdin.setEncoding('utf8');
      stdin.on('data', onKey);
      stdin.resume();
    }
  });
}
