/** by-toolkit with its defaults. */
import {Redis} from 'ioredis';
import {createClient, defineAgent, openStore, silentLogger, startWorker} from '../../src/index.js';
import {inFlight, perSecond, type Subject} from '../subject.js';

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 1));
};

export const ours: Subject = {
  async sendAwaited(url, count) {
    const client = createClient({url});
    await client.send({agentType: 'a', content: 'warm', policy: 'SEND_ANYWAY'});
    const rate = await perSecond(count, async () => {
      for (let i = 0; i < count; i++)
        await client.send({agentType: 'a', content: 'x', sessionId: `s-${i % 100}`, policy: 'SEND_ANYWAY'});
    });
    client.close();
    return rate;
  },

  async sendInFlight(url, count) {
    const client = createClient({url});
    await client.send({agentType: 'a', content: 'warm', policy: 'SEND_ANYWAY'});
    const rate = await perSecond(count, () =>
      inFlight(count, 100, i =>
        client.send({agentType: 'a', content: 'x', sessionId: `s-${i % 100}`, policy: 'SEND_ANYWAY'}),
      ),
    );
    client.close();
    return rate;
  },

  async endToEnd(url, count) {
    let done = 0;
    const agent = defineAgent({
      type: 'a',
      async run(ctx) {
        await ctx.emitChunk('x');
        done++;
        return {content: 'done'};
      },
    });
    const worker = await startWorker({url}, {agents: [agent], concurrency: 50, log: silentLogger});
    const client = createClient({url});
    const rate = await perSecond(count, async () => {
      await inFlight(count, 100, i => client.send({agentType: 'a', content: 'x', sessionId: `s-${i % 100}`}));
      await until(() => done === count && worker.running === 0);
    });
    await worker.stop();
    client.close();
    return rate;
  },

  async stream(url, chunks) {
    const agent = defineAgent({
      type: 'a',
      async run(ctx) {
        for (let i = 0; i < chunks; i++) await ctx.emitChunk('token ');
      },
    });
    const worker = await startWorker({url}, {agents: [agent], log: silentLogger});
    const client = createClient({url});
    const rate = await perSecond(chunks, async () => {
      const sent = await client.send({agentType: 'a', content: 'x'});
      for (;;) {
        const record = await client.find(sent.sessionId, sent.messageId);
        if (record?.status === 'COMPLETED') return;
        await new Promise(resolve => setTimeout(resolve, 2));
      }
    });
    await worker.stop();
    client.close();
    return rate;
  },

  async latency(url, count) {
    const agent = defineAgent({type: 'a', run: ctx => ctx.emitChunk('x')});
    const worker = await startWorker({url}, {agents: [agent], log: silentLogger});
    const client = createClient({url});
    const store = openStore({url});
    const reader = new Redis(url);
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const sessionId = `s-${i}`;
      const seen = reader.xread('BLOCK', 0, 'STREAMS', store.keys.sessionDataStream(sessionId), '0');
      const startedAt = performance.now();
      await client.send({agentType: 'a', content: 'x', sessionId});
      await seen;
      times.push(performance.now() - startedAt);
    }
    reader.disconnect();
    store.close();
    await worker.stop();
    client.close();
    return times;
  },
};
