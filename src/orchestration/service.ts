/** The runtime: accepts tasks, and runs the roles that bring them to their end. */
import type {Logger} from '../log.js';
import type {AgentCommandParams} from '../protocol/orchestration/command.js';
import type {PendingInput} from '../protocol/orchestration/input.js';
import type {RunInteraction} from '../protocol/orchestration/run.js';
import type {AgentQueueMode} from '../protocol/orchestration/states.js';
import type {AgentTask} from '../protocol/orchestration/task.js';
import type {Tracer} from '../protocol/tracer.js';
import {liveOrchestrators} from '../store/orchestrators.js';
import {openWorkspace, type Workspace} from '../store/orchestration.js';
import {checkWorkspace, DEFAULT_WORKSPACE} from '../protocol/orchestration/keys.js';
import type {Store} from '../store/store.js';
import {orchestratorDeps, type OrchestratorDeps, type OrchestratorTimes, type Summarise} from './deps.js';
import {acceptRunInput, type InputRequest, type RunInputResult} from './accept-input.js';
import {lookAtRun} from './read.js';
import {
  dispatcherRole,
  projectorRole,
  serve,
  sweeperRole,
  type OrchestratorRole,
  type RoleName,
} from './serve.js';
import {acceptPrepared, busyRun, commandRecord, earlier, idempotencyKey, prepareTask} from './submit.js';

export interface AgentServiceOptions {
  readonly store: Store;
  readonly log?: Logger;
  readonly tracer?: Tracer;
  readonly times?: Partial<OrchestratorTimes>;
  /** For inputs with `overflow: 'summarize'`; without it they are refused. It has a minute. */
  readonly summarise?: Summarise;
}

export interface AcceptResult {
  readonly accepted: true;
  readonly idempotentHit: boolean;
  readonly task: AgentTask;
  readonly runId: string;
  /** The session was at work, so it went to its run. */
  readonly convertedToInput?: RunInputResult;
  /** For people: what may keep the task from being done. */
  readonly warnings: readonly string[];
}

export interface StartOptions {
  readonly signal: AbortSignal;
  /** Default `default`. */
  readonly workspace?: string;
  /** Default all that are built in. */
  readonly roles?: readonly RoleName[];
  /** Roles from elsewhere, run beside them. */
  readonly more?: readonly OrchestratorRole[];
}

/** Roles this service brings itself. */
export const OWN_ROLES = ['dispatcher', 'projector', 'sweeper'] as const satisfies readonly RoleName[];

export class AgentService {
  constructor(private readonly options: AgentServiceOptions) {}

  get store(): Store {
    return this.options.store;
  }

  /** @throws {ByError} INVALID_INPUT for what can not name a workspace. */
  workspace(name: string): Workspace {
    checkWorkspace(name);
    return openWorkspace(this.options.store, name);
  }

  deps(workspace: string): OrchestratorDeps {
    const {store: _store, ...options} = this.options;
    return orchestratorDeps(this.workspace(workspace), options);
  }

  /** Run an orchestrator; resolves after the signal, once what was under way is noted. */
  async start({
    signal,
    workspace = DEFAULT_WORKSPACE,
    roles = OWN_ROLES,
    more = [],
  }: StartOptions): Promise<void> {
    const deps = this.deps(workspace);
    const own = [dispatcherRole(deps), projectorRole(deps), sweeperRole(deps)];
    const chosen = own.filter(({name}) => roles.some(role => role === name));
    await serve(deps.workspace, [...chosen, ...more], deps, signal);
  }

  /** Accept a task, once for each idempotency key. @throws {ByError} as {@link acceptPrepared} and {@link acceptRunInput} */
  async acceptAgentCommand(workspace: string, params: AgentCommandParams): Promise<AcceptResult> {
    const at = this.workspace(workspace);
    const accepted = await this.accept(at, params);
    return {accepted: true, ...accepted, warnings: await this.warnings()};
  }

  /** For people: what may keep a task from being done. */
  async warnings(): Promise<readonly string[]> {
    const nodes = await liveOrchestrators(this.options.store);
    return nodes.some(({roles}) => roles.includes('dispatcher')) ? [] : [NO_ORCHESTRATOR];
  }

  /** A message to a session that is at work belongs to its run. */
  private async accept(
    at: Workspace,
    params: AgentCommandParams,
  ): Promise<Omit<AcceptResult, 'accepted' | 'warnings'>> {
    const prepared = await prepareTask(at, params);
    const {task} = prepared;
    const remembered = params.idempotencyKey === undefined ? undefined : idempotencyKey(at, task);
    const known = remembered === undefined ? undefined : await earlier(at, remembered, task.requestHash);
    const runId = known === undefined ? await busyRun(at, params, task) : known.inputOf;
    if (runId === undefined) return acceptPrepared(at, params, prepared);
    const {queueMode: mode = 'followup', message, idempotencyKey: key, inputProvenance, routing} = params;
    const input = await acceptRunInput(
      this.deps(at.name),
      runId,
      {
        ...{message, mode, provenance: inputProvenance, routing},
        ...(key === undefined ? {} : {idempotencyKey: key}),
      },
      remembered === undefined
        ? undefined
        : {
            key: remembered,
            record: ({taskId}) => commandRecord({taskId, requestHash: task.requestHash}, runId),
          },
    );
    return {
      idempotentHit: input.idempotentHit,
      task: input.task,
      runId: input.runId,
      convertedToInput: input,
    };
  }

  /** Say something to a run. @throws {ByError} as {@link acceptRunInput} */
  acceptRunInput(
    workspace: string,
    runId: string,
    mode: AgentQueueMode,
    message: string,
    key?: string,
    more: Omit<InputRequest, 'message' | 'mode' | 'idempotencyKey'> = {},
  ): Promise<RunInputResult> {
    const request = {...more, message, mode};
    return acceptRunInput(
      this.deps(workspace),
      runId,
      key === undefined ? request : {...request, idempotencyKey: key},
    );
  }

  /** @throws {ByError} RUN_NOT_FOUND */
  async getRunInteraction(workspace: string, runId: string): Promise<RunInteraction> {
    return (await lookAtRun(this.workspace(workspace), runId)).run.interaction;
  }

  /** What was said to the run and not delivered yet. @throws {ByError} RUN_NOT_FOUND */
  async listRunPendingInputs(workspace: string, runId: string): Promise<readonly PendingInput[]> {
    const {inputs} = await lookAtRun(this.workspace(workspace), runId);
    return inputs.filter(({state}) => state === 'buffered');
  }
}

export const NO_ORCHESTRATOR =
  'No orchestrator was seen for 30 s: the task is kept, and begins once `by serve` runs.';
