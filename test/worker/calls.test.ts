/** Agents that call agents: message agents, their receipts, their RESUMEs. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {followExecution} from '../../src/client/follow-execution.js';
import {startManager} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import {dropByHand} from '../../src/availability/release-by-hand.js';
import {silentLogger} from '../../src/log.js';
import {listHeld} from '../../src/registry/pending-deliveries.js';
import {setCircuit} from '../../src/store/admission.js';
import {findByMessage, sessionExecutions} from '../../src/store/executions.js';
import {stopExecution} from '../../src/store/stop.js';
import {contentText} from '../../src/worker/agent.js';
import type {CallReceipt} from '../../src/worker/calls.js';
import {describeEachStore, until} from '../support/stores.js';
import {
  drained,
  eventsOf,
  ofType,
  put,
  replyOf,
  send,
  timeline,
  untilStatus,
  workAs,
  type Handle,
} from './calls.js';

/** Asks `to`, and makes its own answer of what comes back. */
const asking =
  (to: string, more: object = {}): Handle =>
  (command, ctx) =>
    command.action === 'ASK_AGENT'
      ? ctx.callAgent({agentType: to, content: `from ${ctx.agentType}`, ...more})
      : {content: `${ctx.agentType}<${contentText(command.content)}>`};

describeEachStore('an agent that calls another', at => {
  test('waits without an answer of its own, and goes on with the callee’s', async () => {
    const store = at.open();
    const seen: unknown[] = [];
    await workAs(at, store, {
      a: (command, ctx) => {
        if (command.action === 'ASK_AGENT')
          return ctx.callAgent({
            ...{agentType: 'b', content: 'sub'},
            ...{metadata: {k: 'v'}, extraPayload: {p: 1, wait_for_reply: false}},
          });
        const {status, content, replyData, extraPayload, header} = command;
        seen.push({
          status,
          content,
          replyData,
          extraPayload,
          k: header.metadata['k'],
          n: header.metadata['n'],
        });
        return {content: `got ${contentText(content)}`};
      },
      b: async (command, ctx) => {
        seen.push([contentText(command.content), command.extraPayload, ctx.metadata['k'], ctx.userCode]);
        await ctx.emitChunk('thinking');
        return {content: 'B', reply_data: {x: 1}, metadata: {n: 1}, extra_payload: {e: 2}};
      },
    });
    const sent = await send(store, 'a', {userCode: 'u-1'});
    const record = await untilStatus(store, 'a', 'COMPLETED');
    expect(seen).toEqual([
      ['sub', {p: 1}, 'v', 'u-1'],
      {status: 'COMPLETED', content: 'B', replyData: {x: 1}, extraPayload: {e: 2}, k: 'v', n: 1},
    ]);
    expect(timeline(record)).toEqual(['QUEUED', 'RUNNING', 'WAITING_AGENT', 'RUNNING', 'COMPLETED']);
    const child = await ofType(store, 'b');
    expect(child).toMatchObject({
      ...{sourceAgentType: 'a', parentMessageId: sent.messageId, routeStatus: 'DELIVER_NOW'},
      ...{traceId: sent.traceId},
    });
    expect(await eventsOf(store)).toEqual([
      ['reasoning', 'thinking', 'b'],
      ['reasoning', 'B', 'b'],
      ['final', 'got B', 'a'],
      ['end', '', 'a'],
    ]);
    await drained(at, store, 'a', 'b');
    expect(await at.redis().exists(store.keys.agentConfigsSnapshot(record.executionId))).toBe(0);
  });

  test('three deep: each goes on with the final answer of its own callee', async () => {
    const store = at.open();
    await workAs(at, store, {a: asking('b'), b: asking('c'), c: () => ({content: 'C'})});
    await send(store, 'a');
    const record = await untilStatus(store, 'a', 'COMPLETED');
    expect(timeline(record)).toEqual(['QUEUED', 'RUNNING', 'WAITING_AGENT', 'RUNNING', 'COMPLETED']);
    const events = await eventsOf(store);
    expect(events).toEqual([
      ['reasoning', 'C', 'c'],
      ['reasoning', 'b<C>', 'b'],
      ['final', 'a<b<C>>', 'a'],
      ['end', '', 'a'],
    ]);
    await drained(at, store, 'a', 'b', 'c');
  });

  test.for<[string, (receipt: CallReceipt) => unknown]>([
    ['nothing', () => undefined],
    ['null', () => null],
    ['a bare COMPLETED', () => 'COMPLETED'],
    ['a COMPLETED without more', () => ({status: 'completed', content: ''})],
    ['the receipt', receipt => receipt],
    ['a copy of the receipt', receipt => ({...receipt})],
    ['a list of receipts', receipt => [receipt]],
  ])('waits also when its handler returns %s', async ([, back]) => {
    const store = at.open();
    await workAs(at, store, {
      a: async (command, ctx) =>
        command.action === 'ASK_AGENT'
          ? back(
              await ctx.callAgent({agentType: 'b', content: 'x', policy: 'SEND_ANYWAY', messageId: 'msg-b'}),
            )
          : 'done',
    });
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'a', 'WAITING_AGENT');
    expect(await eventsOf(store)).toEqual([]);
    const header = {messageId: 'msg-a', parentMessageId: 'msg-b', sourceAgentType: 'b', targetAgentType: 'a'};
    await put(at, store, 'a', replyOf(header));
    const record = await untilStatus(store, 'a', 'COMPLETED');
    expect(timeline(record)).toEqual(['QUEUED', 'RUNNING', 'WAITING_AGENT', 'RUNNING', 'COMPLETED']);
  });

  test('is told that nobody takes the call, waits for nothing, and closes its stream', async () => {
    const store = at.open();
    await setCircuit(store, 'closed', {reason: 'maintenance'});
    const receipts: CallReceipt[] = [];
    await workAs(at, store, {
      a: async (_, ctx) => {
        receipts.push(await ctx.callAgent({agentType: 'nobody', content: 'x'}));
        receipts.push(
          await ctx.callAgent({agentType: 'closed', content: 'x', policy: 'QUEUE_ONLY', messageId: 'msg-c'}),
        );
        return {status: 'COMPLETED'};
      },
    });
    await send(store, 'a', {messageId: 'msg-a'});
    const record = await untilStatus(store, 'a', 'COMPLETED');
    expect(receipts).toMatchObject([
      {
        ...{status: 'FAILED', message_id: '', parent_message_id: 'msg-a', target_agent_type: 'nobody'},
        error_code: 'AGENT_TYPE_UNAVAILABLE',
      },
      {status: 'FAILED', error_code: 'AGENT_CIRCUIT_OPEN'},
    ]);
    expect(timeline(record)).toEqual(['QUEUED', 'RUNNING', 'COMPLETED']);
    expect(await ofType(store, 'nobody')).toMatchObject({
      ...{status: 'FAILED', sourceAgentType: 'a', failedStage: 'availability', routeStatus: 'REJECT'},
    });
    expect(await findByMessage(store, 's', 'msg-c')).toMatchObject({errorCode: 'AGENT_CIRCUIT_OPEN'});
    expect(await eventsOf(store)).toEqual([['end', '', 'a']]);
    at.breaksRules('circuit');
  });

  test('that ends with a refusal has failed for that reason, and says nothing else', async () => {
    const store = at.open();
    await workAs(at, store, {a: asking('nobody'), root: asking('a')});
    await send(store, 'root');
    await untilStatus(store, 'root', 'COMPLETED');
    expect(await ofType(store, 'a')).toMatchObject({
      ...{status: 'FAILED', errorCode: 'AGENT_TYPE_UNAVAILABLE'},
      errorMessage: expect.stringContaining('nobody') as unknown,
    });
    expect((await eventsOf(store)).map(([kind]) => kind)).toEqual(['final', 'end']);
    expect(await at.redis().xlen(store.keys.deadletter())).toBe(0);
  });

  test('hands over: the callee answers the person, and closes the stream', async () => {
    const store = at.open();
    await workAs(at, store, {
      a: async (_, ctx) => {
        await ctx.callAgent({agentType: 'b', content: 'yours', waitForReply: false});
      },
      b: async (command, ctx) => {
        await ctx.emitChunk('chunk');
        return {content: `b: ${contentText(command.content)} ${command.header.sourceAgentType}`};
      },
    });
    const following = followExecution(store, await send(store, 'a'));
    let item = await following.next();
    while (!item.done) item = await following.next();
    expect(item.value).toMatchObject({targetAgentType: 'b', status: 'COMPLETED', sourceAgentType: ''});
    await untilStatus(store, 'a', 'COMPLETED');
    expect(await eventsOf(store)).toEqual([
      ['answer', 'chunk', 'b'],
      ['final', 'b: yours ', 'b'],
      ['end', '', 'b'],
    ]);
  });

  test('hears that its callee failed, or was cancelled', async () => {
    const store = at.open();
    const answers: unknown[] = [];
    await workAs(at, store, {
      a: async (command, ctx) => {
        if (command.action === 'ASK_AGENT') {
          await ctx.callAgent({agentType: 'boom', content: 'x'});
          return ctx.callAgent({agentType: 'never', content: 'x', policy: 'SEND_ANYWAY', messageId: 'msg-n'});
        }
        answers.push([command.status, command.replyData]);
        return answers.length === 2 ? 'both' : {status: 'WAITING_AGENT'};
      },
      boom: () => {
        throw new Error('no luck');
      },
    });
    await send(store, 'a');
    await until(() => answers.length === 1);
    await new GatewayClient(store).cancel({sessionId: 's', messageId: 'msg-n', reason: 'not needed'});
    await untilStatus(store, 'a', 'COMPLETED');
    expect(answers).toEqual([
      ['FAILED', {error: 'no luck'}],
      ['CANCELLED', {reason: 'not needed'}],
    ]);
  });

  test('gets one reply, the final one, also from a callee that asked a person in between', async () => {
    const store = at.open();
    const answers: string[] = [];
    await workAs(at, store, {
      a: (command, ctx) => {
        if (command.action === 'ASK_AGENT')
          return ctx.callAgent({agentType: 'b', content: 'x', messageId: 'msg-b'});
        answers.push(command.status);
        return {content: contentText(command.content)};
      },
      b: async (command, ctx) => {
        if (command.action === 'ASK_AGENT') return ctx.askUser('sure?');
        await ctx.emitChunk('on');
        return {content: `person said ${contentText(command.content)}`};
      },
    });
    await send(store, 'a');
    await untilStatus(store, 'b', 'WAITING_USER');
    await put(at, store, 'b', replyOf({messageId: 'msg-b', targetAgentType: 'b'}, 'yes', ''));
    await untilStatus(store, 'a', 'COMPLETED');
    await drained(at, store, 'a', 'b');
    expect(answers).toEqual(['COMPLETED']);
    // A sub-agent stays one: its words are reasoning, and it does not close the stream.
    expect((await eventsOf(store)).slice(1)).toEqual([
      ['reasoning', 'on', 'b'],
      ['reasoning', 'person said yes', 'b'],
      ['final', 'person said yes', 'a'],
      ['end', '', 'a'],
    ]);
  });

  test('goes on once for one answer, however often and however late it is told', async () => {
    const store = at.open();
    const seen: string[] = [];
    await workAs(at, store, {
      a: async (command, ctx) => {
        if (command.action === 'RESUME') {
          seen.push(contentText(command.content));
          return seen.length === 2 ? 'done' : {status: 'WAITING_AGENT'};
        }
        for (const messageId of ['msg-1', 'msg-2'])
          await ctx.callAgent({agentType: 'b', content: 'x', messageId, policy: 'SEND_ANYWAY'});
      },
    });
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'a', 'WAITING_AGENT');
    const reply = (parentMessageId: string, content: string, messageId = 'msg-a') =>
      replyOf({messageId, parentMessageId, sourceAgentType: 'b', targetAgentType: 'a'}, content);
    // The second first, twice, and one from somebody who was not asked.
    for (const one of [reply('msg-2', 'two'), reply('msg-2', 'again'), reply('msg-x', 'stranger')])
      await put(at, store, 'a', one);
    await drained(at, store, 'a');
    expect(seen).toEqual(['two']);
    expect(await ofType(store, 'a')).toMatchObject({status: 'WAITING_AGENT'});
    for (const one of [reply('msg-1', 'one'), reply('msg-1', 'late')]) await put(at, store, 'a', one);
    await drained(at, store, 'a');
    expect(seen).toEqual(['two', 'one']);
    expect(await ofType(store, 'a')).toMatchObject({status: 'COMPLETED'});
  });

  test.for(['python', 'typescript'])('is found by a reply in the dialect of %s', async dialect => {
    const store = at.open();
    await workAs(at, store, {a: asking('b', {policy: 'SEND_ANYWAY', messageId: 'msg-b'})});
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'a', 'WAITING_AGENT');
    const messageId = dialect === 'python' ? 'msg-a' : 'msg-fresh';
    await put(
      at,
      store,
      'a',
      replyOf({messageId, parentMessageId: 'msg-b', sourceAgentType: 'b', targetAgentType: 'a'}, 'B'),
    );
    const record = await untilStatus(store, 'a', 'COMPLETED');
    expect(timeline(record)).toEqual(['QUEUED', 'RUNNING', 'WAITING_AGENT', 'RUNNING', 'COMPLETED']);
    expect(await findByMessage(store, 's', 'msg-fresh')).toBeUndefined();
    expect((await eventsOf(store)).slice(-2)).toEqual([
      ['final', 'a<B>', 'a'],
      ['end', '', 'a'],
    ]);
  });

  test('leaves what a Python worker needs to go on with it', async () => {
    const store = at.open();
    await workAs(at, store, {a: asking('b', {policy: 'SEND_ANYWAY'})});
    await send(store, 'a');
    const record = await untilStatus(store, 'a', 'WAITING_AGENT');
    expect(record).toMatchObject({agentConfigsSnapshotKey: record.executionId, agentConfigsVersion: 0});
    const snapshot = store.keys.agentConfigsSnapshot(record.executionId);
    expect(await at.redis().get(snapshot)).toMatch(/^dill-base64:/);
    expect(await at.redis().ttl(snapshot)).toBeGreaterThan(600_000);
  });

  test('once cancelled, calls nobody, also before its worker has heard of it', async () => {
    const store = at.open();
    const refused: unknown[] = [];
    await workAs(at, store, {
      a: async (_, ctx) => {
        const record = await ofType(store, 'a');
        const stop = {kind: 'cancel', reason: 'enough', force: false, requestedBy: 't', tell: false} as const;
        if (record !== undefined) await stopExecution(store, record, stop, 1);
        await ctx
          .callAgent({agentType: 'a', content: 'x', parentMessageId: 'msg-other'})
          .catch((error: unknown) => refused.push((error as {code: string}).code));
        // By now it has.
        await ctx
          .callAgent({agentType: 'a', content: 'x'})
          .catch((error: unknown) => refused.push((error as Error).name));
        return 'done';
      },
    });
    await send(store, 'a');
    expect(await untilStatus(store, 'a', 'CANCELLED')).toMatchObject({cancelReason: 'enough'});
    expect(refused).toEqual(['PARENT_CANCELLED', 'AbortError']);
    expect(await sessionExecutions(store, 's')).toHaveLength(1);
  });

  test('hands its deadline down', async () => {
    const store = at.open();
    await workAs(at, store, {
      a: async (_, ctx) => {
        await ctx.callAgent({agentType: 'b', content: 'x', policy: 'SEND_ANYWAY'});
        await ctx.callAgent({agentType: 'c', content: 'x', policy: 'SEND_ANYWAY', deadlineMs: 1000});
        await ctx.dispatchGroup([{agentType: 'd', content: 'x'}], {deadlineMs: 900_000});
      },
    });
    const {deadline} = await send(store, 'a', {deadlineMs: 600_000});
    await untilStatus(store, 'a', 'GROUP_QUEUED');
    expect((await ofType(store, 'b'))?.extra['x_deadline']).toBe(deadline);
    expect((await ofType(store, 'd'))?.extra['x_deadline']).toBe(deadline);
    expect(Number((await ofType(store, 'c'))?.extra['x_deadline'])).toBeLessThan(deadline ?? 0);
  });

  test('does not hold its slot while it waits for a wakeup', async () => {
    const store = at.open();
    const worker = await workAs(
      at,
      store,
      {
        a: asking('b', {policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 60_000}),
        other: () => ({content: 'done'}),
      },
      {concurrency: 1},
    );
    await send(store, 'a');
    await until(async () => (await at.redis().xlen(store.keys.wakeup())) === 1);
    await send(store, 'other');
    await untilStatus(store, 'other', 'COMPLETED');
    await workAs(at, store, {b: () => ({content: 'B'})});
    await untilStatus(store, 'a', 'COMPLETED');
    expect((await ofType(store, 'b'))?.routeStatus).toBe('WAIT_AND_DELIVER');
    await until(() => worker.running === 0);
    at.breaksRules('wakeup');
  });

  test.for(['expires', 'is dropped'] as const)('hears of a call that was held back and %s', async end => {
    const store = at.open();
    const answers: unknown[] = [];
    await workAs(at, store, {
      a: (command, ctx) => {
        if (command.action === 'ASK_AGENT')
          return ctx.callAgent({agentType: 'b', content: 'x', policy: 'QUEUE_ONLY'});
        answers.push([command.status, command.replyData]);
        return 'done';
      },
    });
    await send(store, 'a');
    await untilStatus(store, 'a', 'WAITING_AGENT');
    if (end === 'expires') {
      const provider = mockProvider({mode: {kind: 'reject'}});
      const manager = await startManager(store, {provider, log: silentLogger, pendingDeadlineMs: 1});
      at.cleanup(() => manager.stop());
    } else {
      const [held] = (await listHeld(store, {limit: 1})).deliveries;
      if (held !== undefined) await dropByHand(store, held, {reason: 'not now', by: 'me', now: 1});
    }
    await untilStatus(store, 'a', 'COMPLETED');
    const error = end === 'expires' ? 'nobody came online before the deadline' : 'not now';
    expect(answers).toEqual([['FAILED', {error}]]);
    at.breaksRules('deadletter');
  });

  test('may call from a step of its own, and ask a person there', async () => {
    const store = at.open();
    await workAs(at, store, {
      a: async (command, ctx) => {
        if (command.action === 'RESUME') return {content: 'done'};
        const step = await ctx.subStep('looking');
        await step.emitChunk('found', {metadata: {page: 3}});
        await step.callAgent({
          ...{agentType: 'b', content: 'x', policy: 'SEND_ANYWAY', messageId: 'msg-b'},
          ...{metadata: {m: 1}, extraPayload: {p: 2}},
        });
      },
    });
    await send(store, 'a', {messageId: 'msg-a'});
    await untilStatus(store, 'a', 'WAITING_AGENT');
    expect(await findByMessage(store, 's', 'msg-b')).toMatchObject({parentMessageId: 'msg-a'});
    const [[, fields] = ['', []]] = await at.redis().xrange(store.keys.ctrlStream('b'), '-', '+');
    expect(JSON.parse(fields[1] ?? '')).toMatchObject({
      header: {metadata: {m: 1, framework_parent_span_id: 'msg-b:client.dispatch'}},
      body: {extra_payload: {p: 2}, wait_for_reply: true},
    });
  });

  test('that is tried again finds the calls of its earlier tries made', async () => {
    const store = at.open();
    const receipts: string[] = [];
    await workAs(at, store, {
      a: async (command, ctx) => {
        if (command.action === 'RESUME') return {content: contentText(command.content)};
        for (const content of ['x', 'x', 'y'])
          receipts.push((await ctx.callAgent({agentType: 'b', content, policy: 'SEND_ANYWAY'})).message_id);
        if (ctx.attempt < 3) throw Object.assign(new Error('again'), {retryable: true});
      },
    });
    await send(store, 'a');
    await untilStatus(store, 'a', 'WAITING_AGENT');
    expect(receipts).toHaveLength(9);
    expect(new Set(receipts).size).toBe(3);
    expect(await at.redis().xlen(store.keys.ctrlStream('b'))).toBe(3);
  });

  test('does not wait for a message that is somebody else’s', async () => {
    const store = at.open();
    await workAs(at, store, {a: asking('b', {messageId: 'msg-a'})});
    await send(store, 'a', {messageId: 'msg-a'});
    expect(await untilStatus(store, 'a', 'FAILED')).toMatchObject({errorCode: 'CONFLICT'});
    at.breaksRules('deadletter');
  });

  test('can not call itself for ever', async () => {
    const store = at.open();
    await workAs(at, store, {
      a: (command, ctx) =>
        command.action === 'ASK_AGENT'
          ? ctx.callAgent({agentType: 'a', content: 'again'})
          : {status: command.status, content: contentText(command.content), reply_data: command.replyData},
    });
    const sent = await send(store, 'a');
    const root = await until(async () => {
      const record = await findByMessage(store, sent.sessionId, sent.messageId);
      return record?.status === 'FAILED' && record;
    });
    expect(root.status).toBe('FAILED');
    expect(await sessionExecutions(store, sent.sessionId)).toHaveLength(33);
    at.breaksRules('deadletter');
  });
});
