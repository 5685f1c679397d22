/** What an agent says while its caller waits: the caller's code is given it as it comes, the same in every turn. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {findExecution} from '../../src/store/executions.js';
import {followSession} from '../../src/store/data-streams.js';
import {readJournal} from '../../src/store/journal.js';
import type {Store} from '../../src/store/store.js';
import {silentLogger} from '../../src/log.js';
import {defineAgent, type Agent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {playCalm, playStormy, chance, mortal, type Play} from '../examples/support.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const WORDS = ['one ', 'two ', 'three ', 'four ', 'five '];

/** Says its words one by one, and then that they were all. */
const talker = (between: () => Promise<unknown> = () => Promise.resolve()) =>
  defineAgent({
    type: 'talker',
    async run(ctx) {
      for (const word of WORDS) {
        await ctx.emitChunk(word);
        await between();
      }
      return {content: 'said'};
    },
  });

/** Hands on what it hears, once it may listen. */
const relay = (quietMs?: number, heard: string[] = [], mayListen?: Promise<void>) =>
  defineAgent({
    type: 'relay',
    async run(ctx, ask) {
      const answer = ctx.call('talker', ask.text);
      if (mayListen !== undefined) await ctx.step('listen', () => mayListen);
      heard.push('|');
      for await (const event of answer.events(quietMs === undefined ? {} : {quietMs})) {
        heard.push(eventText(event));
        await ctx.emitChunk(`<${eventText(event)}>`);
      }
      return {content: `end: ${String(await answer)}`};
    },
  });

const play = (agents: readonly Agent[]): Play => ({agents, agentType: 'relay', content: 'go'});
const told = [...WORDS.map(word => `answer: <${word}>`), 'answer: <said>', 'final: end: said', 'end: '];

/** What waits for {@link passed} goes on once it is open. */
function gate(): {readonly open: () => void; readonly passed: Promise<void>} {
  let open: () => void = () => undefined;
  const passed = new Promise<void>(resolve => (open = resolve));
  return {open: () => open(), passed};
}

async function run(at: TestStore, store: Store, agents: readonly Agent[], concurrency = 50) {
  const worker = await startWorker(store, {agents, concurrency, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
  const sent = await new GatewayClient(store).send({agentType: 'relay', content: 'go'});
  return {
    sent,
    record: () => findExecution(store, sent.sessionId, sent.executionId),
    relayed: async () => {
      const lines: string[] = [];
      for await (const item of followSession(store, sent.sessionId, {untilCaughtUp: true}))
        if (item.kind === 'event' && item.event.messageId === sent.messageId)
          lines.push(`${eventKind(item.event)}: ${eventText(item.event)}`);
      return lines;
    },
  };
}

/** So many words are there: whoever listens now hears them, however short its patience and slow the machine. */
async function spoken(at: TestStore, store: Store, {sessionId}: {sessionId: string}, words: number) {
  const redis = at.redis();
  await until(async () => (await redis.xlen(store.keys.sessionDataStream(sessionId))) === words);
}

describeEachStore('the events of a call', at => {
  test('are read while it runs', async () => {
    const store = at.open();
    const steps: (() => void)[] = [];
    const {relayed, record} = await run(at, store, [
      talker(() => new Promise<void>(resolve => steps.push(resolve))),
      relay(60_000),
    ]);
    for (let said = 1; said <= WORDS.length; said++) {
      // It says the next word only when this one has been handed on.
      await until(async () => (await relayed()).length === said);
      (await until(() => steps.shift()))();
    }
    await until(async () => (await record())?.status === 'COMPLETED');
    expect(await relayed()).toEqual(told);
  });

  test('come also where the worker has one slot for caller and callee', async () => {
    const store = at.open();
    const {relayed, record} = await run(at, store, [talker(), relay(60_000)], 1);
    await until(async () => (await record())?.status === 'COMPLETED');
    expect(await relayed()).toEqual(told);
  });

  test('let the turn end while nothing is said, and come again from the first one in the next', async () => {
    const store = at.open();
    const {open: goOn, passed: pause} = gate();
    const {open: listen, passed: mayListen} = gate();
    let words = 0;
    const heard: string[] = [];
    const slow = talker(() => (++words === 2 ? pause : Promise.resolve()));
    const {sent, relayed, record} = await run(at, store, [slow, relay(20, heard, mayListen)]);
    await spoken(at, store, sent, 2);
    listen();
    await until(async () => (await record())?.status === 'WAITING_AGENT');
    const before = await relayed();
    expect(before).toEqual(told.slice(0, 2));
    goOn();
    await until(async () => (await record())?.status === 'COMPLETED');
    expect(await relayed()).toEqual(told);
    const lastTurn = heard.slice(heard.lastIndexOf('|') + 1);
    expect(lastTurn).toEqual([...WORDS, 'said']);
  });

  test('that were said before anybody reads are all there, and those of a call that was refused are none', async () => {
    const store = at.open();
    const late = defineAgent({
      type: 'relay',
      async run(ctx) {
        const answer = ctx.call('talker', 'go');
        await answer;
        await ctx.sleep(10);
        const texts: string[] = [];
        for await (const event of answer.events()) texts.push(eventText(event));
        const refused = ctx.call('nobody', 'x', {policy: 'FAIL_FAST'});
        for await (const event of refused.events()) texts.push(eventText(event));
        return {content: texts.join('')};
      },
    });
    const {relayed, record} = await run(at, store, [talker(), late]);
    await until(async () => (await record())?.status === 'COMPLETED');
    expect((await relayed())[0]).toBe(`final: ${WORDS.join('')}said`);
  });

  test('are read by code that waits for other things beside, alike in every turn', async () => {
    const runs: string[][] = [];
    const busy = defineAgent({
      type: 'relay',
      async run(ctx) {
        const order: string[] = [];
        runs.push(order);
        const answer = ctx.call('talker', 'go');
        const reading = (async () => {
          for await (const event of answer.events({quietMs: 20})) order.push(eventText(event));
        })();
        for (let i = 0; i < 5; i++) {
          await ctx.sleep(15);
          order.push(`slept ${i}`);
        }
        await reading;
        await ctx.sleep(10);
        return {content: order.join(',')};
      },
    });
    const slow = talker(() => new Promise(resolve => setTimeout(resolve, 25)));
    const played = await playCalm(at, at.open(), play([slow, busy]));
    const last = runs.at(-1) ?? [];
    expect(played.final).toBe(last.join(','));
    // Earlier turns saw a beginning of the same.
    for (const earlier of runs) expect(last.slice(0, earlier.length)).toEqual(earlier);
    expect(last.filter(line => !line.startsWith('slept')).join('')).toBe(`${WORDS.join('')}said`);
  });

  test('are read on by a turn that gave up waiting for them, and goes on for another reason', async () => {
    const store = at.open();
    const [talk, step] = [gate(), gate()];
    const busy = defineAgent({
      type: 'relay',
      async run(ctx) {
        const holding = ctx.step('hold', () => step.passed);
        const texts: string[] = [];
        for await (const event of ctx.call('talker', 'go').events({quietMs: 1})) texts.push(eventText(event));
        await holding;
        return {content: texts.join('')};
      },
    });
    const {sent, relayed, record} = await run(at, store, [talker(() => talk.passed), busy]);
    const journal = () => readJournal(store, sent);
    await until(async () => (await journal()).outcomes.has(2));
    // By now it has given up, where the machine is not too busy; the answer comes while the step keeps the turn.
    await new Promise(resolve => setTimeout(resolve, 200));
    talk.open();
    await until(async () => (await journal()).outcomes.has(1));
    step.open();
    await until(async () => (await record())?.status === 'COMPLETED');
    expect((await relayed())[0]).toBe(`final: ${WORDS.join('')}said`);
  });

  test('that somebody removed before the next turn end it with JOURNAL_MISMATCH, never with half of them', async () => {
    const store = at.open();
    const {open: goOn, passed: pause} = gate();
    const {open: listen, passed: mayListen} = gate();
    const {sent, record} = await run(at, store, [talker(() => pause), relay(20, [], mayListen)]);
    await spoken(at, store, sent, 1);
    listen();
    await until(async () => (await record())?.status === 'WAITING_AGENT');
    const stream = store.keys.sessionDataStream(sent.sessionId);
    const [first] = await at.redis().xrange(stream, '-', '+', 'COUNT', 1);
    await at.redis().xdel(stream, first?.[0] ?? '');
    goOn();
    const ended = await until(async () => {
      const now = await record();
      return now?.status === 'FAILED' && now;
    });
    expect(ended.errorCode).toBe('JOURNAL_MISMATCH');
    at.breaksRules('dead-letters');
  });

  test('stop when the caller is cancelled', async () => {
    const store = at.open();
    const {sent, record} = await run(at, store, [talker(() => new Promise(() => undefined)), relay(60_000)]);
    await until(async () => (await readJournal(store, sent)).outcomes.size > 0);
    await new GatewayClient(store).cancel({...sent, force: true});
    await until(async () => (await record())?.status === 'CANCELLED');
  });

  test('are handed on as if nobody had died', async () => {
    let deaths = 0;
    const agents = [talker(() => new Promise(resolve => setTimeout(resolve, 2))), relay(20)];
    const calm = await playCalm(at, at.open(), play(agents));
    expect(calm.told).toEqual(told);
    for (let i = 0; i < (at.kind === 'redis' ? 20 : 5); i++) {
      const stormy = await playStormy(at, at.open(), play(agents), mortal(chance(i), 120));
      // What was read is what is in the stream, whoever read it.
      expect(stormy.played, `play ${i}`).toEqual(calm);
      deaths += stormy.deaths;
    }
    expect(deaths).toBeGreaterThan(5);
  }, 120_000);
});
