/**
 * `npm run bench`: by-toolkit beside raw ioredis and BullMQ in the same run, because a figure alone is not stable.
 * Rounds are interleaved; every measurement has a fresh process and a fresh server. One JSON line a result on standard
 * output, a table for people on standard error. Nothing here fails for being slow.
 *
 *   --only send,e2e     some workloads: send, e2e, stream, latency, cost, cold-start, tail
 *   --rounds 3          how many rounds
 *   --quick             smaller counts
 */
import {execFile} from 'node:child_process';
import {join} from 'node:path';
import {parseArgs, promisify} from 'node:util';
import {startRedisServer} from '../test/support/redis-server.js';
import {commands, isBuilt, loadedByHelp, timeRun} from './cold-start.js';
import {sendCost, taskCost} from './cost.js';
import {figure, median, quantile, spread} from './stats.js';
import type {Workload} from './subject.js';
import {tailUnderFlood} from './tail.js';

const {values: options} = parseArgs({
  options: {
    only: {type: 'string'},
    rounds: {type: 'string', default: '3'},
    quick: {type: 'boolean', default: false},
  },
});
const rounds = Number(options.rounds);
const scale = options.quick ? 0.1 : 1;
const wanted = options.only?.split(',');
const isWanted = (name: string) => wanted === undefined || wanted.includes(name);

const subjects = ['raw', 'bullmq', 'ours'] as const;
type SubjectName = (typeof subjects)[number];

const workloads: readonly {group: string; name: Workload; count: number; unit: string}[] = [
  {group: 'send', name: 'sendAwaited', count: 10_000, unit: '/s'},
  {group: 'send', name: 'sendInFlight', count: 30_000, unit: '/s'},
  {group: 'e2e', name: 'endToEnd', count: 20_000, unit: '/s'},
  {group: 'stream', name: 'stream', count: 10_000, unit: '/s'},
  {group: 'latency', name: 'latency', count: 1000, unit: 'ms'},
];

function report(line: Record<string, unknown>, text: string): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
  process.stderr.write(`${text}\n`);
}

function budget(name: string, isMet: boolean, found: string): void {
  report({budget: name, met: isMet, found}, `  ${isMet ? 'met   ' : 'MISSED'}  ${name}: ${found}`);
}

async function measure(subject: SubjectName, workload: Workload, count: number): Promise<number | number[]> {
  const server = await startRedisServer();
  try {
    const child = join(import.meta.dirname, 'child.ts');
    const args = ['--import', 'tsx', child, subject, workload, server.url, String(count)];
    const {stdout} = await promisify(execFile)(process.execPath, args, {maxBuffer: 64e6});
    return (JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}') as {value: number | number[]}).value;
  } finally {
    await server.stop();
  }
}

async function compare({name, count, unit}: (typeof workloads)[number]): Promise<void> {
  const found = new Map<SubjectName, (number | number[])[]>(subjects.map(subject => [subject, []]));
  for (let round = 0; round < rounds; round++) {
    for (const subject of subjects)
      found.get(subject)?.push(await measure(subject, name, Math.ceil(count * scale)));
  }
  const parts =
    name === 'latency'
      ? ([
          ['p50', 0.5],
          ['p99', 0.99],
        ] as const)
      : ([['', 0]] as const);
  for (const [part, q] of parts) {
    const per = (subject: SubjectName) =>
      (found.get(subject) ?? []).map(value => (typeof value === 'number' ? value : quantile(value, q)));
    const ours = per('ours');
    const title = `${name} ${part}`.trim();
    for (const subject of subjects)
      report(
        {workload: title, subject, unit, values: per(subject)},
        `  ${title.padEnd(14)} ${subject.padEnd(7)} ${spread(per(subject))} ${unit}`,
      );
    for (const other of ['raw', 'bullmq'] as const) {
      const ratios = per(other).map((value, round) => (ours[round] ?? NaN) / value);
      report(
        {workload: title, ratio: `ours/${other}`, values: ratios},
        `  ${title.padEnd(14)} ours/${other} ${spread(ratios)}`,
      );
    }
  }
}

async function cost(): Promise<void> {
  const server = await startRedisServer();
  try {
    const task = await taskCost(server.url, 100);
    const made = Object.entries(task.byCommand).filter(([, calls]) => calls >= 0.05);
    report(
      {workload: 'cost', ...task},
      `  a task: ${made.map(([name, calls]) => `${name} ${calls.toFixed(2)}`).join(', ')}`,
    );
    budget('a task costs at most 18 commands', task.commands <= 18, task.commands.toFixed(2));
    budget('a task costs at most 6 round trips', task.roundTrips <= 6, task.roundTrips.toFixed(2));
    const few = await sendCost(server.url, 10, 200);
    const many = await sendCost(server.url, 10_000, 200);
    report(
      {workload: 'growth', few, many},
      `  a send with 10 workers ${few.ms.toFixed(2)} ms, with 10,000 ${many.ms.toFixed(2)} ms`,
    );
    budget(
      'the online check costs the same with 10 and 10,000 workers',
      Math.abs(many.commands - few.commands) < 0.01,
      `${few.commands.toFixed(2)} and ${many.commands.toFixed(2)} commands`,
    );
  } finally {
    await server.stop();
  }
}

async function coldStart(): Promise<void> {
  if (!isBuilt()) {
    process.stderr.write('  skipped: not built (npm run build)\n');
    return;
  }
  const server = await startRedisServer();
  try {
    const table = commands(server.url);
    const times = new Map(Object.keys(table).map(name => [name, [] as number[]]));
    for (let round = 0; round < Math.max(5, rounds * 5); round++) {
      for (const [name, {args, env}] of Object.entries(table)) times.get(name)?.push(timeRun(args, env));
    }
    const node = median(times.get('node') ?? []);
    for (const [name, values] of times)
      report(
        {workload: 'cold-start', command: name, values},
        `  ${name.padEnd(22)} ${spread(values)} ms  ${figure(median(values) / node)}x node`,
      );
    for (const [name, most] of [
      ['by --version', 1.5],
      ['by worker list --json', 3.5],
    ] as const) {
      const ratio = median(times.get(name) ?? []) / node;
      budget(`${name} within ${most}x of node`, ratio <= most, `${ratio.toFixed(2)}x`);
    }
    const loaded = loadedByHelp();
    budget(
      'by --help loads neither Ink, React nor ioredis',
      loaded.length === 0,
      loaded.join(', ') || 'none of them',
    );
  } finally {
    await server.stop();
  }
}

async function tail(): Promise<void> {
  const figures = await tailUnderFlood(5000, options.quick ? 3 : 10);
  report(
    {workload: 'tail', ...figures},
    `  ${figures.events} events: worst lag ${figures.maxLagMs.toFixed(0)} ms, heap ${figures.heapMb.toFixed(0)} MB`,
  );
  budget(
    'tail of 5,000 events/s keeps lag under 100 ms',
    figures.maxLagMs < 100,
    `${figures.maxLagMs.toFixed(0)} ms`,
  );
  budget(
    'tail of 5,000 events/s keeps heap under 100 MB',
    figures.heapMb < 100,
    `${figures.heapMb.toFixed(0)} MB`,
  );
}

for (const workload of workloads) {
  if (!isWanted(workload.group)) continue;
  process.stderr.write(`${workload.name}\n`);
  await compare(workload);
}
for (const [name, job] of [
  ['cost', cost],
  ['cold-start', coldStart],
  ['tail', tail],
] as const) {
  if (!isWanted(name)) continue;
  process.stderr.write(`${name}\n`);
  await job();
}
process.exit(0);
