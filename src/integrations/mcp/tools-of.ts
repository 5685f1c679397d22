/** The other way round: tools of MCP servers, for agents of ours. */
import type {Client} from '@modelcontextprotocol/client';
import {ByError} from '../../errors.js';
import type {Tool} from '../../plugins/agent-config.js';
import {isObject} from '../../protocol/limits.js';
import type {InputSchema} from '../../protocol/tool-schema.js';

export interface McpToolsOptions {
  /** Put in front of each name, so that tools of several servers can be told apart. */
  readonly prefix?: string;
  /** Milliseconds a call may take; default 60,000. Progress the server reports begins them anew. */
  readonly timeoutMs?: number;
}

/** Servers list their tools in pages; one that never ends does not get for ever. */
const MAX_PAGES = 100;

/** The server looks at its arguments itself. */
const ANY_OBJECT: InputSchema = {
  '~standard': {
    version: 1,
    vendor: 'by-toolkit',
    validate: value => (isObject(value) ? {value} : {issues: [{message: 'arguments are an object'}]}),
  },
};

/**
 * The tools of a server, by name, for a plugin or for `ctx.tools.and`. What models do not take in a name becomes `_`. A call gives
 * the result's data where there is any, else its text; it throws TASK_FAILED with what the tool said when it says that it failed.
 *
 * @param client connected; closing it is up to whoever opened it.
 * @throws {ByError} INVALID_INPUT for a server that lists no end of tools, CONFLICT if two get one name.
 */
export async function mcpTools(client: Client, options: McpToolsOptions = {}): Promise<Record<string, Tool>> {
  const {prefix = '', timeoutMs = 60_000} = options;
  const tools: Record<string, Tool> = {};
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const listed = await client.listTools(cursor === undefined ? {} : {cursor});
    for (const {name: own, description, inputSchema, annotations} of listed.tools) {
      const name = `${prefix}${own}`.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, 64);
      if (Object.hasOwn(tools, name)) {
        throw new ByError('CONFLICT', `Two tools of the MCP server would be called "${name}".`, {
          hint: 'Give a shorter prefix, or ask whoever runs it.',
        });
      }
      tools[name] = {
        ...{
          description: description || own,
          input: ANY_OBJECT as InputSchema<never>,
          inputJsonSchema: inputSchema,
        },
        isReadOnly: annotations?.readOnlyHint === true,
        execute: (args: Readonly<Record<string, unknown>>, {signal}) =>
          call(client, own, args, {signal, timeoutMs}),
      };
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
  {signal, timeoutMs}: {readonly signal: AbortSignal; readonly timeoutMs: number},
): Promise<unknown> {
  const result = await client.callTool(
    {name, arguments: {...args}},
    {timeout: timeoutMs, resetTimeoutOnProgress: true, signal},
  );
  const text = result.content.map(part => (part.type === 'text' ? part.text : `[${part.type}]`)).join('\n');
  if (result.isError === true) {
    throw new ByError('TASK_FAILED', `The tool "${name}" failed: ${text.slice(0, 1000)}`, {
      hint: 'Give it other arguments, or see what its server says.',
    });
  }
  return result.structuredContent ?? text;
}
