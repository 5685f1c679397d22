/** What tests of the run layer share. */
import type {OrchestratorTimes} from '../../src/orchestration/deps.js';
import {orchestratorDeps} from '../../src/orchestration/deps.js';
import {dispatcherRole, projectorRole, serve, sweeperRole} from '../../src/orchestration/serve.js';
import {silentLogger} from '../../src/log.js';
import {readCommandEntry} from '../../src/protocol/commands.js';
import {isFinalRun} from '../../src/protocol/orchestration/states.js';
import {lookAt, openWorkspace, type Work, type Workspace} from '../../src/store/orchestration.js';
import {readNumbered} from '../../src/store/orchestration-lists.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import {startWorker, type WorkerOptions} from '../../src/worker/runner.js';
import {until, type TestStore} from '../support/stores.js';

export const workspaceOf = (store: Store, name = 'default'): Workspace => openWorkspace(store, name);

export const times = <T>(count: number, act: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({length: count}, (_, index) => act(index)));

/** Looks often, and gives up soon. */
export const QUICK: Partial<OrchestratorTimes> = {
  ...{dispatchEveryMs: 10, projectEveryMs: 10, sweepEveryMs: 20},
  ...{repairMs: 200, lostAfterMs: 300, stopGraceMs: 300},
};

export function orchestrate(at: TestStore, workspace: Workspace, over: Partial<OrchestratorTimes> = {}) {
  const deps = orchestratorDeps(workspace, {times: {...QUICK, ...over}});
  const stop = new AbortController();
  const done = serve(
    workspace,
    [dispatcherRole(deps), projectorRole(deps), sweeperRole(deps)],
    deps,
    stop.signal,
  );
  const end = async () => {
    stop.abort();
    await done;
  };
  at.cleanup(end);
  return {deps, end};
}

export async function work(
  at: TestStore,
  store: Store,
  agents: readonly Agent[],
  options: Partial<WorkerOptions> = {},
) {
  const worker = await startWorker(store, {agents, log: silentLogger, ...options});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

export const echo = defineAgent({type: 'echo', run: (_, ask) => ({content: `you said ${ask.text}`})});

export const ended = (workspace: Workspace, runId: string): Promise<Work> =>
  until(async () => {
    const seen = await lookAt(workspace, 'run', runId);
    return seen?.run !== undefined && isFinalRun(seen.run.status) && seen.attempt?.place === 'gone' && seen;
  });

export async function eventTypes({keys, name, ...workspace}: Workspace, runId: string): Promise<string[]> {
  const {entries} = await readNumbered({keys, name, ...workspace}, keys.orchEvents(name, runId), 0, 1000);
  return entries.map(({doc}) => (JSON.parse(doc) as {type: string}).type);
}

/** The headers of what lies on the stream of an agent type. */
export async function commandEntries(store: Store, agentType: string) {
  const rows = await store.commands.run(redis => redis.xrange(store.keys.ctrlStream(agentType), '-', '+'));
  return rows.map(([, fields]) => readCommandEntry(fields[1]).header);
}
