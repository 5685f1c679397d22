/** A hand-written loop on ioredis, without records or guarantees: about the fastest Node can be. */
import {Redis} from 'ioredis';
import {inFlight, perSecond, until, type OpenSubject, type Subject} from '../subject.js';

const task = JSON.stringify({session: 's-1', content: 'x'});
const event = JSON.stringify({type: 'chunk', text: 'token '});
const end = JSON.stringify({type: 'end'});

const TASKS = 'q';
/** One stream of events for all tasks, so that a reader can wait for the next of any. */
const EVENTS = 'e';

type StreamReply = [stream: string, entries: [id: string, fields: string[]][]][];

const send = (redis: Redis) => redis.xadd(TASKS, '*', 'data', task);

/** A worker that answers every task with a chunk and an end, one write for all it was given at once. */
async function start(url: string) {
  const reader = new Redis(url);
  const writer = new Redis(url);
  const sender = new Redis(url);
  await Promise.all([reader.xgroup('CREATE', TASKS, 'g', '0', 'MKSTREAM'), writer.ping(), sender.ping()]);
  let ended = 0;
  const stopping = new AbortController();
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      const reply = (await reader.xreadgroup(
        'GROUP', 'g', 'c', 'COUNT', 50, 'BLOCK', 1000, 'STREAMS', TASKS, '>',
      )) as StreamReply | null; // prettier-ignore
      const ids = reply?.[0]?.[1].map(([id]) => id) ?? [];
      if (ids.length === 0) continue;
      const pipeline = writer.pipeline();
      for (const _id of ids) pipeline.xadd(EVENTS, '*', 'data', event).xadd(EVENTS, '*', 'data', end);
      await pipeline.xack(TASKS, 'g', ...ids).exec();
      ended += ids.length;
    }
  })();
  return {
    sender,
    allEnded: (count: number) => until(() => ended >= count),
    stop: async () => {
      stopping.abort();
      await loop;
      for (const redis of [reader, writer, sender]) redis.disconnect();
    },
  };
}

async function sends(url: string, count: number, width: number): Promise<number> {
  const redis = new Redis(url);
  await redis.ping();
  const rate = await perSecond(count, () => inFlight(count, width, () => send(redis)));
  redis.disconnect();
  return rate;
}

export const raw: Subject = {
  sendAwaited: (url, count) => sends(url, count, 1),
  sendInFlight: (url, count) => sends(url, count, 100),

  async endToEnd(url, count) {
    const {sender, allEnded, stop} = await start(url);
    const rate = await perSecond(count, async () => {
      await inFlight(count, 100, () => send(sender));
      await allEnded(count);
    });
    await stop();
    return rate;
  },

  async stream(url, chunks) {
    const redis = new Redis(url);
    await redis.ping();
    const rate = await perSecond(chunks, async () => {
      for (let i = 0; i < chunks; i++) await redis.xadd(EVENTS, '*', 'data', event);
    });
    redis.disconnect();
    return rate;
  },

  async latency(url, count) {
    const {sender, allEnded, stop} = await start(url);
    const reader = new Redis(url);
    const times: number[] = [];
    let last = '0';
    for (let i = 0; i < count; i++) {
      const seen = reader.xread('BLOCK', 0, 'STREAMS', EVENTS, last) as Promise<StreamReply>;
      const startedAt = performance.now();
      await send(sender);
      const reply = await seen;
      times.push(performance.now() - startedAt);
      last = reply[0]?.[1].at(-1)?.[0] ?? last;
      await allEnded(i + 1);
    }
    reader.disconnect();
    await stop();
    return times;
  },

  async open(url): Promise<OpenSubject> {
    const {sender, allEnded, stop} = await start(url);
    let sent = 0;
    return {
      async task() {
        await send(sender);
        await allEnded(++sent);
      },
      async tasks(count) {
        await inFlight(count, 100, () => send(sender));
        await allEnded((sent += count));
      },
      close: stop,
    };
  },
};
