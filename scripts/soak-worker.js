// A worker of the soak (scripts/soak.js).
import {fileURLToPath} from 'node:url';
import {createLogger, startWorker} from '../dist/src/index.js';
import {soak} from './soak-agents.js';

const {url, ...options} = JSON.parse(process.argv[2]);
const say = doc => process.stdout.write(`${JSON.stringify(doc)}\n`);

const handle = await startWorker(
  {url, name: 'soak'},
  {
    agents: [soak],
    agentsFile: fileURLToPath(new URL('soak-agents.js', import.meta.url)),
    ...options,
    drainMs: 500,
    log: createLogger({
      level: 'warn',
      write: line => {
        if (JSON.parse(line).msg.startsWith('the lease had run out')) say({what: 'lapsed'});
        process.stderr.write(`${line}\n`);
      },
    }),
  },
);
say({what: 'online'});
process.on('SIGTERM', () => void handle.stop());
say({what: 'ended', end: await handle.done});
process.exit(0);
