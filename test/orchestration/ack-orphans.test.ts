/** What dead workers of other SDKs left of attempts that were given up. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {ackOrphans, orphansRole} from '../../src/orchestration/ack-orphans.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {CONSUMER_GROUP} from '../../src/protocol/keys.js';
import {ensureGroup} from '../../src/store/control-streams.js';
import {lookAt} from '../../src/store/orchestration.js';
import {pendingEntries} from '../../src/store/queues.js';
import {FOREIGN_RULES} from '../support/status.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';
import {ended, orchestrate, workspaceOf} from './support.js';

const TYPE = 'py';

async function open(at: TestStore) {
  at.breaksRules(...FOREIGN_RULES, 'dead-workers', 'ctrlStream');
  const store = at.open();
  const ws = workspaceOf(store);
  const redis = at.redis();
  const stream = store.keys.ctrlStream(TYPE);
  const worker = (id: string) => new PlainWorker(store, redis, id, TYPE).beat();
  const pending = async (group = CONSUMER_GROUP) =>
    (await pendingEntries(store, stream, group, {count: 100})).map(({entryId}) => entryId);
  const {deps} = orchestrate(at, ws);
  return {store, ws, redis, stream, worker, pending, deps};
}

/** A worker that began an attempt and was killed. */
async function lost({ws, worker, deps}: Awaited<ReturnType<typeof open>>, retries = 1) {
  const dead = await worker('py-dead');
  const retry = {maxAttempts: 1 + retries};
  const {runId} = await acceptTask(ws, {agentType: TYPE, message: 'hi', policy: {retry}});
  const taken = await dead.take();
  await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.workerId === 'py-dead');
  // Nobody gives it up while its worker lives.
  expect(await ackOrphans(deps)).toEqual([]);
  await dead.die();
  return {dead, runId, taken};
}

describeEachStore('what a dead worker of another SDK left', at => {
  test('is settled once its attempt was given up, and not before', async () => {
    const all = await open(at);
    const {ws, worker, pending, deps, redis, stream} = all;
    const {runId, taken} = await lost(all);
    expect(await pending()).toEqual([taken.entryId]);

    const other = await worker('py-2');
    const again = await other.take();
    const acked = await until(async () => {
      const found = await ackOrphans(deps);
      return found.length > 0 && found;
    });
    expect(acked).toEqual([{stream, entryId: taken.entryId}]);
    // What runs stays, and so does what nobody gave up.
    expect(await pending()).toEqual([again.entryId]);
    expect(await redis.xrange(stream, taken.entryId, taken.entryId)).toEqual([]);
    await other.answer(again, 'done');
    await other.write(again, {status: 'COMPLETED', finished_at: Date.now()});
    await other.done(again);
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', attemptCount: 2}});
    expect(await ackOrphans(deps)).toEqual([]);
  });

  test('is settled though the worker is back, which has forgotten it', async () => {
    const all = await open(at);
    const {ws, worker, deps, pending} = all;
    const {runId} = await lost(all, 0);
    await ended(ws, runId);
    await worker('py-dead');
    await ackOrphans(deps);
    expect(await pending()).toEqual([]);
  });

  test('stays where it is no command of a run, and of another workspace', async () => {
    const all = await open(at);
    const {store, worker, deps, pending} = all;
    const dead = await worker('py-dead');
    await new GatewayClient(store).send({agentType: TYPE, content: 'hi'});
    const taken = await dead.take();
    const {runId, taken: ours} = await lost(all, 0);
    await ended(all.ws, runId);
    const others = {...deps, workspace: workspaceOf(store, 'team-b')};
    expect(await ackOrphans(others)).toEqual([]);
    expect(await pending()).toEqual([taken.entryId, ours.entryId]);
    expect(await ackOrphans(deps)).toHaveLength(1);
    expect(await pending()).toEqual([taken.entryId]);
  });

  test('is left for another group that has not read it', async () => {
    const all = await open(at);
    const {store, stream, ws, deps, redis, pending} = all;
    const {runId, taken} = await lost(all, 0);
    await ensureGroup(store, stream, 'auditors');
    await ended(ws, runId);
    expect(await ackOrphans(deps)).toHaveLength(1);
    expect(await pending()).toEqual([]);
    expect(await redis.xrange(stream, taken.entryId, taken.entryId)).toHaveLength(1);
  });

  test('is found by a role that looks now and then, also behind much that stays', async () => {
    const all = await open(at);
    const {store, worker, deps, pending} = all;
    const client = new GatewayClient(store);
    const dead = await worker('py-dead');
    for (let i = 0; i < 105; i++) await client.send({agentType: TYPE, content: 'hi'});
    for (let i = 0; i < 105; i++) await dead.take();
    const {runId, taken} = await lost(all, 0);
    await ended(all.ws, runId);
    const over = new AbortController();
    const running = [1, 2].map(() => orphansRole(deps, {everyMs: 20}).run(over.signal));
    const idsAt = async () => (await pendingEntries(store, all.stream, CONSUMER_GROUP, {count: 200})).length;
    await until(async () => (await idsAt()) === 105);
    over.abort();
    await Promise.all(running);
    expect(await pending()).not.toContain(taken.entryId);
  });
});
