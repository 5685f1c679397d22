// A scheduler process for the fault tests: the built package. Its options are the JSON in argv[2].
// Standard output tells the test what happens, a line a thing.
import {createLogger} from '../../dist/src/index.js';
import {CronScheduler, openStore, taskPort} from '../../dist/src/orchestration/index.js';

const {store: at, scheduler} = JSON.parse(process.argv[2]);
const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

const store = openStore(at);
const tasks = taskPort(store);
const port = {
  ...tasks,
  async submitTask(params) {
    say('submits', params.idempotencyKey);
    const answer = await tasks.submitTask(params);
    say('submitted', params.idempotencyKey, answer.taskId, answer.idempotentHit ? 'again' : 'first');
    return answer;
  },
};
const log = createLogger({level: 'warn', write: line => process.stderr.write(`${line}\n`)});
say('ready');
await new CronScheduler({store, port, log, ...scheduler}).start({signal: new AbortController().signal});
