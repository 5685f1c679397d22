/** What a subject of the bench can do. Each measurement runs in a process of its own, on a server just flushed. */
export interface Subject {
  /** Sends one by one, each awaited. @returns sends a second. */
  sendAwaited?(url: string, count: number): Promise<number>;
  /** Sends with 100 under way. @returns sends a second. */
  sendInFlight?(url: string, count: number): Promise<number>;
  /** Sends and works off tasks of one chunk and an end, one worker with 50 slots. @returns tasks a second. */
  endToEnd?(url: string, count: number): Promise<number>;
  /** One task that emits so many chunks, awaiting each. @returns chunks a second. */
  stream?(url: string, chunks: number): Promise<number>;
  /** From the send to the first chunk a reader sees, one task at a time. @returns milliseconds of each. */
  latency?(url: string, count: number): Promise<number[]>;
}

export type Workload = keyof Subject;

/** Runs an async job so many times with at most `width` under way. */
export async function inFlight(
  count: number,
  width: number,
  job: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({length: width}, async () => {
      while (next < count) await job(next++);
    }),
  );
}

/** @returns how many a second. */
export async function perSecond(count: number, job: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await job();
  return (count / (performance.now() - startedAt)) * 1000;
}
