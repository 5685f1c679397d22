/** What was found, a line each, with what to do about it below. */
import {levelSign, type Level} from './level-sign.js';
import {paint, type Printer} from './printer.js';

export interface Finding {
  readonly level: Level;
  readonly about: string;
  readonly text: string;
  readonly fix?: string;
}

export function showFindings(printer: Printer, findings: readonly Finding[]): void {
  const width = Math.max(0, ...findings.map(({about}) => about.length));
  for (const {level, about, text, fix} of findings) {
    printer.out(levelSign(printer, level), ' ', about.padEnd(width), '  ', text);
    if (fix !== undefined && fix !== '') printer.out(' '.repeat(width + 4), paint.dim(fix));
  }
}
