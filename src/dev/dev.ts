/** `by dev`: a store, a manager and the project's workers in one place, until told to stop. */
import {dirname, join, relative} from 'node:path';
import {watch, type FSWatcher} from 'chokidar';
import {beatsOf, MANAGER_ROLES, MAX_AT_ONCE, startManager} from '../availability/manager.js';
import {threadProvider} from '../availability/thread-provider.js';
import {mockProvider, parseMockMode} from '../availability/mock-provider.js';
import {ProcessPool} from '../availability/process-pool.js';
import {processProvider} from '../availability/process-provider.js';
import type {Provider} from '../availability/provider.js';
import {findDev, removeDevFile, writeDevFile} from '../config/dev-file.js';
import {packageInfo} from '../config/package-info.js';
import type {Project} from '../config/project.js';
import {ByError, messageOf} from '../errors.js';
import {loggerTo} from '../log.js';
import {healthPages, healthWarning, startHealthServer, type HealthAddress} from '../observe/health-server.js';
import {ManagerWatch} from '../observe/manager-health.js';
import {checkServer, openStore, type Store} from '../store/store.js';
import {startEmbeddedStore} from './embedded/start.js';
import {portOrAny} from './free-port.js';
import {startPrivateRedis} from './private-redis.js';
import {projectWorkers, type ProjectWorker} from './project-workers.js';

export interface DevOptions {
  /** Folder of the project. */
  readonly dir: string;
  readonly project: Project | undefined;
  /** Files to run in place of the config's workers. */
  readonly entries: readonly string[];
  /** A server that runs already; absent to start a store. */
  readonly server?: {readonly url: string; readonly source: string};
  readonly keySchema: 'v1' | 'v2';
  readonly storeKind: 'embedded' | 'redis';
  /** Wanted port of the store; another is taken when it is not free. */
  readonly port: number;
  /** Keep the store's data (private server only). */
  readonly persist: boolean;
  /** Start the workers now; otherwise the provider starts them when they are asked for. */
  readonly startWorkers: boolean;
  readonly watch: boolean;
  readonly manager: boolean;
  /** `auto`: start the project's workers when they are asked for; `none`; a mode of the mock provider, or a file. */
  readonly provider: string;
  readonly drainMs: number;
  /** Where the manager answers for its health; undefined: nowhere. */
  readonly health?: HealthAddress | undefined;
  /** Gets every line anything here has to say. */
  onLine(from: string, line: string, kind: 'info' | 'warn' | 'error'): void;
}

export interface DevStack {
  readonly url: string;
  readonly store: Store;
  /** What runs, for the banner. */
  readonly facts: readonly {readonly name: string; readonly text: string}[];
  readonly workers: readonly ProjectWorker[];
  /** Check the code and, if it loads, replace the running workers. */
  restart(why: string): Promise<void>;
  close(): Promise<void>;
}

/** @throws {ByError} CONFLICT when one runs in this project already, REDIS_UNREACHABLE, USAGE. */
export async function startDev(options: DevOptions): Promise<DevStack> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const act of closers.splice(0).reverse()) await act();
  };
  try {
    return await assemble(options, closers, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function assemble(
  options: DevOptions,
  closers: (() => Promise<unknown>)[],
  close: () => Promise<void>,
): Promise<DevStack> {
  const running = options.server ? undefined : findDev(options.dir);
  if (running) {
    throw new ByError(
      'CONFLICT',
      `A \`by dev\` runs in this project already (pid ${running.pid}, ${running.url}).`,
      {
        hint: 'Use that one, or stop it first.',
      },
    );
  }
  const facts: {name: string; text: string}[] = [];
  const url = await openServer(options, facts, closers);
  const store = openStore({url, keySchema: options.keySchema, name: 'by-dev'});
  closers.push(async () => store.close());
  await checkServer(store);
  if (!options.server) {
    await writeDevFile(options.dir, {url, pid: process.pid, version: packageInfo().version});
    closers.push(() => removeDevFile(options.dir));
  }

  const workers = projectWorkers(options.project, options.entries, options.dir, {
    redisUrl: url,
    keySchema: options.keySchema,
    drainMs: options.drainMs,
  });
  const pool = new ProcessPool({
    stopMs: options.drainMs + 3000,
    onLine: (name, line) => options.onLine(name, line, 'info'),
    onExit: (name, code, expected) => {
      if (!expected) options.onLine(name, `ended with code ${code ?? 'none'}`, code === 0 ? 'info' : 'error');
    },
  });
  closers.push(() => pool.close());
  if (options.manager) {
    await startDevManager(options, store, workers, pool, facts, closers);
  }

  const restarter = new Restarter(options, workers, pool);
  if (options.startWorkers) for (const worker of workers) pool.ensure(worker.command);
  for (const worker of workers) {
    const state = options.startWorkers ? 'starting' : 'asleep: started when it is asked for';
    const types = worker.agentTypes.length > 0 ? `${worker.agentTypes.join(', ')}  ` : '';
    facts.push({
      name: 'Worker',
      text: `${types}${state}  ${relative(options.dir, worker.entry)}${options.watch ? ' (watching)' : ''}`,
    });
  }
  if (options.watch && workers.length > 0) {
    const watcher = watchCode(
      workers,
      file => void restarter.restart(`${relative(options.dir, file)} changed`),
    );
    closers.push(() => watcher.close());
  }
  return {url, store, facts, workers, restart: why => restarter.restart(why), close};
}

async function openServer(
  options: DevOptions,
  facts: {name: string; text: string}[],
  closers: (() => Promise<unknown>)[],
): Promise<string> {
  if (options.server) {
    facts.push(
      {name: 'Store', text: `${new URL(options.server.url).host}  (from ${options.server.source})`},
      {name: 'Data', text: 'kept by that server'},
    );
    return options.server.url;
  }
  const port = await portOrAny(options.port);
  const moved = port === options.port ? '' : `  (port ${options.port} is taken)`;
  if (options.storeKind === 'redis') {
    const redis = await startPrivateRedis({
      port,
      dataDir: join(options.dir, '.by', 'redis'),
      persist: options.persist,
    });
    closers.push(() => redis.close());
    facts.push(
      {name: 'Store', text: `127.0.0.1:${port}  private ${redis.program}${moved}`},
      {
        name: 'Data',
        text: options.persist
          ? 'kept in .by/redis (append-only)'
          : 'in memory: lost when this stops; use --persist to keep it',
      },
    );
    return redis.url;
  }
  if (options.persist) {
    throw new ByError('USAGE', 'The embedded store keeps nothing.', {
      hint: 'Use --store redis --persist, or a server of your own with --redis-url.',
    });
  }
  const embedded = await startEmbeddedStore({port});
  closers.push(() => embedded.close());
  facts.push(
    {
      name: 'Store',
      text: `127.0.0.1:${embedded.port}  embedded, Redis protocol 7.0, for development${moved}`,
    },
    {name: 'Data', text: 'in memory: lost when this stops; --store redis --persist keeps it'},
  );
  return embedded.url;
}

async function startDevManager(
  options: DevOptions,
  store: Store,
  workers: readonly ProjectWorker[],
  pool: ProcessPool,
  facts: {name: string; text: string}[],
  closers: (() => Promise<unknown>)[],
): Promise<void> {
  facts.push({name: 'Manager', text: 'wakeups and pending deliveries'});
  const {provider, text} = await chooseProvider(options, workers, pool);
  facts.push({name: 'Provider', text});
  const watched = new ManagerWatch({store, beats: beatsOf(MANAGER_ROLES), full: MAX_AT_ONCE});
  if (options.health !== undefined) {
    const server = await startHealthServer(options.health, watched);
    closers.push(() => server.close());
    facts.push({name: 'Health', text: healthPages(server)});
    const warning = healthWarning(server);
    if (warning !== undefined) options.onLine('manager', warning, 'warn');
  }
  const manager = await startManager(store, {
    provider,
    onBeat: beat => watched.beat(beat),
    log: loggerTo(
      (level, message, {manager_id: _id, ...fields}) =>
        options.onLine(
          'manager',
          `${message} ${JSON.stringify(fields)}`,
          level === 'error' ? 'error' : 'warn',
        ),
      'warn',
    ),
    onWakeup: (request, decision, elapsedMs, told) => {
      watched.wakeup(request, decision, elapsedMs, told);
      options.onLine(
        'manager',
        `wakeup ${request.targetAgentType} ${request.executionId} ${decision.status} in ${elapsedMs}ms ${decision.reason}`.trimEnd(),
        decision.status === 'READY' ? 'info' : 'warn',
      );
    },
    onDelivery: (delivery, outcome) => {
      watched.delivery(delivery.targetAgentType, outcome);
      options.onLine(
        'manager',
        `pending ${delivery.targetAgentType} ${delivery.executionId} ${outcome}`,
        'info',
      );
    },
  });
  watched.watch(manager);
  closers.push(() => {
    watched.drain();
    return manager.stop();
  });
}

/** No mode of the mock provider looks like this. */
const IS_FILE = /[/\\]|\.[cm]?[jt]sx?$/;

async function chooseProvider(
  options: DevOptions,
  workers: readonly ProjectWorker[],
  pool: ProcessPool,
): Promise<{provider: Provider; text: string}> {
  if (options.provider === 'none') {
    return {
      provider: {
        name: 'none',
        wakeup: async () => ({status: 'REJECTED', reason: 'by dev runs with --provider none'}),
      },
      text: 'none: every wakeup is rejected',
    };
  }
  if (IS_FILE.test(options.provider)) {
    const provider = await threadProvider(options.provider);
    return {provider, text: `${provider.name}: ${options.provider}`};
  }
  if (options.provider !== 'auto') {
    const mode = options.provider === 'mock' ? 'ready' : options.provider;
    return {provider: mockProvider({mode: parseMockMode(mode)}), text: `mock: ${mode}`};
  }
  return {
    provider: processProvider({
      pool,
      // Without a config nobody knows what a file serves, so each is tried.
      commandFor: agentType =>
        (
          workers.find(worker => worker.agentTypes.includes(agentType)) ??
          workers.find(worker => worker.agentTypes.length === 0)
        )?.command,
    }),
    text: "process: starts the project's workers when they are asked for",
  };
}

/** Replaces workers by newer ones, one change at a time, and only by code that loads. */
class Restarter {
  private current: Promise<void> = Promise.resolve();
  private waiting: string | undefined;

  constructor(
    private readonly options: DevOptions,
    private readonly workers: readonly ProjectWorker[],
    private readonly pool: ProcessPool,
  ) {}

  /** Changes that come while a restart is under way are answered by one more. */
  restart(why: string): Promise<void> {
    if (this.waiting === undefined) {
      this.waiting = why;
      this.current = this.current
        .then(() => this.carryOut())
        .catch((error: unknown) => this.options.onLine('by', messageOf(error), 'error'));
    }
    return this.current;
  }

  private async carryOut(): Promise<void> {
    const why = this.waiting ?? '';
    this.waiting = undefined;
    this.options.onLine('by', `${why}: checking`, 'info');
    for (const worker of this.workers) {
      if (!(await this.loads(worker))) {
        this.options.onLine('by', 'the running workers stay as they are until this is corrected', 'error');
        return;
      }
    }
    for (const worker of this.workers) {
      // One that sleeps is started with the new code anyway.
      if (!this.pool.has(worker.name)) continue;
      await this.pool.stop(worker.name);
      this.pool.ensure(worker.command);
    }
    this.options.onLine('by', 'reloaded', 'info');
  }

  private async loads(worker: ProjectWorker): Promise<boolean> {
    const checker = new ProcessPool();
    const check = checker.ensure(worker.check);
    const lines = check.lastLines;
    await new Promise<void>(resolve => check.child.once('close', () => resolve()));
    if (check.child.exitCode === 0) return true;
    for (const line of lines) this.options.onLine(worker.name, line, 'error');
    return false;
  }
}

/** The folders of the entries: what an entry imports from its own project is in or below them. */
function watchCode(workers: readonly ProjectWorker[], onChange: (file: string) => void): FSWatcher {
  const dirs = [...new Set(workers.map(worker => dirname(worker.entry)))];
  const watcher = watch(dirs, {
    ignoreInitial: true,
    ignored: path => /[/\\](node_modules|\.git|\.by|dist)([/\\]|$)/.test(path),
    awaitWriteFinish: {stabilityThreshold: 50, pollInterval: 20},
  });
  watcher.on('all', (event, file) => {
    if (event !== 'addDir' && event !== 'unlinkDir' && /\.([cm]?[jt]sx?|json)$/.test(file)) onChange(file);
  });
  return watcher;
}
