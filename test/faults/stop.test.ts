/** Workers that stop, are stopped, or lose their id: G3, G13, G15. Needs the build. */
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {countedAttempts, pastAttempts} from '../../src/protocol/execution.js';
import {encodePresence} from '../../src/protocol/presence.js';
import {startFaultProxy} from '../support/fault-proxy.js';
import {describeEachStore, until} from '../support/stores.js';
import {eventKinds, recordOf, send, settled, spawnWorker, withStatus, work} from './support.js';

describeEachStore('a worker that was suspended for longer than its lease', at => {
  test('finds its work in other hands: its code is told, what it writes is refused, and there is one end', async () => {
    const store = at.open();
    const dir = await mkdtemp(join(tmpdir(), 'by-faults-'));
    at.cleanup(() => rm(dir, {recursive: true, force: true}));
    const file = join(dir, 'end');
    const first = await spawnWorker(at, store);
    const sent = await send(store, `talk-until ${file}`);
    await until(() => first.has(`start ${sent.messageId} 1`));
    first.kill('SIGSTOP');
    // Nobody takes it from this one: it keeps its lease also on a busy machine.
    const second = await spawnWorker(at, store, {leaseMs: 10_000});
    await until(() => second.has(`start ${sent.messageId} 2`));
    first.kill('SIGCONT');
    await until(() => first.said.some(line => line.startsWith(`aborted ${sent.messageId} FENCED`)));
    await writeFile(`${file}.say`, '');
    await until(() => first.has(`refused ${sent.messageId} FENCED`));
    await writeFile(file, '');
    const record = await withStatus(store, sent, 'COMPLETED');
    const kinds = await eventKinds(store, sent.sessionId);
    expect(kinds.filter(kind => kind === 'final' || kind === 'end')).toEqual(['final', 'end']);
    expect(kinds.at(-1)).toBe('end');
    expect(record.workerId).toBe((await recordOf(store, sent)).workerId);
    expect(second.said.some(line => line.startsWith('aborted'))).toBe(false);
    // It has its id back and goes on working.
    second.kill('SIGKILL');
    // It is given nothing any more.
    await second.exit;
    const next = await send(store, 'anything');
    await withStatus(store, next, 'COMPLETED');
    expect(first.has(`start ${next.messageId} 1`)).toBe(true);
  });
});

describeEachStore('a worker that was given an entry while it was suspended', at => {
  test('does not take it from the one that runs it since', async () => {
    const store = at.open();
    const dir = await mkdtemp(join(tmpdir(), 'by-faults-'));
    at.cleanup(() => rm(dir, {recursive: true, force: true}));
    const file = join(dir, 'end');
    const first = await spawnWorker(at, store, {workerId: 'w-1'});
    const stream = store.keys.ctrlStream('writer');
    const redis = at.redis();
    // Once it has settled something it waits for the next: the server hands that to it, asleep or not.
    await withStatus(store, await send(store, 'x'), 'COMPLETED');
    await settled(at, store);
    first.kill('SIGSTOP');
    const sent = await send(store, `talk-until ${file}`);
    await until(async () => (await redis.xpending(stream, 'agent_engines'))[0] === 1);
    const second = await spawnWorker(at, store, {workerId: 'w-2', leaseMs: 10_000});
    await until(() => second.has(`start ${sent.messageId} 1`));
    first.kill('SIGCONT');
    // It is back and has read what it was given: what is sent now to it alone is run.
    const direct = await new GatewayClient(store).send({
      agentType: 'writer',
      content: 'x',
      workerId: 'w-1',
      policy: 'SEND_ANYWAY',
    });
    await withStatus(store, direct, 'COMPLETED');
    await writeFile(file, '');
    const record = await withStatus(store, sent, 'COMPLETED');
    expect(record.workerId).toBe('w-2');
    expect(countedAttempts(record)).toEqual({crashes: 0, failures: 0});
    expect(second.said.some(line => line.startsWith('aborted'))).toBe(false);
    await settled(at, store);
  });
});

describeEachStore('a worker that is told to stop', at => {
  test('hands back what it can not finish; that is neither a crash nor a failure', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store, {drainMs: 100, leaseMs: 60_000});
    const sent = await send(store, 'hang-once');
    await until(() => first.has(`half ${sent.messageId}`));
    const second = await spawnWorker(at, store);
    first.kill('SIGTERM');
    expect(await first.exit).toBe(0);
    const record = await withStatus(store, sent, 'COMPLETED');
    expect(second.has(`start ${sent.messageId} 2`)).toBe(true);
    expect(countedAttempts(record)).toEqual({crashes: 0, failures: 0});
    expect(pastAttempts(record).map(({ended}) => ended)).toEqual(['handed_back']);
    expect(await eventKinds(store, sent.sessionId)).toEqual(['answer', 'final', 'end']);
    await settled(at, store);
  });

  test('and told again hands back at once', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store, {drainMs: 600_000, leaseMs: 60_000});
    const sent = await send(store, 'hang-once');
    await until(() => first.has(`half ${sent.messageId}`));
    first.kill('SIGTERM');
    await until(async () => (await at.redis().scard(store.keys.members('writer'))) === 0);
    first.kill('SIGTERM');
    expect(await first.exit).toBe(0);
    expect((await recordOf(store, sent)).status).toBe('QUEUED');
    await spawnWorker(at, store);
    await withStatus(store, sent, 'COMPLETED');
  });

  test('ends also when Redis does not answer any more', async () => {
    const store = at.open();
    const proxy = await startFaultProxy(at.url());
    at.cleanup(() => proxy.close());
    const first = await spawnWorker(at, store, {drainMs: 100}, {url: proxy.url});
    const sent = await send(store, 'hang-once');
    await until(() => first.has(`half ${sent.messageId}`));
    proxy.silence();
    first.kill('SIGTERM');
    expect(await first.exit).toBe(0);
    // It could not say so; its lease says it for it.
    await spawnWorker(at, store);
    await withStatus(store, sent, 'COMPLETED');
  });
});

describeEachStore('a worker id', at => {
  test('that lives elsewhere is refused', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store, {workerId: 'w-1', leaseMs: 30_000});
    await expect(work(at, store, () => 'x', {workerId: 'w-1'})).rejects.toMatchObject({
      code: 'WORKER_ID_TAKEN',
      exitCode: 11,
    });
    expect(first.said).toEqual(['online']);
  });

  test('that passes to another process ends the first: its code is told, and others take up its work', async () => {
    const store = at.open();
    let reason: unknown;
    const first = await work(
      at,
      store,
      ctx =>
        new Promise(() =>
          ctx.signal.addEventListener('abort', () => (reason = ctx.signal.reason as unknown)),
        ),
      {workerId: 'w-1'},
    );
    const sent = await send(store, 'x');
    await until(() => first.running === 1);
    at.breaksRules('workerLease');
    const stranger = encodePresence({token: 'somebody else', lastSeen: 1, ipAddress: ''});
    await at.redis().set(store.keys.workerLease('w-1'), stranger);
    expect(await first.done).toBe('lease-lost');
    expect(String(reason)).toContain('LEASE_LOST');
    await work(at, store, () => 'done', {workerId: 'w-2'});
    expect((await withStatus(store, sent, 'COMPLETED')).workerId).toBe('w-2');
  });
});
