/**
 * The three pages a service has for those who watch it: `/healthz` (alive: restart it if not), `/readyz` (does its work)
 * and `/metrics`. They hold no secrets and change nothing, and say so only to whom the address is open: loopback unless
 * another is named.
 */
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import {ByError} from '../errors.js';
import {listen, LOOPBACK} from './http-guard.js';

/** One page: whether all is well, and the facts it is told from. */
export interface HealthAnswer {
  readonly ok: boolean;
  /** In a word; the first that applies. */
  readonly reason: string;
  readonly facts?: Readonly<Record<string, unknown>>;
}

export interface HealthPages {
  /** Whether it should go on living; must not ask anybody else. */
  alive(): HealthAnswer;
  /** Whether it does its work now. */
  ready(): Promise<HealthAnswer>;
  /** In the text format of Prometheus. */
  metrics(): Promise<string>;
}

export interface HealthAddress {
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
}

const shownAddress = ({host, port}: HealthAddress): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Where its pages are, in one line for people. */
export const healthPages = (address: HealthAddress): string =>
  `http://${shownAddress(address)}/healthz  /readyz  /metrics`;

/** @returns what to say of an address that is not of this machine only; undefined for one that is. */
export const healthWarning = (address: HealthAddress): string | undefined =>
  LOOPBACK.includes(address.host)
    ? undefined
    : `${shownAddress(address)} can be read by everybody who reaches it: agent types, and how much there is to do for them.`;

export interface HealthServer extends HealthAddress {
  close(): Promise<void>;
}

/** Whoever asks must not wait for a Redis that does not answer. */
const ANSWER_MS = 3000;
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const JSON_TYPE = 'application/json; charset=utf-8';

/**
 * `9464`, `127.0.0.1:9464`, `[::1]:9464`: without a host it is loopback.
 * @throws {ByError} INVALID_INPUT
 */
export function parseHealthAddress(text: string): HealthAddress {
  const [, bracketed, plain, digits = ''] =
    /^(?:(?:\[([\da-fA-F:.]+)\]|([\w.-]+)):)?(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === '' || port > 65_535) {
    throw new ByError('INVALID_INPUT', `"${text}" is no address to listen on.`, {
      hint: 'Write a port, or HOST:PORT: 9464, 127.0.0.1:9464, [::1]:9464.',
    });
  }
  return {host: bracketed ?? plain ?? '127.0.0.1', port};
}

/** @throws {ByError} CONFLICT if the address is taken or not of this machine. */
export async function startHealthServer(
  {host, port}: HealthAddress,
  pages: HealthPages,
): Promise<HealthServer> {
  const server = createServer((request, response) => void answer(request, response, pages));
  // Short and few: what hangs on must not hold up who watches, nor us.
  server.requestTimeout = 5000;
  server.headersTimeout = 5000;
  server.keepAliveTimeout = 5000;
  server.maxConnections = 64;
  const actual = await listen(server, {host, port, hint: 'Name another address with --health.'});
  // One that could not be accepted (no file left) must not end who is only watched.
  server.on('error', () => undefined);
  return {
    host,
    port: actual,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, pages: HealthPages): Promise<void> {
  const {status, type, body} = await pageOf(request, pages);
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 405 ? {allow: 'GET, HEAD'} : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

interface Page {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function pageOf({method, url = ''}: IncomingMessage, pages: HealthPages): Promise<Page> {
  if (method !== 'GET' && method !== 'HEAD')
    return healthPage(405, {ok: false, reason: 'method_not_allowed'});
  try {
    switch (url.split('?')[0]) {
      case '/healthz': {
        const alive = pages.alive();
        return healthPage(alive.ok ? 200 : 503, alive);
      }
      case '/readyz': {
        const ready = await inTime(pages.ready());
        return healthPage(ready.ok ? 200 : 503, ready);
      }
      case '/metrics':
        return {status: 200, type: METRICS_TYPE, body: await inTime(pages.metrics())};
      default:
        return healthPage(404, {ok: false, reason: 'not_found'});
    }
  } catch (error) {
    // What went wrong may name an address or a user: the log says it, this page only that.
    const reason = error instanceof ByError ? error.code.toLowerCase() : 'internal';
    return healthPage(503, {ok: false, reason});
  }
}

const healthPage = (status: number, {ok, reason, facts = {}}: HealthAnswer): Page => ({
  status,
  type: JSON_TYPE,
  body: `${JSON.stringify({ok, reason, ...facts})}\n`,
});

async function inTime<T>(page: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new ByError('TIMEOUT', 'The page took too long.', {hint: 'See whether Redis answers.'}));
    }, ANSWER_MS);
  });
  try {
    return await Promise.race([page, late]);
  } finally {
    clearTimeout(timer);
  }
}
