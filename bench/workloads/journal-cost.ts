/** What the server does for a turn of a durable agent that has so many entries in its journal. */
import {Redis} from 'ioredis';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {findExecution} from '../../src/store/executions.js';
import {openStore} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {between, counters, sum} from '../counters.js';
import {until} from '../subject.js';

export interface JournalCost {
  /** Of the whole turn that replays: its wakeup by a timer, its end. */
  readonly commands: number;
  readonly byCommand: Readonly<Record<string, number>>;
  /** Reads of the journal among them. */
  readonly journalReads: number;
  /** Milliseconds the code took to get where it was, in the turn that replays. */
  readonly replayMs: number;
}

/** Long enough for the turn before to be settled; the sleep is longer. */
const QUIET_MS = 300;
const SLEEP_MS = 1500;

export async function journalCost(url: string, entries: number): Promise<JournalCost> {
  const redis = new Redis(url);
  const store = openStore({url});
  let replayMs = 0;
  let turns = 0;
  const agent = defineAgent({
    type: 'long',
    async run(ctx) {
      turns++;
      const startedAt = performance.now();
      for (let i = 0; i < entries - 1; i++) await ctx.step('s', () => i);
      replayMs = performance.now() - startedAt;
      await ctx.sleep(SLEEP_MS);
      return {content: 'done'};
    },
  });
  const worker = await startWorker({url}, {agents: [agent], log: silentLogger});
  const sent = await new GatewayClient(store).send({agentType: 'long', content: 'x'});
  const status = async () => (await findExecution(store, sent.sessionId, sent.executionId))?.status;
  while ((await status()) !== 'SLEEPING') await pause(20);
  await pause(QUIET_MS);
  const before = await counters(redis);
  // Nobody asks meanwhile: the agent's own process tells when it has ended.
  await until(() => turns === 2 && worker.running === 0);
  const {byCommand} = between(before, await counters(redis));
  if ((await status()) !== 'COMPLETED') throw new Error(`it is ${String(await status())}`);
  await worker.stop();
  store.close();
  redis.disconnect();
  return {
    commands: sum(byCommand),
    byCommand: Object.fromEntries(byCommand),
    journalReads: byCommand.get('hgetall') ?? 0,
    replayMs,
  };
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));
