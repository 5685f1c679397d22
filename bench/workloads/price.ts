/** `price`: where a task's time goes, by adding one thing after the other to a hand-written loop. */
import {measure} from '../measure.js';
import type {BenchOptions} from '../options.js';
import {reportRatio, reportValues} from '../report.js';
import {withServer} from '../server.js';
import {quantile} from '../stats.js';
import {SCATTERED} from '../subject.js';
import type {Step} from '../subjects/priced.js';

const PRICED = {
  sendInFlight: {title: 'price, send 100', count: 30_000, unit: '/s'},
  endToEnd: {title: 'price, e2e', count: 20_000, unit: '/s'},
  latency: {title: 'price, latency p50', count: 1000, unit: 'ms'},
  call: {title: 'price, call p50', count: 1000, unit: 'ms'},
  scatter: {title: 'price, scatter p50', count: 100, unit: 'ms'},
} as const;
type Priced = keyof typeof PRICED;
const QUICK = 0.25;
const WHOLE = ['raw', 'bullmq', 'ours'] as const;
const STEPS: Readonly<Record<Step, string>> = {
  documents: 'raw and documents',
  records: 'these and records',
};

export async function price({rounds, quick}: BenchOptions): Promise<void> {
  for (const what of Object.keys(PRICED) as Priced[]) await priceOf(what, rounds, quick ? QUICK : 1);
}

async function priceOf(what: Priced, rounds: number, part: number): Promise<void> {
  const {title, unit} = PRICED[what];
  const count = PRICED[what].count * part;
  const found = new Map<string, number[]>();
  const note = (name: string, value: number) => found.set(name, [...(found.get(name) ?? []), value]);
  for (let round = 0; round < rounds; round++) {
    for (const subject of WHOLE)
      note(
        subject,
        await withServer(async url =>
          what === 'sendInFlight' || what === 'endToEnd'
            ? measure('rate', subject, what, url, count)
            : quantile(await measure('times', subject, what, url, count), 0.5),
        ),
      );
    for (const step of Object.keys(STEPS) as Step[])
      note(STEPS[step], await withServer(url => priceOfStep(what, step, url, count)));
  }
  const theirs = found.get('bullmq') ?? [];
  for (const name of ['raw', ...Object.values(STEPS), 'ours', 'bullmq']) {
    const values = found.get(name) ?? [];
    reportValues(title, name, unit, values);
    if (name !== 'bullmq') reportRatio(title, `${name}/bullmq`, values, theirs);
  }
}

async function priceOfStep(what: Priced, step: Step, url: string, count: number): Promise<number> {
  if (what !== 'call' && what !== 'scatter') return measure('priced', what, step, url, count);
  return quantile(await measure('pricedCalls', step, url, count, what === 'call' ? 1 : SCATTERED), 0.5);
}
