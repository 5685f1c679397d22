/** One measurement: a subject, a workload, a server. Prints one JSON line. */
import {bullmq} from './subjects/bullmq.js';
import {ours} from './subjects/ours.js';
import {raw} from './subjects/raw.js';
import type {Subject, Workload} from './subject.js';

const [name = '', workload = '', url = '', count = '0'] = process.argv.slice(2);
const subject: Subject | undefined = {ours, raw, bullmq}[name];
const value = await subject?.[workload as Workload]?.(url, Number(count));
if (value === undefined) throw new Error(`"${name}" has no workload "${workload}"`);
process.stdout.write(`${JSON.stringify({value})}\n`, () => process.exit(0));
