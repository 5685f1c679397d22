// The agent of the soak: works for as long as the message says and reports every start.
import {defineAgent} from '../dist/src/index.js';

const say = doc => process.stdout.write(`${JSON.stringify(doc)}\n`);

export const soak = defineAgent({
  type: 'soak',
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
});
