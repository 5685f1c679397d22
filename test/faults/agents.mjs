// The agent of the fault tests' worker processes: it does what the message says, and says what it does.
import {GatewayWorker} from '../../dist/src/index.js';
import {existsSync, writeFileSync} from 'node:fs';

const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);
const die = () => process.kill(process.pid, 'SIGKILL');
const forEver = () => new Promise(() => setInterval(() => undefined, 60_000));

class Writer extends GatewayWorker {
  getAgentTypes() {
    return ['writer'];
  }

  async processCommand(command, ctx) {
    const text = String(command.content);
    say('start', ctx.messageId, ctx.attempt);
    ctx.signal.addEventListener('abort', () => say('aborted', ctx.messageId, ctx.signal.reason.message));
    const [what, file] = text.split(' ');
    switch (what) {
      case 'where':
        say('process', ctx.messageId, process.pid);
        break;
      case 'hang':
        say('process', ctx.messageId, process.pid);
        // Nothing else runs in this process any more, not even what would end it.
        for (;;);
      case 'die':
        return die();
      case 'die-once':
        if (ctx.attempt === 1) die();
        break;
      // Half of it is told by each attempt that dies, and the last one tells all.
      case 'talk-and-die-twice':
        await ctx.history.save('tool', 'a note');
        await ctx.emitChunk('half ');
        if (ctx.attempt < 3) die();
        say('read', (await ctx.history.get(20)).map(({role}) => role).join(','));
        await ctx.emitChunk('whole');
        break;
      case 'hang-once':
        if (ctx.attempt === 1) {
          await ctx.emitChunk('half ');
          say('half', ctx.messageId);
          await forEver();
        }
        break;
      // The answer comes as a RESUME, whose text begins with another of these words.
      case 'call':
        return ctx.callAgent({agentType: 'reader', content: text, policy: 'SEND_ANYWAY'});
      case 'call-then-die-once':
        await ctx.callAgent({agentType: 'reader', content: text, policy: 'SEND_ANYWAY'});
        if (ctx.attempt === 1) die();
        return undefined;
      case 'scatter': {
        const tasks = ['one', 'two', 'three'].map(word => ({
          agentType: 'reader',
          content: `${word} ${file}`,
        }));
        return ctx.dispatchGroup(tasks);
      }
      case 'die-unless':
        if (!existsSync(file)) {
          writeFileSync(file, '');
          die();
        }
        break;
      case 'wait-for':
        say('process', ctx.messageId, process.pid);
        while (!existsSync(file)) {
          await new Promise(resolve => setTimeout(resolve, 20));
          ctx.checkCancelled();
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
  }
}

export const agent = new Writer();
