/** Plugins: they say what agents work with, and look on while they do. docs/plugins.md */
import {ByError} from '../errors.js';
import type {Logger} from '../log.js';
import {isObject} from '../protocol/limits.js';
import type {AgentConfig} from './agent-config.js';
import type {TurnConfig} from './turn-config.js';

export interface PluginManifest {
  /** Names it in lists and logs; a worker has no two of one name. */
  readonly name: string;
  readonly version: string;
  readonly description?: string;
}

/** The worker as a plugin sees it. */
export interface PluginWorker {
  readonly workerId: string;
  readonly agentTypes: readonly string[];
  /** What the operator gave for plugins: `pluginSettings` of by.config or of the worker. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly log: Logger;
}

/** Given to every hook last. */
export interface HookCall {
  /** Aborted when the hook's time is over: nobody waits for it any more. */
  readonly signal: AbortSignal;
}

export interface RegisterContext extends PluginWorker {
  /** Aborted when the plugin's time to answer is over. */
  readonly signal: AbortSignal;
}

export interface ReloadContext extends PluginWorker {
  readonly reloadId: string;
  readonly reason: string;
  /** Where the plugin's file was loaded again: the one it takes the place of. */
  readonly previous: Plugin | undefined;
  /** Aborted when the plugin's time to answer is over. */
  readonly signal: AbortSignal;
}

/** The turn a hook looks on at. It can say nothing to the person: that is for the agent. */
export interface HookContext {
  readonly sessionId: string;
  readonly messageId: string;
  readonly parentMessageId: string;
  readonly traceId: string;
  readonly executionId: string;
  /** 1 for the first try. An execution that waits and goes on has further turns, each with an attempt of its own. */
  readonly attempt: number;
  readonly agentType: string;
  readonly workerId: string;
  readonly userCode: string;
  readonly userName: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly config: TurnConfig;
  readonly log: Logger;
}

/** How a turn ended. */
export interface TurnResult {
  /** `COMPLETED`, or what the execution waits for: `WAITING_USER`, `WAITING_AGENT`, `SLEEPING`, … */
  readonly status: string;
  readonly content: unknown;
  readonly data: unknown;
}

export interface TurnFailure {
  readonly error: unknown;
  /** The execution is tried again. */
  readonly willRetry: boolean;
}

/** A call of another agent. */
export interface CallFacts {
  readonly agentType: string;
  readonly content: unknown;
  /** Goes with the call, and may be added to in onCallAgentStart. Keys that begin with `by_` are ours. */
  readonly metadata: Record<string, unknown>;
}

/** What is told the agent that called. */
export interface ReturnFacts {
  readonly callerAgentType: string;
  readonly status: string;
  readonly content: unknown;
  readonly data: unknown;
}

/**
 * What a plugin may be told of. A hook that throws, or takes longer than its time, is counted and logged and changes
 * nothing else. Hooks of several plugins run one after the other, in the order of registration, after hooks too.
 */
export interface PluginHooks {
  /** Before the worker takes work, and when a reload brings the plugin. */
  onWorkerStartup?(worker: PluginWorker, call: HookCall): unknown;
  /** After its last turn, and when a reload has replaced the plugin and nothing uses it any more. */
  onWorkerShutdown?(worker: PluginWorker, call: HookCall): unknown;
  /** Before the agent's code runs: once a turn. */
  onTaskStart?(ctx: HookContext, call: HookCall): unknown;
  /** After the end of a turn is written. Of each turn that started, one of the next three is called, unless it was lost. */
  onTaskComplete?(ctx: HookContext, result: TurnResult, call: HookCall): unknown;
  onTaskError?(ctx: HookContext, failure: TurnFailure, call: HookCall): unknown;
  onTaskCancel?(ctx: HookContext, cancel: {readonly reason: string}, call: HookCall): unknown;
  /** Before a call is sent. A durable agent's call is sent once, however often its code runs. */
  onCallAgentStart?(ctx: HookContext, call: CallFacts, hook: HookCall): unknown;
  /** It was accepted; the answer comes later. */
  onCallAgentComplete?(ctx: HookContext, call: CallFacts, hook: HookCall): unknown;
  /** It was refused, or could not be sent. */
  onCallAgentError?(ctx: HookContext, call: CallFacts, error: unknown, hook: HookCall): unknown;
  /** Before the answer to the agent that called is written, together with the end of the turn. */
  onAgentReturnStart?(ctx: HookContext, answer: ReturnFacts, call: HookCall): unknown;
  onAgentReturnComplete?(ctx: HookContext, answer: ReturnFacts, call: HookCall): unknown;
  onAgentReturnError?(ctx: HookContext, answer: ReturnFacts, error: unknown, call: HookCall): unknown;
}

export interface Plugin extends PluginHooks {
  readonly manifest: PluginManifest;
  /** Milliseconds each of its hooks may take. Default: as the worker says, 5000. */
  readonly hookTimeoutMs?: number;
  /** The agent configs it brings, asked for when the worker starts and at each reload. What it throws refuses both. */
  registerAgentConfigs?(ctx: RegisterContext): readonly AgentConfig[] | Promise<readonly AgentConfig[]>;
  /** Called at a reload, before its configs are asked for again. What it throws ends the reload: all stays as it was. */
  reload?(ctx: ReloadContext): unknown;
}

export type HookName = keyof PluginHooks;
export const HOOK_NAMES = [
  ...(['onWorkerStartup', 'onWorkerShutdown'] as const),
  ...(['onTaskStart', 'onTaskComplete', 'onTaskError', 'onTaskCancel'] as const),
  ...(['onCallAgentStart', 'onCallAgentComplete', 'onCallAgentError'] as const),
  ...(['onAgentReturnStart', 'onAgentReturnComplete', 'onAgentReturnError'] as const),
] as const satisfies readonly HookName[];

/** Declare a plugin. @throws {ByError} PLUGIN_LOAD_FAILED, saying what is wrong with it. */
export function definePlugin<P extends Plugin>(plugin: P): P {
  const problem = pluginProblem(plugin);
  if (problem === undefined) return plugin;
  throw new ByError('PLUGIN_LOAD_FAILED', `This is no plugin: ${problem}.`, {hint: PLUGIN_HINT});
}

export const PLUGIN_HINT = 'A plugin has a manifest with name and version, and hooks: see docs/plugins.md.';

/** Recognised by shape, not by class: the user's project may hold its own copy of this package. */
export const looksLikePlugin = (value: unknown): value is Plugin =>
  typeof value === 'object' && value !== null && isObject((value as Partial<Plugin>).manifest);

/** @returns what is wrong with it, or undefined. */
export function pluginProblem(plugin: unknown): string | undefined {
  if (!looksLikePlugin(plugin)) return 'it has no manifest';
  const {name, version} = plugin.manifest as Partial<PluginManifest>;
  if (typeof name !== 'string' || !NAME.test(name))
    return `its name is ${name === undefined ? 'missing' : JSON.stringify(name)} (letters, digits and . _ @ / -, at most 128)`;
  if (typeof version !== 'string' || version === '') return `"${name}" has no version`;
  const {hookTimeoutMs} = plugin;
  if (hookTimeoutMs !== undefined && !(Number.isFinite(hookTimeoutMs) && hookTimeoutMs > 0))
    return `hookTimeoutMs of "${name}" is no number of milliseconds`;
  const wrong = [...HOOK_NAMES, 'registerAgentConfigs' as const, 'reload' as const].find(
    hook => plugin[hook] !== undefined && typeof plugin[hook] !== 'function',
  );
  if (wrong !== undefined) return `${wrong} of "${name}" is no function`;
  const misspelt = memberNames(plugin).find(member => /^on[A-Z]/.test(member) && !isHook(member));
  return misspelt === undefined ? undefined : `"${name}" has "${misspelt}", which nobody calls`;
}

const NAME = /^[A-Za-z0-9@][A-Za-z0-9._@/-]{0,127}$/;
const isHook = (name: string): boolean => (HOOK_NAMES as readonly string[]).includes(name);

/** Its own and its classes', without what every object has. */
function memberNames(plugin: object): string[] {
  const names: string[] = [];
  for (let at: object | null = plugin; at !== null && at !== Object.prototype;) {
    names.push(...Object.getOwnPropertyNames(at));
    at = Object.getPrototypeOf(at) as object | null;
  }
  return names;
}
