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
