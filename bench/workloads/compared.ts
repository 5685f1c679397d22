/** Rates and latency: by-toolkit beside raw ioredis and BullMQ, in interleaved rounds. */
import {measure} from '../measure.js';
import type {BenchOptions, WorkloadName} from '../options.js';
import {reportRatio, reportValues} from '../report.js';
import {withServer} from '../server.js';
import {quantile} from '../stats.js';
import type {Rated, SubjectName, Timed} from '../subject.js';

interface RatedWorkload {
  readonly group: WorkloadName;
  readonly name: Rated;
  readonly title: string;
  readonly count: number;
  /** Beside raw, BullMQ and ours. */
  readonly also?: readonly SubjectName[];
}

export const RATED: readonly RatedWorkload[] = [
  {group: 'send', name: 'sendAwaited', title: 'send, awaited', count: 10_000},
  {group: 'send', name: 'sendInFlight', title: 'send, 100 in flight', count: 30_000},
  {group: 'send', name: 'sendMany', title: 'send, 500 together', count: 30_000},
  {group: 'drain', name: 'drain', title: 'drain', count: 20_000},
  {group: 'e2e', name: 'endToEndTwo', title: 'e2e, 2 workers', count: 20_000},
  {group: 'e2e', name: 'endToEnd', title: 'e2e', count: 20_000, also: ['ours, logging']},
  {group: 'stream', name: 'stream', title: 'stream', count: 10_000},
  {group: 'sessions', name: 'sessions', title: '200 sessions x 200', count: 200},
  {group: 'replay', name: 'replay', title: 'replay', count: 10_000},
];

interface TimedWorkload {
  readonly name: Timed;
  readonly title: string;
  readonly count: number;
  readonly also?: readonly SubjectName[];
}

/** How long one takes, one after the other. */
export const TIMED: readonly TimedWorkload[] = [
  {name: 'latency', title: 'latency', count: 1000},
  {name: 'scatter', title: 'scatter 1-100-1', count: 200, also: ['ours, messages']},
  {name: 'call', title: 'call and wait', count: 1000, also: ['ours, messages', 'bullmq, held']},
];
/** `--quick` does this part of the work. */
const QUICK = 0.1;

const peers = ['raw', 'bullmq'] as const;

export async function compareRates(workload: RatedWorkload, {rounds, quick}: BenchOptions): Promise<void> {
  const count = Math.ceil(workload.count * (quick ? QUICK : 1));
  const subjects = [...peers, 'ours' as const, ...(workload.also ?? [])];
  const found = await interleaved(rounds, subjects, (subject, url) =>
    measure('rate', subject, workload.name, url, count),
  );
  compare(workload.title, '/s', found);
}

export async function compareTimes(workload: TimedWorkload, {rounds, quick}: BenchOptions): Promise<void> {
  const count = Math.ceil(workload.count * (quick ? QUICK * 2 : 1));
  const subjects = [...peers, 'ours' as const, ...(workload.also ?? [])];
  const found = await interleaved(rounds, subjects, (subject, url) =>
    measure('times', subject, workload.name, url, count),
  );
  for (const [part, q] of [
    ['p50', 0.5],
    ['p99', 0.99],
  ] as const)
    compare(
      `${workload.title} ${part}`,
      'ms',
      new Map([...found].map(([subject, all]) => [subject, all.map(one => quantile(one, q))])),
    );
}

/** Each round measures every subject once, each on a server of its own. */
async function interleaved<T>(
  rounds: number,
  subjects: readonly SubjectName[],
  once: (subject: SubjectName, url: string) => Promise<T>,
): Promise<Map<SubjectName, T[]>> {
  const found = new Map<SubjectName, T[]>(subjects.map(subject => [subject, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [subject, values] of found) values.push(await withServer(url => once(subject, url)));
  }
  return found;
}

function compare(title: string, unit: string, found: ReadonlyMap<SubjectName, readonly number[]>): void {
  for (const [subject, values] of found) reportValues(title, subject, unit, values);
  const ours = found.get('ours') ?? [];
  for (const [subject, values] of found)
    if (subject !== 'ours') reportRatio(title, `ours/${subject}`, ours, values);
}
