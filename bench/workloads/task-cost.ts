/** What one task of one chunk and its end costs the server, in commands and in round trips. */
import {Redis} from 'ioredis';
import {between, counters, sum} from '../counters.js';
import {median} from '../stats.js';
import type {Subject} from '../subject.js';

export interface TaskCost {
  /** Tasks one after the other: what is done for many at once is shared among them. */
  readonly commands: number;
  readonly roundTrips: number;
  readonly byCommand: Readonly<Record<string, number>>;
  /** Tasks with 100 under way: what a working system pays. */
  readonly busyCommands: number;
  readonly busyRoundTrips: number;
  /** A task with nothing before or after it, so nothing is shared. */
  readonly aloneCommands: number;
  readonly aloneRoundTrips: number;
}

/** Long enough for everything that is put off for a moment, and too short for the next heartbeat to matter. */
const QUIET_MS = 200;
const ALONE = 11;

const quiet = () => new Promise(resolve => setTimeout(resolve, QUIET_MS));

export async function taskCost(subject: Subject, url: string, count: number): Promise<TaskCost> {
  const redis = new Redis(url);
  const open = await subject.open(url);
  // Scripts are loaded and connections opened with the first tasks.
  for (let i = 0; i < 5; i++) await open.task();
  await quiet();

  const before = await counters(redis);
  for (let i = 0; i < count; i++) await open.task();
  await quiet();
  const made = between(before, await counters(redis));

  const calm = await counters(redis);
  await open.tasks(count * 5);
  await quiet();
  const busy = between(calm, await counters(redis));

  const alone: {commands: number; reads: number}[] = [];
  for (let i = 0; i < ALONE; i++) {
    const start = await counters(redis);
    await open.task();
    await quiet();
    const {byCommand, reads} = between(start, await counters(redis));
    alone.push({commands: sum(byCommand), reads});
  }
  await open.close();
  redis.disconnect();
  return {
    commands: sum(made.byCommand) / count,
    roundTrips: made.reads / count,
    busyCommands: sum(busy.byCommand) / (count * 5),
    busyRoundTrips: busy.reads / (count * 5),
    byCommand: Object.fromEntries([...made.byCommand].map(([name, calls]) => [name, calls / count])),
    // A heartbeat falls into a few of them, so not the mean.
    aloneCommands: median(alone.map(one => one.commands)),
    aloneRoundTrips: median(alone.map(one => one.reads)),
  };
}
