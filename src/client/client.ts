/** The client of a deployment: send, cancel, follow. */
import {systemClock, type Clock} from '../clock.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {followSession, type FollowOptions, type SessionItem} from '../store/data-streams.js';
import {findByMessage} from '../store/executions.js';
import {openStore, type Store, type StoreOptions} from '../store/store.js';
import {cancel, type CancelRequest, type CancelResult} from './cancel.js';
import {send, type Interceptor, type SendRequest, type SendResult} from './send.js';

export interface ClientOptions {
  readonly interceptors?: readonly Interceptor[];
  readonly now?: Clock;
}

/** Commands of one {@link GatewayClient.sendMany} under way at once: memory stays bounded however many there are. */
const SENT_TOGETHER = 512;

export class GatewayClient {
  private readonly now: Clock;
  private readonly interceptors: readonly Interceptor[];

  constructor(
    readonly store: Store,
    options: ClientOptions = {},
  ) {
    this.now = options.now ?? systemClock;
    this.interceptors = options.interceptors ?? [];
  }

  /** @throws {ByError} when the command was not accepted; see {@link send}. */
  send(request: SendRequest): Promise<SendResult> {
    return send({store: this.store, now: this.now, interceptors: this.interceptors}, request);
  }

  /**
   * Send many; one that is refused does not stop the others. Those of one call share round trips, and each is accepted
   * or refused by itself.
   * @returns one outcome for each request, in their order; the reason of a refused one is what {@link send} throws.
   */
  async sendMany(requests: readonly SendRequest[]): Promise<PromiseSettledResult<SendResult>[]> {
    const outcomes: PromiseSettledResult<SendResult>[] = [];
    for (let from = 0; from < requests.length; from += SENT_TOGETHER) {
      const some = requests.slice(from, from + SENT_TOGETHER);
      outcomes.push(...(await Promise.allSettled(some.map(request => this.send(request)))));
    }
    return outcomes;
  }

  cancel(request: CancelRequest): Promise<CancelResult> {
    return cancel(this.store, this.now, request);
  }

  /** Events of a session from any point on, each once, in order, until the signal aborts. */
  follow(sessionId: string, options?: FollowOptions): AsyncGenerator<SessionItem> {
    return followSession(this.store, sessionId, options);
  }

  /** The execution of a message, or undefined. */
  find(sessionId: string, messageId: string): Promise<ExecutionRecord | undefined> {
    return findByMessage(this.store, sessionId, messageId);
  }

  close(): void {
    this.store.close();
  }
}

/** Connects with the first call. */
export function createClient(options: StoreOptions & ClientOptions): GatewayClient {
  return new GatewayClient(openStore(options), options);
}
