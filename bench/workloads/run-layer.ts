/** What a task of the run layer costs beside a plain send of the same work: from its acceptance until it is said to be done. */
import {Redis} from 'ioredis';
import type * as Api from '../../src/index.js';
import type * as Orchestration from '../../src/orchestration/index.js';
import {createRunKeys} from '../../src/protocol/orchestration/keys.js';
import {between, counters, sum} from '../counters.js';
import {inFlight, until} from '../subject.js';

// What users run: the built package.
const built = (path: string) => import(new URL(`../../dist/src/${path}`, import.meta.url).href);
const {defineAgent, GatewayClient, silentLogger, startWorker} = (await built('index.js')) as typeof Api;
const {AgentAPI, AgentService, openStore} = (await built('orchestration/index.js')) as typeof Orchestration;

export interface RunLayerCost {
  /** Accepted a second, with 100 under way. */
  readonly accepted: number;
  /** Accepted, run and done a second. */
  readonly ended: number;
  readonly commands: number;
  readonly roundTrips: number;
  readonly byCommand: Readonly<Record<string, number>>;
}

const TYPE = 'a';
const WORKSPACE = 'default';
const WARM = 10;
const LOOK_MS = 20;
/** Long enough for everything that is put off for a moment. */
const QUIET_MS = 200;

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** Who takes work, and knows when it has been done. */
interface Taker {
  submit(): Promise<unknown>;
  /** Resolves when so many have ended. @returns how often the server was asked for it. */
  ended(count: number): Promise<number>;
}

/** Tasks, with so many at once in their pool and an orchestrator in the same process, as `by serve` has it. */
export async function taskCostOfRuns(url: string, count: number, concurrency: number): Promise<RunLayerCost> {
  const worker = await startOne(url);
  const store = openStore({url});
  const redis = new Redis(url);
  const service = new AgentService({store});
  const api = new AgentAPI({runtime: service});
  await api.createAgent(WORKSPACE, {agentKey: TYPE, concurrency});
  const stop = new AbortController();
  const serving = service.start({signal: stop.signal});
  const done = createRunKeys({prefix: ''}).orchIndex(WORKSPACE, 'tasks:s:done');
  const cost = await costOf(url, count, {
    submit: () => api.acceptAgentCommand(WORKSPACE, {agentType: TYPE, message: 'x'}),
    async ended(least) {
      for (let looks = 1; ; looks++) {
        if ((await redis.zcard(done)) >= least) return looks;
        await pause(LOOK_MS);
      }
    },
  });
  stop.abort();
  await serving;
  redis.disconnect();
  await worker.stop();
  store.close();
  return cost;
}

/** The same work as plain sends. */
export async function costOfSends(url: string, count: number): Promise<RunLayerCost> {
  const worker = await startOne(url);
  const store = openStore({url});
  const client = new GatewayClient(store);
  const cost = await costOf(url, count, {
    submit: () => client.send({agentType: TYPE, content: 'x'}),
    async ended(least) {
      await until(() => worker.ended() >= least);
      return 0;
    },
  });
  await worker.stop();
  store.close();
  return cost;
}

async function startOne(url: string) {
  let ended = 0;
  const agent = defineAgent({
    type: TYPE,
    async run(ctx) {
      await ctx.emitChunk('token ');
      ended++;
    },
  });
  const worker = await startWorker({url}, {agents: [agent], concurrency: 100, log: silentLogger});
  return {ended: () => (worker.running === 0 ? ended : 0), stop: () => worker.stop()};
}

async function costOf(url: string, count: number, taker: Taker): Promise<RunLayerCost> {
  const redis = new Redis(url);
  await inFlight(WARM, 5, () => taker.submit());
  await taker.ended(WARM);
  await pause(QUIET_MS);
  const before = await counters(redis);
  const startedAt = performance.now();
  await inFlight(count, 100, () => taker.submit());
  const acceptedMs = performance.now() - startedAt;
  const looks = await taker.ended(WARM + count);
  const endedMs = performance.now() - startedAt;
  const {byCommand, reads} = between(before, await counters(redis));
  // What only this measurement asked.
  byCommand.set('zcard', (byCommand.get('zcard') ?? 0) - looks);
  redis.disconnect();
  return {
    accepted: (count / acceptedMs) * 1000,
    ended: (count / endedMs) * 1000,
    commands: sum(byCommand) / count,
    roundTrips: (reads - looks) / count,
    byCommand: Object.fromEntries([...byCommand].map(([name, calls]) => [name, calls / count])),
  };
}
