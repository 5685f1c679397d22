// A worker of the soak (scripts/soak.js): works for as long as the message says and reports every start and end.
import {createLogger, defineAgent, startWorker} from '../dist/src/index.js';

const {url, workerId, agentType, leaseMs, concurrency} = JSON.parse(process.argv[2]);
const say = doc => process.stdout.write(`${JSON.stringify(doc)}\n`);

const handle = await startWorker(
  {url, name: 'soak'},
  {
    agents: [
      defineAgent({
        type: agentType,
        retry: {baseMs: 50, maxMs: 500},
        async run(ctx, ask) {
          say({what: 'start', id: ctx.executionId, attempt: ctx.attempt, at: Date.now()});
          const {ms, chunks, failures, poison} = JSON.parse(ask.text);
          if (poison) process.kill(process.pid, 'SIGKILL');
          for (let i = 0; i < chunks; i++) {
            await new Promise(resolve => setTimeout(resolve, ms / chunks));
            ctx.checkCancelled();
            await ctx.emitChunk(`${ctx.attempt}.${i} `);
          }
          if (ctx.attempt <= failures) throw Object.assign(new Error('passing'), {retryable: true});
          return {content: ctx.executionId};
        },
      }),
    ],
    ...{workerId, leaseMs, concurrency, drainMs: 500},
    log: createLogger({level: 'warn', write: line => process.stderr.write(`${line}\n`)}),
  },
);
say({what: 'online'});
process.on('SIGTERM', () => void handle.stop());
say({what: 'ended', end: await handle.done});
process.exit(0);
