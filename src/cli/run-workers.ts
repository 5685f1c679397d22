/** `by worker run`: load, start, wait, stop. */
import {resolve} from 'node:path';
import {workerHealthFromEnv} from '../config/load.js';
import {loadProject, pluginsOf, workerOfEntry, type Project, type ProjectWorker} from '../config/project.js';
import {ByError} from '../errors.js';
import {openHistory} from '../history/open.js';
import type {HistoryBackend} from '../history/backend.js';
import type {SessionFiles} from '../files/file-store.js';
import type {Logger, LogLevel} from '../log.js';
import {loadAgents} from '../worker/load-agents.js';
import type {PluginSource} from '../plugins/load-plugins.js';
import type {ExecutionCircuitRules} from '../store/execution-circuit.js';
import {startWorker, type WorkerEnd, type WorkerHandle, type WorkerOptions} from '../worker/runner.js';
import {parseHealthAddress, startHealthServer, type HealthServer} from '../observe/health-server.js';
import {WorkersWatch} from '../observe/worker-health.js';
import {checkWorkers, type CheckedWorker} from './check-workers.js';
import {connectionSettings} from './connect.js';
import {knownHistory} from './history-settings.js';
import {tellHealth} from './tell-health.js';
import type {ConnectionChoice} from './flags.js';
import {paint, type Printer} from './printer.js';
import {openTracing} from './tracing.js';
import {workerLog, type LogFormat} from './worker-log.js';

export interface RunWorkers {
  readonly connection: ConnectionChoice;
  readonly printer: Printer;
  readonly file: string | undefined;
  readonly workerId: string | undefined;
  readonly concurrency: number | undefined;
  /** Keep free for on-call work; false: as by.config says. */
  readonly reserveOnCall: boolean;
  readonly maxAttempts: number | undefined;
  readonly leaseMs: number | undefined;
  readonly group: string;
  /** Files and folders of plugins, beside those of by.config. */
  readonly plugins: readonly string[];
  readonly drainMs: number;
  /** When executions that fail open a circuit; undefined: as by.config says. */
  readonly circuit: CircuitSettings | undefined;
  /** `HOST:PORT`, or a port of this machine; undefined: as BYAI_WORKER_HEALTH_PORT says, else nowhere. */
  readonly health: string | undefined;
  readonly logFormat: LogFormat;
  /** Undefined for `info`, or `debug` where --verbose asks for more. */
  readonly logLevel: LogLevel | undefined;
  /** Write the SDKs' trace records into Redis. */
  readonly redisTraces: boolean;
  /** Find out what programs of agents can be held to. */
  readonly sandbox: boolean;
  /** Take part in writing the fleet's history. */
  readonly metricsHistory: boolean;
  /** Load agents and plugins, say what is wrong with them, and start nothing. */
  readonly check: boolean;
  /** The first signal: finish and stop. */
  readonly stop: AbortSignal;
  /** The second: hand back and stop. */
  readonly force: AbortSignal;
}

/** As people give it: what is undefined has a default. */
interface CircuitSettings {
  readonly rate: number;
  readonly min?: number | undefined;
  readonly windowMs?: number | undefined;
  readonly openMs?: number | undefined;
}

interface Planned {
  readonly entry: string;
  readonly plugins: readonly PluginSource[];
  readonly options: WorkerSettings;
}

/** What flags and by.config may both say. */
type WorkerSettings = Pick<
  WorkerOptions,
  'workerId' | 'concurrency' | 'reserveOnCall' | 'maxAttempts' | 'leaseMs' | 'circuit'
>;

/** @throws {ByError} USAGE, WORKER_LOAD_FAILED, PLUGIN_LOAD_FAILED, FINDINGS, WORKER_ID_TAKEN, LEASE_LOST, and what connecting throws. */
export async function runWorkers(
  run: RunWorkers,
): Promise<{workers: readonly {workerId: string; end: WorkerEnd}[]; checked?: readonly CheckedWorker[]}> {
  const project = await loadProject(process.cwd());
  const plans = planned(run, project);
  const loaded = await Promise.all(plans.map(async plan => ({plan, agents: await loadAgents(plan.entry)})));
  if (run.check) {
    const workers = loaded.map(({plan, agents}) => ({
      entry: resolve(plan.entry),
      agents,
      plugins: plan.plugins,
    }));
    return {
      workers: [],
      checked: await checkWorkers(run.printer, workers, project?.config.pluginSettings ?? {}),
    };
  }
  const settings = await connectionSettings(run.connection);
  // Outside of a project the worker's own default counts.
  const workspaceRoot = project && resolve(project.dir, project.config.workspaceRoot ?? '.by/workspaces');
  const watch = new WorkersWatch(loaded.length);
  // Before the workers: an address that is taken must not show after something was begun.
  const server = await openHealth(run, watch);
  const log = workerLog(run.printer, run.logFormat, run.logLevel);
  const tracing = await openTracing({redisTraces: run.redisTraces, config: project?.config.tracing}, log);
  let history: HistoryBackend | undefined;
  try {
    history = await openHistory(knownHistory(project?.config.history), settings);
    return await startAll(run, settings, loaded, {
      workspaceRoot,
      watch,
      history,
      log,
      tracing,
      pluginSettings: project?.config.pluginSettings,
      files: project?.config.files as SessionFiles | undefined,
    });
  } finally {
    await tracing.stop();
    await history?.close();
    await server?.close();
  }
}

async function openHealth(run: RunWorkers, watch: WorkersWatch): Promise<HealthServer | undefined> {
  const text = run.health ?? workerHealthFromEnv();
  if (text === undefined) return undefined;
  const server = await startHealthServer(parseHealthAddress(text), watch);
  tellHealth(run.printer, server);
  return server;
}

/** What the workers of one process share. */
interface Shared {
  readonly workspaceRoot: string | undefined;
  readonly watch: WorkersWatch;
  readonly history: HistoryBackend | undefined;
  readonly log: Logger;
  readonly tracing: Awaited<ReturnType<typeof openTracing>>;
  readonly pluginSettings: Readonly<Record<string, unknown>> | undefined;
  readonly files: SessionFiles | undefined;
}

type Loaded = {readonly plan: Planned; readonly agents: Awaited<ReturnType<typeof loadAgents>>};

async function startAll(
  run: RunWorkers,
  settings: Awaited<ReturnType<typeof connectionSettings>>,
  loaded: readonly Loaded[],
  {workspaceRoot, watch, history, log, tracing, pluginSettings, files}: Shared,
): Promise<{workers: readonly {workerId: string; end: WorkerEnd}[]}> {
  const handles: WorkerHandle[] = [];
  const stopAll = (drainMs: number) => Promise.all(handles.map(handle => handle.stop({drainMs})));
  run.stop.addEventListener(
    'abort',
    () => {
      watch.drain();
      void stopAll(run.drainMs);
    },
    {once: true},
  );
  run.force.addEventListener('abort', () => void stopAll(0), {once: true});
  try {
    for (const {plan, agents} of loaded) {
      const handle = await startWorker(
        {...settings, name: 'by-worker'},
        {
          agents,
          agentsFile: resolve(plan.entry),
          group: run.group,
          history: history ?? false,
          watch: watch.add(),
          log,
          ...tracing.options,
          ...(run.metricsHistory ? {metricsHistory: {}} : {}),
          sandbox: run.sandbox,
          plugins: plan.plugins,
          ...plan.options,
          ...(files === undefined ? {} : {files}),
          ...(pluginSettings === undefined ? {} : {pluginSettings}),
          ...(workspaceRoot === undefined ? {} : {workspaceRoot}),
        },
      );
      handles.push(handle);
      run.printer.out(
        paint.green(run.printer.symbol('dot')),
        ` ${handle.workerId} online  `,
        handle.agentTypes.join(', '),
      );
    }
  } catch (error) {
    await stopAll(0);
    throw error;
  }
  // A signal may have come while workers were starting.
  if (run.stop.aborted) void stopAll(run.drainMs);
  const ends = await Promise.all(
    handles.map(async handle => ({workerId: handle.workerId, end: await handle.done})),
  );
  const lost = ends.find(({end}) => end === 'lease-lost' || end === 'deaf');
  if (lost) {
    throw new ByError('LEASE_LOST', `Worker "${lost.workerId}" lost its lease.`, {
      hint: 'Start it again; if it happens often, see whether its event loop is blocked for long.',
    });
  }
  return {workers: ends};
}

function planned(run: RunWorkers, project: Project | undefined): Planned[] {
  const named = run.plugins.map(path => resolve(path));
  if (run.file !== undefined) {
    const entry = resolve(run.file);
    const same = project && workerOfEntry(project, entry);
    const plugins = [...projectPlugins(project, same), ...named];
    // Its id is not taken from there: several of one file may run.
    return [{entry: run.file, plugins, options: settingsOf(run, same, run.workerId)}];
  }
  if (!project || project.config.workers.length === 0) {
    throw new ByError('USAGE', 'No file was named, and no by.config with workers was found.', {
      hint: 'Name the file that exports your agents: by worker run src/worker.ts',
    });
  }
  return project.config.workers.map(worker => ({
    entry: resolve(project.dir, worker.entry),
    plugins: [...projectPlugins(project, worker), ...named],
    options: settingsOf(run, worker, run.workerId ?? worker.workerId),
  }));
}

/** Flags come before by.config, and what neither says has the worker's own default. */
function settingsOf(
  run: RunWorkers,
  worker: ProjectWorker | undefined,
  workerId: string | undefined,
): WorkerSettings {
  const concurrency = run.concurrency ?? worker?.concurrency;
  const maxAttempts = run.maxAttempts ?? worker?.maxAttempts;
  const leaseMs = run.leaseMs ?? worker?.leaseMs;
  const circuit = run.circuit ?? worker?.circuit;
  return {
    reserveOnCall: run.reserveOnCall || (worker?.reserveOnCall ?? false),
    ...(workerId === undefined ? {} : {workerId}),
    ...(concurrency === undefined ? {} : {concurrency}),
    ...(maxAttempts === undefined ? {} : {maxAttempts}),
    ...(leaseMs === undefined ? {} : {leaseMs}),
    ...(circuit === undefined ? {} : {circuit: circuitRules(circuit)}),
  };
}

/** What they are is looked at when they are loaded. */
const projectPlugins = (project: Project | undefined, worker: ProjectWorker | undefined) =>
  project === undefined ? [] : (pluginsOf(project, worker) as PluginSource[]);

const circuitRules = ({rate, min, windowMs, openMs}: CircuitSettings): ExecutionCircuitRules => ({
  rate,
  ...(min === undefined ? {} : {min}),
  ...(windowMs === undefined ? {} : {windowMs}),
  ...(openMs === undefined ? {} : {openMs}),
});
