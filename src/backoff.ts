export interface BackoffOptions {
  /** Upper bound of the first wait, in milliseconds. */
  readonly baseMs: number;
  /** Upper bound of every wait, in milliseconds. */
  readonly maxMs: number;
}

/**
 * How long to wait before the next attempt. The wait is random over its whole range, so that callers
 * who failed together do not return together.
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
 *
 * @param attempt 1 for the first retry.
 * @returns Milliseconds, from 0 up to `baseMs` doubled with each attempt, never above `maxMs`.
 * @throws {RangeError} if `attempt` is below 1: the caller has miscounted.
 */
export function backoffMs(attempt: number, {baseMs, maxMs}: BackoffOptions, random = Math.random): number {
  if (attempt < 1) throw new RangeError(`attempt starts at 1, got ${attempt}`);
  return Math.floor(random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1)));
}
