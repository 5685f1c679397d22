/**
 * Other agents as tools of a graph. The tool interrupts its graph with the call; {@link langGraphAgent} makes it and
 * resumes the graph with the answer, so the graph waits for days as for seconds, and holds nothing meanwhile.
 */
import {tool, type StructuredTool} from '@langchain/core/tools';
import {interrupt} from '@langchain/langgraph';
import {z} from 'zod';
import {isObject} from '../../protocol/limits.js';

export interface AgentTool {
  readonly agentType: string;
  /** What the model is told it is good for. */
  readonly description: string;
  /** Default: the agent type, with `_` for what tools can not be named with. */
  readonly name?: string;
}

/** Key of an interrupt's value that is a call. */
const CALL = 'by_call';

export interface AgentCalled {
  readonly agentType: string;
  readonly content: string;
}

/** What a graph is resumed with after a call. */
export type AgentReply = {readonly reply: unknown} | {readonly failure: string};

/** For graphs that run in {@link langGraphAgent}; elsewhere its interrupt stays unanswered. */
export function agentTool({agentType, description, name}: AgentTool): StructuredTool {
  return tool(({message}: {message: string}) => textOf(callAgent(agentType, message)), {
    name: name ?? agentType.replaceAll(/[^\w-]/g, '_'),
    description,
    schema: z.object({message: z.string().describe('What the agent is asked.')}),
  });
}

/**
 * Call an agent from a node of a graph in {@link langGraphAgent}. As with every interrupt, the node runs again from its
 * top when the answer is there.
 * @throws {Error} with what the agent said, when it failed.
 */
export function callAgent(agentType: string, content: string): unknown {
  const answer = interrupt<unknown, AgentReply>({[CALL]: {agentType, content} satisfies AgentCalled});
  if ('failure' in answer) throw new Error(`"${agentType}" failed: ${answer.failure}`);
  return answer.reply;
}

/** The call in an interrupt's value, if it is one. */
export function calledIn(value: unknown): AgentCalled | undefined {
  const call = isObject(value) ? value[CALL] : undefined;
  if (!isObject(call)) return undefined;
  const {agentType, content} = call;
  return typeof agentType === 'string' && typeof content === 'string' ? {agentType, content} : undefined;
}

const textOf = (reply: unknown): string => (typeof reply === 'string' ? reply : JSON.stringify(reply));
