/**
 * One connection to Redis, kept by the client rules of guarantees.md §1:
 * every command has a deadline of its own, and a miss destroys the connection; a lost connection is replaced by a
 * new object, never repaired by the client library; commands are repeated only when the caller says that a repeat
 * is harmless, because a lost reply does not tell whether the command ran.
 */
import {Redis, type RedisOptions} from 'ioredis';
import {backoffMs} from '../backoff.js';
import {sleep} from '../clock.js';
import {ByError, messageOf} from '../errors.js';

export interface ConnectionOptions {
  /** `redis://` or `rediss://`, with the database as its path. May hold a password: never print it. */
  readonly url: string;
  /** Shown by CLIENT LIST. */
  readonly name?: string;
  /** Milliseconds a command may take. Default 5,000. */
  readonly commandTimeoutMs?: number;
  /** Milliseconds until a connection must stand. Default 3,000. */
  readonly connectTimeoutMs?: number;
}

export interface RunOptions {
  /** Milliseconds this command may take in place of the connection's own; blocking reads add their block time. */
  readonly timeoutMs?: number;
  /**
   * The command may be sent again after a lost connection or reply: reads, and scripts that recognise their own
   * repeat. Repeated until this many milliseconds have passed since the first try, but never before a connection
   * has stood once. Default 0: never.
   */
  readonly retryForMs?: number;
  readonly signal?: AbortSignal;
}

interface Waiting {
  readonly deadline: number;
  readonly miss: () => void;
}

/** How often deadlines are looked at: one timer a connection instead of one a command. */
const WATCHDOG_INTERVAL_MS = 100;

export class Connection {
  private client: Redis | undefined;
  private opening: Promise<Redis> | undefined;
  private readonly waiting = new Set<Waiting>();
  private watchdog: NodeJS.Timeout | undefined;
  private closed = false;
  /** Whether a connection ever stood. One that never did is a wrong address, not a passing failure. */
  private hasStood = false;
  private clientId: number | undefined;
  private readonly commandTimeoutMs: number;
  private readonly connectTimeoutMs: number;

  constructor(private readonly options: ConnectionOptions) {
    this.commandTimeoutMs = options.commandTimeoutMs ?? 5000;
    this.connectTimeoutMs = options.connectTimeoutMs ?? 3000;
  }

  /**
   * Run one command or pipeline.
   * @throws {ByError} REDIS_UNREACHABLE, REDIS_TIMEOUT, REDIS_AUTH, REDIS_REFUSED (not accepted, try again),
   *   REDIS_WRONG_TYPE. Other replies with an error surface as the client's ReplyError.
   */
  async run<T>(issue: (redis: Redis) => Promise<T>, options: RunOptions = {}): Promise<T> {
    const giveUpAt = Date.now() + (options.retryForMs ?? 0);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.attempt(issue, options.timeoutMs ?? this.commandTimeoutMs);
      } catch (error) {
        const known = toByError(error, this.options.url);
        const mayRepeat =
          known instanceof ByError &&
          known.retryable &&
          this.hasStood &&
          Date.now() < giveUpAt &&
          !this.closed &&
          !options.signal?.aborted;
        if (!mayRepeat) throw known;
        await sleep(backoffMs(attempt, {baseMs: 50, maxMs: 1000}) + 10, options.signal);
      }
    }
  }

  /**
   * Make a blocked read on this connection return at once, empty, without losing an entry to a reply nobody reads.
   * @param other a connection that is not blocked.
   */
  async unblock(other: Connection): Promise<void> {
    const id = this.clientId;
    if (id !== undefined) await other.run(redis => redis.client('UNBLOCK', id));
  }

  /** Close for good. Commands under way fail; closing twice is harmless. */
  close(): void {
    this.closed = true;
    this.replace(this.client);
    if (this.watchdog) clearInterval(this.watchdog);
  }

  private async attempt<T>(issue: (redis: Redis) => Promise<T>, timeoutMs: number): Promise<T> {
    const client = this.client?.status === 'ready' ? this.client : await this.open();
    return new Promise<T>((resolve, reject) => {
      const entry: Waiting = {
        deadline: performance.now() + timeoutMs,
        miss: () => {
          this.waiting.delete(entry);
          reject(
            new ByError('REDIS_TIMEOUT', `Redis did not answer within ${timeoutMs} ms.`, {
              hint: `Check the server at ${hostOf(this.options.url)}; it may be blocked by a slow command or the network may be cut.`,
            }),
          );
          this.replace(client);
        },
      };
      this.waiting.add(entry);
      this.watch();
      joinWrites(client);
      issue(client).then(
        value => {
          this.waiting.delete(entry);
          resolve(value);
        },
        (error: unknown) => {
          this.waiting.delete(entry);
          reject(error instanceof Error ? error : new Error(messageOf(error)));
        },
      );
    });
  }

  private open(): Promise<Redis> {
    if (this.closed)
      return Promise.reject(
        new ByError('REDIS_UNREACHABLE', 'This connection is closed.', {hint: 'Open a new one.'}),
      );
    this.opening ??= this.connect().finally(() => (this.opening = undefined));
    return this.opening;
  }

  private async connect(): Promise<Redis> {
    this.replace(this.client);
    const client = new Redis(this.options.url, clientOptions(this.options.name, this.connectTimeoutMs));
    // The first cause is the useful one; later events only say that the connection closed.
    let cause: unknown;
    client.on('error', (error: unknown) => (cause ??= error));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`no connection within ${this.connectTimeoutMs} ms`)),
        this.connectTimeoutMs,
      );
    });
    try {
      await Promise.race([client.connect(), late]);
      this.clientId = await Promise.race([client.client('ID'), late]);
    } catch (error) {
      client.disconnect();
      throw cause ?? error;
    } finally {
      clearTimeout(timer);
    }
    // close() may have been called while we waited; a connection nobody owns must not stay open.
    if (this.isClosed()) {
      client.disconnect();
      throw new ByError('REDIS_UNREACHABLE', 'This connection is closed.', {hint: 'Open a new one.'});
    }
    this.client = client;
    this.hasStood = true;
    return client;
  }

  private isClosed(): boolean {
    return this.closed;
  }

  private replace(client: Redis | undefined): void {
    if (client === undefined) return;
    if (this.client === client) this.client = undefined;
    client.disconnect();
  }

  private watch(): void {
    if (this.watchdog) return;
    this.watchdog = setInterval(() => {
      const now = performance.now();
      for (const entry of this.waiting) if (entry.deadline <= now) entry.miss();
      if (this.waiting.size === 0) {
        clearInterval(this.watchdog);
        this.watchdog = undefined;
      }
    }, WATCHDOG_INTERVAL_MS);
    this.watchdog.unref();
  }
}

/**
 * Everything issued before the event loop turns goes out in one write: a system call for each command costs more than
 * the command. Nothing waits for it longer than the code that is running now.
 */
function joinWrites(client: Redis): void {
  const {stream} = client;
  if (stream.writableCorked > 0) return;
  stream.cork();
  process.nextTick(() => stream.uncork());
}

function clientOptions(name: string | undefined, connectTimeout: number): RedisOptions {
  return {
    lazyConnect: true,
    connectTimeout,
    // Replacing the connection is our job: see the top of the file.
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    enableAutoPipelining: false,
    ...(name === undefined ? {} : {connectionName: name}),
  };
}

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
]);
const UNREACHABLE =
  /ECONNREFUSED|ECONNRESET|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EPIPE|ETIMEDOUT|EAI_AGAIN|Connection is closed|Connection in closed|no connection within|Stream isn't writeable|Command aborted|max retries per request/i;

/** Redis's and the socket's errors in our codes; what we do not know passes unchanged. */
export function toByError(error: unknown, url: string): unknown {
  if (error instanceof ByError) return error;
  const message = messageOf(error);
  const code = /^(?:-?)([A-Z]+)\b/.exec(message)?.[1] ?? '';
  if (code === 'WRONGPASS' || code === 'NOAUTH' || /invalid password/i.test(message)) {
    return new ByError('REDIS_AUTH', `Redis at ${hostOf(url)} refused the credentials.`, {
      hint: 'Give the password through BY_REDIS_URL or --redis-password-stdin.',
      cause: error,
    });
  }
  if (code === 'NOPERM') {
    return new ByError('REDIS_AUTH', `This Redis user may not do that: ${message.slice(0, 200)}`, {
      hint: 'Give the user the rights of its role, or use another user.',
      cause: error,
    });
  }
  if (/unknown command.*HELLO/i.test(message)) {
    return new ByError('REDIS_TOO_OLD', `Redis at ${hostOf(url)} is too old: it does not know HELLO.`, {
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
    return new ByError('REDIS_UNREACHABLE', `No Redis at ${hostOf(url)}.`, {
      hint: 'Start one with `by dev`, or name yours with --redis-url or BY_REDIS_URL.',
      cause: error,
      next: ['by dev'],
    });
  }
  return error;
}
