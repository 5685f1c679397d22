/** The client of a deployment: send, cancel, follow. */
import {systemClock, type Clock} from '../clock.js';
import {ByError} from '../errors.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import type {Tracer} from '../protocol/tracer.js';
import type {FrameworkMetrics} from '../observe/framework-metrics.js';
import {tracerOf, type RedisTraceOptions} from '../observe/redis-tracer.js';
import {followSession, type FollowOptions, type SessionItem} from '../store/data-streams.js';
import {findByMessage} from '../store/executions.js';
import {maySee, requireOwn} from '../store/ownership.js';
import {openStore, type Store, type StoreOptions} from '../store/store.js';
import {cancel, type CancelRequest, type CancelResult} from '../availability/cancel.js';
import {openQuestions, type OpenQuestion} from '../availability/questions.js';
import {collectReloadAcks, reloadPlugins, type ReloadRequestOptions} from './reload.js';
import type {ReloadResponse} from '../protocol/send-response.js';
import type {ReloadAcks} from '../store/plugin-state.js';
import {reply, type ReplyRequest, type ReplyResult} from '../availability/reply.js';
import {send, type Interceptor, type SendRequest, type SendResult} from '../availability/send.js';

export interface ClientOptions {
  readonly interceptors?: readonly Interceptor[];
  readonly now?: Clock;
  /**
   * On whose behalf: everything sent is theirs, and sessions of others are not found. Default: an operator, who sees all.
   */
  readonly userCode?: string;
  /** Told of what is sent: `by-toolkit/otel` makes one. Default none. */
  readonly tracer?: Tracer;
  /** Write the SDKs' trace records into Redis: `{}` for the defaults. Default: nothing is written. */
  readonly redisTraces?: RedisTraceOptions;
  /** Measures how commands are routed. Default: nobody does. */
  readonly metrics?: FrameworkMetrics;
}

/** Commands of one {@link GatewayClient.sendMany} under way at once: memory stays bounded however many there are. */
const SENT_TOGETHER = 512;

export class GatewayClient {
  private readonly now: Clock;
  private readonly interceptors: readonly Interceptor[];
  private readonly userCode: string;
  private readonly tracer: Tracer | undefined;

  constructor(
    readonly store: Store,
    protected readonly options: ClientOptions = {},
  ) {
    this.now = options.now ?? systemClock;
    this.interceptors = options.interceptors ?? [];
    this.userCode = options.userCode ?? '';
    this.tracer = tracerOf(store, options);
  }

  /** The same connections, on behalf of one user; closing either closes both. */
  forUser(userCode: string): GatewayClient {
    const {redisTraces: _ours, ...options} = this.options;
    return new GatewayClient(this.store, {
      ...options,
      ...(this.tracer === undefined ? {} : {tracer: this.tracer}),
      userCode,
    });
  }

  /** @throws {ByError} when the command was not accepted, see {@link send}; DENIED on behalf of another user. */
  async send(request: SendRequest): Promise<SendResult> {
    const {store, now, interceptors, tracer} = this;
    const sender = {store, now, interceptors, tracer, metrics: this.options.metrics};
    return send(sender, {...request, ...this.onBehalf(request.userCode)});
  }

  /** The user of a request: this client's. @throws {ByError} DENIED if it names another. */
  private onBehalf(userCode = this.userCode): {readonly userCode?: string} {
    if (this.userCode === '') return userCode === '' ? {} : {userCode};
    if (userCode === this.userCode) return {userCode};
    throw new ByError('DENIED', `This client acts for "${this.userCode}", not for "${userCode}".`, {
      hint: 'Leave the user code out of the request, or use a client of that user.',
    });
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

  /**
   * Tell every online worker of an agent type to reload its plugins; later ones learn of it too.
   * @throws {ByError} INVALID_INPUT; DENIED on behalf of a user.
   */
  async reloadPlugins(agentType: string, options?: ReloadRequestOptions): Promise<ReloadResponse> {
    if (this.userCode !== '')
      throw new ByError('DENIED', 'Users do not reload plugins.', {hint: 'Use a client of no user.'});
    return reloadPlugins(this.store, agentType, options);
  }

  /** How workers answered a reload. @param options.blockMs how long to wait for the first answer; default not at all. */
  collectReloadAcks(
    reloadId: string,
    options?: {readonly after?: string; readonly blockMs?: number; readonly count?: number},
  ): Promise<ReloadAcks> {
    return collectReloadAcks(this.store, reloadId, options);
  }

  /** Answer an agent's question. @throws {ByError} as {@link reply}; DENIED on behalf of another user. */
  async reply(request: ReplyRequest): Promise<ReplyResult> {
    return reply(this.store, this.now, {...request, ...this.onBehalf(request.userCode)});
  }

  /**
   * Questions of a session that wait for a person.
   * @throws {ByError} NOT_FOUND for a session that is not this client's user's.
   */
  async questions(sessionId: string): Promise<OpenQuestion[]> {
    await requireOwn(this.store, sessionId, this.userCode);
    return openQuestions(this.store, sessionId);
  }

  async cancel(request: CancelRequest): Promise<CancelResult> {
    const {sessionId} = request;
    if (await maySee(this.store, sessionId, this.userCode)) return cancel(this.store, this.now, request);
    return {status: 'NOT_FOUND', sessionId, cancelledCount: 0, alreadyFinishedCount: 0, nodes: []};
  }

  /**
   * Events of a session from any point on, each once, in order, until the signal aborts.
   * @throws {ByError} NOT_FOUND for a session that is not this client's user's.
   */
  async *follow(sessionId: string, options?: FollowOptions): AsyncGenerator<SessionItem> {
    await requireOwn(this.store, sessionId, this.userCode);
    yield* followSession(this.store, sessionId, options);
  }

  /** The execution of a message, or undefined. */
  async find(sessionId: string, messageId: string): Promise<ExecutionRecord | undefined> {
    if (!(await maySee(this.store, sessionId, this.userCode))) return undefined;
    return findByMessage(this.store, sessionId, messageId);
  }

  /** Send what the tracer still has; resolves also if that fails. @param timeoutMs how long it may take. Default 2,000. */
  async flushTraces(timeoutMs = 2000): Promise<void> {
    await this.tracer?.flush(timeoutMs);
  }

  close(): void {
    this.store.close();
  }
}

/** Connects with the first call. */
export function createClient(options: StoreOptions & ClientOptions): GatewayClient {
  return new GatewayClient(openStore(options), options);
}
