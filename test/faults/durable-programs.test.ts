/**
 * Random durable programs of calls, groups, races whose losers are cancelled, sleeps, steps and failures, with workers dying all the time and answers that
 * come twice and in any order: each ends as if nothing had happened. `BY_PROGRAMS=10000` runs so many; `BY_SEED` repeats a run.
 */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {isTerminal} from '../../src/protocol/states.js';
import {findExecution, sessionExecutions} from '../../src/store/executions.js';
import {followSession} from '../../src/store/data-streams.js';
import {sweepOutboxes} from '../../src/store/outbox.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import type {DurableContext} from '../../src/worker/durable/context.js';
import {MortalWorker} from '../support/mortal-worker.js';
import {describeEachStore} from '../support/stores.js';

type Op =
  | {readonly op: 'say'; readonly text: string}
  | {readonly op: 'step'; readonly id: string; readonly failures: number}
  | {readonly op: 'broken'; readonly id: string}
  | {readonly op: 'sleep'; readonly ms: number}
  | {readonly op: 'leaf'; readonly text: string}
  | {readonly op: 'failing'}
  | {readonly op: 'program'; readonly ops: readonly Op[]}
  | {readonly op: 'first'; readonly ops: readonly Op[]; readonly losesFirst: boolean}
  | {readonly op: 'all'; readonly of: readonly (readonly Op[])[]}
  | {readonly op: 'settled'; readonly of: readonly (readonly Op[])[]};

function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function randomProgram(random: () => number): readonly Op[] {
  let ids = 0;
  const int = (most: number) => Math.floor(random() * most);
  const ops = (depth: number): Op[] => Array.from({length: 1 + int(4)}, () => op(depth));
  const op = (depth: number): Op => {
    const id = String(ids++);
    switch (int(depth > 0 ? 10 : 6)) {
      case 0:
        return {op: 'say', text: `<${id}>`};
      case 1:
        return {op: 'step', id, failures: int(2)};
      case 2:
        return {op: 'broken', id};
      case 3:
        return {op: 'sleep', ms: int(8)};
      case 4:
        return {op: 'leaf', text: id};
      case 5:
        return {op: 'failing'};
      case 6:
        return {op: 'program', ops: ops(depth - 1)};
      case 7:
        return {op: 'all', of: [ops(depth - 1), ops(depth - 1)]};
      case 8:
        return {op: 'first', ops: ops(depth - 1), losesFirst: int(2) === 0};
      default:
        return {op: 'settled', of: [ops(depth - 1), ops(depth - 1)]};
    }
  };
  return ops(2);
}

/** What a run of a program did to the world. */
class World {
  /** Tries of each step. */
  readonly tries = new Map<string, number>();
  /** Steps whose result their code has seen: they must not run again. */
  readonly seen = new Set<string>();
  readonly broken: string[] = [];

  agents(): Agent[] {
    return [
      defineAgent({
        type: 'program',
        run: async (ctx, ask) => ({content: await this.interpret(ctx, JSON.parse(ask.text) as Op[])}),
      }),
      defineAgent({type: 'leaf', run: (_ctx, ask) => ({content: `leaf ${ask.text}`})}),
      // Never answers, and waits for another that does not.
      defineAgent({type: 'idle', run: ctx => ctx.call('asleep', 'x')}),
      defineAgent({type: 'asleep', run: ctx => ctx.sleep(3_600_000)}),
      defineAgent({type: 'failing', run: () => ({status: 'FAILED', content: 'no', retryable: false})}),
    ];
  }

  private async interpret(ctx: DurableContext, ops: readonly Op[]): Promise<string> {
    const parts: string[] = [];
    for (const op of ops) parts.push(await this.one(ctx, op));
    return `(${parts.join(' ')})`;
  }

  private async one(ctx: DurableContext, op: Op): Promise<string> {
    switch (op.op) {
      case 'say':
        await ctx.emitChunk(op.text);
        return 'said';
      case 'step':
        return this.step(ctx, op.id, op.failures);
      case 'broken':
        return ctx
          .step(`broken ${op.id}`, () => Promise.reject(new Error(op.id)))
          .catch((error: unknown) => `caught ${(error as Error).message}`);
      case 'sleep':
        await ctx.sleep(op.ms);
        return 'slept';
      case 'leaf':
        return String(await ctx.call('leaf', op.text));
      case 'failing':
        return ctx
          .call('failing', 'x')
          .then(String, (error: unknown) => `failed ${(error as Error).message}`);
      case 'program':
        return String(await ctx.call('program', JSON.stringify(op.ops)));
      case 'first': {
        const wins = ['program', JSON.stringify(op.ops)] as const;
        const loses = ['idle', 'x'] as const;
        const calls = op.losesFirst ? [loses, wins] : [wins, loses];
        return String(await ctx.callAny(calls, {rest: 'cancel'}));
      }
      case 'all':
        return (await Promise.all(op.of.map(ops => this.interpret(ctx, ops)))).join('&');
      case 'settled': {
        const calls = op.of.map(ops => ['program', JSON.stringify(ops)] as const);
        const settled = await ctx.callAll(calls, {policy: 'allSettled'});
        return settled.map(one => (one.status === 'completed' ? String(one.value) : 'failed')).join('|');
      }
    }
  }

  private async step(ctx: DurableContext, id: string, failures: number): Promise<string> {
    const key = `${ctx.executionId}/${id}`;
    const result = await ctx.step(
      `step ${id}`,
      ({attempt}) => {
        if (this.seen.has(key)) this.broken.push(`step ${key} ran after its result was seen`);
        this.tries.set(key, (this.tries.get(key) ?? 0) + 1);
        if (attempt <= failures) throw new Error('passing');
        return id;
      },
      {retry: {maxAttempts: 3, baseMs: 0, maxMs: 1}},
    );
    this.seen.add(key);
    return `did ${result}`;
  }
}

interface Told {
  readonly status: string;
  readonly final: string;
  /** What was said; of parts that run side by side in any order. */
  readonly said: readonly string[];
  readonly ends: number;
  /** How those that lost a race ended. */
  readonly losers: readonly string[];
}

async function runProgram(
  store: Store,
  program: readonly Op[],
  lifespan: () => number,
  mischief?: () => number,
): Promise<{told: Told; world: World; deaths: number}> {
  const world = new World();
  const worker = new MortalWorker(store, world.agents(), mischief);
  const client = new GatewayClient(store);
  const sent = await client.send({
    agentType: 'program',
    content: JSON.stringify(program),
    policy: 'SEND_ANYWAY',
  });
  const all = () => sessionExecutions(store, sent.sessionId);
  await worker.work(async () => (await all()).every(({status}) => isTerminal(status)), lifespan);
  const record = await findExecution(store, sent.sessionId, sent.executionId);
  for (const {targetAgentType: type, status} of await all())
    if (['idle', 'asleep'].includes(type) && status !== 'CANCELLED')
      world.broken.push(`${type} ended ${status}`);
  const events = [];
  for await (const item of followSession(store, sent.sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event') events.push({kind: eventKind(item.event), text: eventText(item.event)});
  return {
    world,
    deaths: worker.deaths,
    told: {
      status: record?.status ?? 'MISSING',
      final: events.find(({kind}) => kind === 'final')?.text ?? '',
      said: events.flatMap(({text}) => (/^<.*>$/.test(text) ? [text] : [])).sort(),
      ends: events.filter(({kind}) => kind === 'end').length,
      losers: (await all()).filter(one => one.targetAgentType === 'idle').map(({status}) => status),
    },
  };
}

const SEED = Number(process.env['BY_SEED'] ?? 1);

describeEachStore('durable programs', at => {
  const count = at.kind === 'redis' ? Number(process.env['BY_PROGRAMS'] ?? 60) : 15;

  test(
    `${count} of them end as if nobody had died`,
    async () => {
      const store = at.open();
      let deaths = 0;
      for (let i = 0; i < count; i++) {
        const seed = SEED * 100_000 + i;
        const random = generator(seed);
        const program = randomProgram(random);
        const calm = await runProgram(store, program, () => Infinity);
        const stormy = await runProgram(store, program, () => 1 + Math.floor(400 * random() ** 3), random);
        expect(stormy.told, `BY_SEED=${SEED}, program ${i}: ${JSON.stringify(program)}`).toEqual(calm.told);
        expect([...stormy.world.broken, ...calm.world.broken]).toEqual([]);
        expect(calm.told).toMatchObject({status: 'COMPLETED', ends: 1});
        deaths += stormy.deaths;
      }
      // What the dead had begun and somebody else has done is forgotten by the next sweep.
      if (at.kind === 'cluster') await sweepOutboxes(store, 0);
      expect(deaths).toBeGreaterThan(count / 3);
    },
    Math.max(600_000, count * 4000),
  );
});

describeEachStore('what a step says', at => {
  test('is there once its result is kept, wherever its worker dies', async () => {
    for (let commands = 1; commands < 16; commands++) {
      const store = at.open();
      const agent = defineAgent({
        type: 'program',
        run: ctx =>
          ctx.step('talk', async () => {
            await ctx.emitChunk('<one>');
            // What is said while that is on its way goes with the next write.
            await new Promise(resolve => setImmediate(resolve));
            for (const word of ['<two>', '<three>']) await ctx.emitChunk(word);
            return 'said';
          }),
      });
      const worker = new MortalWorker(store, [agent]);
      const client = new GatewayClient(store);
      const sent = await client.send({agentType: 'program', content: 'x', policy: 'SEND_ANYWAY'});
      let lives = 0;
      await worker.work(
        async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED',
        () => (lives++ === 0 ? commands : Infinity),
      );
      let said = '';
      for await (const item of followSession(store, sent.sessionId, {untilCaughtUp: true}))
        if (item.kind === 'event' && item.event.metadata['by_step'] !== undefined)
          said += eventText(item.event);
      expect(said, `died after ${commands} commands`).toMatch(/<one><two><three>$/);
      if (at.kind === 'cluster') await sweepOutboxes(store, 0);
    }
  });
});
