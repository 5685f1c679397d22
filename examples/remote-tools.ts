/**
 * A model of the AI SDK that uses three kinds of tools as if they were one: of an MCP server, of this file, and of plugins.
 *
 *   by send converter "convert" --follow
 *
 * The MCP server is in this file, so that nothing else has to run: connect the client to yours, for example by
 * `new StreamableHTTPClientTransport(new URL('http://127.0.0.1:9000/mcp'))`. The model is a toy that calls every tool there is.
 */
import {Client, InMemoryTransport} from '@modelcontextprotocol/client';
import {McpServer} from '@modelcontextprotocol/server';
import type {LanguageModel} from 'ai';
import {defineAgent, defineTool} from 'by-toolkit';
import {aiTools, modelLoop} from 'by-toolkit/ai-sdk';
import {mcpTools} from 'by-toolkit/mcp';
import {z} from 'zod';
import {toyModel} from './assistant.js';

function unitsServer(): McpServer {
  const server = new McpServer({name: 'units', version: '1'});
  server.registerTool(
    'miles.to-km',
    {description: 'A length in kilometres.', inputSchema: z.looseObject({miles: z.number().default(26.2)})},
    ({miles}) => ({content: [{type: 'text', text: `${(miles * 1.609344).toFixed(1)} km`}]}),
  );
  return server;
}

/** Connected when it is first needed, and then kept. */
let connected: Promise<Client> | undefined;

async function connect(): Promise<Client> {
  const [near, far] = InMemoryTransport.createLinkedPair();
  await unitsServer().connect(far);
  const client = new Client({name: 'converter', version: '1'});
  await client.connect(near);
  return client;
}

const weigh = defineTool({
  description: 'A weight in kilograms.',
  input: z.looseObject({pounds: z.number().default(10)}),
  execute: ({pounds}) => `${(pounds * 0.45359237).toFixed(1)} kg`,
});

export const converter = (model: LanguageModel) =>
  defineAgent({
    type: 'converter',
    async run(ctx, ask) {
      const remote = await mcpTools(await (connected ??= connect()), {prefix: 'units_'});
      const {text} = await modelLoop(ctx, {
        model,
        messages: [{role: 'user', content: ask.text}],
        // Each call is a step: a worker that dies does not ask the server again.
        tools: aiTools(ctx.tools.and({...remote, weigh})),
      });
      return {content: text};
    },
  });

export default converter(toyModel());
