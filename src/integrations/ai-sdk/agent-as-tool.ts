/** Other agents as tools of a model. */
import {tool, type Tool} from 'ai';
import {z} from 'zod';
import type {CallOptions} from '../../worker/durable/context.js';

export interface AgentAsTool extends CallOptions {
  readonly agentType: string;
  /** What the model is told it is good for. */
  readonly description: string;
}

const calls = new WeakMap<Tool, AgentAsTool>();

/** A tool for {@link modelLoop}, which makes the call: it may take days, and holds nothing meanwhile. */
export function agentAsTool(agent: AgentAsTool): Tool {
  const made = tool({
    description: agent.description,
    inputSchema: z.object({message: z.string().describe('What the agent is asked.')}),
  });
  calls.set(made, agent);
  return made;
}

/** The agent behind a tool, if there is one. */
export const agentBehind = (made: Tool): AgentAsTool | undefined => calls.get(made);
