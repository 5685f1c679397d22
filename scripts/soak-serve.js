// An orchestrator of the soak (scripts/soak.js): dispatcher, projector and sweeper.
import {createLogger} from '../dist/src/index.js';
import {AgentService, openStore} from '../dist/src/orchestration/index.js';

const {url} = JSON.parse(process.argv[2]);
const log = createLogger({level: 'warn', write: line => process.stderr.write(`${line}\n`)});
const store = openStore({url, name: 'soak-serve'});
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());
// Whoever started it is gone.
process.stdin.once('end', () => process.exit(1)).resume();
await new AgentService({store, log}).start({signal: stop.signal});
store.close();
process.exit(0);
