/** by-toolkit with its defaults: the online check is made, the record is kept, the attempt is fenced. */
import {Redis} from 'ioredis';
import type * as Api from '../../src/index.js';
import type {Agent, AgentContext, AskCommand, Logger, ResumeCommand} from '../../src/index.js';
import {carryOutReplay, planReplay} from '../../src/availability/replay.js';
import {listDeadLetters} from '../../src/store/dead-letters.js';
import {sessionExecutions} from '../../src/store/executions.js';
import {lastAnswer} from '../last-answer.js';
import {putOnline} from '../online.js';
import {
  CHUNKS,
  inFlight,
  perSecond,
  SCATTERED,
  TOGETHER,
  until,
  type OpenSubject,
  type Subject,
} from '../subject.js';

// What users run: the built package. The sources as they are would pay for what translates them.
const {
  createClient,
  createLogger,
  defineAgent,
  GatewayClient,
  GatewayWorker,
  openStore,
  silentLogger,
  startWorker,
} = (await import(new URL('../../dist/src/index.js', import.meta.url).href)) as typeof Api;
type GatewayClient = InstanceType<typeof GatewayClient>;

const TYPE = 'a';
const SESSIONS = 1000;
const sessionOf = (i: number) => `s-${i % SESSIONS}`;

/** A client and a worker whose only agent says one chunk and ends. */
async function start(url: string, log: Logger, chunks = 1, concurrency = 50, traces = false) {
  const store = openStore({url});
  let ended = 0;
  const agent = defineAgent({
    type: TYPE,
    async run(ctx) {
      for (let i = 0; i < chunks; i++) await ctx.emitChunk('token ');
      ended++;
    },
  });
  const traced = traces ? {redisTraces: {}} : {};
  const worker = await startWorker({url}, {agents: [agent], concurrency, log, ...traced});
  return {
    store,
    client: new GatewayClient(store, traced),
    ended: () => (worker.running === 0 ? ended : 0),
    /** A slot is given back once the end of its task is written. */
    allEnded: (count: number) => until(() => ended >= count && worker.running === 0),
    stop: async () => {
      await worker.stop();
      store.close();
    },
  };
}

async function sends(url: string, count: number, width: number): Promise<number> {
  await putOnline(url, TYPE, 1);
  const client = createClient({url});
  await client.send({agentType: TYPE, content: 'warm'});
  const rate = await perSecond(count, () =>
    inFlight(count, width, i => client.send({agentType: TYPE, content: 'x', sessionId: sessionOf(i)})),
  );
  client.close();
  return rate;
}

/** Hands over tasks 500 at a time. */
async function fill(client: GatewayClient, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += TOGETHER) {
    const some = Array.from({length: Math.min(TOGETHER, count - sent)}, (_, i) => ({
      ...{agentType: TYPE, content: 'x', sessionId: sessionOf(sent + i), policy: 'SEND_ANYWAY' as const},
    }));
    const outcomes = await client.sendMany(some);
    if (outcomes.some(({status}) => status === 'rejected')) throw new Error('a send was refused');
  }
}

async function endToEnd(url: string, count: number, log: Logger): Promise<number> {
  const {store, client, allEnded, stop} = await start(url, log);
  const rate = await perSecond(count, async () => {
    await inFlight(count, 100, i => client.send({agentType: TYPE, content: 'x', sessionId: sessionOf(i)}));
    await allEnded(count);
  });
  let completed = 0;
  for (let i = 0; i < Math.min(count, SESSIONS); i++) {
    const records = await sessionExecutions(store, sessionOf(i));
    completed += records.filter(record => record.status === 'COMPLETED').length;
  }
  if (completed !== count) throw new Error(`${completed} of ${count} executions are COMPLETED`);
  await stop();
  return rate;
}

/** Callees of `scatter` and `call`. */
const callee = defineAgent({type: TYPE, run: () => ({content: 'x'})});
const CALLER = 'caller';

/** Asks the caller and reads until it has ended. @returns milliseconds of each time. */
async function timeCalls(url: string, count: number, caller: Agent): Promise<number[]> {
  const store = openStore({url});
  const client = new GatewayClient(store);
  const worker = await startWorker({url}, {agents: [caller, callee], log: silentLogger});
  const reader = new Redis(url);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const sessionId = `s-${i}`;
    const startedAt = performance.now();
    await client.send({agentType: CALLER, content: 'x', sessionId});
    const answer = await lastAnswer(reader, store.keys.sessionDataStream(sessionId));
    times.push(performance.now() - startedAt);
    if (!answer.includes('"joined all"')) throw new Error(`it did not end well: ${answer}`);
  }
  reader.disconnect();
  await worker.stop();
  store.close();
  return times;
}

const scattered = Array.from({length: SCATTERED}, () => [TYPE, 'x'] as const);

const durableCaller = (calls: typeof scattered): Agent =>
  defineAgent({
    type: CALLER,
    async run(ctx) {
      const answers = await ctx.callAll(calls);
      return {content: answers.length === calls.length ? 'joined all' : 'joined some'};
    },
  });

class ScatteringWorker extends GatewayWorker {
  getAgentTypes() {
    return [CALLER];
  }

  async processCommand(command: AskCommand | ResumeCommand, ctx: AgentContext) {
    if (command.action === 'ASK_AGENT')
      return ctx.dispatchGroup(scattered.map(([agentType, content]) => ({agentType, content})));
    const answers = await ctx.collectGroupResults();
    return {content: answers.length === SCATTERED ? 'joined all' : 'joined some'};
  }
}

class CallingWorker extends GatewayWorker {
  getAgentTypes() {
    return [CALLER];
  }

  async processCommand(command: AskCommand | ResumeCommand, ctx: AgentContext) {
    if (command.action === 'ASK_AGENT') return ctx.callAgent({agentType: TYPE, content: 'x'});
    return {content: command.content === 'x' ? 'joined all' : 'joined some'};
  }
}

export const ours: Subject = {
  scatter: (url, count) => timeCalls(url, count, durableCaller(scattered)),
  call: (url, count) => timeCalls(url, count, durableCaller(scattered.slice(0, 1))),

  sendAwaited: (url, count) => sends(url, count, 1),
  sendInFlight: (url, count) => sends(url, count, 100),
  endToEnd: (url, count) => endToEnd(url, count, silentLogger),

  async sendMany(url, count) {
    await putOnline(url, TYPE, 1);
    const client = createClient({url});
    await client.send({agentType: TYPE, content: 'warm'});
    const rate = await perSecond(count, () => fill(client, count));
    client.close();
    return rate;
  },

  async drain(url, count) {
    const sender = createClient({url});
    await fill(sender, count);
    sender.close();
    let stop = () => Promise.resolve();
    const rate = await perSecond(count, async () => {
      const worker = await start(url, silentLogger);
      stop = worker.stop;
      await worker.allEnded(count);
    });
    await stop();
    return rate;
  },

  async sessions(url, count) {
    const {client, allEnded, stop} = await start(url, silentLogger, CHUNKS, count);
    const rate = await perSecond(count * CHUNKS, async () => {
      await inFlight(count, 100, () => client.send({agentType: TYPE, content: 'x'}));
      await allEnded(count);
    });
    await stop();
    return rate;
  },

  async endToEndTwo(url, count) {
    const [one, two] = [await start(url, silentLogger), await start(url, silentLogger)];
    const rate = await perSecond(count, async () => {
      await inFlight(count, 100, i =>
        one.client.send({agentType: TYPE, content: 'x', sessionId: sessionOf(i)}),
      );
      await until(() => one.ended() + two.ended() >= count);
    });
    await Promise.all([one.stop(), two.stop()]);
    return rate;
  },

  async replay(url, count) {
    const store = openStore({url});
    const client = new GatewayClient(store);
    const agent = defineAgent({type: TYPE, run: () => Promise.reject(new Error('no'))});
    const worker = await startWorker({url}, {agents: [agent], log: silentLogger});
    await fill(client, count);
    while ((await store.commands.run(redis => redis.xlen(store.keys.deadletter()))) < count)
      await new Promise(resolve => setTimeout(resolve, 20));
    await worker.stop();
    const options = {newIds: false, keep: false, reason: '', policy: 'SEND_ANYWAY' as const, actor: 'bench'};
    let replayed = 0;
    const rate = await perSecond(count, async () => {
      while (replayed < count) {
        const plans = await planReplay(store, await listDeadLetters(store, TOGETHER), options);
        await inFlight(plans.length, 50, async i => {
          const plan = plans[i];
          if (plan?.kind !== 'ready') throw new Error('a dead letter can not be replayed');
          await carryOutReplay(store, Date.now, 'rpl-bench', plan, options);
          replayed++;
        });
      }
    });
    store.close();
    return rate;
  },

  async stream(url, chunks) {
    let ended = false;
    const agent = defineAgent({
      type: TYPE,
      async run(ctx) {
        for (let i = 0; i < chunks; i++) await ctx.emitChunk('token ');
        ended = true;
      },
    });
    const worker = await startWorker({url}, {agents: [agent], log: silentLogger});
    const store = openStore({url});
    const client = new GatewayClient(store);
    const rate = await perSecond(chunks, async () => {
      await client.send({agentType: TYPE, content: 'x', sessionId: 's'});
      await until(() => ended && worker.running === 0);
    });
    const stored = await store.commands.run(redis => redis.xlen(store.keys.sessionDataStream('s')));
    if (stored !== chunks + 1) throw new Error(`${stored} events are stored, not ${chunks} and an end`);
    await worker.stop();
    store.close();
    return rate;
  },

  async latency(url, count) {
    const {store, client, allEnded, stop} = await start(url, silentLogger);
    const reader = new Redis(url);
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const sessionId = `s-${i}`;
      const seen = reader.xread('BLOCK', 0, 'STREAMS', store.keys.sessionDataStream(sessionId), '0');
      const startedAt = performance.now();
      await client.send({agentType: TYPE, content: 'x', sessionId});
      await seen;
      times.push(performance.now() - startedAt);
      await allEnded(i + 1);
    }
    reader.disconnect();
    await stop();
    return times;
  },

  open: url => openTasks(url),
};

async function openTasks(url: string, traces = false): Promise<OpenSubject> {
  const {client, allEnded, stop} = await start(url, silentLogger, 1, 50, traces);
  let sent = 0;
  return {
    async task() {
      // A session of its own: the dearest case, because its keys get their lifetime.
      await client.send({agentType: TYPE, content: 'x'});
      await allEnded(++sent);
    },
    async tasks(count) {
      await inFlight(count, 100, i => client.send({agentType: TYPE, content: 'x', sessionId: sessionOf(i)}));
      await allEnded((sent += count));
    },
    close: stop,
  };
}

/** The same with the trace records of the SDKs, which client and worker write. */
export const oursTraced: Subject = {...ours, open: url => openTasks(url, true)};

/** The same with the log lines a worker writes unless told otherwise: two for each task. */
export const oursLogging: Subject = {
  ...ours,
  endToEnd: (url, count) => endToEnd(url, count, createLogger()),
};

/** The same with agents of the SDKs' model, which get each answer as a RESUME. */
export const oursMessages: Subject = {
  ...ours,
  scatter: (url, count) => timeCalls(url, count, new ScatteringWorker()),
  call: (url, count) => timeCalls(url, count, new CallingWorker()),
};
