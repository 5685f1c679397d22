/** BullMQ with its defaults; a chunk is a progress update, which is what its readers can follow. */
import {Queue, QueueEvents, Worker} from 'bullmq';
import {inFlight, perSecond, type Subject} from '../subject.js';

const connectionOf = (url: string) => {
  const {hostname, port} = new URL(url);
  return {host: hostname, port: Number(port), maxRetriesPerRequest: null};
};

export const bullmq: Subject = {
  async sendAwaited(url, count) {
    const queue = new Queue('q', {connection: connectionOf(url)});
    await queue.waitUntilReady();
    const rate = await perSecond(count, async () => {
      for (let i = 0; i < count; i++) await queue.add('t', {content: 'x'});
    });
    await queue.close();
    return rate;
  },

  async sendInFlight(url, count) {
    const queue = new Queue('q', {connection: connectionOf(url)});
    await queue.waitUntilReady();
    const rate = await perSecond(count, () => inFlight(count, 100, () => queue.add('t', {content: 'x'})));
    await queue.close();
    return rate;
  },

  async endToEnd(url, count) {
    const connection = connectionOf(url);
    const queue = new Queue('q', {connection});
    let done = 0;
    let finish: () => void = () => undefined;
    const all = new Promise<void>(resolve => (finish = resolve));
    const worker = new Worker(
      'q',
      async job => {
        await job.updateProgress({chunk: 'x'});
        return 'done';
      },
      {connection, concurrency: 50},
    );
    worker.on('completed', () => {
      if (++done === count) finish();
    });
    await Promise.all([queue.waitUntilReady(), worker.waitUntilReady()]);
    const rate = await perSecond(count, async () => {
      await inFlight(count, 100, () => queue.add('t', {content: 'x'}));
      await all;
    });
    await worker.close();
    await queue.close();
    return rate;
  },

  async stream(url, chunks) {
    const connection = connectionOf(url);
    const queue = new Queue('q', {connection});
    let finish: () => void = () => undefined;
    const all = new Promise<void>(resolve => (finish = resolve));
    const worker = new Worker(
      'q',
      async job => {
        for (let i = 0; i < chunks; i++) await job.updateProgress({chunk: 'token '});
      },
      {connection},
    );
    worker.on('completed', () => finish());
    await worker.waitUntilReady();
    const rate = await perSecond(chunks, async () => {
      await queue.add('t', {content: 'x'});
      await all;
    });
    await worker.close();
    await queue.close();
    return rate;
  },

  async latency(url, count) {
    const connection = connectionOf(url);
    const queue = new Queue('q', {connection});
    const events = new QueueEvents('q', {connection});
    const worker = new Worker('q', async job => job.updateProgress({chunk: 'x'}), {
      connection,
      concurrency: 50,
    });
    await Promise.all([queue.waitUntilReady(), events.waitUntilReady(), worker.waitUntilReady()]);
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const seen = new Promise(resolve => events.once('progress', resolve));
      const startedAt = performance.now();
      await queue.add('t', {content: 'x'});
      await seen;
      times.push(performance.now() - startedAt);
    }
    await worker.close();
    await events.close();
    await queue.close();
    return times;
  },
};
