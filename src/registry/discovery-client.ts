/** Finding instances of services: those that are alive, looked up at most every few seconds, one of them picked. */
import {ByError} from '../errors.js';
import {HEALTH_THRESHOLD_MS, isHealthy, pickInstance, type Strategy} from '../protocol/discovery.js';
import {heartbeatTime, instancesOf, type FoundInstance} from '../store/services.js';
import type {Store} from '../store/store.js';

export interface DiscoveryOptions {
  /** Milliseconds for which a look counts. Default 5,000. */
  readonly cacheMs?: number;
  /** Milliseconds after its last heartbeat an instance still counts as alive; -1: for ever. Default 30,000. */
  readonly healthThresholdMs?: number;
  /** Default `random`. */
  readonly strategy?: Strategy;
  /** Unix milliseconds by which heartbeats are judged. Default: Redis's clock. */
  readonly now?: () => number | Promise<number>;
  /** Monotonic milliseconds. Default `performance.now`. */
  readonly clock?: () => number;
  readonly random?: () => number;
}

interface Look {
  readonly instances: readonly FoundInstance[];
  /** By {@link DiscoveryOptions.clock}. */
  readonly at: number;
  /** By {@link DiscoveryOptions.now}. */
  readonly now: number;
}

const CACHE_MS = 5000;
/** While Redis is away, what was last seen is better than nothing, for so long. */
const STALE_MS = 60_000;
/** Services whose instances are remembered. */
const MAX_SERVICES = 1000;

export class DiscoveryClient {
  readonly #store: Store;
  readonly #options: DiscoveryOptions;
  readonly #looks = new Map<string, Look>();
  readonly #looking = new Map<string, Promise<Look>>();
  readonly #turns = new Map<string, number>();

  constructor(store: Store, options: DiscoveryOptions = {}) {
    this.#store = store;
    this.#options = options;
  }

  /**
   * The instances that are alive, by id. One look at Redis serves all who ask meanwhile, and for `cacheMs`; one whose
   * heartbeat grows too old leaves in between. While Redis is away the last look counts, for a minute.
   */
  async instances(service: string): Promise<readonly FoundInstance[]> {
    const {instances, at, now} = await this.#look(service);
    const {healthThresholdMs = HEALTH_THRESHOLD_MS} = this.#options;
    const nowByRedis = now + (this.#clock() - at);
    return instances.filter(each => isHealthy(each.lastHeartbeat, nowByRedis, healthThresholdMs));
  }

  /**
   * One of them, by the strategy.
   * @param except ids that are taken only where there is no other.
   * @returns undefined if none is alive.
   */
  async pick(service: string, except: ReadonlySet<string> = new Set()): Promise<FoundInstance | undefined> {
    const all = await this.instances(service);
    const others = all.filter(({id}) => !except.has(id));
    const {strategy = 'random', random = Math.random} = this.#options;
    const turn = this.#turns.get(service) ?? 0;
    this.#turns.set(service, turn + 1);
    return pickInstance(others.length > 0 ? others : all, strategy, turn, random);
  }

  /** Look again the next time somebody asks. */
  forget(service: string): void {
    this.#looks.delete(service);
  }

  async #look(service: string): Promise<Look> {
    const known = this.#looks.get(service);
    if (known !== undefined && this.#clock() - known.at < (this.#options.cacheMs ?? CACHE_MS)) return known;
    try {
      return await this.#fresh(service);
    } catch (error) {
      const isAway = error instanceof ByError && error.retryable;
      if (isAway && known !== undefined && this.#clock() - known.at < STALE_MS) return known;
      throw error;
    }
  }

  #fresh(service: string): Promise<Look> {
    const under = this.#looking.get(service);
    if (under !== undefined) return under;
    const looking = this.#read(service).finally(() => this.#looking.delete(service));
    this.#looking.set(service, looking);
    return looking;
  }

  async #read(service: string): Promise<Look> {
    const at = this.#clock();
    const [instances, now] = await Promise.all([
      instancesOf(this.#store, service),
      this.#options.now === undefined ? heartbeatTime(this.#store) : this.#options.now(),
    ]);
    const look = {instances, at, now};
    // Names may come from outside: what was remembered first goes first.
    if (this.#looks.size >= MAX_SERVICES) {
      for (const oldest of [...this.#looks.keys()].slice(0, 1)) {
        this.#looks.delete(oldest);
        this.#turns.delete(oldest);
      }
    }
    this.#looks.set(service, look);
    return look;
  }

  #clock(): number {
    return (this.#options.clock ?? (() => performance.now()))();
  }
}
