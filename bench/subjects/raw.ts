/** A hand-written loop on ioredis, without records or guarantees: about the fastest Node can be. */
import {Redis} from 'ioredis';
import {inFlight, perSecond, type Subject} from '../subject.js';

const task = JSON.stringify({session: 's-1', content: 'x'});
const event = JSON.stringify({type: 'chunk', text: 'token '});

/** Reads tasks and answers each with a chunk and an end until told to stop. */
async function work(url: string, answer: (redis: Redis, ids: string[]) => Promise<unknown>) {
  const reader = new Redis(url);
  const writer = new Redis(url);
  await reader.xgroup('CREATE', 'q', 'g', '0', 'MKSTREAM').catch(() => undefined);
  const stopping = new AbortController();
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      const reply = (await reader.xreadgroup(
        'GROUP',
        'g',
        'c',
        'COUNT',
        50,
        'BLOCK',
        100,
        'STREAMS',
        'q',
        '>',
      )) as [string, [string, string[]][]][] | null;
      const ids = reply?.[0]?.[1].map(([id]) => id) ?? [];
      if (ids.length > 0) await answer(writer, ids);
    }
  })();
  return async () => {
    stopping.abort();
    await loop;
    reader.disconnect();
    writer.disconnect();
  };
}

export const raw: Subject = {
  async sendAwaited(url, count) {
    const redis = new Redis(url);
    await redis.ping();
    const rate = await perSecond(count, async () => {
      for (let i = 0; i < count; i++) await redis.xadd('q', '*', 'data', task);
    });
    redis.disconnect();
    return rate;
  },

  async sendInFlight(url, count) {
    const redis = new Redis(url);
    await redis.ping();
    const rate = await perSecond(count, () => inFlight(count, 100, () => redis.xadd('q', '*', 'data', task)));
    redis.disconnect();
    return rate;
  },

  async endToEnd(url, count) {
    let done = 0;
    let finish: () => void = () => undefined;
    const all = new Promise<void>(resolve => (finish = resolve));
    const stop = await work(url, async (redis, ids) => {
      const pipeline = redis.pipeline();
      for (const id of ids) pipeline.xadd(`e:${id}`, '*', 'data', event).xadd(`e:${id}`, '*', 'data', event);
      await pipeline.xack('q', 'g', ...ids).exec();
      done += ids.length;
      if (done === count) finish();
    });
    const redis = new Redis(url);
    const rate = await perSecond(count, async () => {
      await inFlight(count, 100, () => redis.xadd('q', '*', 'data', task));
      await all;
    });
    redis.disconnect();
    await stop();
    return rate;
  },

  async stream(url, chunks) {
    const redis = new Redis(url);
    await redis.ping();
    const rate = await perSecond(chunks, async () => {
      for (let i = 0; i < chunks; i++) await redis.xadd('e', '*', 'data', event);
    });
    redis.disconnect();
    return rate;
  },

  async latency(url, count) {
    const stop = await work(url, async (redis, ids) => {
      const pipeline = redis.pipeline();
      for (const id of ids) pipeline.xadd('e', '*', 'data', id);
      await pipeline.xack('q', 'g', ...ids).exec();
    });
    const redis = new Redis(url);
    const reader = new Redis(url);
    const times: number[] = [];
    let last = '0';
    for (let i = 0; i < count; i++) {
      const seen = reader.xread('BLOCK', 0, 'STREAMS', 'e', last) as Promise<
        [string, [string, string[]][]][]
      >;
      const startedAt = performance.now();
      await redis.xadd('q', '*', 'data', task);
      last = (await seen)[0]?.[1].at(-1)?.[0] ?? last;
      times.push(performance.now() - startedAt);
    }
    reader.disconnect();
    redis.disconnect();
    await stop();
    return times;
  },
};
