/** `journal`: a turn of a durable agent that replays its journal, with 10 entries and with 1,000. */
import {measure} from '../measure.js';
import type {BenchOptions} from '../options.js';
import {budget, report} from '../report.js';
import {withServer} from '../server.js';

export async function journal({quick}: BenchOptions): Promise<void> {
  const [few, many] = [10, quick ? 200 : 1000];
  const short = await withServer(url => measure('journal', url, few));
  const long = await withServer(url => measure('journal', url, many));
  for (const [entries, cost] of [
    [few, short],
    [many, long],
  ] as const) {
    const breakdown = Object.entries(cost.byCommand)
      .sort(([, a], [, b]) => b - a)
      .map(([name, calls]) => `${name} ${calls}`);
    report(
      {workload: 'journal', entries, ...cost},
      `${'journal'.padEnd(22)} ${`${entries} entries`.padEnd(22)} ${cost.commands} commands, ` +
        `${cost.journalReads} of them hgetall, replayed in ${cost.replayMs.toFixed(1)} ms: ${breakdown.join(', ')}`,
    );
  }
  budget(
    `a replay of ${many} entries costs one read, as one of ${few} does`,
    long.journalReads === 1 && short.journalReads === 1,
    `${long.journalReads} and ${short.journalReads} (commands of the whole turn: ${long.commands} and ${short.commands})`,
  );
}
