/** One thing shown as a list of names and values. */
import {paint, type Printer, type Text} from './printer.js';

export type Fact = readonly [name: string, value: Text];

/** Facts without a value are left out. */
export function showFacts(printer: Printer, facts: readonly (Fact | undefined)[]): void {
  printer.table(
    facts.filter(fact => fact !== undefined),
    [
      {header: '', value: ([name]) => paint.dim(name)},
      {header: '', value: ([, value]) => value},
    ],
    {header: false},
  );
}
