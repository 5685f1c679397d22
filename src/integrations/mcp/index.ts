/** by-toolkit/mcp: a deployment's agents as MCP tools, and MCP servers' tools for its agents. */
export {mcpServerFactory, type McpOptions} from './server.js';
export {
  serveMcpHttp,
  serveMcpStdio,
  type McpHttpOptions,
  type McpHttpServing,
  type McpServing,
} from './serve.js';
export {mcpTools, type McpToolsOptions} from './tools-of.js';
