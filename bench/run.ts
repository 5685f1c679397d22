/**
 * `npm run bench`: by-toolkit beside raw ioredis and BullMQ in the same run, because a figure alone is not stable.
 * Rounds are interleaved; every measurement has a fresh process and a fresh server. One JSON line a result on standard
 * output, the same for people on standard error. Nothing here fails for being slow.
 *
 *   --only send,e2e     some workloads; the list is in options.ts
 *   --rounds 3          how many rounds
 *   --quick             smaller counts
 */
import {messageOf} from '../src/errors.js';
import {readOptions, USAGE, type BenchOptions, type WorkloadName} from './options.js';
import {reportBudget, say} from './report.js';
import {interrupted, stopServersOnSignal} from './server.js';
import {backlog} from './workloads/backlog.js';
import {coldStart} from './workloads/cold-start.js';
import {compareRates, compareTimes, RATED, TIMED} from './workloads/compared.js';
import {cost} from './workloads/cost.js';
import {journal} from './workloads/journal.js';
import {memory} from './workloads/memory.js';
import {price} from './workloads/price.js';
import {runs} from './workloads/runs.js';
import {tail} from './workloads/tail.js';

const rates = (group: WorkloadName) => async (options: BenchOptions) => {
  for (const workload of RATED) if (workload.group === group) await compareRates(workload, options);
};

const times = (group: WorkloadName) => async (options: BenchOptions) => {
  for (const workload of TIMED) if (workload.name === group) await compareTimes(workload, options);
};

const workloads: Readonly<Record<WorkloadName, (options: BenchOptions) => Promise<void>>> = {
  send: rates('send'),
  drain: rates('drain'),
  e2e: rates('e2e'),
  stream: rates('stream'),
  sessions: rates('sessions'),
  latency: times('latency'),
  scatter: times('scatter'),
  call: times('call'),
  replay: rates('replay'),
  cost,
  price,
  journal,
  runs,
  backlog,
  memory,
  'cold-start': coldStart,
  tail,
};

async function main(options: BenchOptions): Promise<void> {
  for (const name of options.only) {
    say(name);
    await workloads[name](options);
  }
  reportBudget();
}

let options: BenchOptions;
try {
  options = readOptions(process.argv.slice(2));
} catch (error) {
  say(`${messageOf(error)}\n${USAGE}`);
  process.exit(2);
}
stopServersOnSignal();
try {
  await main(options);
} catch (error) {
  // A signal ends the process by itself, once the servers have stopped.
  if (!interrupted.signal.aborted) throw error;
}
