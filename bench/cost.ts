/** What a task and a send cost, counted by the server: commands, those inside scripts too, and round trips. */
import {Redis} from 'ioredis';
import {defineAgent, GatewayClient, openStore, silentLogger, startWorker, type Store} from '../src/index.js';

export interface Cost {
  /** Commands for each task. */
  readonly commands: number;
  /** Exchanges with the server for each task, of sender and worker together. */
  readonly roundTrips: number;
  readonly byCommand: Readonly<Record<string, number>>;
}

/** What the bench itself asks, to know when a task has ended; nothing of ours uses these. */
const OWN = ['info', 'config|resetstat', 'xlen', 'exists'];

/** Calls by command since the last reset. */
async function calls(redis: Redis): Promise<Map<string, number>> {
  const info = await redis.info('commandstats');
  const counted = [...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(
    match => [match[1] ?? '', Number(match[2])] as const,
  );
  return new Map(counted.filter(([name]) => !OWN.includes(name)));
}

/** A store whose exchanges are counted as they leave. */
function counting(store: Store): {store: Store; trips: () => number} {
  let trips = 0;
  const commands = Object.create(store.commands) as Store['commands'];
  commands.run = (issue, options) => {
    trips++;
    return store.commands.run(issue, options);
  };
  return {store: {...store, commands}, trips: () => trips};
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** Tasks of one chunk and an end, one at a time, each in a session of its own. */
export async function taskCost(url: string, count: number): Promise<Cost> {
  const redis = new Redis(url);
  const sender = counting(openStore({url}));
  const receiver = counting(openStore({url}));
  let done = 0;
  const agent = defineAgent({
    type: 'a',
    async run(ctx) {
      await ctx.emitChunk('x');
      done++;
      return {content: 'done'};
    },
  });
  const worker = await startWorker(receiver.store, {agents: [agent], log: silentLogger});
  const client = new GatewayClient(sender.store);
  const settled = async () => {
    while (worker.running > 0 || (await redis.xlen(sender.store.keys.ctrlStream('a'))) > 0) await pause(5);
  };
  await client.send({agentType: 'a', content: 'warm'});
  await settled();
  await redis.config('RESETSTAT');
  const before = sender.trips() + receiver.trips();
  for (let i = 0; i < count; i++) {
    await client.send({agentType: 'a', content: 'x', sessionId: `cost-${i}`});
    while (done < i + 2 || worker.running > 0) await pause(1);
  }
  await settled();
  const found = await calls(redis);
  const trips = sender.trips() + receiver.trips() - before;
  await worker.stop();
  sender.store.close();
  receiver.store.close();
  redis.disconnect();
  const byCommand = Object.fromEntries([...found].map(([name, made]) => [name, made / count]));
  return {
    commands: Object.values(byCommand).reduce((sum, made) => sum + made, 0),
    // Blocking reads go over a connection of their own, one exchange each.
    roundTrips: trips / count + (byCommand['xreadgroup'] ?? 0),
    byCommand,
  };
}

/** A send to an agent type with so many workers online. */
export async function sendCost(
  url: string,
  workers: number,
  count: number,
): Promise<{commands: number; ms: number}> {
  const redis = new Redis(url);
  const store = openStore({url});
  const presence = JSON.stringify({version: 1, token: 't', last_seen: Date.now(), ip_address: ''});
  for (let from = 0; from < workers; from += 1000) {
    const pipeline = redis.pipeline();
    for (let i = from; i < Math.min(from + 1000, workers); i++) {
      pipeline
        .set(store.keys.workerLease(`w-${i}`), presence, 'EX', 600)
        .sadd(store.keys.members('many'), `w-${i}`);
    }
    await pipeline.exec();
  }
  const client = new GatewayClient(store);
  await client.send({agentType: 'many', content: 'warm'});
  await redis.config('RESETSTAT');
  const startedAt = performance.now();
  for (let i = 0; i < count; i++) await client.send({agentType: 'many', content: 'x', sessionId: `s-${i}`});
  const ms = (performance.now() - startedAt) / count;
  const made = [...(await calls(redis)).values()].reduce((sum, one) => sum + one, 0);
  store.close();
  redis.disconnect();
  return {commands: made / count, ms};
}
