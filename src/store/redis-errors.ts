/** Redis's and the socket's errors in our codes. */
import {ByError, messageOf} from '../errors.js';

/** The part of a Redis URL that may be shown: never the user or the password. */
export function hostOf(url: string): string {
  try {
    const {hostname, port} = new URL(url);
    return `${hostname || 'localhost'}:${port || '6379'}`;
  } catch {
    return 'the configured address';
  }
}

const REFUSED = new Set([
  'OOM',
  'MISCONF',
  'NOREPLICAS',
  'READONLY',
  'LOADING',
  'BUSY',
  'CLUSTERDOWN',
  'MASTERDOWN',
  'TRYAGAIN',
  'MOVED',
  'ASK',
]);
const UNREACHABLE =
  /ECONNREFUSED|ECONNRESET|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EPIPE|ETIMEDOUT|EAI_AGAIN|Connection is closed|Connection in closed|no connection within|Stream isn't writeable|Command aborted|max retries per request|Cluster is (?:ended|disconnect)|startup nodes|slots cache|Cluster isn't ready|Too many Cluster redirections/i;

/** The first word of a Redis error, or ''. */
const codeOf = (message: string): string => /^(?:-?)([A-Z]+)\b/.exec(message)?.[1] ?? '';

/**
 * Whether the server answers but is the wrong one now: it became a replica, or the key moved to another node. Only
 * asking again where to connect helps.
 */
export function isMisdirected(error: unknown): boolean {
  return ['READONLY', 'MOVED', 'ASK', 'CLUSTERDOWN', 'MASTERDOWN'].includes(codeOf(messageOf(error)));
}

/** What we do not know passes unchanged. @param where `host:port`, for people. */
export function toByError(error: unknown, where: string): unknown {
  if (error instanceof ByError) return error;
  const message = messageOf(error);
  const code = codeOf(message);
  if (code === 'WRONGPASS' || code === 'NOAUTH' || /invalid password/i.test(message)) {
    return new ByError('REDIS_AUTH', `Redis at ${where} refused the credentials.`, {
      hint: 'Give the password through BY_REDIS_URL or --redis-password-stdin.',
      cause: error,
    });
  }
  // Of a command inside a script, servers before 7.2 say it without the code.
  if (code === 'NOPERM' || message.includes('The user executing the script can')) {
    return new ByError('REDIS_AUTH', `This Redis user may not do that: ${message.slice(0, 200)}`, {
      hint: 'Give the user the rights of its role, or use another user.',
      cause: error,
    });
  }
  if (/unknown command.*HELLO/i.test(message)) {
    return new ByError('REDIS_TOO_OLD', `Redis at ${where} is too old: it does not know HELLO.`, {
      hint: 'Upgrade the server to 7.0 or later, or name another one with --redis-url.',
      cause: error,
    });
  }
  if (code === 'WRONGTYPE') {
    return new ByError('REDIS_WRONG_TYPE', 'A key of the protocol holds another kind of value.', {
      hint: 'Something else writes to this database: use another one, or delete the key that is in the way.',
      cause: error,
    });
  }
  if (REFUSED.has(code)) {
    return new ByError('REDIS_REFUSED', `Redis does not accept writes now: ${message.slice(0, 200)}`, {
      hint: 'Nothing was accepted. Free memory or repair the server, then try again.',
      cause: error,
    });
  }
  if (UNREACHABLE.test(message) || UNREACHABLE.test(String((error as {code?: unknown} | null)?.code))) {
    return new ByError('REDIS_UNREACHABLE', `No Redis at ${where}.`, {
      hint: 'Start one with `by dev`, or name yours with --redis-url or BY_REDIS_URL.',
      cause: error,
      next: ['by dev'],
    });
  }
  return error;
}
