/**
 * HTTP requests to whatever instance of a service is alive. Where an instance is comes from Redis, which others write too:
 * only http and https are spoken, paths and queries are encoded, redirects are not followed, answers are bounded.
 */
import {request as httpRequest, type IncomingMessage} from 'node:http';
import {request as httpsRequest} from 'node:https';
import {backoffMs} from '../backoff.js';
import {sleep} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {RETRY_STATUSES, serviceUrl} from '../protocol/discovery.js';
import type {DiscoveryClient} from '../registry/discovery-client.js';
import {isHost} from '../registry/service-registry.js';
import type {FoundInstance} from '../store/services.js';

export type HttpMethod = 'GET' | 'HEAD' | 'OPTIONS' | 'PUT' | 'DELETE' | 'POST' | 'PATCH';

export interface ServiceRequest {
  readonly service: string;
  /** Default `GET`. */
  readonly method?: HttpMethod;
  /**
   * Segments, or a path whose segments are between slashes: plain text, which is encoded here. `.` and `..` are refused.
   */
  readonly path?: string | readonly string[];
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text and bytes are sent as they are, anything else as JSON. */
  readonly body?: unknown;
  /** Whether doing it twice is the same as once. Default: by the method; POST and PATCH are not. */
  readonly idempotent?: boolean;
  /** Milliseconds for all attempts together. Default 30,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface ServiceResponse {
  readonly status: number;
  /** Names in lower case; those that came more than once are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Who answered. */
  readonly instanceId: string;
  /** Attempts it took. */
  readonly attempts: number;
  text(): string;
  /** @throws {SyntaxError} if the body is no JSON. */
  json(): unknown;
}

export interface DiscoveryHttpOptions {
  /** Attempts in all. Default 3. */
  readonly attempts?: number;
  /** Milliseconds of one attempt. Default 10,000. */
  readonly attemptTimeoutMs?: number;
  /** Most milliseconds before the second attempt; doubled for each later one, up to 30,000. Default 500. */
  readonly retryDelayMs?: number;
  /** Bytes of an answer. Default 10 MiB. */
  readonly maxResponseBytes?: number;
}

const IDEMPOTENT: ReadonlySet<HttpMethod> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);
const MAX_DELAY_MS = 30_000;
const DEFAULTS = {attempts: 3, attemptTimeoutMs: 10_000, retryDelayMs: 500, maxResponseBytes: 10_485_760};
const DEFAULT_TIMEOUT_MS = 30_000;
/** Nothing was sent: whatever it was, doing it again is safe. */
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

interface Attempt {
  readonly instance: FoundInstance;
  readonly method: HttpMethod;
  readonly path: string;
  readonly search: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

type Outcome =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers: Record<string, string>;
      readonly body: Buffer;
    }
  | {readonly kind: 'failed'; readonly error: unknown; readonly wasSent: boolean};

export class DiscoveryHttpClient {
  readonly #discovery: DiscoveryClient;
  readonly #options: Required<DiscoveryHttpOptions>;

  constructor(discovery: DiscoveryClient, options: DiscoveryHttpOptions = {}) {
    this.#discovery = discovery;
    this.#options = {...DEFAULTS, ...options};
  }

  /**
   * Ask one instance; after a failure of the network, or 429, 500, 502, 503, 504, another one, where doing it twice is
   * harmless. Any status that is left in the end is an answer, not an error.
   * @throws {ByError} SERVICE_UNAVAILABLE if nobody is alive or could be reached; TIMEOUT; INVALID_INPUT for a path that
   *   leads elsewhere; MESSAGE_TOO_LARGE for an answer over the limit. What `signal` was aborted with.
   */
  async request(request: ServiceRequest): Promise<ServiceResponse> {
    const {service, method = 'GET', timeoutMs = DEFAULT_TIMEOUT_MS} = request;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = request.signal === undefined ? timeout : AbortSignal.any([request.signal, timeout]);
    const asked = {
      method,
      ...contentOf(request),
      path: pathOf(request.path),
      search: searchOf(request.query),
    };
    const mayRepeat = request.idempotent ?? IDEMPOTENT.has(method);
    const tried = new Set<string>();
    for (let attempt = 1; ; attempt++) {
      const instance = await this.#discovery.pick(service, tried);
      this.#check(request, timeout, timeoutMs);
      if (instance === undefined) throw nobody(service);
      tried.add(instance.id);
      const outcome = await this.#attempt({...asked, instance}, signal);
      this.#check(request, timeout, timeoutMs);
      const isLast = attempt >= this.#options.attempts;
      if (outcome.kind === 'answer') {
        if (isLast || !mayRepeat || !RETRY_STATUSES.has(outcome.status))
          return responseOf(outcome, instance.id, attempt);
      } else {
        if (outcome.error instanceof ByError) throw outcome.error;
        if (isLast || (outcome.wasSent && !mayRepeat))
          throw unreachable(service, instance, attempt, outcome.error);
        // It may have gone: whoever took its place is found.
        this.#discovery.forget(service);
      }
      const wait = backoffMs(attempt, {baseMs: this.#options.retryDelayMs, maxMs: MAX_DELAY_MS});
      await sleep(wait, signal);
      this.#check(request, timeout, timeoutMs);
    }
  }

  #check({service, signal}: ServiceRequest, timeout: AbortSignal, timeoutMs: number): void {
    signal?.throwIfAborted();
    if (!timeout.aborted) return;
    throw new ByError('TIMEOUT', `The service "${service}" did not answer within ${timeoutMs} ms.`, {
      hint: 'Give it more time, or see whether its instances are well: `by service show`.',
    });
  }

  async #attempt(attempt: Attempt, signal: AbortSignal): Promise<Outcome> {
    const {instance} = attempt;
    let target: URL;
    try {
      target = addressOf(attempt);
    } catch (error) {
      // Somebody wrote an instance nobody can go to: another one may do.
      return {kind: 'failed', error: new Error(messageOf(error)), wasSent: false};
    }
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(this.#options.attemptTimeoutMs)]);
    return ask(target, attempt, bounded, this.#options.maxResponseBytes).catch((error: unknown): Outcome => {
      const code = (error as {code?: unknown}).code;
      const wasSent = !(typeof code === 'string' && NEVER_SENT.has(code));
      return {kind: 'failed', error: bounded.aborted ? late(instance) : error, wasSent};
    });
  }
}

const late = ({id}: FoundInstance): Error => new Error(`the instance "${id}" did not answer in time`);

/** @throws {Error} for an instance that is no http or https server. */
function addressOf({instance, path, search}: Attempt): URL {
  const {protocol, host, port, pathPrefix} = instance;
  if (protocol !== 'http' && protocol !== 'https')
    throw new Error(`"${instance.id}" speaks neither http nor https`);
  if (!isHost(host) || port < 1 || port > 65_535) throw new Error(`"${instance.id}" has no usable address`);
  const prefix = pathPrefix === null ? null : pathOf(pathPrefix);
  return new URL(serviceUrl({...instance, pathPrefix: prefix}, path) + search);
}

/** @throws {ByError} INVALID_INPUT for segments that lead elsewhere. */
function pathOf(path: string | readonly string[] = ''): string {
  const segments = (typeof path === 'string' ? path.split('/') : path).filter(segment => segment !== '');
  const wrong = segments.find(segment => segment === '.' || segment === '..');
  if (wrong !== undefined) {
    throw new ByError('INVALID_INPUT', `"${wrong}" is no part of a path that leads on.`, {
      hint: 'Write the path without "." and "..".',
    });
  }
  return segments.map(encodeURIComponent).join('/');
}

function searchOf(query: ServiceRequest['query'] = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) search.append(name, String(value));
  return search.size === 0 ? '' : `?${search.toString()}`;
}

function contentOf({body, headers = {}}: ServiceRequest) {
  const own = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  if (body === undefined) return {body: undefined, headers: own};
  if (typeof body === 'string') return {body: Buffer.from(body), headers: own};
  if (body instanceof Uint8Array) return {body: Buffer.from(body), headers: own};
  return {body: Buffer.from(JSON.stringify(body)), headers: {'content-type': 'application/json', ...own}};
}

function ask(
  target: URL,
  {method, headers, body}: Attempt,
  signal: AbortSignal,
  most: number,
): Promise<Outcome> {
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = send(target, {
      method,
      signal,
      headers: {...headers, ...(body === undefined ? {} : {'content-length': body.length})},
    });
    sent.on('error', reject);
    sent.on('response', answer => void readAnswer(answer, most).then(resolve, reject));
    sent.end(body);
  });
}

async function readAnswer(answer: IncomingMessage, most: number): Promise<Outcome> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > most) {
        throw new ByError('MESSAGE_TOO_LARGE', `The answer is longer than ${most} bytes.`, {
          hint: 'Ask for less at once, or raise maxResponseBytes.',
          details: {limit: most},
        });
      }
      chunks.push(chunk);
    }
  } finally {
    answer.destroy();
  }
  const headers = Object.entries(answer.headers).map(
    ([name, value]) => [name, [value].flat().join(', ')] as const,
  );
  return {
    ...{kind: 'answer', status: answer.statusCode ?? 0},
    ...{headers: Object.fromEntries(headers), body: Buffer.concat(chunks)},
  };
}

const responseOf = (
  {status, headers, body}: Extract<Outcome, {kind: 'answer'}>,
  instanceId: string,
  attempts: number,
): ServiceResponse => ({
  ...{status, headers, body, instanceId, attempts},
  text: () => body.toString('utf8'),
  json: () => JSON.parse(body.toString('utf8')) as unknown,
});

const nobody = (service: string): ByError =>
  new ByError('SERVICE_UNAVAILABLE', `No instance of the service "${service}" is alive.`, {
    hint: 'Start one, or see what was registered.',
    next: [`by service show ${service}`],
  });

const unreachable = (service: string, {id}: FoundInstance, attempts: number, cause: unknown): ByError =>
  new ByError('SERVICE_UNAVAILABLE', `The service "${service}" could not be reached: ${messageOf(cause)}`, {
    hint: 'See whether its instances are well.',
    next: [`by service show ${service}`],
    details: {instanceId: id, attempts},
    cause,
  });
