/** What the bench says: one JSON line a result on standard output, a line for people on standard error. */
import {ratios, spread, summary} from './stats.js';

export function report(line: Readonly<Record<string, unknown>>, text: string): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
  say(`  ${text}`);
}

/** For people only. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** One figure for each round. */
export function reportValues(
  workload: string,
  subject: string,
  unit: string,
  values: readonly number[],
): void {
  report(
    {workload, subject, unit, ...summary(values), values},
    `${workload.padEnd(22)} ${subject.padEnd(22)} ${spread(values)} ${unit}`,
  );
}

/** Ours against another, round by round. */
export function reportRatio(
  workload: string,
  name: string,
  ours: readonly number[],
  theirs: readonly number[],
): void {
  const values = ratios(ours, theirs);
  report(
    {workload, ratio: name, ...summary(values), values},
    `${workload.padEnd(22)} ${name.padEnd(22)} ${spread(values)}`,
  );
}

const verdicts: {budget: string; isMet: boolean; found: string}[] = [];

/** Whether a promise was kept in this run. Said, never asserted: the machine may have been busy. */
export function budget(name: string, isMet: boolean, found: string): void {
  verdicts.push({budget: name, isMet, found});
}

export function reportBudget(): void {
  if (verdicts.length > 0) say('budget');
  for (const {budget: name, isMet, found} of verdicts)
    report({budget: name, met: isMet, found}, `${isMet ? 'met   ' : 'MISSED'}  ${name}: ${found}`);
}
