/** What a dead worker leaves behind is run by a live one, and nobody else's work is touched: G2, G3, G17. Needs the build. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {encodePresence} from '../../src/protocol/presence.js';
import {describeEachStore, until} from '../support/stores.js';
import {countedAttempts} from '../../src/protocol/execution.js';
import {
  deadLetters,
  eventKinds,
  LEASE_MS,
  recordOf,
  send,
  settled,
  spawnWorker,
  TYPE,
  withStatus,
  work,
} from './support.js';

const GROUP = 'agent_engines';

describeEachStore('after a worker was killed', at => {
  test('as it began a command, another one runs it', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store, {workerId: 'w-1'});
    const sent = await send(store, 'die-once');
    await first.exit;
    const second = await spawnWorker(at, store, {workerId: 'w-2'});
    const record = await withStatus(store, sent, 'COMPLETED');
    expect(second.has(`start ${sent.messageId} 2`)).toBe(true);
    expect(record.workerId).toBe('w-2');
    expect(countedAttempts(record)).toEqual({crashes: 1, failures: 0});
    expect(await eventKinds(store, sent.sessionId)).toEqual(['final', 'end']);
    await settled(at, store);
  });

  test('in the middle of an answer, another one answers, and the stream ends once', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store);
    const second = await spawnWorker(at, store);
    const sent = await send(store, 'hang-once');
    const busy = await until(() => [first, second].find(one => one.has(`half ${sent.messageId}`)));
    await until(async () => (await eventKinds(store, sent.sessionId)).length === 1);
    busy.kill('SIGKILL');
    await withStatus(store, sent, 'COMPLETED');
    expect(await eventKinds(store, sent.sessionId)).toEqual(['answer', 'final', 'end']);
    await settled(at, store);
  });

  test('between the end of its work and the acknowledgement, nobody runs it again', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store, {}, {dieBefore: 'xack'});
    const sent = await send(store, 'anything');
    await first.exit;
    expect((await recordOf(store, sent)).status).toBe('COMPLETED');
    const second = await spawnWorker(at, store);
    await settled(at, store);
    expect(second.said).toEqual(['online']);
    expect(await eventKinds(store, sent.sessionId)).toEqual(['final', 'end']);
  });

  test('its name leaves the group once it holds nothing', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store, {workerId: 'w-1'});
    const sent = await send(store, 'hang-once');
    await until(() => first.has(`half ${sent.messageId}`));
    first.kill('SIGKILL');
    await work(at, store, () => 'done', {workerId: 'w-2'});
    await withStatus(store, sent, 'COMPLETED');
    const redis = at.redis();
    const names = async () => {
      const rows = (await redis.call('XINFO', 'CONSUMERS', store.keys.ctrlStream(TYPE), GROUP)) as unknown[];
      return JSON.stringify(rows.map(row => (row instanceof Map ? [...row] : row)));
    };
    await until(async () => !(await names()).includes('w-1#'));
    expect(await names()).toContain('w-2#');
  });

  test('what was addressed to it alone waits for the next worker of its id', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store, {workerId: 'w-1'});
    await work(at, store, () => 'by the wrong one', {workerId: 'w-2'});
    const client = new GatewayClient(store);
    const sent = await client.send({
      ...{agentType: TYPE, content: 'hang-once', workerId: 'w-1', policy: 'SEND_ANYWAY'},
    });
    await until(() => first.has(`half ${sent.messageId}`));
    first.kill('SIGKILL');
    await until(async () => (await at.redis().exists(store.keys.workerLease('w-1'))) === 0);
    await work(at, store, () => 'by the right one', {workerId: 'w-1'});
    expect((await withStatus(store, sent, 'COMPLETED')).workerId).toBe('w-1');
  });
});

describeEachStore('entries in the hands of another SDK', at => {
  /** An entry that a consumer with a bare name got six seconds ago. */
  async function heldBy(name: string, store: ReturnType<typeof at.open>) {
    const redis = at.redis();
    const stream = store.keys.ctrlStream(TYPE);
    const sent = await send(store, 'x');
    await redis.xgroup('CREATE', stream, GROUP, '0').catch(() => undefined);
    await redis.xreadgroup('GROUP', GROUP, name, 'STREAMS', stream, '>');
    const [[id]] = (await redis.xrange(stream, '-', '+', 'COUNT', 1)) as [[string, string[]]];
    await redis.xclaim(stream, GROUP, name, 0, id, 'IDLE', 6000, 'JUSTID');
    return sent;
  }

  test('are run by us when their worker has no lease', async () => {
    const store = at.open();
    const sent = await heldBy('py-worker', store);
    await work(at, store, () => 'done');
    await withStatus(store, sent, 'COMPLETED');
    await settled(at, store);
  });

  test('are left alone while it has one, however long they take', async () => {
    const store = at.open();
    const redis = at.redis();
    const sent = await heldBy('py-worker', store);
    at.breaksRules('workerLease');
    const lease = encodePresence({token: 'theirs', lastSeen: 1, ipAddress: ''});
    await redis.set(store.keys.workerLease('py-worker'), lease);
    let starts = 0;
    await work(at, store, () => {
      starts++;
    });
    const canary = await send(store, 'canary');
    await withStatus(store, canary, 'COMPLETED');
    // Looked at more than once: the lock of the look has come and gone.
    const lock = store.keys.recoveryTurn(store.keys.ctrlStream(TYPE));
    for (let seen = 0; seen < 3; seen++) {
      await until(async () => (await redis.exists(lock)) === 1);
      await until(async () => (await redis.exists(lock)) === 0);
    }
    expect(starts).toBe(1);
    expect((await recordOf(store, sent)).status).toBe('QUEUED');
  });
});

describeEachStore('a command', at => {
  test('that runs for longer than any lease is never taken from its worker', async () => {
    const store = at.open();
    const redis = at.redis();
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    const starts: string[] = [];
    const slow = (name: string) => async () => {
      starts.push(name);
      await gate;
      return 'done';
    };
    // Twice the usual one: it is to be renewed also while the machine is busy.
    const leaseMs = 2 * LEASE_MS;
    await work(at, store, slow('w-1'), {workerId: 'w-1', leaseMs});
    const sent = await send(store, 'x');
    await until(() => starts.length === 1);
    await work(at, store, slow('w-2'), {workerId: 'w-2'});
    await until(async () => {
      const [row] = (await redis.xpending(store.keys.ctrlStream(TYPE), GROUP, '-', '+', 1)) as [
        [string, string, number, number],
      ];
      return row[2] > leaseMs + 500;
    });
    release();
    const record = await withStatus(store, sent, 'COMPLETED');
    expect(starts).toEqual(['w-1']);
    expect(countedAttempts(record)).toEqual({crashes: 0, failures: 0});
  });

  test('that stands on the stream twice is begun once, also while it waits for an answer', async () => {
    const store = at.open();
    const redis = at.redis();
    const stream = store.keys.ctrlStream(TYPE);
    const sent = await send(store, 'x', 'msg-1');
    const [[, fields] = ['', []]] = await redis.xrange(stream, '-', '+');
    await redis.xadd(stream, '*', ...fields);
    let starts = 0;
    await work(at, store, ctx => {
      starts++;
      return ctx.askUser('Which one?');
    });
    await withStatus(store, sent, 'WAITING_USER');
    await redis.xadd(stream, '*', ...fields);
    await settled(at, store);
    expect(starts).toBe(1);
    expect(await eventKinds(store, sent.sessionId)).toEqual(['ask']);
  });

  test('that is delivered again after its turn ended waiting does not ask again', async () => {
    const store = at.open();
    const redis = at.redis();
    const stream = store.keys.ctrlStream(TYPE);
    // While another group reads the stream, settled entries stay on it.
    await redis.xgroup('CREATE', stream, 'others', '0', 'MKSTREAM');
    let starts = 0;
    await work(at, store, ctx => {
      starts++;
      return ctx.askUser('Which one?');
    });
    const sent = await send(store, 'x');
    await withStatus(store, sent, 'WAITING_USER');
    await redis.xgroup('SETID', stream, GROUP, '0');
    const canary = await send(store, 'canary');
    await withStatus(store, canary, 'WAITING_USER');
    await until(async () => (await redis.xpending(stream, GROUP))[0] === 0);
    expect(starts).toBe(2);
  });

  test('that was deleted while a dead worker had it is forgotten', async () => {
    const store = at.open();
    const redis = at.redis();
    const stream = store.keys.ctrlStream(TYPE);
    await send(store, 'x');
    await redis.xgroup('CREATE', stream, GROUP, '0');
    await redis.xreadgroup('GROUP', GROUP, 'w-9#0123456789ab', 'STREAMS', stream, '>');
    const [[id]] = (await redis.xrange(stream, '-', '+')) as [[string, string[]]];
    await redis.xdel(stream, id);
    await work(at, store, () => 'done');
    await settled(at, store);
    expect(await deadLetters(at, store)).toEqual([]);
  });
});
