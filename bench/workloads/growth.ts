/** What a server keeps of finished tasks, and what a worker's memory does as they pass. */
import {Redis} from 'ioredis';
import {createClient, defineAgent, silentLogger, startWorker} from '../../src/index.js';
import {createKeys} from '../../src/protocol/keys.js';
import {inFlight, until} from '../subject.js';

export interface Growth {
  /** Bytes the server holds more for each finished task: records, events, and what goes with them. */
  readonly bytesKept: number;
  /** Entries left on the control stream. */
  readonly left: number;
  /** Resident memory of client and worker together, in MB, after the few and after the many. */
  readonly rssFew: number;
  readonly rssMany: number;
}

const TYPE = 'a';
const SESSIONS = 1000;

export async function growth(url: string, few: number, many: number): Promise<Growth> {
  const redis = new Redis(url);
  let ended = 0;
  const agent = defineAgent({
    type: TYPE,
    async run(ctx) {
      await ctx.emitChunk('token ');
      ended++;
    },
  });
  const worker = await startWorker({url}, {agents: [agent], log: silentLogger});
  const client = createClient({url});
  const empty = await usedMemory(redis);
  const upTo = async (count: number) => {
    const from = ended;
    await inFlight(count - from, 100, i =>
      client.send({agentType: TYPE, content: 'x', sessionId: `s-${(from + i) % SESSIONS}`}),
    );
    await until(() => ended >= count && worker.running === 0);
    await new Promise(resolve => setTimeout(resolve, 500));
  };
  await upTo(few);
  const rssFew = residentMb();
  await upTo(many);
  const rssMany = residentMb();
  const bytesKept = ((await usedMemory(redis)) - empty) / many;
  const left = await redis.xlen(createKeys().ctrlStream(TYPE));
  await worker.stop();
  client.close();
  redis.disconnect();
  return {bytesKept, left, rssFew, rssMany};
}

/** What the heap could give back is not growth. */
function residentMb(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss / 1e6;
}

async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
}
