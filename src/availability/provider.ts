/** Providers: the code that starts workers when nobody is awake. A provider is a function; everything else is ours. */
import type {WakeupRequest} from '../protocol/wakeup.js';

/** What a provider says. READY means a worker is, or is about to be, online; the callers check for themselves. */
export type ProviderDecision =
  | {readonly status: 'READY'; readonly workerIds?: readonly string[]; readonly reason?: string}
  | {readonly status: 'STARTING' | 'QUEUED'; readonly reason?: string}
  | {readonly status: 'REJECTED'; readonly reason: string; readonly retryAfterMs?: number}
  | {readonly status: 'FAILED'; readonly reason: string; readonly retryAfterMs?: number}
  | {readonly status: 'FALLBACK'; readonly agentType: string};

export interface ProviderContext {
  /** Aborted when the time of this attempt is over: stop trying. */
  readonly signal: AbortSignal;
  /** Whether a worker of the asked type is online now. */
  readonly isOnline: () => Promise<boolean>;
  /** The workers of the asked type that are online now. */
  readonly onlineWorkers?: () => Promise<readonly string[]>;
}

export interface Provider {
  /** Shown in logs and by `by dev`. */
  readonly name: string;
  /** May be called again for a request it has answered, and for many requests at once. */
  wakeup(request: WakeupRequest, context: ProviderContext): Promise<ProviderDecision>;
  /**
   * For a provider that only passes requests on: the one this request is for. Attempts and circuit are that one's.
   * @throws what makes the wakeup FAILED.
   */
  choose?(request: WakeupRequest): Provider;
  /** End everything it started. */
  close?(): Promise<void>;
}
