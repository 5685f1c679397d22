/**
 * A provider that asks a service over HTTPS to start a worker. The request is signed; it goes to hosts the operator
 * named, at a public address, and nowhere it is sent on to. guarantees.md §2, row "HTTP WakeupProvider".
 */
import {lookup} from 'node:dns/promises';
import {request as httpRequest, type IncomingMessage} from 'node:http';
import {request as httpsRequest} from 'node:https';
import {isIP, type LookupFunction} from 'node:net';
import {systemClock, type Clock} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {isValidId} from '../ids.js';
import {encodeWakeupRequest, readWakeupDecision, type WakeupRequest} from '../protocol/wakeup.js';
import {isLoopbackAddress, isPublicAddress} from './public-address.js';
import type {Provider, ProviderDecision} from './provider.js';
import {MIN_SECRET_BYTES, signWakeup} from './wakeup-signature.js';

export interface HttpProviderOptions {
  /** Where to ask: one address, or one for each request; undefined if nobody can start that agent type. */
  readonly url: string | ((request: WakeupRequest) => string | undefined);
  /** Hosts that may be asked, `name` or `name:port`. Default: that of `url`; needed where `url` is a function. */
  readonly hosts?: readonly string[];
  /** What both sides know: at least 32 bytes. Never from a command line. */
  readonly secret: string;
  /** Let it go to this machine too, there also without TLS: for development. Default false. */
  readonly allowLoopback?: boolean;
  /** Certificates (PEM) of the authority to trust in place of the well-known ones. */
  readonly ca?: string;
  /** Milliseconds from the look-up of the name to the last byte of the answer. Default 3000. */
  readonly timeoutMs?: number;
  readonly now?: Clock;
  /** All addresses of a name. Default: as the system resolves it. */
  readonly resolve?: (hostname: string) => Promise<readonly {readonly address: string}[]>;
}

const TIMEOUT_MS = 3000;
/** Bytes of an answer that are read. */
const MAX_ANSWER_BYTES = 65_536;

/**
 * The service answers with the document of a WakeupDecision, or with 202 or 204 and nothing: STARTING. Whatever else
 * happens is a FAILED with its reason.
 * @throws {ByError} INVALID_CONFIG for an address, a host or a secret that can not be used.
 */
export function httpProvider(options: HttpProviderOptions): Provider {
  if (Buffer.byteLength(options.secret) < MIN_SECRET_BYTES)
    throw unusable(`The secret of the HTTP provider is shorter than ${MIN_SECRET_BYTES} bytes.`);
  const {url} = options;
  if (typeof url === 'function' && !options.hosts?.length)
    throw unusable('The HTTP provider is not told which hosts it may ask.');
  const hosts = new Set((options.hosts ?? [parsed(String(url)).host]).map(host => host.toLowerCase()));
  if (typeof url === 'string') checkedUrl(url, hosts, options);
  return {
    name: 'http',
    async wakeup(request, {signal}): Promise<ProviderDecision> {
      const address = typeof url === 'string' ? url : url(request);
      if (address === undefined)
        return {status: 'REJECTED', reason: `nobody starts "${request.targetAgentType}"`};
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS)]);
      try {
        const target = checkedUrl(address, hosts, options);
        const pinned = await within(deadline, usableAddress(target, options));
        return await post(target, pinned, request, deadline, options);
      } catch (error) {
        const reason = deadline.aborted ? 'the service did not answer in time' : messageOf(error);
        return {status: 'FAILED', reason: `HTTP provider: ${reason}`.slice(0, 1000)};
      }
    },
  };
}

function parsed(url: string): URL {
  try {
    return new URL(url);
  } catch (cause) {
    throw unusable('The address of the HTTP provider is no URL.', cause);
  }
}

function checkedUrl(
  text: string,
  hosts: ReadonlySet<string>,
  {allowLoopback = false}: HttpProviderOptions,
): URL {
  const url = parsed(text);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && allowLoopback))
    throw unusable('The HTTP provider asks by https only.');
  if (url.username !== '' || url.password !== '')
    throw unusable('The address of the HTTP provider holds a password.');
  if (!hosts.has(url.host)) throw unusable(`The HTTP provider may not ask "${url.host}".`);
  return url;
}

/** The address to connect to: looked up once, so that what was checked is what is used. */
async function usableAddress(url: URL, options: HttpProviderOptions): Promise<string> {
  const name = url.hostname.replace(/^\[|\]$/g, '');
  const resolve = options.resolve ?? (hostname => lookup(hostname, {all: true, verbatim: true}));
  const found = isIP(name) === 0 ? await resolve(name) : [{address: name}];
  const isUsable = (address: string) =>
    isLoopbackAddress(address)
      ? options.allowLoopback === true
      : url.protocol === 'https:' && isPublicAddress(address);
  // One bad address among good ones is no accident, and a plain http one may not leave the machine.
  const bad = found.find(({address}) => !isUsable(address));
  if (bad !== undefined)
    throw new Error(`"${url.hostname}" leads to ${bad.address}, which is no public address`);
  const [first] = found;
  if (first === undefined) throw new Error(`"${url.hostname}" has no address`);
  return first.address;
}

function post(
  url: URL,
  address: string,
  request: WakeupRequest,
  signal: AbortSignal,
  {secret, ca, now = systemClock}: HttpProviderOptions,
): Promise<ProviderDecision> {
  // Who is to be started is nobody's secret; what is asked of it is not for the one who starts it.
  const body = encodeWakeupRequest({...request, commandPayload: {}, metadata: {}});
  const isTls = url.protocol === 'https:';
  const options = {
    method: 'POST',
    signal,
    // A connection of its own: none that leads elsewhere is used again.
    agent: false,
    lookup: pinnedTo(address),
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...signWakeup(body, secret, now()),
    },
    ...(isTls && ca !== undefined ? {ca} : {}),
  };
  return new Promise((resolve, reject) => {
    const onAnswer = (answer: IncomingMessage) => {
      readAnswer(answer).then(resolve, reject);
    };
    const sent = isTls ? httpsRequest(url, options, onAnswer) : httpRequest(url, options, onAnswer);
    sent.on('error', reject);
    sent.end(body);
  });
}

function pinnedTo(address: string): LookupFunction {
  const family = isIP(address);
  return (_hostname, {all}, done) => {
    if (all) done(null, [{address, family}]);
    else done(null, address, family);
  };
}

async function readAnswer(answer: IncomingMessage): Promise<ProviderDecision> {
  const status = answer.statusCode ?? 0;
  try {
    if (status >= 300 && status < 400)
      throw new Error(`the service answered ${status}, and nobody is sent on`);
    if (status < 200 || status >= 300)
      return {...failed(`the service answered ${status}`), ...retryAfter(answer)};
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk);
    }
    if (size === 0 && (status === 202 || status === 204)) return {status: 'STARTING'};
    return decisionOf(Buffer.concat(chunks));
  } finally {
    answer.destroy();
  }
}

const failed = (reason: string) => ({status: 'FAILED' as const, reason});

/** Whole seconds only; a date would need the other side's clock. */
function retryAfter({headers}: IncomingMessage): {retryAfterMs?: number} {
  const text = headers['retry-after'] ?? '';
  return /^\d{1,6}$/.test(text) ? {retryAfterMs: Number(text) * 1000} : {};
}

function decisionOf(body: Buffer): ProviderDecision {
  const {status, reason, workerIds, retryAfterMs, selectedAgentType} = readWakeupDecision(body);
  const why = reason.slice(0, 1000);
  const later = retryAfterMs === null ? {} : {retryAfterMs};
  switch (status) {
    case 'READY':
      return {status, reason: why, workerIds: workerIds.filter(isValidId)};
    case 'STARTING':
    case 'QUEUED':
      return {status, reason: why};
    case 'REJECTED':
    case 'FAILED':
      return {status, reason: why, ...later};
    case 'FALLBACK':
      return isValidId(selectedAgentType)
        ? {status, agentType: selectedAgentType}
        : failed('a fallback to nobody');
    default:
      return failed('the service answered with a status that does not exist');
  }
}

/** The look-up of a name can not be aborted; it can be left alone. */
function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new Error('stopped'));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, {once: true});
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

const unusable = (message: string, cause?: unknown) =>
  new ByError('INVALID_CONFIG', message, {
    hint: 'Give an https address of a host that may be asked, and a secret of 32 bytes or more from a file or the environment.',
    cause,
  });
