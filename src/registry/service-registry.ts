/** Being found: an instance of a service that is registered, keeps its heartbeat, and leaves when told. */
import {ByError, messageOf} from '../errors.js';
import {isValidId} from '../ids.js';
import {silentLogger, type Logger} from '../log.js';
import {
  encodeServiceInstance,
  HEARTBEAT_INTERVAL_MS,
  newInstanceId,
  readServiceInstance,
  type ServiceInstance,
} from '../protocol/discovery.js';
import {ProtocolError} from '../protocol/limits.js';
import {heartbeatTime, putInstance, removeGone, removeInstance} from '../store/services.js';
import type {Store} from '../store/store.js';

export interface ServiceRegistration {
  /** Name of the service. */
  readonly service: string;
  /** Where others reach this instance. */
  readonly host: string;
  readonly port: number;
  /** Default `http`. */
  readonly protocol?: 'http' | 'https';
  /** Put in front of every path. Default none. */
  readonly pathPrefix?: string;
  /** Kept for clients that look at it; ours do not. Default 1. */
  readonly weight?: number;
  /** JSON of your own. Everybody who may look for instances reads it. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Default: made from the name. */
  readonly id?: string;
}

export interface ServiceRegistryOptions {
  /** Milliseconds between heartbeats. Default 10,000; clients believe in an instance for 30,000. */
  readonly heartbeatMs?: number;
  readonly log?: Logger;
  /** Unix milliseconds for heartbeats. Default: Redis's clock. */
  readonly now?: () => number | Promise<number>;
}

export interface RegisteredService {
  readonly service: string;
  readonly instance: ServiceInstance;
  /** Be found no more: from now on nobody new comes; those who know the instance may still for some seconds. */
  readonly unregister: () => Promise<void>;
}

/** Registers instances of services, on behalf of one process. */
export class ServiceRegistry {
  readonly #store: Store;
  readonly #options: ServiceRegistryOptions;
  readonly #registered = new Set<RegisteredService>();

  constructor(store: Store, options: ServiceRegistryOptions = {}) {
    this.#store = store;
    this.#options = options;
  }

  /**
   * Let others find an instance, from now on until {@link RegisteredService.unregister} or {@link stop}.
   * @throws {ByError} INVALID_INPUT for what can not be an instance, and what Redis throws.
   */
  async register(registration: ServiceRegistration): Promise<RegisteredService> {
    const {service} = registration;
    const instance = instanceOf(registration);
    const beat = async () => putInstance(this.#store, service, instance, await this.#now());
    await removeGone(this.#store, service, await this.#now());
    await beat();
    const heartbeat = new Heartbeat(beat, this.#options.heartbeatMs ?? HEARTBEAT_INTERVAL_MS, error =>
      (this.#options.log ?? silentLogger).warn('the heartbeat of a service failed', {
        ...{service, instance: instance.id, error: messageOf(error)},
      }),
    );
    let leaving: Promise<void> | undefined;
    const registered: RegisteredService = {
      service,
      instance,
      unregister: () =>
        (leaving ??= (async () => {
          this.#registered.delete(registered);
          // One under way would bring it back.
          await heartbeat.stop();
          await removeInstance(this.#store, service, instance.id);
        })()),
    };
    this.#registered.add(registered);
    return registered;
  }

  /** Unregister everything. */
  async stop(): Promise<void> {
    await Promise.all([...this.#registered].map(each => each.unregister()));
  }

  async #now(): Promise<number> {
    return this.#options.now === undefined ? heartbeatTime(this.#store) : this.#options.now();
  }
}

/** Calls `beat` at intervals, one at a time; what fails is told and tried again. */
class Heartbeat {
  readonly #timer: NodeJS.Timeout;
  #beating: Promise<void> = Promise.resolve();
  #isBeating = false;

  constructor(beat: () => Promise<void>, everyMs: number, onError: (error: unknown) => void) {
    this.#timer = setInterval(() => {
      if (this.#isBeating) return;
      this.#isBeating = true;
      this.#beating = beat()
        .catch(onError)
        .finally(() => (this.#isBeating = false));
    }, everyMs).unref();
  }

  stop(): Promise<void> {
    clearInterval(this.#timer);
    return this.#beating;
  }
}

function instanceOf(registration: ServiceRegistration): ServiceInstance {
  const {service, host, port, protocol = 'http', pathPrefix, weight = 1, metadata = {}} = registration;
  const id = registration.id ?? newInstanceId(service);
  if (!isValidId(service)) throw invalid(`"${service}" can not be the name of a service.`, 'service');
  if (!isValidId(id)) throw invalid(`"${id}" can not be the id of an instance.`, 'id');
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalid(`${port} is no port.`, 'port');
  if (!isHost(host)) throw invalid(`"${host}" is neither a name nor an address.`, 'host');
  const instance = {id, host, port, protocol, pathPrefix: pathPrefix ?? null, weight, metadata};
  try {
    // As others will read it.
    return readServiceInstance(encodeServiceInstance(instance));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw invalid(`Others could not read this instance: ${error.message}`, 'metadata');
  }
}

/** A name or an address, and nothing that would make another URL of it. */
export const isHost = (host: string): boolean => /^[A-Za-z0-9._-]{1,253}$|^[0-9A-Fa-f:.]{2,45}$/.test(host);

const invalid = (message: string, field: string): ByError =>
  new ByError('INVALID_INPUT', message, {hint: `Correct ${field} of the registration.`});
