/** One measurement in a fresh process: `child.ts JOB ARGUMENTS`, the arguments as a JSON array. Prints one JSON line. */
import {jobs} from './jobs.js';

const [name = '', args = '[]'] = process.argv.slice(2);
const job = (jobs as Readonly<Record<string, (...args: unknown[]) => Promise<unknown>>>)[name];
if (job === undefined) throw new Error(`there is no job "${name}"`);
const value = await job(...(JSON.parse(args) as unknown[]));
process.stdout.write(`${JSON.stringify({value})}\n`, () => process.exit(0));
