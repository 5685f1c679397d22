/** `backlog`: sending and draining while 10,000 wait, and while 1,000,000 do. */
import {measure} from '../measure.js';
import type {BenchOptions} from '../options.js';
import {budget, reportRatio, reportValues} from '../report.js';
import {withServer} from '../server.js';
import {median, ratios} from '../stats.js';
import type {BacklogRates} from './backlog-rates.js';

export async function backlog({rounds, quick}: BenchOptions): Promise<void> {
  const few: BacklogRates[] = [];
  const many: BacklogRates[] = [];
  const most = quick ? 100_000 : 1_000_000;
  for (let round = 0; round < rounds; round++) {
    for (const [waiting, found] of [
      [10_000, few],
      [most, many],
    ] as const)
      found.push(await withServer(url => measure('backlog', url, waiting, quick ? 3000 : 8000)));
  }
  for (const what of ['sends', 'drains'] as const) {
    const [ofFew, ofMany] = [few.map(one => one[what]), many.map(one => one[what])];
    reportValues('backlog', `${what}, 10,000 waiting`, '/s', ofFew);
    reportValues('backlog', `${what}, ${most.toLocaleString('en')} waiting`, '/s', ofMany);
    reportRatio('backlog', `${what}, many/few`, ofMany, ofFew);
    const ratio = median(ratios(ofMany, ofFew));
    budget(
      `${what} with ${most.toLocaleString('en')} waiting: at least 0.8 x those with 10,000`,
      ratio >= 0.8,
      ratio.toFixed(2),
    );
  }
}
