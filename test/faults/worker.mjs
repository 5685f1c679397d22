// A worker process for the fault tests: the built package, with the agent of agents.mjs.
// Its options are the JSON in argv[2]. Standard output tells the test what happens, a line a thing.
import {createLogger, openStore, redisHistory, startWorker} from '../../dist/src/index.js';
import {postgresHistory} from '../../dist/src/history/postgres.js';
import {Socket} from 'node:net';
import {agent} from './agents.mjs';

const {store, worker, dieBefore, history} = JSON.parse(process.argv[2]);
const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

if (dieBefore !== undefined) {
  // What is handed to the socket never leaves it.
  const {write} = Socket.prototype;
  Socket.prototype.write = function (chunk, ...rest) {
    if (String(chunk).includes(dieBefore)) process.kill(process.pid, 'SIGKILL');
    return write.call(this, chunk, ...rest);
  };
}

// `redis`, or the address of a database.
const openHistory = place =>
  place === 'redis' ? redisHistory(openStore(store)) : postgresHistory({url: place});

const handle = await startWorker(store, {
  agents: [agent],
  ...worker,
  ...(history === undefined ? {} : {history: openHistory(history)}),
  log: createLogger({level: 'warn', write: line => process.stderr.write(`${line}\n`)}),
});
say('online');
let signals = 0;
process.on('SIGTERM', () => void handle.stop(++signals > 1 ? {drainMs: 0} : {}));
const end = await handle.done;
say('ended', end);
process.exit(0);
