/** What is said between a manager and the thread that runs a user's provider (thread-provider.ts, provider-thread.ts). */
import type {WakeupRequest} from '../protocol/wakeup.js';

export type ToThread =
  | {readonly kind: 'wakeup'; readonly call: number; readonly request: WakeupRequest}
  | {readonly kind: 'abort'; readonly call: number}
  /** An answer to a question of the provider; '' where there is no error. */
  | {readonly kind: 'told'; readonly question: number; readonly value: unknown; readonly error: string}
  | {readonly kind: 'ping'}
  | {readonly kind: 'close'};

export type FromThread =
  | {readonly kind: 'loaded'; readonly name: string}
  | {readonly kind: 'unusable'; readonly message: string; readonly hint: string}
  /** What the provider answered, unchecked; or why it threw. */
  | {readonly kind: 'answered'; readonly call: number; readonly answer: unknown}
  | {readonly kind: 'threw'; readonly call: number; readonly message: string}
  | {
      readonly kind: 'asks';
      readonly call: number;
      readonly question: number;
      readonly what: 'isOnline' | 'onlineWorkers';
    }
  | {readonly kind: 'pong'}
  | {readonly kind: 'closed'; readonly message: string};
