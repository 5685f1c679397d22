// A scheduler process for the fault tests: the built package. Its options are the JSON in argv[2]. It begins no more than
// `most` submits: whoever is to kill it may be too slow to do it before everything is done.
// Standard output tells the test what happens, a line a thing.
import {createLogger} from '../../dist/src/index.js';
import {CronScheduler, openStore, taskPort} from '../../dist/src/orchestration/index.js';

const {store: at, scheduler, most} = JSON.parse(process.argv[2]);
const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

const store = openStore(at);
const tasks = taskPort(store);
let begun = 0;
const port = {
  ...tasks,
  async submitTask(params) {
    if (++begun > most) await new Promise(() => undefined);
    say('submits', params.idempotencyKey);
    const answer = await tasks.submitTask(params);
    say('submitted', params.idempotencyKey, answer.taskId, answer.idempotentHit ? 'again' : 'first');
    return answer;
  },
};
const log = createLogger({level: 'warn', write: line => process.stderr.write(`${line}\n`)});
say('ready');
await new CronScheduler({store, port, log, ...scheduler}).start({signal: new AbortController().signal});
