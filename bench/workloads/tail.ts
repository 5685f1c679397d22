/** `tail`: whether the screen of `by tail` keeps up with a flood and leaves the keys their turn. */
import {measure} from '../measure.js';
import type {BenchOptions} from '../options.js';
import {budget, reportValues} from '../report.js';
import type {TailFigures} from './tail-flood.js';

const PER_SECOND = 5000;

export async function tail({rounds, quick}: BenchOptions): Promise<void> {
  const found: TailFigures[] = [];
  for (let round = 0; round < rounds; round++) found.push(await measure('tail', PER_SECOND, quick ? 2 : 10));
  const each = (field: keyof TailFigures) => found.map(one => one[field]);
  reportValues('tail', 'events shown', '/s', each('perSecond'));
  reportValues('tail', 'worst lag', 'ms', each('maxLagMs'));
  reportValues('tail', 'most heap', 'MB', each('maxHeapMb'));
  const lag = Math.max(...each('maxLagMs'));
  const heap = Math.max(...each('maxHeapMb'));
  budget('by tail of 5,000 events/s: lag under 100 ms', lag < 100, `${lag.toFixed(0)} ms`);
  budget('by tail of 5,000 events/s: heap under 100 MB', heap < 100, `${heap.toFixed(0)} MB`);
}
