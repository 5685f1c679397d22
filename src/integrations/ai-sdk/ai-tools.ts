/** Tools of ours as the AI SDK wants them: those of plugins, of MCP servers, and an agent's own are one kind. */
import {jsonSchema, tool, type ToolSet} from 'ai';
import type {TurnTools} from '../../plugins/turn-config.js';

/**
 * For {@link modelLoop}, and for whatever else of the AI SDK runs in an agent: `aiTools(ctx.tools)`, or with more tools
 * `aiTools(ctx.tools.and(tools))`. Each call checks the input by the tool's schema; the loop keeps its result.
 */
export const aiTools = (tools: TurnTools): ToolSet =>
  Object.fromEntries(
    tools.list().map(({name, description, inputSchema}) => [
      name,
      tool({
        description,
        inputSchema: jsonSchema(inputSchema as Parameters<typeof jsonSchema>[0]),
        execute: (input: unknown) => tools.call(name, input),
      }),
    ]),
  );
