/** `by add`: what is written, or would be, and what to do next. */
import path from 'node:path';
import {
  carryOut,
  planAddition,
  type Addition,
  type AddChoice,
  type ConfigChange,
} from '../scaffold/add-to-project.js';
import {paint, type Printer} from './printer.js';

export interface RunAdd extends AddChoice {
  readonly dryRun: boolean;
  readonly cwd: string;
}

/** @throws {ByError} as planAddition. */
export async function runAdd(printer: Printer, run: RunAdd) {
  const addition = await planAddition(run, run.cwd);
  const {dir, part, name, agentType, files, config} = addition;
  const shown = (file: string) => path.relative(run.cwd, path.join(dir, file));
  const change = run.dryRun ? planned(config) : await carryOut(addition);
  for (const file of files) {
    const lines = file.content.split('\n').length - 1;
    printer.out(paint.green('  create  '), shown(file.path), paint.dim(`  ${lines} lines`));
  }
  if (config !== undefined && change === 'edited') {
    printer.out(paint.green('  edit    '), shown(config.file));
    for (const line of diff(config))
      printer.out('          ', line.startsWith('+') ? paint.green(line) : paint.red(line));
  }
  if (config !== undefined && change === 'by-hand') {
    printer.warn(`No place was found in ${shown(config.file)}: add this to its ${config.list}.`);
    printer.note('  ', config.item);
  }
  if (run.dryRun) printer.note('Nothing was written.');
  else printer.out('Next:   ', nextStep(addition));
  return {
    ...{kind: part, name, agentType, files: files.map(file => shown(file.path))},
    config:
      config === undefined ? null : {file: shown(config.file), list: config.list, item: config.item, change},
    written: !run.dryRun,
  };
}

const planned = (config: ConfigChange | undefined) =>
  config === undefined ? 'unchanged' : config.after === undefined ? 'by-hand' : 'edited';

/** The lines between what both texts begin and end with. */
function diff({before, after}: ConfigChange): string[] {
  const [old, now] = [before.split('\n'), (after ?? before).split('\n')];
  let head = 0;
  while (head < old.length && old[head] === now[head]) head++;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old.at(-1 - tail) === now.at(-1 - tail))
    tail++;
  return [
    ...old.slice(head, old.length - tail).map(line => `- ${line}`),
    ...now.slice(head, now.length - tail).map(line => `+ ${line}`),
  ];
}

function nextStep({part, name, agentType}: Addition): string {
  switch (part) {
    case 'worker':
      return `npx by dev, and npx by send ${agentType} "three short words" --follow`;
    case 'plugin':
      return `npx by plugin check src/${name}.ts`;
    case 'provider':
      return `npx by provider check src/${name}.ts`;
    case 'test':
      return 'npm test';
  }
}
