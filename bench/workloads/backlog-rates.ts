/** How fast tasks are sent and worked off while many wait. */
import {Redis} from 'ioredis';
import {createClient, defineAgent, silentLogger, startWorker} from '../../src/index.js';
import {createKeys} from '../../src/protocol/keys.js';
import {inFlight, perSecond, until} from '../subject.js';

export interface BacklogRates {
  /** A second. */
  readonly sends: number;
  readonly drains: number;
}

const TYPE = 'a';
const COPIES = 1000;

/** Copies of one command: they cost no record, and their executions are told apart by their entries. */
async function fill(url: string, waiting: number): Promise<void> {
  const redis = new Redis(url);
  const stream = createKeys().ctrlStream(TYPE);
  const client = createClient({url});
  await client.send({agentType: TYPE, content: 'x', policy: 'SEND_ANYWAY'});
  client.close();
  const [[, fields] = ['', []]] = await redis.xrange(stream, '-', '+');
  await redis.del(stream);
  const document = JSON.parse(fields[1] ?? '') as {header: Record<string, unknown>};
  for (let sent = 0; sent < waiting; sent += COPIES) {
    const pipeline = redis.pipeline();
    for (let i = sent; i < sent + COPIES; i++) {
      const header = {...document.header, message_id: `m-${i}`, session_id: `s-${i % 1000}`, metadata: {}};
      pipeline.xadd(stream, '*', 'data', JSON.stringify({...document, header}));
    }
    await pipeline.exec();
  }
  redis.disconnect();
}

export async function backlogRates(url: string, waiting: number, count: number): Promise<BacklogRates> {
  await fill(url, waiting);
  const client = createClient({url, limits: {perAgentType: 0}});
  const sends = await perSecond(count, () =>
    inFlight(count, 100, i =>
      client.send({agentType: TYPE, content: 'x', sessionId: `s-${i % 1000}`, policy: 'SEND_ANYWAY'}),
    ),
  );
  client.close();
  let ended = 0;
  const worker = await startWorker(
    {url},
    {
      agents: [
        defineAgent({
          type: TYPE,
          async run(ctx) {
            await ctx.emitChunk('token ');
            ended++;
          },
        }),
      ],
      log: silentLogger,
    },
  );
  const drains = await perSecond(count, () => until(() => ended >= count));
  await worker.stop({drainMs: 0});
  return {sends, drains};
}
