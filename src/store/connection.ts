/**
 * One connection to Redis, kept by the client rules of guarantees.md §1:
 * every command has a deadline of its own, and a miss destroys the connection; a lost connection is replaced by a
 * new object, never repaired by the client library; commands are repeated only when the caller says that a repeat
 * is harmless, because a lost reply does not tell whether the command ran.
 */
import {Cluster, type Redis} from 'ioredis';
import {backoffMs} from '../backoff.js';
import {sleep} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {openClient, type NodeAddress, type RedisClient} from './client.js';
import {hostOf, isMisdirected, toByError} from './redis-errors.js';

export interface ConnectionOptions {
  /** `redis://` or `rediss://`, with the database as its path. May hold a password: never print it. */
  readonly url: string;
  /** Shown by CLIENT LIST. */
  readonly name?: string;
  /** Milliseconds a command may take. Default 5,000. */
  readonly commandTimeoutMs?: number;
  /** Milliseconds until a connection must stand. Default 3,000. */
  readonly connectTimeoutMs?: number;
  /** Nodes of the Cluster to ask for its map, as `host:port`. Default: the one in the URL. */
  readonly clusterNodes?: readonly NodeAddress[];
  /**
   * Why this deployment can not live in a Cluster, if it can not: connecting to one is KEY_SCHEMA with this hint.
   * A Cluster refuses scripts on keys without common hash tags.
   */
  readonly refusesCluster?: string;
  /**
   * Talk to one node of a Cluster alone; asked again for every new connection, because keys move. Blocking reads
   * need it: on a connection to the whole Cluster they would hold up each other. Undefined on a single server.
   */
  readonly locate?: () => Promise<NodeAddress | undefined>;
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
  /** A script counts as done only when a replica has what it wrote. */
  readonly awaitReplica?: boolean;
}

interface Waiting {
  readonly deadline: number;
  readonly miss: () => void;
}

/** How often deadlines are looked at: one timer a connection instead of one a command. */
const WATCHDOG_INTERVAL_MS = 100;

/** What the connection talks through now, and how many commands wait for it. */
interface Standing {
  readonly redis: RedisClient;
  readonly clientId: number | undefined;
  /** Where it leads: the configured URL, or that of the located node. */
  readonly url: string;
  underWay: number;
  /** Nothing new goes through it; it closes once nothing waits for it any more. */
  isRetired: boolean;
}

export class Connection {
  private standing: Standing | undefined;
  private opening: Promise<Standing> | undefined;
  private readonly waiting = new Set<Waiting>();
  private watchdog: NodeJS.Timeout | undefined;
  private closed = false;
  /** What the server was found to be. One that never stood is a wrong address, not a passing failure. */
  private found: 'server' | 'cluster' | undefined;
  /** Nodes of the Cluster as last seen: the configured ones may be gone by the time we connect again. */
  private nodes: readonly NodeAddress[];
  private readonly commandTimeoutMs: number;
  private readonly connectTimeoutMs: number;

  constructor(private readonly options: ConnectionOptions) {
    this.commandTimeoutMs = options.commandTimeoutMs ?? 5000;
    this.connectTimeoutMs = options.connectTimeoutMs ?? 3000;
    this.nodes = options.clusterNodes ?? [];
  }

  /**
   * Run one command or pipeline.
   * @throws {ByError} REDIS_UNREACHABLE, REDIS_TIMEOUT, REDIS_AUTH, REDIS_REFUSED (not accepted, try again),
   *   REDIS_WRONG_TYPE. Other replies with an error surface as the client's ReplyError.
   */
  async run<T>(issue: (redis: RedisClient) => Promise<T>, options: RunOptions = {}): Promise<T> {
    const giveUpAt = performance.now() + (options.retryForMs ?? 0);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.attempt(issue, options.timeoutMs ?? this.commandTimeoutMs);
      } catch (error) {
        const known = toByError(error, addressOf(this.options));
        const mayRepeat =
          known instanceof ByError &&
          known.retryable &&
          this.found !== undefined &&
          performance.now() < giveUpAt &&
          !this.closed &&
          !options.signal?.aborted;
        if (!mayRepeat) throw known;
        await sleep(backoffMs(attempt, {baseMs: 50, maxMs: 1000}) + 10, options.signal);
      }
    }
  }

  /** Whether this is a Cluster. Connects if the connection has never stood. */
  async isCluster(): Promise<boolean> {
    if (this.found === undefined) await this.run(() => Promise.resolve());
    return this.found === 'cluster';
  }

  /** As {@link isCluster}, without asking: undefined before the connection has stood. */
  get knownCluster(): boolean | undefined {
    return this.found === undefined ? undefined : this.found === 'cluster';
  }

  /** The node that holds a key now; undefined on a single server. */
  async nodeOf(key: string): Promise<NodeAddress | undefined> {
    if (!(await this.isCluster())) return undefined;
    return this.run(
      async redis => {
        if (!(redis instanceof Cluster)) return undefined;
        const slot = await redis.cluster('KEYSLOT', key);
        const range = (await redis.cluster('SLOTS')).find(([from, to]) => from <= slot && slot <= to);
        if (range === undefined) return undefined;
        const [host, port] = range[2] ?? [];
        if (port === undefined) return undefined;
        // A node that does not know its own name leaves it out: it is the one we asked.
        return `${host || new URL(this.options.url).hostname}:${port}`;
      },
      {retryForMs: 5000},
    );
  }

  /**
   * Make a blocked read on this connection return at once, empty, without losing an entry to a reply nobody reads.
   * @param other a connection that is not blocked.
   */
  async unblock(other: Connection): Promise<void> {
    const {clientId: id, url} = this.standing ?? {};
    if (id === undefined || url === undefined) return;
    // A client id means something only to the node that gave it; a Cluster would be asked at any of its nodes.
    const isThere = url === this.options.url && !(await other.isCluster());
    const sameNode = isThere ? other : new Connection({url, locate: () => Promise.resolve(hostOf(url))});
    try {
      await sameNode.run(redis => redis.client('UNBLOCK', id));
    } finally {
      if (sameNode !== other) sameNode.close();
    }
  }

  /** Close for good. Commands under way fail; closing twice is harmless. */
  close(): void {
    this.closed = true;
    this.standing?.redis.disconnect();
    this.standing = undefined;
    if (this.watchdog) clearInterval(this.watchdog);
  }

  private async attempt<T>(issue: (redis: RedisClient) => Promise<T>, timeoutMs: number): Promise<T> {
    const standing = this.standing?.redis.status === 'ready' ? this.standing : await this.open();
    const {redis} = standing;
    return new Promise<T>((resolve, reject) => {
      const entry: Waiting = {
        deadline: performance.now() + timeoutMs,
        miss: () => {
          done();
          reject(
            new ByError('REDIS_TIMEOUT', `Redis did not answer within ${timeoutMs} ms.`, {
              hint: `Check the server at ${hostOf(standing.url)}; it may be blocked by a slow command or the network may be cut.`,
            }),
          );
          // A server that does not answer one command answers none; other nodes of a Cluster may well.
          if (redis instanceof Cluster) this.retire(standing);
          else this.replace(standing);
        },
      };
      const done = () => {
        if (!this.waiting.delete(entry)) return;
        standing.underWay--;
        if (standing.isRetired && standing.underWay === 0) redis.disconnect();
      };
      standing.underWay++;
      this.waiting.add(entry);
      this.watch();
      if (!(redis instanceof Cluster)) joinWrites(redis);
      issue(redis).then(
        value => {
          done();
          resolve(value);
        },
        (error: unknown) => {
          done();
          if (isMisdirected(error) || (redis instanceof Cluster && isLost(error))) this.retire(standing);
          reject(error instanceof Error ? error : new Error(messageOf(error)));
        },
      );
    });
  }

  private open(): Promise<Standing> {
    if (this.closed)
      return Promise.reject(
        new ByError('REDIS_UNREACHABLE', 'This connection is closed.', {hint: 'Open a new one.'}),
      );
    this.opening ??= this.connect().finally(() => (this.opening = undefined));
    return this.opening;
  }

  private async connect(): Promise<Standing> {
    if (this.standing) this.replace(this.standing);
    const node = await this.options.locate?.();
    const url = node === undefined ? this.options.url : urlOf(node, this.options.url);
    const client = await openClient({
      url,
      nodes: this.nodes,
      isKnownCluster: this.found === 'cluster' || this.nodes.length > 0,
      isPinned: this.options.locate !== undefined,
      name: this.options.name,
      connectTimeoutMs: this.connectTimeoutMs,
    });
    const standing: Standing = {
      redis: client.redis,
      clientId: client.clientId,
      url,
      underWay: 0,
      isRetired: false,
    };
    const refusal = client.redis instanceof Cluster ? this.options.refusesCluster : undefined;
    // close() may have been called while we waited; a connection nobody owns must not stay open.
    if (this.isClosed() || refusal !== undefined) {
      client.redis.disconnect();
      throw refusal === undefined
        ? new ByError('REDIS_UNREACHABLE', 'This connection is closed.', {hint: 'Open a new one.'})
        : new ByError('KEY_SCHEMA', `Redis at ${hostOf(url)} is a Cluster.`, {hint: refusal});
    }
    if (client.redis instanceof Cluster) {
      this.found = 'cluster';
      this.nodes = client.redis.nodes('all').map(({options}) => `${options.host}:${options.port}`);
    } else this.found = 'server';
    this.standing = standing;
    return standing;
  }

  private isClosed(): boolean {
    return this.closed;
  }

  /** Nothing new goes through it, and what is under way fails. */
  private replace(standing: Standing): void {
    if (this.standing === standing) this.standing = undefined;
    standing.redis.disconnect();
  }

  /** Nothing new goes through it; what is under way may end. */
  private retire(standing: Standing): void {
    if (this.standing === standing) this.standing = undefined;
    standing.isRetired = true;
    if (standing.underWay === 0) standing.redis.disconnect();
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

/** Where this leads, for people. */
export function addressOf({url, clusterNodes = []}: Pick<ConnectionOptions, 'url' | 'clusterNodes'>): string {
  return clusterNodes.length > 0 ? clusterNodes.join(', ') : hostOf(url);
}

const isLost = (error: unknown): boolean =>
  /Connection is closed|max retries per request/.test(messageOf(error));

/** A node's URL, with the credentials and the TLS of the configured one. */
function urlOf(node: NodeAddress, configured: string): string {
  const url = new URL(configured);
  url.host = node;
  return url.href;
}
