/** The run layer over HTTP: who may ask, reading requests, and writing answers. What can be asked is in routes.ts. */
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import {within} from '../../clock.js';
import {messageOf} from '../../errors.js';
import {silentLogger, type Logger} from '../../log.js';
import {isFromThisMachine, listen, requireGuard, showsToken, urlOf} from '../../observe/http-guard.js';
import {DEFAULT_WORKSPACE} from '../../protocol/orchestration/keys.js';
import {checkInput} from '../../protocol/orchestration/record.js';
import type {Schema} from '../../protocol/orchestration/http-api.js';
import type {AgentAPI} from '../api.js';
import {failureOf, refusal} from './failure.js';
import {openApiDocument} from './openapi.js';
import {readBody} from './read-body.js';
import {ROUTES, type Asked, type Route} from './routes.js';
import {QUIET} from './task-stream.js';
import type {Frame} from './task-stream.js';

export interface HttpOptions {
  readonly api: AgentAPI;
  /** Default 127.0.0.1. Any other than loopback needs a token. */
  readonly host?: string;
  /** Default 0: any that is free. */
  readonly port?: number;
  /** What a client must send as `Authorization: Bearer …`, at least 16 characters. */
  readonly token?: string | undefined;
  /** Of requests that name none. Default `default`. */
  readonly workspace?: string;
  /** Of the program, for the OpenAPI document. */
  readonly version?: string;
  /** Streams of events at once; one more is refused. Default 100. */
  readonly maxStreams?: number;
  readonly log?: Logger;
}

export interface HttpServing {
  readonly url: string;
  /** Streams are ended; other requests have so many milliseconds. Default 5,000. */
  close(drainMs?: number): Promise<void>;
}

/**
 * @throws {ByError} INVALID_CONFIG without a token where others than this machine can reach it; CONFLICT for an address
 *   that is taken.
 */
export async function serveHttp(options: HttpOptions): Promise<HttpServing> {
  const {host = '127.0.0.1', port = 0, token, log = silentLogger} = options;
  requireGuard({host, token, risk: 'submit tasks and decide approvals', variable: 'BY_SERVE_TOKEN'});
  const stopping = new AbortController();
  const desk = new Desk(options, stopping.signal);
  const server = createServer((request, response) => void desk.serve(request, response));
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  const actual = await listen(server, {host, port, hint: 'Name another address with --http.'});
  server.on('error', error => log.warn('HTTP', {error: messageOf(error)}));
  return {
    url: urlOf(host, actual),
    close: async (drainMs = 5000) => {
      stopping.abort();
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      server.closeIdleConnections();
      await within(drainMs, closed);
      server.closeAllConnections();
      await closed;
    },
  };
}

const HEADERS = {'cache-control': 'no-store', 'x-content-type-options': 'nosniff'};

/** Where requests come in. */
class Desk {
  private readonly openApi: string;
  private streams = 0;

  constructor(
    private readonly options: HttpOptions,
    private readonly stopping: AbortSignal,
  ) {
    this.openApi = JSON.stringify(openApiDocument(options.version ?? ''));
  }

  /** Never throws: what goes wrong is answered. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    const stop = () => gone.abort(this.stopping.reason);
    // Not AbortSignal.any: what it leaves on a signal that lives as long as the process stays there.
    this.stopping.addEventListener('abort', stop);
    if (this.stopping.aborted) stop();
    response.once('close', () => {
      this.stopping.removeEventListener('abort', stop);
      gone.abort();
    });
    // A connection that breaks says so by closing, too.
    response.on('error', () => undefined);
    try {
      await this.answer(request, response, gone.signal);
    } catch (error) {
      const {status, headers, body} = failureOf(error);
      if (status >= 500) this.log.warn('a request failed', {status, error: messageOf(error)});
      if (!response.headersSent) send(response, status, body, headers);
      else response.end(`event: error\ndata: ${JSON.stringify(body)}\n\n`);
    }
  }

  private get log(): Logger {
    return this.options.log ?? silentLogger;
  }

  private async answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal) {
    const {token} = this.options;
    if (token === undefined && !isFromThisMachine(request))
      throw refusal(403, 'DENIED', 'This server is for programs of its own machine.', 'Ask it as localhost.');
    const {pathname, searchParams} = urlAsked(request);
    if (request.method === 'GET' && pathname === '/healthz') {
      send(response, 200, {ok: true});
      return;
    }
    if (request.method === 'GET' && pathname === '/openapi.json') {
      send(response, 200, this.openApi);
      return;
    }
    if (token !== undefined && !showsToken(request, token))
      throw refusal(401, 'DENIED', 'The token is missing or wrong.', 'Send Authorization: Bearer TOKEN.', {
        'www-authenticate': 'Bearer',
      });
    const {route, id} = routeOf(request.method ?? '', pathname);
    const asked: Asked = {
      ...{api: this.options.api, id, signal, workspace: this.workspaceOf(request, searchParams)},
      query: queryOf(searchParams, route.query),
      body: await bodyOf(request, route.body),
      lastEventId: oneHeader(request, 'last-event-id'),
    };
    if (route.kind === 'stream') return this.stream(response, route.open(asked), signal);
    const found = await route.call(asked);
    send(response, route.status, route.answer.encode(found));
  }

  private workspaceOf(request: IncomingMessage, search: URLSearchParams): string {
    const {workspace = DEFAULT_WORKSPACE} = this.options;
    return oneHeader(request, 'by-workspace') ?? search.get('workspace') ?? workspace;
  }

  private async stream(
    response: ServerResponse,
    frames: AsyncGenerator<Frame | typeof QUIET, void>,
    signal: AbortSignal,
  ): Promise<void> {
    const {maxStreams = 100} = this.options;
    if (this.streams >= maxStreams)
      throw refusal(503, 'QUEUE_FULL', `There are ${maxStreams} streams already.`, 'Try again later.', {
        'retry-after': '5',
      });
    this.streams++;
    try {
      // What is not there is refused before anything is written.
      let next = await frames.next();
      response.writeHead(200, {...HEADERS, 'content-type': 'text/event-stream', 'x-accel-buffering': 'no'});
      for (; next.done !== true && !signal.aborted; next = await frames.next())
        await write(response, frameText(next.value), signal);
      response.end();
    } finally {
      this.streams--;
    }
  }
}

const frameText = (frame: Frame | typeof QUIET): string =>
  frame === QUIET
    ? ': quiet\n\n'
    : `id: ${frame.id}\nevent: ${frame.event}\ndata: ${JSON.stringify(frame.data)}\n\n`;

/** A reader that is slow is waited for. */
async function write(response: ServerResponse, text: string, signal: AbortSignal): Promise<void> {
  if (response.write(text)) return;
  await new Promise<void>(resolve => {
    const done = () => {
      response.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    response.once('drain', done);
    signal.addEventListener('abort', done, {once: true});
    if (signal.aborted) done();
  });
}

function send(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, {
    ...HEADERS,
    ...{'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(text)},
    ...headers,
  });
  response.end(text);
}

function urlAsked({url = ''}: IncomingMessage): URL {
  try {
    return new URL(url, 'http://localhost');
  } catch {
    // The parser says nothing that helps.
    throw refusal(400, 'INVALID_INPUT', 'The address can not be read.', 'See /openapi.json.');
  }
}

const patterns = ROUTES.map(route => ({
  route,
  pattern: new RegExp(`^${route.path.replace('{id}', '([^/]+)')}$`),
}));

function routeOf(method: string, path: string): {readonly route: Route; readonly id: string} {
  const here = patterns.flatMap(({route, pattern}) => {
    const match = pattern.exec(path);
    return match === null ? [] : [{route, id: match[1] ?? ''}];
  });
  if (here.length === 0)
    throw refusal(404, 'NOT_FOUND', `There is nothing at ${path.slice(0, 80)}.`, 'See /openapi.json.');
  const found = here.find(({route}) => route.method === method);
  if (found === undefined) {
    const allow = here.map(({route}) => route.method).join(', ');
    throw refusal(405, 'USAGE', `${method} can not be done here.`, `Use ${allow}.`, {allow});
  }
  try {
    return {route: found.route, id: decodeURIComponent(found.id)};
  } catch {
    // A % that is none.
    throw refusal(400, 'INVALID_INPUT', 'The address can not be read.', 'Encode the id.');
  }
}

function queryOf(search: URLSearchParams, schema: Schema): unknown {
  const given = new Map<string, string>();
  for (const [name, value] of search) {
    if (given.has(name))
      throw refusal(400, 'INVALID_INPUT', `"${name.slice(0, 40)}" is given twice.`, 'Give it once.');
    given.set(name, value);
  }
  given.delete('workspace');
  return checkInput(schema, Object.fromEntries(given));
}

async function bodyOf(request: IncomingMessage, schema: Schema | undefined): Promise<unknown> {
  const body = await readBody(request);
  return schema === undefined ? undefined : checkInput(schema, body);
}

function oneHeader({headers}: IncomingMessage, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}
