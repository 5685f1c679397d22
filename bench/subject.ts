/** What every subject of the bench can do. Each measurement runs in a process of its own, on a server just started. */
export interface Subject {
  /** Sends one by one, each awaited. @returns sends a second. */
  sendAwaited(url: string, count: number): Promise<number>;
  /** Sends with 100 under way. @returns sends a second. */
  sendInFlight(url: string, count: number): Promise<number>;
  /** Sends and works off tasks of one chunk and an end, one worker with 50 slots. @returns tasks a second. */
  endToEnd(url: string, count: number): Promise<number>;
  /** One task that emits so many chunks, awaiting each. @returns chunks a second, until the task has ended. */
  stream(url: string, chunks: number): Promise<number>;
  /** From the send to the first chunk a blocked reader sees, nothing else going on. @returns milliseconds of each. */
  latency(url: string, count: number): Promise<number[]>;
  /** A worker and a sender, for counting what a task costs. */
  open(url: string): Promise<OpenSubject>;
}

export interface OpenSubject {
  /** Sends one task of one chunk and an end. Resolves when it has ended, without asking the server for that. */
  task(): Promise<void>;
  /** The same for many, with 100 sends under way. */
  tasks(count: number): Promise<void>;
  close(): Promise<void>;
}

export type Rated = 'sendAwaited' | 'sendInFlight' | 'endToEnd' | 'stream';
export type SubjectName = 'raw' | 'bullmq' | 'ours' | 'ours, logging';

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

/** Looks every millisecond, in this process only. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 1));
}
