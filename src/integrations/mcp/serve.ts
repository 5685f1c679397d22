/** Serving MCP: over standard input and output to one client, or over HTTP to many. */
import {createServer, type ServerResponse} from 'node:http';
import {hostHeaderValidation, originValidation, toNodeHandler} from '@modelcontextprotocol/node';
import {createMcpHandler, type McpServer} from '@modelcontextprotocol/server';
import {serveStdio, StdioServerTransport} from '@modelcontextprotocol/server/stdio';
import type {Readable, Writable} from 'node:stream';
import {messageOf} from '../../errors.js';
import {silentLogger, type Logger} from '../../log.js';
import {listen, LOOPBACK, requireGuard, showsToken, urlOf} from '../../observe/http-guard.js';

type Factory = () => Promise<McpServer>;

export interface McpServing {
  /** Resolves when the client has left. */
  readonly done: Promise<void>;
  close(): Promise<void>;
}

/** One client, at the other end of two pipes; done when it closes its end. */
export function serveMcpStdio(
  factory: Factory,
  {input, output, log = silentLogger}: {input?: Readable; output?: Writable; log?: Logger} = {},
): McpServing {
  const stdin = input ?? process.stdin;
  const transport = new StdioServerTransport(stdin, output ?? process.stdout);
  const handle = serveStdio(factory, {
    transport,
    onerror: error => log.warn('MCP over standard input', {error: messageOf(error)}),
  });
  const done = new Promise<void>(resolve => {
    stdin.once('end', resolve);
    stdin.once('close', resolve);
  });
  return {done, close: () => handle.close()};
}

export interface McpHttpOptions {
  /** Default 127.0.0.1. Any other than loopback needs a token. */
  readonly host?: string;
  /** Default 0: any that is free. */
  readonly port?: number;
  /** What a client must send as `Authorization: Bearer …`. */
  readonly token?: string;
  /** Names under which clients reach it, beside the host. */
  readonly hostnames?: readonly string[];
  readonly log?: Logger;
}

export interface McpHttpServing {
  readonly url: string;
  close(): Promise<void>;
}

const PATH = '/mcp';

/**
 * Streamable HTTP at `/mcp`. A request from a page of a foreign origin, or for a foreign host name, is refused: a browser
 * must not be a way in.
 * @throws {ByError} INVALID_CONFIG without a token where others than this machine can reach it; CONFLICT for an address
 *   that is taken.
 */
export async function serveMcpHttp(factory: Factory, options: McpHttpOptions = {}): Promise<McpHttpServing> {
  const {host = '127.0.0.1', port = 0, token, hostnames = [], log = silentLogger} = options;
  requireGuard({host, token, risk: 'use every tool', variable: 'BY_MCP_TOKEN'});
  const onerror = (error: Error) => log.warn('MCP over HTTP', {error: messageOf(error)});
  const handler = createMcpHandler(factory, {onerror});
  const serve = toNodeHandler(handler, {onerror});
  const names = [...new Set([...LOOPBACK, '[::1]', host, ...hostnames])];
  const isHost = hostHeaderValidation(names);
  const isOrigin = originValidation(names);
  const server = createServer((request, response) => {
    if (!isHost(request, response) || !isOrigin(request, response)) return;
    if (request.url?.split('?')[0] !== PATH) {
      refuse(response, 404, 'Not found');
      return;
    }
    if (token !== undefined && !showsToken(request, token)) {
      refuse(response, 401, 'Unauthorized');
      return;
    }
    void serve(request, response).catch(onerror);
  });
  server.headersTimeout = 10_000;
  const actual = await listen(server, {host, port, hint: 'Choose another address.'});
  server.on('error', onerror);
  return {
    url: `${urlOf(host, actual)}${PATH}`,
    close: async () => {
      await handler.close();
      await new Promise<void>(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(status === 401 ? {'www-authenticate': 'Bearer'} : {}),
  });
  response.end(JSON.stringify({jsonrpc: '2.0', error: {code: -32_000, message: reason}, id: null}));
}
