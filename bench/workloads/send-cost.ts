/** What a send costs while so many workers are online. */
import {Redis} from 'ioredis';
import {createClient} from '../../src/index.js';
import {between, counters, sum} from '../counters.js';
import {putOnline} from '../online.js';

export interface SendCost {
  readonly commands: number;
  readonly roundTrips: number;
  /** Milliseconds of one send, awaited. */
  readonly ms: number;
}

const TYPE = 'many';

export async function sendCost(url: string, workers: number, count: number): Promise<SendCost> {
  await putOnline(url, TYPE, workers);
  const redis = new Redis(url);
  const client = createClient({url});
  for (let i = 0; i < 20; i++) await client.send({agentType: TYPE, content: 'warm'});

  const before = await counters(redis);
  const startedAt = performance.now();
  for (let i = 0; i < count; i++) await client.send({agentType: TYPE, content: 'x'});
  const ms = (performance.now() - startedAt) / count;
  const made = between(before, await counters(redis));
  client.close();
  redis.disconnect();
  return {commands: sum(made.byCommand) / count, roundTrips: made.reads / count, ms};
}
