/** Time, as something that can be handed in: tests give a clock of their own. */

/** @returns Unix time in milliseconds. Never compared between processes: that is Redis time's job (G14). */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();

/** Resolves after `ms`, or at once when `signal` aborts. Never rejects: the caller asks the signal why it woke. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, {once: true});
  });
}
