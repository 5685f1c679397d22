/** What every subject of the bench can do. Each measurement runs in a process of its own, on a server just started. */
export interface Subject {
  /** Sends one by one, each awaited. @returns sends a second. */
  sendAwaited(url: string, count: number): Promise<number>;
  /** Sends with 100 under way. @returns sends a second. */
  sendInFlight(url: string, count: number): Promise<number>;
  /** Hands over 500 at a time, the next when all are accepted. @returns sends a second. */
  sendMany(url: string, count: number): Promise<number>;
  /** Works off what waits, one worker with 50 slots. @returns tasks a second, the worker's start included. */
  drain(url: string, count: number): Promise<number>;
  /** So many tasks in sessions of their own, 200 chunks each, all under way together. @returns chunks a second. */
  sessions(url: string, count: number): Promise<number>;
  /** As {@link endToEnd}, with two workers. */
  endToEndTwo(url: string, count: number): Promise<number>;
  /** Puts so many failed tasks back. @returns tasks a second. */
  replay(url: string, count: number): Promise<number>;
  /** Sends and works off tasks of one chunk and an end, one worker with 50 slots. @returns tasks a second. */
  endToEnd(url: string, count: number): Promise<number>;
  /** One task that emits so many chunks, awaiting each. @returns chunks a second, until the task has ended. */
  stream(url: string, chunks: number): Promise<number>;
  /** From the send to the first chunk a blocked reader sees, nothing else going on. @returns milliseconds of each. */
  latency(url: string, count: number): Promise<number[]>;
  /** A task that has {@link SCATTERED} others done and joins what they answer, nothing else going on. @returns milliseconds of each. */
  scatter(url: string, count: number): Promise<number[]>;
  /** A task that has one other done and waits for its answer. @returns milliseconds of each. */
  call(url: string, count: number): Promise<number[]>;
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

/** Of XREAD and XREADGROUP. */
export type StreamReply = [stream: string, entries: [id: string, fields: string[]][]][];

/** What gives the milliseconds of each. */
export type Timed = 'latency' | 'scatter' | 'call';
export type Rated = Exclude<keyof Subject, Timed | 'open'>;
/** Tasks that one of `scatter` hands out. */
export const SCATTERED = 100;
/** Handed over at once by `sendMany`. */
export const TOGETHER = 500;
/** What each task of `sessions` says. */
export const CHUNKS = 200;
export type SubjectName =
  'raw' | 'bullmq' | 'bullmq, held' | 'ours' | 'ours, logging' | 'ours, messages' | 'ours, Redis traces';

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
