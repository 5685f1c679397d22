/** A process for executions that crashed before, one at a time: their turns run under the name of the worker that started it. */
import {Worker} from 'node:worker_threads';
import {systemClock} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {loggerTo} from '../log.js';
import {PluginHost} from '../plugins/host.js';
import {ProtocolError} from '../protocol/limits.js';
import {AgentStatusService} from '../registry/agent-status-service.js';
import {LEASE_MS} from '../store/presence.js';
import {RenewedSessions} from '../store/renewed-sessions.js';
import {openStore, type Store} from '../store/store.js';
import {toHandler, type Agent} from './agent.js';
import type {TurnIdentity} from './event-writer.js';
import type {Counted, FromIsolated, IsolatedJob, ToIsolated} from './isolation.js';
import {HistoryOverPipe} from './isolated-history.js';
import {loadAgents} from './load-agents.js';
import {readEntry} from './read-entry.js';
import {Recovery} from './recovery.js';
import {RunFences} from './run-fences.js';
import {RunningTasks, type ClaimUnderWay, type RunningTask} from './running.js';
import {Settler} from './settler.js';
import {exhaust} from './status-report.js';
import {relayTracer} from './trace-relay.js';
import {runTurn, type TurnEnvironment} from './turn.js';

const tell = (message: FromIsolated) =>
  new Promise<void>(resolve => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
const counted = (what: Counted) => void tell({kind: 'counted', what});
const abandoned = new AbortController();
const running = new (class extends RunningTasks {
  override begin(turn: TurnIdentity, messageId: string, claim: ClaimUnderWay): RunningTask {
    void tell({kind: 'begun', turn, messageId});
    return super.begin(turn, messageId, claim);
  }
})();

const history = new HistoryOverPipe(request => void tell(request));

/** Lets the job that is loaded begin. */
let go: () => void = () => undefined;

/** Of the first job: they are the same for all. */
let store: Store | undefined;
let agents: Promise<Agent[]> | undefined;
let plugins: Promise<PluginHost | undefined> | undefined;

process.title = 'by worker: one execution';
// A terminal's Ctrl-C and a service manager's SIGTERM reach every process: the worker decides what becomes of this one.
process.on('SIGINT', () => undefined).on('SIGTERM', () => undefined);
// Without the worker nobody keeps the lease. An agent in an endless loop hears nothing of that: a thread looks too.
process.on('disconnect', () => process.exit(1));
new Worker(
  `setInterval(() => { if (process.ppid !== ${process.ppid}) process.kill(process.pid, 'SIGKILL'); }, 1000);`,
  {eval: true},
).unref();
process.on('message', (message: ToIsolated) => {
  switch (message.kind) {
    case 'job':
      void work(message.job);
      break;
    case 'go':
      go();
      break;
    case 'history':
      history.answered(message);
      break;
    case 'cancel':
      for (const task of running.all()) task.cancel(message.reason, message.force);
      break;
    case 'abandon':
      running.abandonAll(message.reason);
      abandoned.abort();
      break;
  }
});

async function work(job: IsolatedJob): Promise<void> {
  const log = loggerTo((level, message, fields) => void tell({kind: 'log', level, message, fields}), 'debug');
  try {
    agents ??= loadAgents(job.agentsFile);
    const handler = (await agents).map(toHandler).find(({agentTypes}) => agentTypes.includes(job.agentType));
    if (handler === undefined) throw new Error(`${job.agentsFile} exports no "${job.agentType}"`);
    const command = readEntry(job.delivery.entry);
    if (command.action !== 'ASK_AGENT' && command.action !== 'RESUME') throw new Error('no turn to run');
    store ??= openStore({...job.store, name: 'by-worker'});
    const loaded = await (plugins ??= startPlugins(job, store, log));
    const settler = new Settler(store, job.worker.group, () => job.deletesEntries, log);
    const allowed = new Promise<void>(resolve => (go = resolve));
    await tell({kind: 'loaded'});
    await allowed;
    const env = {...environment(job, store, settler, log), plugins: loaded};
    const outcome = await runTurn(env, job.delivery, command, job.agentType, handler);
    await settler.flush();
    await tell({kind: 'outcome', outcome});
  } catch (error) {
    if (error instanceof ProtocolError)
      await tell({kind: 'unreadable', code: error.code, reason: error.message});
    else
      await tell({kind: 'log', level: 'error', message: 'left for later', fields: {error: messageOf(error)}});
    process.exit(error instanceof ByError ? 1 : 70);
  }
}

/** As a worker does with its heartbeats. */
let fences: RunFences | undefined;
function fencesOf(store: Store, workerId: string, log: TurnEnvironment['log']): RunFences {
  if (fences === undefined) {
    const one = new RunFences(store, {workerId, log, ttlMs: LEASE_MS});
    setInterval(() => void one.beat(), LEASE_MS / 3).unref();
    fences = one;
  }
  return fences;
}

/** In this process they are other objects than the worker's: what they count and keep is not the worker's. */
async function startPlugins(
  {plugins: {paths, settings, hookTimeoutMs}, worker: {workerId}, agentType}: IsolatedJob,
  store: Store,
  log: TurnEnvironment['log'],
): Promise<PluginHost | undefined> {
  if (paths.length === 0) return undefined;
  const host = new PluginHost({
    ...{store, sources: paths, settings, hookTimeoutMs, workerId, agentTypes: [agentType]},
    ...{log, now: systemClock, isWorker: false},
    onHookCall: note => void tell({kind: 'hook', note}),
  });
  await host.load();
  await host.startup();
  return host;
}

function environment(
  {worker, deletesEntries, hasHistory, traces}: IsolatedJob,
  store: Store,
  settler: Settler,
  log: TurnEnvironment['log'],
): TurnEnvironment {
  const recovery = new Recovery(store, worker.group, {name: worker.owner, workerId: worker.workerId});
  const status = new AgentStatusService(store);
  return {
    ...worker,
    ...{store, settler, log, running},
    fences: fencesOf(store, worker.workerId, log),
    ends: {note: (agentType, status) => void tell({kind: 'ended', agentType, status})},
    metrics: {
      routed: (...args) => counted({name: 'routed', args}),
      started: (...args) => counted({name: 'started', args}),
      ended: (...args) => counted({name: 'ended', args}),
    },
    history: hasHistory ? history : undefined,
    tracer: traces && relayTracer(traces.takesContent, span => void tell({kind: 'span', span})),
    now: systemClock,
    renewed: new RenewedSessions(systemClock),
    deletesEntries: () => deletesEntries,
    abandon: abandoned.signal,
    // The slot is the worker's, and so few run like this that it can wait.
    stepAside: () => () => undefined,
    servesNow: () => false,
    isGone: owner => recovery.isGone(owner),
    // The worker finds it with its next heartbeat.
    reportExhausted: async report => {
      try {
        await exhaust(status, worker.workerId, report);
      } catch (error) {
        log.warn('telling the status failed', {error: messageOf(error)});
      }
    },
  };
}
