/**
 * What is left when the process that takes a step dies between two of its commands, at each such point; and that
 * whoever comes next brings it to the same end. On one server most steps are one command; in a Cluster they are many.
 */
import {describe, expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {systemClock} from '../../src/clock.js';
import {cancel} from '../../src/availability/cancel.js';
import {
  countedAttempts,
  encodeRecord,
  newExecutionRecord,
  type ReplyContext,
} from '../../src/protocol/execution.js';
import {encodePresence} from '../../src/protocol/presence.js';
import type {WakeupRequest} from '../../src/protocol/wakeup.js';
import {
  decideWakeup,
  joinWakeup,
  MANAGER_GROUP,
  releasePending,
  takePending,
} from '../../src/store/control-plane.js';
import {ensureGroup, readNew, settleMany, type ControlEntry} from '../../src/store/control-streams.js';
import {moveToDeadLetters} from '../../src/store/dead-letters.js';
import {claimExecution, findByMessage, findExecution, finishTurn} from '../../src/store/executions.js';
import {sweepOutboxes} from '../../src/store/outbox.js';
import {
  auditOf,
  dropDeadLetter,
  readMarker,
  replayDeadLetter,
  replayMarkers,
} from '../../src/store/replays.js';
import type {Store} from '../../src/store/store.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachStore, type TestStore} from '../support/stores.js';

const lengths = (at: TestStore, ...streams: string[]) =>
  Promise.all(streams.map(stream => at.redis().xlen(stream)));

async function take(store: Store, stream: string, group: string): Promise<ControlEntry> {
  await ensureGroup(store, stream, group);
  const reader = store.blocking('test', stream);
  const [entry] = await readNew(store, reader, {
    streams: [stream],
    group,
    consumer: 'c',
    count: 1,
    blockMs: 1000,
  });
  reader.close();
  if (entry === undefined) throw new Error('there was nothing to take');
  return entry;
}

function record(executionId: string, messageId: string, sourceAgentType = 'client'): string {
  return encodeRecord(
    newExecutionRecord({
      ...{executionId, messageId, sessionId: 's', traceId: 't', parentMessageId: ''},
      ...{sourceAgentType, targetAgentType: 'echo', streamName: 'x', now: 1},
    }),
  );
}

const plainEnd = {
  ...{sessionId: 's', executionId: 'x', renewEvents: true, renewRegistry: false, events: [] as string[]},
};

/** Take execution x up from this entry; whoever has it is dead. */
async function claimBy(
  store: Store,
  entry: ControlEntry,
  owner: string,
  resume = false,
  reply?: ReplyContext,
) {
  const holder = (await findExecution(store, 's', 'x'))?.extra['x_owner'];
  return claimExecution(store, {
    ...{sessionId: 's', messageId: 'm', hint: '', newExecutionId: 'x', owner, workerId: 'w'},
    newRecord: () => record('x', 'm', reply?.source_agent_type),
    ...{entry: `${entry.stream}/${entry.id}`, nowMs: 2, reopen: false, ask: !resume, maxAttempts: 5},
    deadOwner: typeof holder === 'string' ? holder : '',
    ...(reply === undefined ? {} : {reply}),
  });
}

describeEachStore('a process that dies between any two of its commands', at => {
  test('while it sends: leaves nothing, or an accepted task, and its retry is the same task', async () => {
    const request = {
      ...{agentType: 'echo', content: 'hi', sessionId: 's', messageId: 'm'},
      policy: 'SEND_ANYWAY',
    } as const;
    await atEveryCrash(
      () => at.open(),
      () => Promise.resolve(),
      store => new GatewayClient(store).send(request),
      async store => {
        const {keys} = store;
        await sweepOutboxes(store, 0);
        const found = await findByMessage(store, 's', 'm');
        expect(await lengths(at, keys.ctrlStream('echo'))).toEqual([found === undefined ? 0 : 1]);
        const sent = await new GatewayClient(store).send(request);
        if (found !== undefined)
          expect(sent).toMatchObject({duplicate: true, executionId: found.executionId});
        expect(
          await lengths(at, keys.ctrlStream('echo'), keys.sessionOutbox('s'), keys.openOutboxes()),
        ).toEqual([1, 0, 0]);
      },
    );
  });

  test('while it ends a turn: one end, one reply and one dead letter, whoever is given the entry next', async () => {
    const claim = (store: Store, entry: ControlEntry, owner: string) =>
      claimExecution(store, {
        ...{sessionId: 's', messageId: 'm', hint: '', newExecutionId: 'x', newRecord: () => record('x', 'm')},
        ...{owner, workerId: 'w', entry: `${entry.stream}/${entry.id}`, nowMs: 2, reopen: false},
        ...{ask: true, deadOwner: owner === 'w#2' ? 'w#1' : '', maxAttempts: 5},
      });
    const finish = (store: Store, fence: string) =>
      finishTurn(store, {
        ...{sessionId: 's', executionId: 'x', fence, renewEvents: true, renewRegistry: false},
        patch: {status: 'FAILED', updated_at: 3},
        events: ['{"event_type":"end"}'],
        reply: {stream: store.keys.ctrlStream('caller'), document: '{"reply":1}'},
        deadLetter: '{"letter":1}',
      });
    await atEveryCrash(
      () => at.open(),
      async store => {
        const stream = store.keys.ctrlStream('echo');
        await at.redis().xadd(stream, '*', 'data', '{}');
        const entry = await take(store, stream, 'g');
        return {entry, fence: (await claim(store, entry, 'w#1')).fence};
      },
      async (store, {entry, fence}) => {
        await finish(store, fence);
        await settleMany(store, 'g', entry.stream, [entry.id], true);
      },
      async (store, {entry}) => {
        const {keys} = store;
        const next = await claim(store, entry, 'w#2');
        if (next.verdict !== 'terminal') await finish(store, next.fence);
        await settleMany(store, 'g', entry.stream, [entry.id], true);
        expect(
          await lengths(
            at,
            keys.sessionDataStream('s'),
            keys.ctrlStream('caller'),
            keys.deadletter(),
            entry.stream,
          ),
        ).toEqual([1, 1, 1, 0]);
        expect(await findExecution(store, 's', 'x')).toMatchObject({status: 'FAILED'});
      },
    );
  });

  test('while it takes a command up: the next worker does, and counts one crash at most', async () => {
    await atEveryCrash(
      () => at.open(),
      async store => {
        const stream = store.keys.ctrlStream('echo');
        await at.redis().xadd(stream, '*', 'data', '{}');
        return take(store, stream, 'g');
      },
      (store, entry) => claimBy(store, entry, 'w#1'),
      async (store, entry) => {
        const before = await findExecution(store, 's', 'x');
        const next = await claimBy(store, entry, 'w#2');
        expect(next).toMatchObject({verdict: 'started', attempt: before === undefined ? 1 : 2});
        expect(countedAttempts(next.record).crashes).toBe(before === undefined ? 0 : 1);
        const end = {status: 'COMPLETED', updated_at: 3};
        expect(await finishTurn(store, {...plainEnd, fence: next.fence, patch: end})).toBe('ok');
        await settleMany(store, 'g', entry.stream, [entry.id], true);
      },
    );
  });

  test('while it carries an answer to work that waits: it ends once, whoever is given the answer next', async () => {
    const resume = async (store: Store, entry: ControlEntry, owner: string) => {
      const claim = await claimBy(store, entry, owner, true);
      if (claim.verdict === 'started') {
        const end = {status: 'COMPLETED', updated_at: 3};
        await finishTurn(store, {
          ...plainEnd,
          fence: claim.fence,
          patch: end,
          events: ['{"event_type":"end"}'],
        });
      }
      await settleMany(store, 'g', entry.stream, [entry.id], true);
    };
    await atEveryCrash(
      () => at.open(),
      async store => {
        const stream = store.keys.ctrlStream('echo');
        await at.redis().xadd(stream, '*', 'data', '{"ask":1}');
        const ask = await take(store, stream, 'g');
        const {fence} = await claimBy(store, ask, 'w#1');
        const waits = {status: 'WAITING_USER', updated_at: 2};
        const settle = {stream, group: 'g', entryId: ask.id, deleteEntry: true};
        await finishTurn(store, {...plainEnd, fence, patch: waits, settle});
        await at.redis().xadd(stream, '*', 'data', '{"resume":1}');
        return take(store, stream, 'g');
      },
      (store, entry) => resume(store, entry, 'w#1'),
      async (store, entry) => {
        await resume(store, entry, 'w#2');
        expect(await lengths(at, store.keys.sessionDataStream('s'), entry.stream)).toEqual([1, 0]);
        expect(await findExecution(store, 's', 'x')).toMatchObject({status: 'COMPLETED'});
      },
    );
  });

  test('while it cancels by force: one end, one reply, the worker is told, and its entry is done', async () => {
    const token = '0123456789ab';
    const request = {sessionId: 's', messageId: 'm', reason: 'enough', force: true};
    await atEveryCrash(
      () => at.open(),
      async store => {
        const stream = store.keys.ctrlStream('echo');
        await at.redis().xadd(stream, '*', 'data', '{}');
        const lease = encodePresence({token, lastSeen: 1, ipAddress: ''});
        await at.redis().set(store.keys.workerLease('w'), lease, 'EX', 20);
        const entry = await take(store, stream, 'g');
        const {fence} = await claimBy(store, entry, `w#${token}`, false, {
          ...{source_agent_type: 'caller', parent_message_id: 'm-0', task_group_id: ''},
          ...{user_code: '', user_name: '', metadata: {}},
        });
        return {entry, fence};
      },
      store => cancel(store, systemClock, request),
      async (store, {entry, fence}) => {
        const {keys} = store;
        await cancel(store, systemClock, request);
        await sweepOutboxes(store, 0);
        const end = {status: 'COMPLETED', updated_at: 3};
        expect(await finishTurn(store, {...plainEnd, fence, patch: end})).toBe('terminal');
        expect((await claimBy(store, entry, 'w#2')).verdict).toBe('terminal');
        await settleMany(store, 'g', entry.stream, [entry.id], true);
        expect(await findExecution(store, 's', 'x')).toMatchObject({status: 'CANCELLED'});
        expect(
          await lengths(
            ...[at, keys.ctrlStream('caller'), keys.workerCtrlStream('w')],
            ...[keys.sessionOutbox('s'), keys.openOutboxes(), entry.stream],
          ),
        ).toEqual([1, 1, 0, 0, 0]);
      },
    );
  });

  describe('while it replays a dead letter', () => {
    const replay = (store: Store, entryId: string, turn: number, resume = false) =>
      replayDeadLetter(
        store,
        {
          ...{entryId, targetAgentType: 'echo', sessionId: 's', executionId: `x-${turn}`, messageId: 'm'},
          ...{record: record(`x-${turn}`, 'm'), audit: `{"execution_id":"x-${turn}"}`, keep: false},
          writes: [{to: 'agent-type', document: `{"turn":${turn}}`}],
        },
        {resume},
      );
    const letter = async (store: Store) =>
      (await at.redis().xadd(store.keys.deadletter(), '*', 'data', '{"letter":1}')) ?? '';

    test('one task, and the letter goes, whoever carries on', async () => {
      await atEveryCrash(
        () => at.open(),
        letter,
        (store, entryId) => replay(store, entryId, 1),
        async (store, entryId) => {
          const {keys} = store;
          await replay(store, entryId, 2, true);
          expect(
            await lengths(at, keys.ctrlStream('echo'), keys.deadletter(), keys.deadletterAudit()),
          ).toEqual([1, 0, 1]);
          const [[, fields] = ['', []]] = await at.redis().xrange(keys.ctrlStream('echo'), '-', '+');
          const {turn} = JSON.parse(fields[1] ?? '') as {turn: number};
          expect(await findByMessage(store, 's', 'm')).toMatchObject({executionId: `x-${turn}`});
          expect(await replay(store, entryId, 3, true)).toMatchObject({kind: 'already'});
        },
      );
    });

    test('somebody who does not say to carry on either does it from the start, or leaves it', async () => {
      await atEveryCrash(
        () => at.open(),
        letter,
        (store, entryId) => replay(store, entryId, 1),
        async (store, entryId, point) => {
          const {keys} = store;
          const before = await lengths(at, keys.ctrlStream('echo'), keys.deadletterAudit());
          const marker = (await replayMarkers(store, [entryId])).get(entryId);
          const second = await replay(store, entryId, 2);
          if (marker === undefined) expect(second).toMatchObject({kind: 'replayed', executionId: 'x-2'});
          else {
            const isDone = readMarker(marker, entryId)?.kind === 'replayed';
            expect(second.kind, `point ${point}`).toBe(isDone ? 'already' : 'claimed');
            expect(await lengths(at, keys.ctrlStream('echo'), keys.deadletterAudit())).toEqual(before);
          }
          await replay(store, entryId, 3, true);
          expect(await lengths(at, keys.ctrlStream('echo'), keys.deadletter())).toEqual([1, 0]);
        },
      );
    });
  });

  test('while it drops a dead letter: it is gone, and the audit says so', async () => {
    await atEveryCrash(
      () => at.open(),
      async store => (await at.redis().xadd(store.keys.deadletter(), '*', 'data', '{}')) ?? '',
      (store, entryId) => dropDeadLetter(store, entryId, `{"action":"drop","entry":"${entryId}"}`),
      async (store, entryId) => {
        await dropDeadLetter(store, entryId, `{"action":"drop","entry":"${entryId}"}`);
        expect(await lengths(at, store.keys.deadletter(), store.keys.deadletterAudit())).toEqual([0, 1]);
        expect(await auditOf(store, entryId)).toMatchObject([{action: 'drop'}]);
      },
    );
  });

  test('while it takes a pending delivery and releases it: delivered once', async () => {
    const carryOn = async (store: Store, entry: ControlEntry) => {
      await takePending(store, {entryId: entry.id, document: '{}', score: 1, agentType: 'echo'});
      const target = {stream: store.keys.ctrlStream('echo'), document: '{"command":1}'};
      await releasePending(store, {
        ...{agentType: 'echo', entryId: entry.id, write: target, sessionId: 's', executionId: 'x'},
        patch: {stream_name: target.stream},
      });
    };
    await atEveryCrash(
      () => at.open(),
      async store => {
        await at.redis().xadd(store.keys.deliveryPending(), '*', 'data', '{}');
        return take(store, store.keys.deliveryPending(), MANAGER_GROUP);
      },
      carryOn,
      async (store, entry) => {
        const {keys} = store;
        await carryOn(store, entry);
        const redis = at.redis();
        expect(await lengths(at, keys.ctrlStream('echo'), keys.deliveryPending())).toEqual([1, 0]);
        expect(await redis.zcard(keys.pendingQueue('echo'))).toBe(0);
        expect(await redis.hlen(keys.pendingPayloads('echo'))).toBe(0);
      },
    );
  });

  test('while it ends a turn and the dead letters are full: the letter comes once there is room', async () => {
    const claim = (store: Store, entry: ControlEntry, owner: string) =>
      claimExecution(store, {
        ...{sessionId: 's', messageId: 'm', hint: '', newExecutionId: 'x', newRecord: () => record('x', 'm')},
        ...{owner, workerId: 'w', entry: `${entry.stream}/${entry.id}`, nowMs: 2, reopen: false},
        ...{ask: true, deadOwner: owner === 'w#2' ? 'w#1' : '', maxAttempts: 5},
      });
    const finish = (store: Store, fence: string) =>
      finishTurn(store, {
        ...{sessionId: 's', executionId: 'x', fence, renewEvents: true, renewRegistry: false, events: []},
        ...{patch: {status: 'FAILED', updated_at: 3}, deadLetter: '{"letter":1}'},
      });
    await atEveryCrash(
      () => {
        const store = at.open();
        return {...store, limits: {...store.limits, deadLetters: 1}};
      },
      async store => {
        const stream = store.keys.ctrlStream('echo');
        await at.redis().xadd(stream, '*', 'data', '{}');
        const first = await at.redis().xadd(store.keys.deadletter(), '*', 'data', '{}');
        const entry = await take(store, stream, 'g');
        return {entry, first: first ?? '', fence: (await claim(store, entry, 'w#1')).fence};
      },
      (store, {fence}) => finish(store, fence),
      async (store, {entry, first}) => {
        const {keys} = store;
        const next = await claim(store, entry, 'w#2');
        if (next.verdict === 'terminal') expect(next.isHeld).toBe(true);
        else expect(await finish(store, next.fence)).toBe('held');
        await at.redis().xdel(keys.deadletter(), first);
        expect(await claim(store, entry, 'w#3')).toMatchObject({verdict: 'terminal', isHeld: false});
        expect(await lengths(at, keys.deadletter(), keys.sessionOutbox('s'))).toEqual([1, 0]);
        await settleMany(store, 'g', entry.stream, [entry.id], true);
      },
    );
  });

  test('while it gives up a pending delivery: one letter, and the execution has failed', async () => {
    const give = (store: Store, entry: ControlEntry) =>
      releasePending(store, {
        ...{agentType: 'echo', entryId: entry.id, sessionId: 's', executionId: 'x'},
        write: {stream: store.keys.deadletter(), document: '{"letter":1}'},
        patch: {status: 'FAILED', updated_at: 3},
      });
    await atEveryCrash(
      () => at.open(),
      async store => {
        await at.redis().hset(store.keys.sessionRegistry('s'), 'exec:x', record('x', 'm'));
        await at.redis().expire(store.keys.sessionRegistry('s'), 100);
        await at.redis().xadd(store.keys.deliveryPending(), '*', 'data', '{}');
        const entry = await take(store, store.keys.deliveryPending(), MANAGER_GROUP);
        await takePending(store, {entryId: entry.id, document: '{}', score: 1, agentType: 'echo'});
        return entry;
      },
      give,
      async (store, entry) => {
        const {keys} = store;
        await give(store, entry);
        expect(await lengths(at, keys.deadletter())).toEqual([1]);
        expect(await at.redis().zcard(keys.pendingQueue('echo'))).toBe(0);
        expect(await findExecution(store, 's', 'x')).toMatchObject({status: 'FAILED'});
        expect(await give(store, entry)).toBe('gone');
      },
    );
  });

  test('while it moves an entry to the dead letters: one letter, and the entry goes', async () => {
    await atEveryCrash(
      () => at.open(),
      async store => {
        await at.redis().xadd(store.keys.ctrlStream('echo'), '*', 'data', 'not JSON');
        return take(store, store.keys.ctrlStream('echo'), 'g');
      },
      (store, entry) => moveToDeadLetters(store, 'g', entry, '{"letter":1}'),
      async (store, entry) => {
        await moveToDeadLetters(store, 'g', entry, '{"letter":1}');
        expect(await lengths(at, store.keys.deadletter(), entry.stream)).toEqual([1, 0]);
        const [pending] = (await at.redis().xpending(entry.stream, 'g')) as [number];
        expect(pending).toBe(0);
      },
    );
  });

  test('while it answers a wakeup: every waiter hears it, and the next wakeup is free', async () => {
    const request = (executionId: string): WakeupRequest => ({
      ...{executionId, targetAgentType: 'echo', userCode: '', region: '', sessionId: 's', messageId: 'm'},
      ...{traceId: 't', source: 'client', policy: 'WAKE_AND_WAIT', timeoutMs: 1000, priority: 0},
      ...{metadata: {}, commandPayload: {}},
    });
    const ready = {
      ...{executionId: 'x-1', targetAgentType: 'echo', status: 'READY', selectedAgentType: ''},
      ...{workerIds: [], region: '', retryAfterMs: null, reason: ''},
    };
    const decide = (store: Store) => decideWakeup(store, request('x-1'), ready, true);
    await atEveryCrash(
      () => at.open(),
      async store => {
        expect(await joinWakeup(store, request('x-1'))).toMatchObject({role: 'lead'});
        expect(await joinWakeup(store, request('x-2'))).toMatchObject({role: 'join'});
      },
      decide,
      async store => {
        const {keys} = store;
        await decide(store);
        for (const count of await lengths(at, keys.wakeupResult('x-1'), keys.wakeupResult('x-2')))
          expect(count).toBeGreaterThan(0);
        expect(await joinWakeup(store, request('x-3'))).toMatchObject({role: 'lead'});
      },
    );
  });
});
