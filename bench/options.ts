/** What `npm run bench` may be told. */
import {parseArgs} from 'node:util';

export const WORKLOADS = [
  'send',
  'drain',
  'e2e',
  'stream',
  'sessions',
  'latency',
  'scatter',
  'call',
  'replay',
  'cost',
  'price',
  'journal',
  'runs',
  'backlog',
  'memory',
  'cold-start',
  'tail',
] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

export interface BenchOptions {
  readonly only: readonly WorkloadName[];
  readonly rounds: number;
  readonly quick: boolean;
}

export const USAGE = `npm run bench -- [--only ${WORKLOADS.join(',')}] [--rounds 3] [--quick]`;

/** @throws {RangeError} naming what is wrong. */
export function readOptions(argv: readonly string[]): BenchOptions {
  const {values} = parseArgs({
    args: [...argv],
    options: {
      only: {type: 'string'},
      rounds: {type: 'string', default: '3'},
      quick: {type: 'boolean', default: false},
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new RangeError(`--rounds ${values.rounds}: a whole number from 1`);
  const only = values.only?.split(',').map(name => {
    const known = WORKLOADS.find(workload => workload === name);
    if (known === undefined) throw new RangeError(`--only ${name}: none of ${WORKLOADS.join(', ')}`);
    return known;
  });
  return {only: only ?? WORKLOADS, rounds, quick: values.quick};
}
