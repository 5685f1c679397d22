/** The configuration of one turn: what its agent reads prompts and tools from. It does not change while the turn runs. */
import {ByError} from '../errors.js';
import {checkedInput, type JsonSchema} from '../protocol/tool-schema.js';
import {
  loadTools,
  type Callback,
  type LoadedConfig,
  type LoadedTool,
  type Tool,
  type ToolContext,
} from './agent-config.js';
import {renderPrompt, type PromptVariables} from './prompt.js';

export interface TurnConfigFacts {
  readonly agentType: string;
  readonly version: number;
  readonly hash: string;
  readonly configs: ReadonlyMap<string, LoadedConfig>;
  readonly isOriginal: boolean;
}

export class TurnConfig {
  constructor(private readonly facts: TurnConfigFacts) {}

  /** How often this worker has built its configuration: 1 when it starts, one more with each reload; 0 without plugins. */
  get version(): number {
    return this.facts.version;
  }
  /** The same for the same configs on every worker; '' without plugins. Secrets do not count. */
  get hash(): string {
    return this.facts.hash;
  }
  /**
   * Whether the execution began with these prompts and data. false where it waited for so long, or so many reloads came
   * meanwhile, that what it began with is gone.
   */
  get isOriginal(): boolean {
    return this.facts.isOriginal;
  }
  /** The config whose `agentId` is the agent type; undefined if no plugin brings one. */
  get agent(): LoadedConfig | undefined {
    return this.get(this.facts.agentType);
  }
  get agentIds(): readonly string[] {
    return [...this.facts.configs.keys()];
  }
  get(agentId: string): LoadedConfig | undefined {
    return this.facts.configs.get(agentId);
  }

  /** @throws {ByError} NOT_FOUND if there is no such prompt, INVALID_INPUT if it lacks a variable. */
  prompt(name: string, variables?: PromptVariables): string {
    const prompts = this.agent?.prompts ?? {};
    const prompt = Object.hasOwn(prompts, name) ? prompts[name] : undefined;
    if (prompt !== undefined) return renderPrompt(name, prompt, variables);
    throw this.notFound('prompt', name, Object.keys(prompts));
  }

  notFound(kind: 'prompt' | 'tool', name: string, known: readonly string[]): ByError {
    const {agentType} = this.facts;
    const hint =
      this.agent === undefined
        ? `Let a plugin register an agent config whose agentId is "${agentType}".`
        : `It has ${known.length === 0 ? 'none' : known.map(one => `"${one}"`).join(', ')}.`;
    return new ByError('NOT_FOUND', `The config of "${agentType}" has no ${kind} "${name}".`, {hint});
  }
}

export const NO_CONFIG = (agentType: string): TurnConfig =>
  new TurnConfig({agentType, version: 0, hash: '', configs: new Map(), isOriginal: true});

/** A tool as a model is told of it. */
export interface ToolDescription {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of its input. */
  readonly inputSchema: JsonSchema;
}

/** Runs an effect once and keeps its result, where the agent is durable. */
export type RunTool = (name: string, effect: (ctx: ToolContext) => Promise<unknown>) => Promise<unknown>;

/** The tools of a turn's agent. */
export class TurnTools {
  constructor(
    private readonly config: TurnConfig,
    private readonly run: RunTool,
    /** Throws where the policy of the run does not let the tool be called. */
    private readonly permit: (name: string, input: unknown) => Promise<void> = () => Promise.resolve(),
    private readonly others: Readonly<Record<string, LoadedTool>> = {},
  ) {}

  /**
   * These tools and more, which are listed and called alike, whatever they come from.
   * @throws {ByError} INVALID_INPUT for what is no tool; CONFLICT for the name of one that is there.
   */
  and(tools: Readonly<Record<string, Tool>>): TurnTools {
    const taken = Object.keys(tools).find(name => this.has(name));
    if (taken !== undefined) {
      throw new ByError('CONFLICT', `There is a tool "${taken.slice(0, 80)}" already.`, {
        hint: 'Give one of them another name.',
      });
    }
    return new TurnTools(this.config, this.run, this.permit, {...this.others, ...loadTools(tools)});
  }

  /** What to tell a model, in the order in which the plugin gave them. */
  list(): ToolDescription[] {
    return Object.entries(this.tools).map(([name, {description, inputSchema}]) => ({
      ...{name, description, inputSchema},
    }));
  }

  has(name: string): boolean {
    return Object.hasOwn(this.tools, name);
  }

  /**
   * Call a tool. In a durable agent it is a step of its own, unless it is called inside one: it runs once, its result is
   * kept, and what it throws comes as StepFailed.
   * @throws {ByError} NOT_FOUND; INVALID_INPUT if its schema refuses the input; TOOL_DENIED, APPROVAL_DENIED, APPROVAL_EXPIRED
   *   where the run has a policy; what the tool throws.
   */
  async call(name: string, input: unknown = {}): Promise<unknown> {
    const tool = this.has(name) ? this.tools[name] : undefined;
    if (tool === undefined) throw this.config.notFound('tool', name, Object.keys(this.tools));
    const {execute} = tool;
    if (execute === undefined) {
      throw new ByError('PLUGIN_LOAD_FAILED', `The tool "${name}" is known by name only.`, {
        hint: 'Its plugin could not be loaded, or has it no more: see `by plugin list` and the worker’s log.',
      });
    }
    return this.run(name, async ctx => {
      const checked = tool.input === undefined ? input : await checkedInput(name, tool.input, input);
      await this.permit(name, checked);
      await callAll(this.config.agent?.callbacks.beforeTool, name, checked, ctx);
      const output = await execute(checked as never, ctx);
      await callAll(this.config.agent?.callbacks.afterTool, name, checked, output, ctx);
      return output;
    });
  }

  private get tools() {
    return {...this.config.agent?.tools, ...this.others};
  }
}

async function callAll(callbacks: readonly Callback[] = [], ...facts: readonly unknown[]): Promise<void> {
  for (const callback of callbacks) await (callback as (...all: readonly unknown[]) => unknown)(...facts);
}
