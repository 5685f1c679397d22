// A manager process for the fault tests: the built package, with a provider that starts nobody and never decides.
// Its options are the JSON in argv[2]. Standard output tells the test what happens, a line a thing.
import {createLogger, openStore, startManager} from '../../dist/src/index.js';

const {store, manager} = JSON.parse(process.argv[2]);
const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

await startManager(openStore(store), {
  provider: {
    name: 'asked',
    async wakeup(request) {
      say('asked', request.executionId);
      return {status: 'STARTING'};
    },
  },
  ...manager,
  log: createLogger({level: 'warn', write: line => process.stderr.write(`${line}\n`)}),
});
say('ready');
