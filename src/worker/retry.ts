/** Which failures are tried again, how often, and after how long. */
import {backoffMs} from '../backoff.js';
import {ByError} from '../errors.js';
import {isObject} from '../protocol/limits.js';

export interface RetryOptions {
  /** Starts in all, crashes included. Default: the worker's. */
  readonly maxAttempts?: number;
  /** Upper bound of the first wait, in milliseconds; it doubles with each failure. Default 500. */
  readonly baseMs?: number;
  /** Upper bound of every wait, in milliseconds. Default 30,000. */
  readonly maxMs?: number;
}

/** Starts an execution has, in all, unless set otherwise: guarantees.md G4. */
export const DEFAULT_MAX_ATTEMPTS = 5;

export interface RetryPolicy {
  readonly maxAttempts: number | undefined;
  readonly baseMs: number;
  readonly maxMs: number;
  /** The agent asked for retries: what it throws is tried again unless the error says `retryable: false`. */
  readonly retriesErrors: boolean;
}

/**
 * Check what an agent says about retries.
 * @param whose named in the error.
 * @throws {ByError} INVALID_CONFIG
 */
export function retryPolicy(options: RetryOptions | undefined, whose: string): RetryPolicy {
  const {maxAttempts, baseMs = 500, maxMs = 30_000} = options ?? {};
  const known = ['maxAttempts', 'baseMs', 'maxMs'];
  const unknown = Object.keys(options ?? {}).find(name => !known.includes(name));
  const wrong =
    unknown !== undefined
      ? `${unknown} is no such option`
      : maxAttempts !== undefined && !isCount(maxAttempts, 1)
        ? 'maxAttempts must be a whole number from 1'
        : !isCount(baseMs, 0) || !isCount(maxMs, 0) || maxMs < baseMs
          ? 'baseMs and maxMs must be whole numbers from 0, baseMs the smaller'
          : undefined;
  if (wrong !== undefined) {
    throw new ByError('INVALID_CONFIG', `The retry options of ${whose} are wrong: ${wrong}.`, {
      hint: 'Give `retry: {maxAttempts, baseMs, maxMs}`; times are in milliseconds.',
    });
  }
  return {maxAttempts, baseMs, maxMs, retriesErrors: options !== undefined};
}

/** @returns whether it is a whole number of at least `least`. */
export const isCount = (value: unknown, least: number): value is number =>
  Number.isSafeInteger(value) && Number(value) >= least;

/** Whether a thrown error is worth another attempt: it says so itself, else the agent's options do. */
export function isRetryableError(error: unknown, policy: RetryPolicy): boolean {
  const says =
    typeof error === 'object' && error !== null && 'retryable' in error ? error.retryable : undefined;
  return typeof says === 'boolean' ? says : policy.retriesErrors;
}

/** Whether a returned value asks for another attempt. It counts only if the status is FAILED. */
export const asksForRetry = (value: unknown): boolean => isObject(value) && value['retryable'] === true;

/** Milliseconds before the next attempt. @param failures including the one just seen. */
export const retryDelayMs = (policy: RetryPolicy, failures: number): number => backoffMs(failures, policy);
