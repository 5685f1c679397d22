/** What runs in a process of its own: the measurements themselves. */
import {importBuilt} from './built.js';
import type * as Priced from './subjects/priced.js';
import type {Step} from './subjects/priced.js';
import type * as PricedCalls from './subjects/priced-calls.js';
import type {Rated, Subject, SubjectName, Timed} from './subject.js';

const subjects: Readonly<Record<SubjectName, () => Promise<Subject>>> = {
  raw: async () => (await import('./subjects/raw.js')).raw,
  bullmq: async () => (await import('./subjects/bullmq.js')).bullmq,
  ours: async () => (await import('./subjects/ours.js')).ours,
  'ours, logging': async () => (await import('./subjects/ours.js')).oursLogging,
  'ours, Redis traces': async () => (await import('./subjects/ours.js')).oursTraced,
  'ours, messages': async () => (await import('./subjects/ours.js')).oursMessages,
  'bullmq, held': async () => (await import('./subjects/bullmq.js')).bullmqHeld,
};

export const jobs = {
  rate: async (subject: SubjectName, workload: Rated, url: string, count: number) =>
    (await subjects[subject]())[workload](url, count),
  times: async (subject: SubjectName, workload: Timed, url: string, count: number) =>
    (await subjects[subject]())[workload](url, count),
  priced: async (
    what: 'sendInFlight' | 'endToEnd' | 'latency',
    step: Step,
    url: string,
    count: number,
  ): Promise<number> => ((await importBuilt('subjects/priced.ts')) as typeof Priced)[what](step, url, count),
  pricedCalls: async (step: Step, url: string, count: number, width: number) =>
    ((await importBuilt('subjects/priced-calls.ts')) as typeof PricedCalls).calls(step, url, count, width),
  taskCost: async (subject: SubjectName, url: string, count: number) =>
    (await import('./workloads/task-cost.js')).taskCost(await subjects[subject](), url, count),
  sendCost: async (url: string, workers: number, count: number) =>
    (await import('./workloads/send-cost.js')).sendCost(url, workers, count),
  backlog: async (url: string, waiting: number, count: number) =>
    (await import('./workloads/backlog-rates.js')).backlogRates(url, waiting, count),
  journal: async (url: string, entries: number) =>
    (await import('./workloads/journal-cost.js')).journalCost(url, entries),
  runs: async (url: string, count: number, concurrency: number) =>
    (await import('./workloads/run-layer.js')).taskCostOfRuns(url, count, concurrency),
  sends: async (url: string, count: number) =>
    (await import('./workloads/run-layer.js')).costOfSends(url, count),
  memory: async (url: string, few: number, many: number) =>
    (await import('./workloads/growth.js')).growth(url, few, many),
  tail: async (perSecond: number, seconds: number) =>
    (await import('./workloads/tail-flood.js')).tailUnderFlood(perSecond, seconds),
} satisfies Record<string, (...args: never[]) => Promise<unknown>>;

export type Jobs = typeof jobs;
