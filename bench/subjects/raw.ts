/** A hand-written loop on ioredis, without records or guarantees: about the fastest Node can be. */
import {Redis, type ChainableCommander} from 'ioredis';
import {
  CHUNKS,
  inFlight,
  perSecond,
  SCATTERED,
  TOGETHER,
  until,
  type OpenSubject,
  type StreamReply,
  type Subject,
} from '../subject.js';

const task = JSON.stringify({session: 's-1', content: 'x'});
const event = JSON.stringify({type: 'chunk', text: 'token '});
const end = JSON.stringify({type: 'end'});

const TASKS = 'q';
/** One stream of events for all tasks, so that a reader can wait for the next of any. */
const EVENTS = 'e';

const send = (redis: Redis) => redis.xadd(TASKS, '*', 'data', task);

/**
 * Reads one stream and answers what came together in one write.
 * @param settled told how many, once that is written.
 */
async function serve(
  url: string,
  stream: string,
  answer: (ids: string[], pipeline: ChainableCommander) => void,
  {consumer = 'c', settled}: {consumer?: string; settled?: (count: number) => void} = {},
) {
  const [reader, writer] = [new Redis(url), new Redis(url)];
  // Another worker may have made it.
  await reader.xgroup('CREATE', stream, 'g', '0', 'MKSTREAM').catch(() => undefined);
  await writer.ping();
  const stopping = new AbortController();
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      const reply = (await reader.xreadgroup(
        'GROUP', 'g', consumer, 'COUNT', 50, 'BLOCK', 1000, 'STREAMS', stream, '>',
      )) as StreamReply | null; // prettier-ignore
      const ids = reply?.[0]?.[1].map(([id]) => id) ?? [];
      if (ids.length === 0) continue;
      const pipeline = writer.pipeline();
      answer(ids, pipeline);
      await pipeline.xack(stream, 'g', ...ids).exec();
      settled?.(ids.length);
    }
    for (const redis of [reader, writer]) redis.disconnect();
  })();
  return () => {
    stopping.abort();
    return loop;
  };
}

/** A worker that answers every task with a chunk and an end. */
async function start(url: string, consumer?: string) {
  const sender = new Redis(url);
  await sender.ping();
  let ended = 0;
  const answer = (ids: string[], pipeline: ChainableCommander) => {
    for (const _id of ids) pipeline.xadd(EVENTS, '*', 'data', event).xadd(EVENTS, '*', 'data', end);
  };
  const settled = (count: number) => (ended += count);
  const stopWorker = await serve(url, TASKS, answer, {settled, ...(consumer ? {consumer} : {})});
  return {
    sender,
    ended: () => ended,
    allEnded: (count: number) => until(() => ended >= count),
    stop: async () => {
      await stopWorker();
      sender.disconnect();
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

const [CALLERS, CALLEES] = ['callers', 'callees'];

/** A task that has so many others done and joins what they answer, one after the other. @returns milliseconds of each. */
async function calls(url: string, count: number, width: number): Promise<number[]> {
  const [sender, reader] = [new Redis(url), new Redis(url)];
  // What comes on the callers' stream is the task, then the answers to what it asked.
  let left = 0;
  const callersEnd = await serve(url, CALLERS, (ids, pipeline) => {
    for (const _id of ids) {
      if (left === 0) {
        left = width;
        for (let i = 0; i < width; i++) pipeline.xadd(CALLEES, '*', 'data', task);
      } else if (--left === 0) pipeline.xadd(EVENTS, '*', 'data', event).xadd(EVENTS, '*', 'data', end);
    }
  });
  const calleesEnd = await serve(url, CALLEES, (ids, pipeline) => {
    for (const _id of ids) pipeline.xadd(CALLERS, '*', 'data', event);
  });
  const times: number[] = [];
  let last = '0';
  for (let i = 0; i < count; i++) {
    const startedAt = performance.now();
    await sender.xadd(CALLERS, '*', 'data', task);
    for (let seen = 0; seen < 2;) {
      const reply = (await reader.xread('BLOCK', 0, 'STREAMS', EVENTS, last)) as StreamReply;
      const entries = reply[0]?.[1] ?? [];
      seen += entries.length;
      last = entries.at(-1)?.[0] ?? last;
    }
    times.push(performance.now() - startedAt);
  }
  await Promise.all([callersEnd(), calleesEnd()]);
  for (const redis of [sender, reader]) redis.disconnect();
  return times;
}

export const raw: Subject = {
  scatter: (url, count) => calls(url, count, SCATTERED),
  call: (url, count) => calls(url, count, 1),

  sendAwaited: (url, count) => sends(url, count, 1),
  sendInFlight: (url, count) => sends(url, count, 100),

  async sendMany(url, count) {
    const redis = new Redis(url);
    await redis.ping();
    const rate = await perSecond(count, async () => {
      for (let sent = 0; sent < count; sent += TOGETHER) {
        const pipeline = redis.pipeline();
        for (let i = sent; i < Math.min(sent + TOGETHER, count); i++) pipeline.xadd(TASKS, '*', 'data', task);
        await pipeline.exec();
      }
    });
    redis.disconnect();
    return rate;
  },

  async drain(url, count) {
    await raw.sendMany(url, count);
    let stop = () => Promise.resolve();
    const rate = await perSecond(count, async () => {
      const worker = await start(url);
      stop = worker.stop;
      await worker.allEnded(count);
    });
    await stop();
    return rate;
  },

  async sessions(url, count) {
    const redis = new Redis(url);
    await redis.ping();
    const rate = await perSecond(count * CHUNKS, () =>
      inFlight(count, count, async session => {
        for (let i = 0; i < CHUNKS; i++) await redis.xadd(`${EVENTS}:${session}`, '*', 'data', event);
      }),
    );
    redis.disconnect();
    return rate;
  },

  async endToEndTwo(url, count) {
    const [one, two] = [await start(url), await start(url, 'c2')];
    const rate = await perSecond(count, async () => {
      await inFlight(count, 100, () => send(one.sender));
      await until(() => one.ended() + two.ended() >= count);
    });
    await Promise.all([one.stop(), two.stop()]);
    return rate;
  },

  /** From one stream to another by pipelines: what one would write by hand. */
  async replay(url, count) {
    const redis = new Redis(url);
    for (let i = 0; i < count; i += TOGETHER) {
      const pipeline = redis.pipeline();
      for (let j = 0; j < TOGETHER; j++) pipeline.xadd('dead', '*', 'data', task);
      await pipeline.exec();
    }
    const rate = await perSecond(count, async () => {
      for (;;) {
        const entries = await redis.xrange('dead', '-', '+', 'COUNT', TOGETHER);
        if (entries.length === 0) break;
        const pipeline = redis.pipeline();
        for (const [, [, document = '']] of entries) pipeline.xadd(TASKS, '*', 'data', document);
        await pipeline.xdel('dead', ...entries.map(([id]) => id)).exec();
      }
    });
    redis.disconnect();
    return rate;
  },

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
