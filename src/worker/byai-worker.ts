/** A message agent that speaks in messages (BaiYing) where {@link GatewayWorker} speaks in wire content: spec §8.6. */
import type {AskCommand, Content, ResumeCommand} from '../protocol/commands.js';
import {decodeContent, encodeContent, type Message} from '../protocol/content.js';
import {isObject} from '../protocol/limits.js';
import {GatewayWorker} from './agent.js';
import type {AgentCall, CallReceipt, GroupOptions, GroupReceipt, GroupTask, MemberResult} from './calls.js';
import type {AgentContext} from './context.js';

/** One message, several, or what else came. */
export type ByaiValue = Message | readonly Message[] | Content;

/** A command whose content is a message, where it was sent as one. */
export type ByaiCommand =
  | (Omit<AskCommand, 'content'> & {readonly content: ByaiValue})
  | (Omit<ResumeCommand, 'content'> & {readonly content: ByaiValue});

type InMessages<T extends {readonly content: unknown}> = Omit<T, 'content'> & {readonly content: ByaiValue};

/** The context of one turn; `turn` has everything that does not carry content. */
export class ByaiContext {
  constructor(readonly turn: AgentContext) {}

  /** As {@link AgentContext.callAgent}. */
  callAgent(call: InMessages<AgentCall>): Promise<CallReceipt> {
    return this.turn.callAgent({...call, content: onTheWire(call.content)});
  }

  /** As {@link AgentContext.dispatchGroup}. */
  dispatchGroup(tasks: readonly InMessages<GroupTask>[], options?: GroupOptions): Promise<GroupReceipt> {
    const encoded = tasks.map(task => ({...task, content: onTheWire(task.content)}));
    return this.turn.dispatchGroup(encoded, options);
  }

  /** As {@link AgentContext.collectGroupResults}, with messages where they were answered. */
  async collectGroupResults(
    taskGroupId?: string,
    options?: {readonly timeoutMs?: number},
  ): Promise<MemberResult[]> {
    const results = await this.turn.collectGroupResults(taskGroupId, options);
    return results.map(result => ({...result, content: decodeContent(result.content)}));
  }
}

export abstract class ByaiWorker extends GatewayWorker {
  /** Handle an ASK or a RESUME; what is returned may be a message, several, or hold one as `content`. */
  abstract processMessage(command: ByaiCommand, ctx: ByaiContext): unknown;

  override async processCommand(command: AskCommand | ResumeCommand, ctx: AgentContext): Promise<unknown> {
    const decoded = {...command, content: decodeContent(command.content) as ByaiValue};
    return inWireContent(await this.processMessage(decoded, new ByaiContext(ctx)));
  }
}

const onTheWire = (content: ByaiValue): Content => encodeContent(content) as Content;

/** A message by itself is the content; in a result, its content is encoded where it stands. */
function inWireContent(value: unknown): unknown {
  const encoded = encodeContent(value);
  if (encoded !== value && !isListOfOthers(value)) return {content: encoded};
  return isObject(value) && 'content' in value ? {...value, content: encodeContent(value['content'])} : value;
}

const isListOfOthers = (value: unknown): boolean =>
  Array.isArray(value) && value.every(item => encodeContent(item) === item);
