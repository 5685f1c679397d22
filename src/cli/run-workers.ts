/** `by worker run`: load, start, wait, stop. */
import {resolve} from 'node:path';
import {loadProject} from '../config/project.js';
import {ByError} from '../errors.js';
import {createLogger, type Logger} from '../log.js';
import {loadAgents} from '../worker/load-agents.js';
import type {ExecutionCircuitRules} from '../store/execution-circuit.js';
import {startWorker, type WorkerEnd, type WorkerHandle} from '../worker/runner.js';
import {connectionSettings} from './connect.js';
import type {ConnectionChoice} from './flags.js';
import {paint, type Printer} from './printer.js';
import {openTracing} from './tracing.js';

export interface RunWorkers {
  readonly connection: ConnectionChoice;
  readonly printer: Printer;
  readonly file: string | undefined;
  readonly workerId: string | undefined;
  readonly concurrency: number | undefined;
  readonly group: string;
  readonly drainMs: number;
  /** When executions that fail open a circuit; undefined: as by.config says. */
  readonly circuit: CircuitSettings | undefined;
  /** Write the SDKs' trace records into Redis. */
  readonly redisTraces: boolean;
  /** Take part in writing the fleet's history. */
  readonly metricsHistory: boolean;
  /** Load the agents and start nothing. */
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
  readonly workerId: string | undefined;
  readonly concurrency: number | undefined;
  readonly circuit: ExecutionCircuitRules | undefined;
}

/** @throws {ByError} USAGE, WORKER_LOAD_FAILED, WORKER_ID_TAKEN, LEASE_LOST, and what connecting throws. */
export async function runWorkers(
  run: RunWorkers,
): Promise<{workers: readonly {workerId: string; end: WorkerEnd}[]}> {
  const plans = await planned(run);
  const loaded = await Promise.all(plans.map(async plan => ({plan, agents: await loadAgents(plan.entry)})));
  if (run.check) return {workers: []};
  const settings = await connectionSettings(run.connection);
  const workspaceRoot = await projectWorkspaces();
  const config = (await loadProject(process.cwd()))?.config.tracing;
  const tracing = await openTracing({redisTraces: run.redisTraces, config}, workerLog(run.printer));
  const handles: WorkerHandle[] = [];
  const stopAll = (drainMs: number) => Promise.all(handles.map(handle => handle.stop({drainMs})));
  run.stop.addEventListener('abort', () => void stopAll(run.drainMs), {once: true});
  run.force.addEventListener('abort', () => void stopAll(0), {once: true});
  try {
    for (const {plan, agents} of loaded) {
      const handle = await startWorker(
        {...settings, name: 'by-worker'},
        {
          agents,
          agentsFile: resolve(plan.entry),
          group: run.group,
          log: workerLog(run.printer),
          ...tracing.options,
          ...(run.metricsHistory ? {metricsHistory: {}} : {}),
          ...(workspaceRoot === undefined ? {} : {workspaceRoot}),
          ...(plan.workerId === undefined ? {} : {workerId: plan.workerId}),
          ...(plan.concurrency === undefined ? {} : {concurrency: plan.concurrency}),
          ...(plan.circuit === undefined ? {} : {circuit: plan.circuit}),
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
  await tracing.stop();
  const lost = ends.find(({end}) => end === 'lease-lost' || end === 'deaf');
  if (lost) {
    throw new ByError('LEASE_LOST', `Worker "${lost.workerId}" lost its lease.`, {
      hint: 'Start it again; if it happens often, see whether its event loop is blocked for long.',
    });
  }
  return {workers: ends};
}

/** Where the project keeps its sessions' files; outside of a project the worker's own default counts. */
async function projectWorkspaces(): Promise<string | undefined> {
  const project = await loadProject(process.cwd());
  return project && resolve(project.dir, project.config.workspaceRoot ?? '.by/workspaces');
}

async function planned(run: RunWorkers): Promise<Planned[]> {
  const asked = run.circuit && circuitRules(run.circuit);
  if (run.file !== undefined)
    return [{entry: run.file, workerId: run.workerId, concurrency: run.concurrency, circuit: asked}];
  const project = await loadProject(process.cwd());
  if (!project || project.config.workers.length === 0) {
    throw new ByError('USAGE', 'No file was named, and no by.config with workers was found.', {
      hint: 'Name the file that exports your agents: by worker run src/worker.ts',
    });
  }
  return project.config.workers.map(worker => ({
    entry: resolve(project.dir, worker.entry),
    workerId: run.workerId ?? worker.workerId,
    concurrency: run.concurrency ?? worker.concurrency,
    circuit: asked ?? (worker.circuit && circuitRules(worker.circuit)),
  }));
}

const circuitRules = ({rate, min, windowMs, openMs}: CircuitSettings): ExecutionCircuitRules => ({
  rate,
  ...(min === undefined ? {} : {min}),
  ...(windowMs === undefined ? {} : {windowMs}),
  ...(openMs === undefined ? {} : {openMs}),
});

/** For a person a line a thing that happens, for a program JSON lines: both on standard error. */
function workerLog(printer: Printer): Logger {
  if (printer.mode !== 'text') return createLogger();
  return createLogger({
    level: printer.isVerbose ? 'debug' : 'info',
    write: (_line, level, message, fields) => {
      const {
        worker_id: _worker,
        session_id: session,
        message_id: id,
        execution_id: _execution,
        ...rest
      } = fields;
      const facts = Object.entries(rest).map(([name, value]) => `${name}=${String(value)}`);
      const line = [session ?? '', id ?? '', message, ...facts].filter(part => part !== '').join('  ');
      const time = new Date().toTimeString().slice(0, 8);
      if (level === 'warn' || level === 'error') printer.err(paint.dim(time), ' ', paint.yellow(line));
      else printer.note(paint.dim(time), ' ', line);
    },
  });
}
