/** The other way round: tools of MCP servers, for agents of ours. */
import type {Client} from '@modelcontextprotocol/client';
import {ByError} from '../../errors.js';

/** A tool as a model is told of it, and as an agent calls it. */
export interface McpTool {
  /** Of the server, with the prefix that was asked for. */
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments. */
  readonly inputSchema: Readonly<Record<string, unknown>>;
  /** Whether the server says that it changes nothing. A hint, not a promise. */
  readonly isReadOnly: boolean;
  /**
   * In a durable agent call it within `ctx.step`, so that its result is kept.
   * @returns the text of the result, and its data where there is any.
   * @throws {ByError} TASK_FAILED with what the tool said, when it says that it failed; what the transport throws.
   */
  call(args: Readonly<Record<string, unknown>>, options?: McpCallOptions): Promise<McpToolResult>;
}

export interface McpCallOptions {
  /** Give it the signal of the step or of the context. */
  readonly signal?: AbortSignal;
  /** Milliseconds; default 60,000. Progress the server reports begins them anew. */
  readonly timeoutMs?: number;
}

export interface McpToolResult {
  readonly text: string;
  /** `structuredContent`; undefined if there is none. */
  readonly data: unknown;
}

/** Servers list their tools in pages; one that never ends does not get for ever. */
const MAX_PAGES = 100;

/** @param client connected; closing it is up to whoever opened it. */
export async function mcpTools(
  client: Client,
  {prefix = ''}: {readonly prefix?: string} = {},
): Promise<McpTool[]> {
  const tools: McpTool[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const listed = await client.listTools(cursor === undefined ? {} : {cursor});
    for (const {name, description = '', inputSchema, annotations} of listed.tools) {
      tools.push({
        ...{name: `${prefix}${name}`, description, inputSchema},
        isReadOnly: annotations?.readOnlyHint === true,
        call: (args, options) => call(client, name, args, options),
      });
    }
    cursor = listed.nextCursor;
    if (cursor === undefined) return tools;
  }
  throw new ByError('INVALID_INPUT', `The MCP server lists its tools in more than ${MAX_PAGES} pages.`, {
    hint: 'Ask whoever runs it.',
  });
}

async function call(
  client: Client,
  name: string,
  args: Readonly<Record<string, unknown>>,
  {signal, timeoutMs = 60_000}: McpCallOptions = {},
): Promise<McpToolResult> {
  const result = await client.callTool(
    {name, arguments: {...args}},
    {timeout: timeoutMs, resetTimeoutOnProgress: true, ...(signal === undefined ? {} : {signal})},
  );
  const text = result.content.map(part => (part.type === 'text' ? part.text : `[${part.type}]`)).join('\n');
  if (result.isError === true) {
    throw new ByError('TASK_FAILED', `The tool "${name}" failed: ${text.slice(0, 1000)}`, {
      hint: 'Give it other arguments, or see what its server says.',
    });
  }
  return {text, data: result.structuredContent};
}
