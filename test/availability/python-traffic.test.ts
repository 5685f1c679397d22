/**
 * The Python client's and the Python manager's traffic as it was recorded (spec/vectors), byte for byte where the bytes were
 * kept: our manager answers the one, our client copes with the other. Spec §7.3 to §7.6.
 */
import {describe, expect, test} from 'vitest';
import {startManager} from '../../src/availability/manager.js';
import type {Provider} from '../../src/availability/provider.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {findByMessage, findExecution} from '../../src/store/executions.js';
import {claimLease, heartbeat} from '../../src/store/presence.js';
import type {Store} from '../../src/store/store.js';
import {asDoc, at as field, rowsOf, type Doc, type Row} from '../interop/vectors.js';
import {deadLetters, work} from '../faults/support.js';
import {as} from '../support/roles.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

/** The agent type of all rows. */
const TYPE = 'writer';
const MGMT = 'byai_gateway:control_plane:mgmt:';
const PENDING = `${MGMT}delivery:pending`;
const WAKEUP = `${MGMT}wakeup`;

/** What the row's client added to a stream, as it came. */
function recorded(row: Row, stream: string): string[] {
  const streams = asDoc(field(row.expected, 'new_streams') ?? {});
  const entries = (streams[stream] ?? []) as {fields: {data: string}}[];
  return entries.map(({fields}) => fields.data);
}

const rowsWith = (stream: string): Row[] =>
  rowsOf('availability').filter(
    row => field(row.expected, 'new_streams') !== undefined && recorded(row, stream).length > 0,
  );

/** Nothing else is changed: some of the recorded callers would have gone before a busy machine has read them. */
const patient = (data: string): string => data.replace(/"timeout_ms": [1-9]\d*/, '"timeout_ms": 30000');

/** JSON as Python writes it, for documents whose bytes were not kept. */
function dumps(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(dumps).join(', ')}]`;
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .map(([key, item]) => `${dumps(key)}: ${dumps(item)}`)
      .join(', ')}}`;
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    one => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

async function manage(at: TestStore, store: Store, wakeup: Provider['wakeup']): Promise<void> {
  const manager = await startManager(store, {provider: {name: 'test', wakeup}, log: silentLogger});
  at.cleanup(() => manager.stop());
}

async function bringOnline(store: Store): Promise<void> {
  const lease = {workerId: 'w1', token: 't', ipAddress: '', ttlMs: 25_000};
  await claimLease(store, lease);
  await heartbeat(store, lease, {agentTypes: [TYPE], join: true, nowMs: 1});
}

test('there is traffic of each kind to replay', () => {
  expect(rowsWith(WAKEUP).length).toBeGreaterThanOrEqual(11);
  expect(rowsWith(PENDING).length).toBeGreaterThanOrEqual(3);
});

describeEachStore("python's client", at => {
  test.each(rowsWith(WAKEUP).map(row => [row.name, row] as const))(
    'is answered where it reads: %s',
    async (_, row) => {
      const store = at.open();
      const redis = at.redis();
      await manage(at, store, () => Promise.resolve({status: 'REJECTED', reason: 'no capacity'}));
      const [data = ''] = recorded(row, WAKEUP);
      await redis.xadd(store.keys.wakeup(), '*', 'data', patient(data));
      const {execution_id: id} = JSON.parse(data) as {execution_id: string};
      const stream = store.keys.wakeupResult(id);
      const [[, fields] = ['', []], ...more] = await until(async () => {
        const entries = await redis.xrange(stream, '-', '+');
        return entries.length > 0 && entries;
      });
      expect(more).toEqual([]);
      expect(fields[0]).toBe('data');
      expect(JSON.parse(fields[1] ?? '')).toEqual({
        ...{execution_id: id, target_agent_type: TYPE, status: 'REJECTED', selected_agent_type: ''},
        ...{worker_ids: [], region: 'eu', retry_after_ms: null, reason: 'no capacity'},
      });
      await until(async () => (await redis.xlen(store.keys.wakeup())) === 0);
      expect(await deadLetters(at, store)).toEqual([]);
    },
  );

  test.each(rowsWith(PENDING).map(row => [row.name, row] as const))(
    'has its pending delivery released once, to its agent type: %s',
    async (_, row) => {
      const store = at.open();
      const redis = at.redis();
      const {keys} = store;
      const [data = ''] = recorded(row, PENDING);
      await redis.xadd(keys.deliveryPending(), '*', 'data', data);
      for (const one of recorded(row, WAKEUP)) await redis.xadd(keys.wakeup(), '*', 'data', one);
      await manage(at, store, async () => {
        await bringOnline(store);
        return {status: 'READY'};
      });
      if (recorded(row, WAKEUP).length === 0) await bringOnline(store);
      await until(async () => (await redis.xlen(keys.ctrlStream(TYPE))) > 0);
      await until(async () => (await redis.exists(keys.pendingQueue(TYPE))) === 0);
      const entries = await redis.xrange(keys.ctrlStream(TYPE), '-', '+');
      expect(entries.map(([, fields]) => JSON.parse(fields[1] ?? '') as unknown)).toEqual([
        (JSON.parse(data) as Doc)['command_payload'],
      ]);
      expect(await redis.xlen(keys.deliveryPending())).toBe(0);
      expect(await deadLetters(at, store)).toEqual([]);
    },
  );

  test('that wakes and queues has its command run, under the record it wrote itself', async () => {
    const store = at.open();
    const redis = at.redis();
    const {keys} = store;
    const row = rowsOf('client').find(({name}) => name === 'send.offline_WAKE_AND_QUEUE');
    const entries = (stream: string) =>
      field(row?.expected, 'control_plane', stream, 'entries') as {data: Doc}[];
    const registry = asDoc(field(row?.expected, 'session_registry'));
    const [delivery] = entries(PENDING);
    const {execution_id: id, session_id: session} = delivery?.data as Record<string, string>;
    for (const [name, value] of Object.entries(registry))
      await redis.hset(
        keys.sessionRegistry(session ?? ''),
        name,
        typeof value === 'string' ? value : dumps(value),
      );
    await redis.expire(keys.sessionRegistry(session ?? ''), 600);
    await redis.xadd(keys.deliveryPending(), '*', 'data', dumps(delivery?.data));
    for (const {data} of entries(WAKEUP)) await redis.xadd(keys.wakeup(), '*', 'data', dumps(data));

    const seen: string[] = [];
    await manage(at, store, async () => {
      await work(at, store, (_ctx, text) => void seen.push(text));
      return {status: 'READY'};
    });
    const record = await until(async () => {
      const found = await findExecution(store, session ?? '', id ?? '');
      return found?.status === 'COMPLETED' && found;
    });
    expect(record).toMatchObject({routePolicy: 'WAKE_AND_QUEUE', streamName: keys.ctrlStream(TYPE)});
    expect(seen).toEqual(['hi']);
    expect(await findByMessage(store, session ?? '', record.messageId)).toMatchObject({executionId: id});
    await until(async () => (await redis.xlen(keys.wakeup())) === 0);
  });
});

describeEachStore("our client before python's manager", at => {
  const controller = (name: string, execution: string): string => {
    const row = rowsOf('availability').find(one => one.name === `controller.${name}`);
    const [answer] = field(row?.expected, 'redis', `${WAKEUP}:result:${execution}`, 'value') as Doc[];
    return dumps(answer);
  };

  /** Send, and let python's manager write its recorded answers: no lifetime, no group, the request stays. */
  async function send(store: Store, answers: (executionId: string) => Promise<readonly string[]>) {
    at.breaksRules('wakeupResult');
    const written: Promise<unknown>[] = [];
    const sent = await new GatewayClient(store)
      .send({
        ...{agentType: TYPE, content: 'hi', policy: 'WAKE_AND_WAIT', availabilityTimeoutMs: 20_000},
        onProgress(progress) {
          if (progress.kind !== 'wakeup-requested') return;
          const {executionId} = progress;
          const write = async () => {
            for (const answer of await answers(executionId))
              await at.redis().xadd(store.keys.wakeupResult(executionId), '*', 'data', answer);
          };
          written.push(as('worker', write));
        },
      })
      .catch((error: unknown) => error as Error);
    await Promise.all(written);
    return sent;
  }
  const own = (answer: string, recordedAs: string, executionId: string) =>
    answer.replace(recordedAs, executionId);

  describe.each(['ready_dict', 'ready_dataclass'])('%s', name => {
    test('is delivered to who is online', async () => {
      const store = at.open();
      const sent = await send(store, async id => {
        await bringOnline(store);
        return [own(controller(name, 'exec-0'), 'exec-0', id)];
      });
      expect(sent).toMatchObject({status: 'WAIT_AND_DELIVER', wakeup: {workerIds: ['w1']}});
      expect(await at.redis().xlen(store.keys.ctrlStream(TYPE))).toBe(1);
    });
  });

  test.each([
    ['exception_3_attempts', /boom/],
    ['rejected', /: no/],
  ])('%s is refused with its reason', async (name, reason) => {
    const store = at.open();
    const sent = await send(store, id => Promise.resolve([own(controller(name, 'exec-0'), 'exec-0', id)]));
    expect(sent).toMatchObject({
      code: 'AGENT_TYPE_UNAVAILABLE',
      message: expect.stringMatching(reason) as unknown,
    });
    expect(await at.redis().exists(store.keys.ctrlStream(TYPE))).toBe(0);
  });

  test('deduped_second_request, which never hears READY, is delivered once a worker is there', async () => {
    const store = at.open();
    const sent = await send(store, async id => {
      const answer = controller('deduped_second_request', 'exec-1');
      expect(answer).toContain('"QUEUED"');
      await at.redis().xadd(store.keys.wakeupResult(id), '*', 'data', own(answer, 'exec-1', id));
      await bringOnline(store);
      return [];
    });
    expect(sent).toMatchObject({status: 'WAIT_AND_DELIVER', wakeup: {workerIds: ['w1']}});
  });
});
