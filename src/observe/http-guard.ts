/** Who may use a service of ours over HTTP: everybody with its token, or, without one, programs of this machine. */
import {timingSafeEqual} from 'node:crypto';
import type {IncomingMessage, Server} from 'node:http';
import {ByError, messageOf} from '../errors.js';

/** Names and addresses of this machine that no other can reach. */
export const LOOPBACK: readonly string[] = ['127.0.0.1', '::1', 'localhost'];

const MIN_TOKEN = 16;

export interface Reach {
  readonly host: string;
  readonly token: string | undefined;
  /** What everybody could do without a token, and the variable that holds it. */
  readonly risk: string;
  readonly variable: string;
}

/** @throws {ByError} INVALID_CONFIG without a token where others than this machine can reach it, or for one that is short. */
export function requireGuard({host, token, risk, variable}: Reach): void {
  if (token === undefined && !LOOPBACK.includes(host))
    throw new ByError('INVALID_CONFIG', `Everybody who reaches ${host} could ${risk}.`, {
      hint: `Set a token (${variable}), or listen on 127.0.0.1.`,
    });
  if (token !== undefined && token.length < MIN_TOKEN)
    throw new ByError('INVALID_CONFIG', 'The token is too short to be a secret.', {
      hint: `Use at least ${MIN_TOKEN} characters, for example of \`openssl rand -hex 32\`.`,
    });
}

/** In a time that does not tell how much of it is right. */
export function showsToken({headers}: IncomingMessage, token: string): boolean {
  const given = Buffer.from(headers.authorization ?? '');
  const wanted = Buffer.from(`Bearer ${token}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

/**
 * Whether a request without a token was made by a program of this machine, for all that can be seen: a browser whose page
 * comes from elsewhere names another origin, or the name that page was found under.
 */
export function isFromThisMachine({headers: {host = '', origin}}: IncomingMessage): boolean {
  const [, name] = /^(\[::1\]|[\w.-]+)(?::\d+)?$/.exec(host.toLowerCase()) ?? [];
  if (name === undefined || !LOOPBACK.includes(name.replace(/^\[(.*)\]$/, '$1'))) return false;
  return origin === undefined || origin === `http://${host}`;
}

/** @returns the port. @throws {ByError} CONFLICT if the address is taken or not of this machine. */
export async function listen(
  server: Server,
  {host, port, hint}: {readonly host: string; readonly port: number; readonly hint: string},
): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause =>
      reject(
        new ByError('CONFLICT', `Nothing can listen on ${host}:${port}: ${messageOf(cause)}`, {hint, cause}),
      ),
    );
    server.listen(port, host, resolve);
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

/** `http://…` of an address. */
export const urlOf = (host: string, port: number): string =>
  `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
