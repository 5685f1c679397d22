/** `--watch`: the same shown again and again, until a signal ends it. */
import {sleep} from '../clock.js';
import {ByError} from '../errors.js';
import type {Printer} from './printer.js';

const EVERY_MS = 2000;

/**
 * @param show prints for people, and returns what programs read.
 * @throws {ByError} USAGE for one JSON document, which has no end here; and what `show` throws.
 */
export async function showAgain(
  printer: Printer,
  signal: AbortSignal,
  show: () => Promise<object>,
  everyMs = EVERY_MS,
): Promise<void> {
  if (printer.mode === 'json') {
    throw new ByError('USAGE', '--watch never ends, and one JSON document has to.', {
      hint: 'Use -o jsonl: one line each time.',
    });
  }
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    if (!isFirst) printer.fresh();
    printer.event(await show());
    await sleep(everyMs, signal);
  }
}
