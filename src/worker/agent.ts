/** The two ways to write an agent: architecture.md §4. */
import {ByError} from '../errors.js';
import {isValidId} from '../ids.js';
import type {AskCommand, Content, CustomCommand, ResumeCommand} from '../protocol/commands.js';
import type {AgentContext} from './context.js';
import type {DurableContext} from './durable/context.js';
import {retryPolicy, type RetryOptions, type RetryPolicy} from './retry.js';

/** What a durable agent is asked. */
export interface Ask {
  /** The content as text; of an array of objects the texts in it, joined by blank lines. */
  readonly text: string;
  /** The content as it was sent. */
  readonly content: Content;
  readonly payload: Readonly<Record<string, unknown>>;
}

export interface AgentDefinition {
  /** The agent type it serves. */
  readonly type: string;
  /**
   * Answer one ask, as if nothing could fail: what `ctx` is asked for is kept, and when an answer is not there yet the turn
   * ends and this runs again from the top once it is. So it must do the same each time: put what is not the same, and every
   * effect, into `ctx.step`. What it returns is normalised as spec §6.6 says: text, `{content}`, `{status, content, …}` or any
   * JSON value; a thrown error ends the execution as FAILED. Look at `ctx.signal` to stop when it is cancelled.
   */
  run(ctx: DurableContext, ask: Ask): unknown;
  /**
   * Try what `run` throws again. Without it an error is final, unless it says `retryable: true`; so is an answer
   * `{status: 'FAILED'}`, unless it says so too.
   */
  readonly retry?: RetryOptions;
}

/** A message agent: one call a message, as in the SDKs. Nothing is kept between two calls but what it keeps itself. */
export abstract class GatewayWorker {
  /** The agent types it serves; at least one. */
  abstract getAgentTypes(): readonly string[];

  /** Handle an ASK or a RESUME. The return value is normalised as spec §6.6 says; a thrown error means FAILED. */
  abstract processCommand(command: AskCommand | ResumeCommand, ctx: AgentContext): unknown;

  /** Try what `processCommand` throws again; see {@link AgentDefinition.retry}. */
  readonly retry?: RetryOptions;

  /** Handle a registered custom command. Default: it is acknowledged and nothing happens. */
  onCustomCommand(_command: CustomCommand): void | Promise<void> {
    return undefined;
  }
}

/** Declare an agent. @throws {ByError} INVALID_CONFIG if the type can not be an agent type, or an option is wrong. */
export function defineAgent(definition: AgentDefinition): AgentDefinition {
  if (!isValidId(definition.type)) {
    throw new ByError('INVALID_CONFIG', `"${definition.type}" can not be an agent type.`, {
      hint: 'Use letters, digits and . _ : @ - (at most 128, beginning with a letter or digit).',
    });
  }
  if (typeof definition.run !== 'function') {
    throw new ByError('INVALID_CONFIG', `Agent "${definition.type}" has no run function.`, {
      hint: 'Give defineAgent a `run(ctx, ask)`.',
    });
  }
  retryPolicy(definition.retry, `agent "${definition.type}"`);
  return definition;
}

export type Agent = AgentDefinition | GatewayWorker;

/** One agent as the worker runs it, whichever way it was written. */
export interface Handler {
  readonly agentTypes: readonly string[];
  readonly retry: RetryPolicy;
  /** A message agent's: called for each command. */
  handle(command: AskCommand | ResumeCommand, ctx: AgentContext): unknown;
  /** A durable agent's, in place of `handle`: called for each turn with what the execution was asked. */
  readonly run?: (ctx: DurableContext, ask: Ask) => unknown;
  custom(command: CustomCommand): void | Promise<void>;
}

export function toHandler(agent: Agent): Handler {
  if ('processCommand' in agent) {
    const agentTypes = agent.getAgentTypes();
    return {
      agentTypes,
      retry: retryPolicy(agent.retry, `agent "${agentTypes.join(', ')}"`),
      handle: (command, ctx) => agent.processCommand(command, ctx),
      // A worker of another copy of this package may be older than this method.
      custom: command => (agent as Partial<GatewayWorker>).onCustomCommand?.(command),
    };
  }
  return {
    agentTypes: [agent.type],
    retry: retryPolicy(agent.retry, `agent "${agent.type}"`),
    handle: () => undefined,
    run: (ctx, ask) => agent.run(ctx, ask),
    custom: () => undefined,
  };
}

export function askOf(command: AskCommand | ResumeCommand): Ask {
  return {text: contentText(command.content), content: command.content, payload: command.extraPayload};
}

/** The text of a command's content, whatever its shape. */
export function contentText(content: Content): string {
  if (typeof content === 'string') return content;
  return content
    .map(item => {
      const inner: unknown = 'content' in item ? item.content : 'text' in item ? item.text : undefined;
      if (typeof inner === 'string') return inner;
      if (typeof inner === 'object' && inner !== null && 'text' in inner && typeof inner.text === 'string')
        return inner.text;
      return '';
    })
    .filter(text => text !== '')
    .join('\n\n');
}
