/** What plugins say about agents: prompts, tools, and data of their own. Checked and frozen when a plugin is loaded. */
import {ByError, messageOf} from '../errors.js';
import {isValidId} from '../ids.js';
import type {Logger} from '../log.js';
import {isObject} from '../protocol/limits.js';
import {
  isInputSchema,
  jsonSchemaOf,
  NO_INPUT,
  type InputSchema,
  type JsonSchema,
} from '../protocol/tool-schema.js';
import type {Prompt} from './prompt.js';

/** What a tool is given beside its input. */
export interface ToolContext {
  readonly agentType: string;
  readonly sessionId: string;
  /** With {@link attempt}, the key under which side effects can be made idempotent. */
  readonly executionId: string;
  readonly attempt: number;
  readonly userCode: string;
  /** Aborted when the execution has to stop. */
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** A tool, wherever it comes from: a plugin, an MCP server (`mcpTools`), or your own code. */
export interface Tool<Input = never> {
  /** For the model. */
  readonly description: string;
  /** What it takes: a schema of zod, or of another library of Standard Schema. Default: nothing. */
  readonly input?: InputSchema<Input>;
  /** What models are shown of `input`; needed where that is no schema of zod. */
  readonly inputJsonSchema?: JsonSchema;
  /** Whoever made it says that it changes nothing. A hint, not a promise. */
  readonly isReadOnly?: boolean;
  /** @param input checked, and as the schema has transformed it. */
  execute(input: Input, ctx: ToolContext): unknown;
}

/** Gives `execute` the type of what the schema lets through. */
export const defineTool = <Input>(tool: Tool<Input>): Tool => tool as unknown as Tool;

/**
 * Functions around the work of an agent. `beforeTool` and `afterTool` are called by `ctx.tools.call`; the others are
 * for the agent's own code: `ctx.config.callbacks`.
 */
export type CallbackName =
  'beforeModel' | 'afterModel' | 'beforeTool' | 'afterTool' | 'beforeAgent' | 'afterAgent';
export const CALLBACK_NAMES: readonly CallbackName[] = [
  ...(['beforeModel', 'afterModel', 'beforeTool', 'afterTool', 'beforeAgent', 'afterAgent'] as const),
];

export type Callback = (...facts: never[]) => unknown;

/** What becomes of a config whose agent has one already, from a plugin before. */
export type ConflictRule = 'error' | 'overwrite' | 'skip';

export interface AgentConfig {
  /** The agent type it is for, or an id of the plugin's own. */
  readonly agentId: string;
  readonly name?: string;
  readonly description?: string;
  /** By name; `{{names}}` in them are variables. */
  readonly prompts?: Readonly<Record<string, Prompt>>;
  readonly tools?: Readonly<Record<string, Tool>>;
  /** JSON. Values under keys that name a secret (`api_key`, `token`, …) are shown to nobody and kept nowhere. */
  readonly skills?: Readonly<Record<string, unknown>>;
  /** JSON, as {@link skills}. */
  readonly knowledgeBases?: Readonly<Record<string, unknown>>;
  readonly callbacks?: Readonly<Partial<Record<CallbackName, Callback | readonly Callback[]>>>;
  /** Ids of agents it may call. */
  readonly subAgents?: readonly string[];
  /** JSON, as {@link skills}. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** Default `error`: the configuration is refused. */
  readonly onConflict?: ConflictRule;
}

/** A tool as a worker has it. */
export interface LoadedTool {
  readonly description: string;
  readonly inputSchema: JsonSchema;
  readonly input: InputSchema<never> | undefined;
  /** Undefined where only the name is known: the configuration was recovered without its code. */
  readonly execute: Tool['execute'] | undefined;
}

/** A config with everything filled in, frozen. */
export interface LoadedConfig {
  readonly agentId: string;
  readonly name: string;
  readonly description: string;
  readonly prompts: Readonly<Record<string, Prompt>>;
  readonly tools: Readonly<Record<string, LoadedTool>>;
  readonly skills: Readonly<Record<string, unknown>>;
  readonly knowledgeBases: Readonly<Record<string, unknown>>;
  readonly callbacks: Readonly<Partial<Record<CallbackName, readonly Callback[]>>>;
  readonly subAgents: readonly string[];
  readonly extra: Readonly<Record<string, unknown>>;
  readonly onConflict: ConflictRule;
}

/** @param owner the plugin, for messages. @throws {ByError} PLUGIN_LOAD_FAILED, naming the field at fault. */
export function loadConfig(config: AgentConfig, owner: string): LoadedConfig {
  const fail = (what: string, hint: string, cause?: unknown): never => {
    throw new ByError('PLUGIN_LOAD_FAILED', `${owner}: ${what}`, {hint, cause});
  };
  if (!isObject(config)) return fail('it registers something that is no agent config.', SHAPE_HINT);
  const {agentId} = config;
  if (typeof agentId !== 'string' || !isValidId(agentId))
    return fail(`an agent config has the agentId ${JSON.stringify(agentId)}.`, ID_HINT);
  const unknown = Object.keys(config).filter(key => !FIELDS.has(key));
  if (unknown.length > 0)
    return fail(`the config of "${agentId}" has an unknown field "${unknown[0] ?? ''}".`, SHAPE_HINT);
  const at = (field: string) => `the config of "${agentId}": ${field}`;
  const rule = config.onConflict ?? 'error';
  if (!['error', 'overwrite', 'skip'].includes(rule))
    return fail(`${at('onConflict')} is "${rule}".`, 'Use error, overwrite or skip.');
  const json = (field: 'skills' | 'knowledgeBases' | 'extra') => {
    const problem = notJson(config[field] ?? {}, field);
    if (problem !== undefined)
      fail(`${at(problem)} is no JSON.`, 'Plain data only there: put code into tools or callbacks.');
    return deepFrozen(structuredClone(config[field] ?? {}));
  };
  const subAgents = config.subAgents ?? [];
  if (!Array.isArray(subAgents) || !subAgents.every(id => typeof id === 'string'))
    return fail(`${at('subAgents')} is no list of agent ids.`, SHAPE_HINT);
  return Object.freeze({
    agentId,
    name: text(config.name),
    description: text(config.description),
    prompts: Object.freeze(
      mapped(config.prompts, (prompt, name) =>
        isPrompt(prompt)
          ? deepFrozen(structuredClone(prompt))
          : fail(`${at(`prompts.${name}`)} is no prompt.`, 'Give text, or {text, defaults}.'),
      ),
    ),
    tools: Object.freeze(
      mapped(config.tools, (tool, name) => {
        const problem = toolProblem(tool, name);
        if (problem !== undefined) fail(`${at(`tools.${name}`)} ${problem}.`, TOOL_HINT);
        try {
          return loadTool(tool);
        } catch (error) {
          return fail(`${at(`tools.${name}.input`)}: ${messageOf(error)}.`, TOOL_HINT, error);
        }
      }),
    ),
    skills: json('skills'),
    knowledgeBases: json('knowledgeBases'),
    callbacks: Object.freeze(
      mapped(config.callbacks, (value, name) => {
        const all = [value].flat();
        if (
          (CALLBACK_NAMES as readonly string[]).includes(name) &&
          all.every(one => typeof one === 'function')
        )
          return Object.freeze(all);
        return fail(
          `${at(`callbacks.${name}`)} can not be used.`,
          `A function, or several, under one of ${CALLBACK_NAMES.join(', ')}.`,
        );
      }),
    ),
    subAgents: Object.freeze([...subAgents]),
    extra: json('extra'),
    onConflict: rule,
  });
}

const SHAPE_HINT = 'docs/plugins.md lists what an agent config may hold.';
const ID_HINT = 'Use letters, digits and . _ : @ - (at most 128, beginning with a letter or digit).';
const TOOL_HINT =
  'A tool has a description, execute(input, ctx), and for its input a schema of zod: see docs/plugins.md.';
const FIELDS: ReadonlySet<string> = new Set<keyof AgentConfig>([
  ...(['agentId', 'name', 'description', 'prompts', 'tools', 'skills', 'knowledgeBases'] as const),
  ...(['callbacks', 'subAgents', 'extra', 'onConflict'] as const),
]);
/** What providers of models accept as the name of a tool. */
const TOOL_NAME = /^[A-Za-z0-9_-]{1,64}$/;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

function mapped<In, Out>(
  from: Readonly<Record<string, In>> | undefined,
  make: (value: In, name: string) => Out,
): Record<string, Out> {
  return Object.fromEntries(Object.entries(from ?? {}).map(([name, value]) => [name, make(value, name)]));
}

function isPrompt(value: unknown): value is Prompt {
  if (typeof value === 'string') return true;
  if (!isObject(value) || typeof value['text'] !== 'string') return false;
  const defaults = value['defaults'] ?? {};
  return isObject(defaults) && Object.values(defaults).every(one => typeof one === 'string');
}

function toolProblem(tool: unknown, name: string): string | undefined {
  if (!TOOL_NAME.test(name))
    return 'has a name that models do not take (letters, digits, _ and -, at most 64)';
  if (typeof tool !== 'object' || tool === null) return 'is no tool';
  const {description, execute, input, inputJsonSchema} = tool as Partial<Tool>;
  if (typeof description !== 'string' || description === '') return 'has no description';
  if (typeof execute !== 'function') return 'has no execute function';
  if (input !== undefined && !isInputSchema(input)) return 'has an input that is no schema';
  if (inputJsonSchema !== undefined && notJson(inputJsonSchema, '') !== undefined)
    return 'has an inputJsonSchema that is no JSON';
  return undefined;
}

function loadTool(tool: Tool): LoadedTool {
  const {description, input} = tool;
  const inputSchema = tool.inputJsonSchema ?? (input === undefined ? NO_INPUT : jsonSchemaOf(input));
  return Object.freeze({
    description,
    inputSchema: deepFrozen(structuredClone(inputSchema)),
    input,
    execute: (given: never, ctx: ToolContext) => tool.execute(given, ctx),
  });
}

/** @throws {ByError} INVALID_INPUT, naming the tool at fault. */
export function loadTools(tools: Readonly<Record<string, Tool>>): Record<string, LoadedTool> {
  return mapped(tools, (tool, name) => {
    const problem = toolProblem(tool, name);
    if (problem === undefined) return loadTool(tool);
    throw new ByError('INVALID_INPUT', `The tool "${name.slice(0, 80)}" ${problem}.`, {hint: TOOL_HINT});
  });
}

/** @returns the place of the first thing JSON can not hold, or undefined. */
function notJson(value: unknown, place: string, above: readonly unknown[] = []): string | undefined {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return undefined;
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : place;
  if (typeof value !== 'object' || above.includes(value)) return place;
  const isPlain = Array.isArray(value) || isPlainObject(value);
  if (!isPlain) return place;
  const inside = [...above, value];
  for (const [key, item] of Object.entries(value)) {
    const problem = notJson(item, `${place}.${key}`, inside);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

export function deepFrozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const item of Object.values(value)) deepFrozen(item);
  return Object.freeze(value);
}
