/** `runs`: tasks of the run layer beside plain sends of the same work, in interleaved rounds. */
import {measure} from '../measure.js';
import type {BenchOptions} from '../options.js';
import {report, reportRatio, reportValues} from '../report.js';
import {withServer} from '../server.js';
import type {RunLayerCost} from './run-layer.js';

/** What a pool has unless its agent's profile says otherwise, and as many as the worker has slots. */
const POOLS = {few: 4, many: 100} as const;
const PLAIN = 'plain sends';
const SUBJECTS = [PLAIN, `tasks, pool of ${POOLS.few}`, `tasks, pool of ${POOLS.many}`] as const;

export async function runs({rounds, quick}: BenchOptions): Promise<void> {
  const count = quick ? 500 : 3000;
  const found = new Map<string, RunLayerCost[]>(SUBJECTS.map(subject => [subject, []]));
  for (let round = 0; round < rounds; round++) {
    found.get(SUBJECTS[0])?.push(await withServer(url => measure('sends', url, count)));
    // Few at once wait for the orchestrator's next look again and again.
    found
      .get(SUBJECTS[1])
      ?.push(await withServer(url => measure('runs', url, Math.ceil(count / 10), POOLS.few)));
    found.get(SUBJECTS[2])?.push(await withServer(url => measure('runs', url, count, POOLS.many)));
  }
  const each = (subject: string, field: 'accepted' | 'ended' | 'commands' | 'roundTrips') =>
    (found.get(subject) ?? []).map(one => one[field]);
  for (const [field, title, unit] of [
    ['accepted', 'runs, accepted', '/s'],
    ['ended', 'runs, done', '/s'],
    ['commands', 'runs, cost', 'commands'],
    ['roundTrips', 'runs, cost', 'round trips'],
  ] as const) {
    for (const subject of SUBJECTS) reportValues(title, subject, unit, each(subject, field));
    for (const subject of SUBJECTS)
      if (subject !== PLAIN)
        reportRatio(title, `${subject} / ${PLAIN}`, each(subject, field), each(PLAIN, field));
  }
  for (const [subject, [cost]] of found) {
    const breakdown = Object.entries(cost?.byCommand ?? {})
      .filter(([, calls]) => calls >= 0.05)
      .sort(([, a], [, b]) => b - a)
      .map(([name, calls]) => `${name} ${calls.toFixed(2)}`);
    report(
      {workload: 'runs', subject, byCommand: cost?.byCommand},
      `${subject.padEnd(22)} ${breakdown.join(', ')}`,
    );
  }
}
