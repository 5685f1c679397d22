// A worker process for the fault tests: the built package, with agents that do what the message says.
// Its options are the JSON in argv[2]. Standard output tells the test what happens, a line a thing.
import {createLogger, defineAgent, startWorker} from '../../dist/src/index.js';
import {existsSync} from 'node:fs';
import {Socket} from 'node:net';

const {store, worker, agentType, dieBefore} = JSON.parse(process.argv[2]);
const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);
const die = () => process.kill(process.pid, 'SIGKILL');
const forEver = () => new Promise(() => setInterval(() => undefined, 60_000));

if (dieBefore !== undefined) {
  // What is handed to the socket never leaves it.
  const {write} = Socket.prototype;
  Socket.prototype.write = function (chunk, ...rest) {
    if (String(chunk).includes(dieBefore)) die();
    return write.call(this, chunk, ...rest);
  };
}

const agent = defineAgent({
  type: agentType,
  async run(ctx, ask) {
    say('start', ctx.messageId, ctx.attempt);
    ctx.signal.addEventListener('abort', () => say('aborted', ctx.messageId, ctx.signal.reason.message));
    const [what, file] = ask.text.split(' ');
    switch (what) {
      case 'die':
        return die();
      case 'die-once':
        if (ctx.attempt === 1) die();
        break;
      case 'hang-once':
        if (ctx.attempt === 1) {
          await ctx.emitChunk('half ');
          say('half', ctx.messageId);
          await forEver();
        }
        break;
      case 'spin-until':
        say('spin', ctx.messageId);
        // Until what it said is written: the loop below lets nothing else happen.
        await new Promise(resolve => setTimeout(resolve, 20));
        while (!existsSync(file));
        for (let refusal; refusal === undefined;) {
          await new Promise(resolve => setTimeout(resolve, 20));
          await ctx.emitChunk('late ').catch(error => (refusal = error.code));
          if (refusal !== undefined) say('refused', ctx.messageId, refusal);
        }
        break;
      case 'talk-until':
        while (!existsSync(file)) {
          await new Promise(resolve => setTimeout(resolve, 20));
          if (existsSync(`${file}.say`))
            await ctx.emitChunk('late ').catch(error => say('refused', ctx.messageId, error.code));
        }
        break;
    }
    return {content: `done ${ctx.attempt}`};
  },
});

const handle = await startWorker(store, {
  agents: [agent],
  ...worker,
  log: createLogger({level: 'warn', write: line => process.stderr.write(`${line}\n`)}),
});
say('online');
let signals = 0;
process.on('SIGTERM', () => void handle.stop(++signals > 1 ? {drainMs: 0} : {}));
const end = await handle.done;
say('ended', end);
process.exit(0);
