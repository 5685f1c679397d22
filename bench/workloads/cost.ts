/** `cost`: commands and round trips of a task beside the others', and of a send whoever is online. */
import {measure} from '../measure.js';
import type {BenchOptions} from '../options.js';
import {budget, report, reportRatio, reportValues} from '../report.js';
import {withServer} from '../server.js';
import {median, ratios} from '../stats.js';
import type {SendCost} from './send-cost.js';
import type {TaskCost} from './task-cost.js';

const subjects = ['raw', 'bullmq', 'ours', 'ours, Redis traces'] as const;

export async function cost(options: BenchOptions): Promise<void> {
  await tasks(options);
  await sends(options);
}

/** Counts hardly vary, so one round is enough. */
async function tasks({quick}: BenchOptions): Promise<void> {
  const found = new Map<(typeof subjects)[number], TaskCost>();
  for (const subject of subjects)
    found.set(subject, await withServer(url => measure('taskCost', subject, url, quick ? 40 : 200)));
  for (const [subject, task] of found) {
    const breakdown = Object.entries(task.byCommand)
      .filter(([, calls]) => calls >= 0.05)
      .sort(([, a], [, b]) => b - a)
      .map(([name, calls]) => `${name} ${calls.toFixed(2)}`);
    report(
      {workload: 'task cost', subject, ...task},
      `${'task cost'.padEnd(22)} ${subject.padEnd(22)} ${task.commands.toFixed(2)} commands, ` +
        `${task.roundTrips.toFixed(2)} round trips (alone ${task.aloneCommands} and ${task.aloneRoundTrips}, ` +
        `100 under way ${task.busyCommands.toFixed(2)} and ${task.busyRoundTrips.toFixed(2)}): ` +
        breakdown.join(', '),
    );
  }
  const ours = found.get('ours');
  if (ours === undefined) return;
  for (const other of ['raw', 'bullmq'] as const) {
    const theirs = found.get(other);
    if (theirs === undefined) continue;
    reportRatio('commands', `ours/${other}`, [ours.commands], [theirs.commands]);
    reportRatio('round trips', `ours/${other}`, [ours.roundTrips], [theirs.roundTrips]);
  }
  const {commands, roundTrips, aloneCommands, aloneRoundTrips} = ours;
  budget(
    'the same with 100 under way: at most 12 commands',
    ours.busyCommands <= 12,
    ours.busyCommands.toFixed(2),
  );
  const traced = found.get('ours, Redis traces');
  if (traced !== undefined)
    budget(
      'the same with Redis traces: at most 18 commands, 100 under way',
      traced.busyCommands <= 18,
      `${traced.busyCommands.toFixed(2)}, one after the other ${traced.commands.toFixed(2)}, alone ${traced.aloneCommands}`,
    );
  const both = (many: number, alone: number) => `${many.toFixed(2)}, alone ${alone}`;
  budget(
    'a task with one chunk and its end: at most 18 commands',
    Math.max(commands, aloneCommands) <= 18,
    both(commands, aloneCommands),
  );
  budget(
    'a task with one chunk and its end: at most 6 round trips',
    Math.max(roundTrips, aloneRoundTrips) <= 6,
    both(roundTrips, aloneRoundTrips),
  );
}

async function sends({rounds, quick}: BenchOptions): Promise<void> {
  const few: SendCost[] = [];
  const many: SendCost[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const [workers, found] of [
      [10, few],
      [10_000, many],
    ] as const)
      found.push(await withServer(url => measure('sendCost', url, workers, quick ? 300 : 2000)));
  }
  const each = (costs: readonly SendCost[], field: keyof SendCost) => costs.map(one => one[field]);
  for (const [subject, found] of [
    ['10 workers', few],
    ['10,000 workers', many],
  ] as const) {
    reportValues('send cost', subject, 'commands', each(found, 'commands'));
    reportValues('send cost', subject, 'round trips', each(found, 'roundTrips'));
    reportValues('send cost', subject, 'ms', each(found, 'ms'));
  }
  reportRatio('send cost', '10,000/10 workers, ms', each(many, 'ms'), each(few, 'ms'));

  const trips = median(each(few, 'roundTrips'));
  // The server may find two small writes in one read, and rounding must not fail a promise that is kept.
  budget('a send is one round trip', Math.abs(trips - 1) < 0.01, trips.toFixed(2));
  const fewCommands = median(each(few, 'commands'));
  const manyCommands = median(each(many, 'commands'));
  budget(
    'the online check costs as many commands with 10,000 workers as with 10',
    Math.abs(manyCommands - fewCommands) < 0.01,
    `${manyCommands.toFixed(2)} and ${fewCommands.toFixed(2)} for a send ` +
      `(time x ${median(ratios(each(many, 'ms'), each(few, 'ms'))).toFixed(2)})`,
  );
}
