import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {followSession, type SessionItem} from '../../src/store/data-streams.js';
import {openStore} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {startFaultProxy} from '../support/fault-proxy.js';
import {describeEachServer, describeEachStore, until} from '../support/stores.js';

const event = (text: string) =>
  JSON.stringify({
    trace_id: 't',
    session_id: 's',
    event_type: 'answerDelta',
    data: {choices: [{delta: {content: text}}]},
  });

describeEachServer('following a session over a bad line', at => {
  test('gives every event once and in order, though the connection is cut again and again', async () => {
    at.breaksRules('sessionDataStream');
    const store = at.open();
    const proxy = await startFaultProxy(at.url());
    at.cleanup(() => proxy.close());
    const reader = openStore({url: proxy.url, prefix: store.keys.prefix});
    at.cleanup(() => reader.close());
    const redis = at.redis();
    const stream = store.keys.sessionDataStream('s');
    await redis.xadd(stream, '*', 'data', event('0'));
    const seen: string[] = [];
    const stop = new AbortController();
    const reading = (async () => {
      for await (const item of followSession(reader, 's', {signal: stop.signal})) {
        if (item.kind === 'event') seen.push(eventText(item.event));
        else seen.push(item.kind);
      }
    })();
    for (let i = 1; i <= 200; i++) {
      await redis.xadd(stream, '*', 'data', event(String(i)));
      if (i % 40 === 0) {
        await until(() => seen.length > i - 30);
        proxy.cut();
      }
    }
    await until(() => seen.length >= 201);
    stop.abort();
    await reading;
    expect(seen).toEqual(Array.from({length: 201}, (_, i) => String(i)));
  });

  test('a send whose reply is lost gives the same execution, and one task', async () => {
    const store = at.open();
    const proxy = await startFaultProxy(at.url());
    at.cleanup(() => proxy.close());
    const lossy = openStore({url: proxy.url, prefix: store.keys.prefix, commandTimeoutMs: 300});
    at.cleanup(() => lossy.close());
    const client = new GatewayClient(lossy);
    await client.find('s', 'm');
    proxy.loseReplies();
    setTimeout(() => {
      proxy.heal();
      proxy.cut();
    }, 100);
    const sent = await client.send({agentType: 'echo', content: 'x', sessionId: 's', policy: 'SEND_ANYWAY'});
    expect(await at.redis().xlen(store.keys.ctrlStream('echo'))).toBe(1);
    expect(await client.find('s', sent.messageId)).toMatchObject({executionId: sent.executionId});
  });

  test('a slow line only makes everything slower: each is sent once, runs once, and is read in order', async () => {
    const store = at.open();
    const proxy = await startFaultProxy(at.url());
    at.cleanup(() => proxy.close());
    const runs: string[] = [];
    const echo = defineAgent({
      type: 'echo',
      async run(ctx, ask) {
        runs.push(ask.text);
        for (const word of ['a ', 'b ', 'c ']) await ctx.emitChunk(word);
      },
    });
    const far = {url: proxy.url, prefix: store.keys.prefix};
    const worker = await startWorker(far, {agents: [echo], log: silentLogger});
    at.cleanup(() => worker.stop({drainMs: 0}));
    const lines = openStore(far);
    at.cleanup(() => lines.close());
    proxy.delay(30);
    const client = new GatewayClient(lines);
    const sent = await Promise.all(['1', '2', '3'].map(content => client.send({agentType: 'echo', content})));
    for (const one of sent) {
      await until(async () => (await client.find(one.sessionId, one.messageId))?.status === 'COMPLETED');
      const texts: string[] = [];
      for await (const item of followSession(lines, one.sessionId, {untilCaughtUp: true}))
        if (item.kind === 'event' && eventKind(item.event) === 'answer') texts.push(eventText(item.event));
      expect(texts.join('')).toBe('a b c ');
    }
    expect(runs.sort()).toEqual(['1', '2', '3']);
    proxy.heal();
  });

  test('a worker goes on after its connections were cut', async () => {
    const store = at.open();
    const proxy = await startFaultProxy(at.url());
    at.cleanup(() => proxy.close());
    const echo = defineAgent({type: 'echo', run: (_, ask) => ({content: ask.text})});
    const worker = await startWorker(
      {url: proxy.url, prefix: store.keys.prefix},
      {agents: [echo], log: silentLogger},
    );
    at.cleanup(() => worker.stop({drainMs: 0}));
    const client = new GatewayClient(store);
    for (let round = 0; round < 3; round++) {
      proxy.cut();
      const sent = await client.send({agentType: 'echo', content: `round ${round}`});
      await until(async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED');
    }
    const items: string[] = [];
    const sent = await client.send({agentType: 'echo', content: 'last'});
    await until(async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED');
    for await (const item of followSession(store, sent.sessionId, {untilCaughtUp: true})) {
      if (item.kind === 'event') items.push(eventKind(item.event));
    }
    expect(items).toEqual(['final', 'end']);
  });
});

describeEachStore('following a session', at => {
  test('says so when retention removed what comes next', async () => {
    at.breaksRules('sessionDataStream');
    const store = at.open();
    const redis = at.redis();
    const stream = store.keys.sessionDataStream('s');
    const first = await redis.xadd(stream, '*', 'data', event('a'));
    await redis.xadd(stream, '*', 'data', event('b'));
    await redis.xadd(stream, '*', 'data', event('c'));
    await redis.xtrim(stream, 'MAXLEN', 1);
    const items: SessionItem[] = [];
    for await (const item of followSession(store, 's', {after: first!, untilCaughtUp: true}))
      items.push(item);
    expect(items.map(item => item.kind)).toEqual(['gap', 'event']);
  });

  test('shows an entry that is no event, and goes on', async () => {
    at.breaksRules('sessionDataStream');
    const store = at.open();
    const redis = at.redis();
    const stream = store.keys.sessionDataStream('s');
    await redis.xadd(stream, '*', 'data', '{"half":');
    await redis.xadd(stream, '*', 'nothing', 'here');
    await redis.xadd(stream, '*', 'data', event('fine'));
    const items: SessionItem[] = [];
    for await (const item of followSession(store, 's', {untilCaughtUp: true})) items.push(item);
    expect(items.map(item => item.kind)).toEqual(['unreadable', 'unreadable', 'event']);
  });
});
