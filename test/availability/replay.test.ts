/** Replaying dead letters: each once, to where it should go, and never something that was not kept (G5, cli.md §2.5). */
import {describe, expect, test} from 'vitest';
import {applyEdits} from '../../src/availability/edit-command.js';
import {startManager} from '../../src/availability/manager.js';
import {mockProvider} from '../../src/availability/mock-provider.js';
import type {Provider} from '../../src/availability/provider.js';
import {Pace, replayMany} from '../../src/availability/replay-many.js';
import {
  planReplay,
  requireDeadLetter,
  type ReadyReplay,
  type ReplayOptions,
  type ReplayPlan,
} from '../../src/availability/replay.js';
import {systemClock} from '../../src/clock.js';
import {ByError} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import {encodeDeadLetter, newDeadLetter, type DeadLetter} from '../../src/protocol/deadletter.js';
import {findExecution} from '../../src/store/executions.js';
import {listDeadLetters, oldestDeadLetters} from '../../src/store/dead-letters.js';
import {auditOf, replayMarkers} from '../../src/store/replays.js';
import type {Store} from '../../src/store/store.js';
import {deadLetters, recordOf, send, TYPE, withStatus, work} from '../faults/support.js';
import {asDoc, at as field, rowsOf, type Doc} from '../interop/vectors.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const OPTIONS: ReplayOptions = {
  policy: 'SEND_ANYWAY',
  newIds: false,
  keep: false,
  reason: '',
  actor: 'ann@h',
};

const command = (n: number | string, extra: Doc = {}): Doc => ({
  action_type: 'ASK_AGENT',
  header: {
    message_id: `m-${n}`,
    session_id: `s-${n}`,
    trace_id: 't',
    target_agent_type: TYPE,
    user_code: 'u-1',
  },
  body: {content: `job ${n}`, ...extra},
});

/** A dead letter of ours. @returns its id. */
async function letter(at: TestStore, store: Store, fields: Partial<DeadLetter> = {}): Promise<string> {
  const document = encodeDeadLetter(
    newDeadLetter({
      ...{source: 'execution', reason: 'a bug', commandPayload: command(1), firstFailedAt: 2},
      ...{targetAgentType: TYPE, executionId: 'exec-1', ...fields, ...{source: fields.source || 'execution'}},
    }),
  );
  return (await at.redis().xadd(store.keys.deadletter(), '*', 'data', document)) ?? '';
}

const plan = async (store: Store, options: Partial<ReplayOptions> = {}): Promise<ReplayPlan[]> =>
  planReplay(store, await oldestDeadLetters(store, 100), {...OPTIONS, ...options});

const isWork = (one: ReplayPlan) => one.kind !== 'skipped';

/** Plan and carry out everything there is. */
async function replay(store: Store, options: Partial<ReplayOptions> = {}) {
  const all = {...OPTIONS, ...options};
  const plans = (await plan(store, options)).filter(isWork);
  return (await replayMany(store, systemClock, 'rpl-1', plans, all, {})).items;
}

const queued = async (at: TestStore, stream: string): Promise<Doc[]> =>
  (await at.redis().xrange(stream, '-', '+')).map(([, fields]) => JSON.parse(fields[1] ?? '') as Doc);

describeEachStore('a replay', at => {
  test('is one task, however often it is asked for, and names its origin', async () => {
    const store = at.open();
    const id = await letter(at, store, {firstAcceptedAt: 77});
    const first = await plan(store);
    const second = await plan(store);
    const [one] = await runPlans(store, first);
    expect(one).toMatchObject({id, result: 'replayed', messageId: 'm-1', replayCount: 1, target: TYPE});
    expect(await runPlans(store, second)).toMatchObject([{result: 'already'}]);
    expect(await queued(at, store.keys.ctrlStream(TYPE))).toMatchObject([
      {header: {message_id: 'm-1', metadata: {replay_of: 'exec-1', replay_id: 'rpl-1', replay_count: 1}}},
    ]);
    const record = await findExecution(store, 's-1', one!.executionId);
    expect(record?.extra).toMatchObject({x_replay_of: 'exec-1', x_first_accepted_at: 77});
    expect(await listDeadLetters(store, 10)).toEqual([]);
    await expect(requireDeadLetter(store, id)).rejects.toMatchObject({
      code: 'ALREADY_REPLAYED',
      details: {executionId: one!.executionId, actor: 'ann@h'},
    });
    expect(await auditOf(store, id)).toMatchObject([
      {action: 'replay', actor: 'ann@h', executionId: one!.executionId, replayOf: 'exec-1', changed: []},
    ]);
  });

  test('by two operators at once takes each letter once', async () => {
    const store = at.open();
    for (let n = 0; n < 40; n++) await letter(at, store, {commandPayload: command(n)});
    const plans = await plan(store);
    const operator = (actor: string) =>
      replayMany(
        store,
        systemClock,
        `rpl-${actor}`,
        plans.filter(isWork),
        {...OPTIONS, actor},
        {concurrency: 8},
      );
    const [ann, bob] = await Promise.all([operator('ann'), operator('bob')]);
    const replayed = [...ann.items, ...bob.items].filter(({result}) => result === 'replayed');
    expect(new Set(replayed.map(({id}) => id)).size).toBe(40);
    expect(replayed).toHaveLength(40);
    expect(await queued(at, store.keys.ctrlStream(TYPE))).toHaveLength(40);
    expect(await auditOf(store)).toHaveLength(40);
    expect(await listDeadLetters(store, 10)).toEqual([]);
  });

  test('that keeps the letter can not be repeated', async () => {
    const store = at.open();
    await letter(at, store);
    expect(await replay(store, {keep: true})).toMatchObject([{result: 'replayed'}]);
    expect(await plan(store)).toMatchObject([{kind: 'skipped', code: 'ALREADY_REPLAYED'}]);
    expect(await listDeadLetters(store, 10)).toHaveLength(1);
  });

  test('gives a new message id when it is told to, and goes to another agent type', async () => {
    const store = at.open();
    await letter(at, store);
    const [item] = await replay(store, {newIds: true, to: 'other'});
    expect(item?.messageId).not.toBe('m-1');
    expect(await queued(at, store.keys.ctrlStream('other'))).toMatchObject([
      {header: {message_id: item?.messageId, target_agent_type: 'other'}},
    ]);
  });

  test('keeps what it does not know of the command, and changes what it is told to', async () => {
    const store = at.open();
    await letter(at, store, {commandPayload: command(1, {x_new: {a: [1]}})});
    const edit = (document: Doc) => applyEdits(document, [{path: 'body.content', value: 'better'}]);
    const [planned] = (await plan(store, {edit})) as ReadyReplay[];
    expect(planned?.changes).toEqual([{path: 'body.content', before: 'job 1', after: 'better'}]);
    await replay(store, {edit});
    expect(await queued(at, store.keys.ctrlStream(TYPE))).toMatchObject([
      {body: {content: 'better', x_new: {a: [1]}}},
    ]);
    const [audit] = await auditOf(store);
    expect(audit?.changed).toEqual(['body.content']);
    expect(audit?.before).not.toBe(audit?.after);
    expect(JSON.stringify(audit)).not.toContain('better');
  });

  test.each([
    ['whose it is', [{path: 'header.user_code', value: 'u-2'}]],
    ['its session', [{path: 'header.session_id', value: 's-2'}]],
    ['its message', [{path: 'header.message_id', value: 'm-2'}]],
    ['what it is', [{path: 'action_type', value: 'RESUME'}]],
    ['its header as a whole', [{path: 'header', value: {session_id: 's-2'}}]],
    ['the content to nothing', [{path: 'body.content', value: ''}]],
    ['the content to a number', [{path: 'body.content', value: 7}]],
    ['a prototype', [{path: 'body.__proto__', value: {polluted: true}}]],
  ])('can not change %s', async (_, edits) => {
    const store = at.open();
    await letter(at, store);
    const plans = await plan(store, {edit: document => applyEdits(document, edits)});
    expect(plans).toMatchObject([{kind: 'skipped', code: 'INVALID_INPUT'}]);
    expect(({} as {polluted?: boolean}).polluted).toBeUndefined();
  });

  test('is of one user only where a user is named', async () => {
    const store = at.open();
    await letter(at, store);
    expect(await plan(store, {userCode: 'u-2'})).toMatchObject([{kind: 'skipped', code: 'NOT_FOUND'}]);
    expect(await plan(store, {userCode: 'u-1'})).toMatchObject([{kind: 'ready'}]);
  });

  test('carries the first acceptance through every failure', async () => {
    const store = at.open();
    await work(at, store, () => {
      throw new TypeError('a bug');
    });
    const sent = await send(store, 'x');
    const {createdAt} = await withStatus(store, sent, 'FAILED');
    // In a Cluster the letter follows the record.
    const hasLetter = async () => (await deadLetters(at, store)).length === 1;
    await until(hasLetter);
    const [item] = await replay(store);
    await withStatus(store, item!, 'FAILED');
    await until(hasLetter);
    const accepted = (await deadLetters(at, store)).map(({first_accepted_at: at}) => Number(at));
    expect(accepted).toHaveLength(1);
    // By Redis's clock or the sender's, whichever was earlier.
    expect(accepted[0]).toBeLessThanOrEqual(createdAt);
    expect(accepted[0]).toBeGreaterThan(createdAt - 60_000);
    expect((await recordOf(store, item!)).createdAt).toBeGreaterThanOrEqual(createdAt);
  });

  test('into a queue that is full is refused, and changes nothing', async () => {
    const opened = at.open();
    const store: Store = {...opened, limits: {...opened.limits, perAgentType: 2}};
    for (let n = 0; n < 3; n++) await letter(at, store, {commandPayload: command(n)});
    expect(await replay(store)).toMatchObject([
      {result: 'replayed'},
      {result: 'replayed'},
      {result: 'failed', code: 'QUEUE_FULL'},
    ]);
    expect(await listDeadLetters(store, 10)).toHaveLength(1);
  });

  test('into a key that is no stream leaves no trace', async () => {
    const store = at.open();
    at.breaksRules('ctrlStream');
    const id = await letter(at, store);
    await at.redis().set(store.keys.ctrlStream(TYPE), 'not a stream');
    expect(await replay(store)).toMatchObject([{result: 'failed', code: 'REDIS_WRONG_TYPE'}]);
    expect(await listDeadLetters(store, 10)).toHaveLength(1);
    if (at.kind !== 'cluster') {
      expect((await replayMarkers(store, [id])).size).toBe(0);
      expect(await at.redis().exists(store.keys.sessionRegistry('s-1'))).toBe(0);
    }
  });
});

const runPlans = async (store: Store, plans: readonly ReplayPlan[]) =>
  (await replayMany(store, systemClock, 'rpl-1', plans.filter(isWork), OPTIONS, {})).items;

describeEachStore('the policy of a replay', at => {
  const manage = async (store: Store, provider: Provider) => {
    const manager = await startManager(store, {provider, log: silentLogger});
    at.cleanup(() => manager.stop());
  };

  test('fail-fast leaves what nobody is online for', async () => {
    const store = at.open();
    await letter(at, store);
    expect(await plan(store, {policy: 'FAIL_FAST'})).toMatchObject([
      {kind: 'skipped', code: 'AGENT_TYPE_UNAVAILABLE'},
    ]);
    await work(at, store, () => 'done', {leaseMs: 30_000});
    const [item] = await replay(store, {policy: 'FAIL_FAST'});
    await withStatus(store, item!, 'COMPLETED');
  });

  test('never passes an open circuit', async () => {
    const store = at.open();
    await letter(at, store);
    await at.redis().set(store.keys.circuit(TYPE), '{"state":"OPEN","reason":"maintenance"}');
    expect(await plan(store)).toMatchObject([
      {kind: 'skipped', code: 'AGENT_CIRCUIT_OPEN', why: expect.stringContaining('maintenance') as string},
    ]);
  });

  test('queue-only holds it back until somebody is there', async () => {
    const store = at.open();
    await letter(at, store);
    const [item] = await replay(store, {policy: 'QUEUE_ONLY'});
    expect(await queued(at, store.keys.deliveryPending())).toMatchObject([
      {execution_id: item?.executionId, target_agent_type: TYPE, command_payload: {body: {content: 'job 1'}}},
    ]);
    await manage(store, mockProvider({mode: {kind: 'reject'}}));
    await work(at, store, () => 'done');
    await withStatus(store, item!, 'COMPLETED');
  });

  test('wake-and-queue holds it back and wakes somebody', async () => {
    const store = at.open();
    await letter(at, store);
    await manage(store, {
      name: 'starter',
      wakeup: async () => {
        await work(at, store, () => 'done');
        return {status: 'READY'};
      },
    });
    const [item] = await replay(store, {policy: 'WAKE_AND_QUEUE'});
    await withStatus(store, item!, 'COMPLETED');
  });

  test('wake-and-wait delivers when somebody came, and else leaves the one letter there was', async () => {
    const store = at.open();
    const id = await letter(at, store);
    let isReady = false;
    await manage(store, {
      name: 'starter',
      wakeup: async () => {
        if (!isReady) return {status: 'FAILED', reason: 'no quota'};
        await work(at, store, () => 'done');
        return {status: 'READY'};
      },
    });
    expect(await replay(store, {policy: 'WAKE_AND_WAIT'})).toMatchObject([
      {result: 'failed', code: 'AGENT_TYPE_UNAVAILABLE', why: expect.stringContaining('no quota') as string},
    ]);
    await until(async () => (await at.redis().xlen(store.keys.wakeup())) === 0);
    expect((await listDeadLetters(store, 10)).map(each => each.id)).toEqual([id]);
    isReady = true;
    const [item] = await replay(store, {policy: 'WAKE_AND_WAIT'});
    await withStatus(store, item!, 'COMPLETED');
  });
});

describeEachStore('a dead letter without its command', at => {
  const [failed] = rowsOf('availability').filter(({name}) => name === 'controller.exception_3_attempts');
  const [asked] = rowsOf('availability').filter(({name}) => name === 'route.offline.WAKE_AND_WAIT');
  const byai = 'byai_gateway:control_plane:mgmt:';
  const decision = field(failed?.expected, 'redis', `${byai}deadletter`, 'value', 0) as Doc;
  const request = field(asked?.expected, 'new_streams', `${byai}wakeup`, 0, 'data') as Doc;

  test('as Python writes it, gets it back from the wakeup stream', async () => {
    const store = at.open();
    const redis = at.redis();
    for (const [stream, document] of [
      [store.keys.wakeup(), {...request, execution_id: 'exec-other'}],
      [store.keys.wakeup(), request],
      [store.keys.wakeup(), {...request, execution_id: 'exec-later'}],
      [store.keys.deadletter(), {...decision, execution_id: request['execution_id']}],
    ] as const)
      await redis.xadd(stream, '*', 'data', JSON.stringify(document));
    await redis.xadd(store.keys.wakeup(), '*', 'data', Buffer.from([0xff]));
    expect(await plan(store)).toMatchObject([{kind: 'ready', isRecovered: true, target: 'writer'}]);
    const [item] = await replay(store);
    expect(item).toMatchObject({result: 'replayed', messageId: 'msg-1', sessionId: 'sess-1'});
    expect(await queued(at, store.keys.ctrlStream('writer'))).toMatchObject([
      {body: asDoc(asDoc(request['command_payload'])['body'])},
    ]);
  });

  test('says so when it is not there any more', async () => {
    const store = at.open();
    await at.redis().xadd(store.keys.deadletter(), '*', 'data', JSON.stringify(decision));
    // Its request is there, and empty.
    const empty = field(failed?.expected, 'redis', `${byai}wakeup`, 'value', 0);
    await at.redis().xadd(store.keys.wakeup(), '*', 'data', JSON.stringify(empty));
    expect(await plan(store)).toMatchObject([
      {kind: 'skipped', code: 'PAYLOAD_LOST', why: expect.stringContaining('without its command') as string},
    ]);
    const [written] = await plan(store, {edit: () => command(9), writesLost: true});
    expect(written).toMatchObject({kind: 'ready', target: 'writer'});
  });

  test('gets it back from the bytes of the entry it was made from', async () => {
    const store = at.open();
    await letter(at, store, {commandPayload: {}, xData: JSON.stringify(command(3))});
    const delivery = {execution_id: 'x', command_payload: command(4)};
    await letter(at, store, {commandPayload: {}, xData: JSON.stringify(delivery)});
    await letter(at, store, {commandPayload: {}, xData: 'no command'});
    await letter(at, store, {commandPayload: {}, xData: '{"command_payload":[]}'});
    await at.redis().xadd(store.keys.deadletter(), '*', 'data', 'no JSON');
    expect(await plan(store)).toMatchObject([
      {kind: 'ready', isRecovered: true},
      {kind: 'ready', isRecovered: true},
      {kind: 'skipped', code: 'PAYLOAD_LOST'},
      {kind: 'skipped', code: 'PAYLOAD_LOST'},
      {kind: 'skipped', code: 'PAYLOAD_LOST'},
    ]);
  });
});

describeEachStore('a replay that was begun and not finished', at => {
  test('is left alone, or carried on with as it was begun', async () => {
    const store = at.open();
    const id = await letter(at, store);
    const claimed = {
      ...{
        entryId: id,
        targetAgentType: 'elsewhere',
        sessionId: 's-1',
        executionId: 'exec-7',
        messageId: 'm-1',
      },
      ...{record: '{}', keep: false, audit: '{"actor":"bob@h","execution_id":"exec-7"}'},
      writes: [{to: 'agent-type', document: '{"as":"bob began it"}'}],
    };
    await at.redis().set(store.keys.deadletterReplay(id), JSON.stringify({claimed}), 'EX', 100);
    expect(await plan(store)).toMatchObject([
      {kind: 'skipped', code: 'CONFLICT', why: expect.stringContaining('bob@h') as string},
    ]);
    const [resumed] = await plan(store, {resumeClaimed: true, to: 'mine'});
    expect(resumed).toMatchObject({kind: 'resume', actor: 'bob@h'});
    // Only a Cluster leaves such a marker; one server takes it for somebody else's, and does nothing.
    const items = await runPlans(store, [resumed!]);
    expect(items).toMatchObject([{executionId: 'exec-7', target: 'elsewhere'}]);
    expect(await queued(at, store.keys.ctrlStream('elsewhere'))).toHaveLength(at.kind === 'cluster' ? 1 : 0);
    expect(await at.redis().exists(store.keys.ctrlStream('mine'))).toBe(0);
  });

  test('names no stream, and no target we do not know', async () => {
    const store = at.open();
    const id = await letter(at, store);
    const claimed = {
      ...{entryId: id, targetAgentType: 'x', sessionId: 's', executionId: 'e', messageId: 'm', record: '{}'},
      ...{audit: '{}', keep: false, writes: [{to: 'other-app:queue', document: '{}'}]},
    };
    await at.redis().set(store.keys.deadletterReplay(id), JSON.stringify({claimed}), 'EX', 100);
    expect(await plan(store, {resumeClaimed: true})).toMatchObject([{code: 'ALREADY_REPLAYED'}]);
  });
});

describeEachStore('many replays', at => {
  async function twelve(store: Store): Promise<Exclude<ReplayPlan, {kind: 'skipped'}>[]> {
    for (let n = 0; n < 12; n++) await letter(at, store, {commandPayload: command(n)});
    return (await plan(store)).filter(isWork);
  }

  /** A store that is told before and after each script it runs for a replay. */
  function watched(store: Store, around: (run: () => Promise<unknown>) => Promise<unknown>): Store {
    const commands = Object.create(store.commands) as Store['commands'];
    commands.run = ((issue, options) =>
      around(() => store.commands.run(issue, options))) as Store['commands']['run'];
    return {...store, commands};
  }

  test('run so many at once', async () => {
    const store = at.open();
    const plans = await twelve(store);
    let running = 0;
    let most = 0;
    let release: () => void = () => undefined;
    const gate = new Promise<void>(done => (release = done));
    const slow = watched(store, async run => {
      most = Math.max(most, ++running);
      if (running === 4) release();
      await gate;
      try {
        return await run();
      } finally {
        running--;
      }
    });
    const {items} = await replayMany(slow, systemClock, 'rpl-1', plans, OPTIONS, {concurrency: 4});
    expect(items.map(({result}) => result)).toEqual(plans.map(() => 'replayed'));
    expect(most).toBe(4);
  });

  test('stop when too many failed, when they are told to, and when Redis is gone', async () => {
    const store = at.open();
    const plans = await twelve(store);
    const failing = (code: 'REDIS_WRONG_TYPE' | 'REDIS_UNREACHABLE') =>
      watched(store, () => Promise.reject(new ByError(code, 'no', {hint: ''})));
    const many = (on: Store, more: Parameters<typeof replayMany>[5]) =>
      replayMany(on, systemClock, 'rpl-1', plans, OPTIONS, more);
    const errors = await many(failing('REDIS_WRONG_TYPE'), {stopOnError: 3});
    expect(errors).toMatchObject({stopped: 'errors', outage: undefined});
    expect(errors.items).toHaveLength(3);
    expect((await many(failing('REDIS_WRONG_TYPE'), {})).items).toHaveLength(12);
    const gone = await many(failing('REDIS_UNREACHABLE'), {});
    expect(gone).toMatchObject({outage: {code: 'REDIS_UNREACHABLE'}});
    expect(gone.items).toHaveLength(1);
    const abort = new AbortController();
    const told = await many(store, {
      signal: abort.signal,
      onItem: ({id}) => {
        if (id === plans[4]?.id) abort.abort();
      },
    });
    expect(told).toMatchObject({stopped: 'signal'});
    expect(told.items).toHaveLength(5);
    expect(await queued(at, store.keys.ctrlStream(TYPE))).toHaveLength(5);
  });
});

describe('a rate', () => {
  test('spreads the starts evenly, also after a pause', async () => {
    let now = 1000;
    const starts: number[] = [];
    const pace = new Pace(
      4,
      () => now,
      async ms => void (now += ms),
    );
    const begin = async () => {
      await pace.next();
      starts.push(now);
    };
    for (let i = 0; i < 3; i++) await begin();
    now += 10_000;
    for (let i = 0; i < 3; i++) await begin();
    expect(starts).toEqual([1000, 1250, 1500, 11_500, 11_750, 12_000]);
  });

  test('is shared by those who run at once', async () => {
    let now = 0;
    const waits: number[] = [];
    const pace = new Pace(
      2,
      () => now,
      async ms => void waits.push(ms),
    );
    await Promise.all([pace.next(), pace.next(), pace.next()]);
    now = 5000;
    await pace.next();
    expect(waits).toEqual([500, 1000]);
  });

  test('is no limit where none is named', async () => {
    const pace = new Pace(undefined, systemClock, () => Promise.reject(new Error('it waited')));
    await Promise.all(Array.from({length: 100}, () => pace.next()));
  });
});
