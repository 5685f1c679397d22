/** Worker processes that are killed while their agents call others: every call is made once, every answer counts once. */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {silentLogger} from '../../src/log.js';
import {sessionExecutions} from '../../src/store/executions.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {eventKinds, LEASE_MS, recordOf, send, settled, spawnWorker, withStatus} from './support.js';

/** Answers what it is asked with; @returns what it was asked, in order. */
async function reader(at: TestStore, store: Store, answer: (text: string) => string): Promise<string[]> {
  const asked: string[] = [];
  const agent = defineAgent({
    type: 'reader',
    run: (_, {text}) => {
      asked.push(text);
      return {content: answer(text)};
    },
  });
  const worker = await startWorker(store, {agents: [agent], log: silentLogger, leaseMs: LEASE_MS});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return asked;
}

function folder(at: TestStore): string {
  const dir = mkdtempSync(join(tmpdir(), 'by-calls-'));
  at.cleanup(() => rmSync(dir, {recursive: true, force: true}));
  return dir;
}

const starts = (...workers: {readonly said: readonly string[]}[]) =>
  workers.flatMap(({said}) => said.filter(line => line.startsWith('start'))).length;

describeEachStore('a worker that is killed', at => {
  test('after it called: the call is not made again, and its answer is gone on with', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store);
    const asked = await reader(at, store, () => 'answer');
    const sent = await send(store, 'call-then-die-once');
    await first.exit;
    const second = await spawnWorker(at, store);
    const record = await withStatus(store, sent, 'COMPLETED');
    await settled(at, store);
    expect(asked).toEqual(['call-then-die-once']);
    expect(record.timeline.map(step => step.status).slice(-3)).toEqual([
      'WAITING_AGENT',
      'RUNNING',
      'COMPLETED',
    ]);
    expect(starts(first, second)).toBe(3);
    expect(await eventKinds(store, sent.sessionId)).toEqual(['reasoning', 'final', 'end']);
  });

  test('before it could write that it waits: the same', async () => {
    const store = at.open();
    const first = await spawnWorker(at, store, {}, {dieBefore: 'WAITING_AGENT'});
    const asked = await reader(at, store, () => 'answer');
    const sent = await send(store, 'call');
    await first.exit;
    await until(() => asked.length === 1);
    await spawnWorker(at, store);
    await withStatus(store, sent, 'COMPLETED');
    await settled(at, store);
    expect(asked).toEqual(['call']);
    expect(await eventKinds(store, sent.sessionId)).toEqual(['reasoning', 'final', 'end']);
  });

  test('while it goes on with an answer: another goes on with it, and it ends once', async () => {
    const store = at.open();
    const file = join(folder(at), 'was-here');
    const first = await spawnWorker(at, store);
    const asked = await reader(at, store, () => `die-unless ${file}`);
    const sent = await send(store, 'call');
    await first.exit;
    expect((await recordOf(store, sent)).status).toBe('RUNNING');
    const second = await spawnWorker(at, store);
    await withStatus(store, sent, 'COMPLETED');
    await settled(at, store);
    expect(asked).toEqual(['call']);
    expect(starts(first)).toBe(2);
    expect(starts(second)).toBe(1);
    expect(await eventKinds(store, sent.sessionId)).toEqual(['reasoning', 'final', 'end']);
  });

  test('with the last answer of a group in its hands: the group is done once', async () => {
    const store = at.open();
    const file = join(folder(at), 'was-here');
    const first = await spawnWorker(at, store);
    const asked = await reader(at, store, () => `die-unless ${file}`);
    const sent = await send(store, `scatter ${file}`);
    await first.exit;
    const second = await spawnWorker(at, store);
    await withStatus(store, sent, 'COMPLETED');
    await settled(at, store);
    expect(asked.map(text => text.split(' ')[0]).sort()).toEqual(['one', 'three', 'two']);
    expect(starts(second)).toBe(1);
    const kinds = await eventKinds(store, sent.sessionId);
    expect(kinds.slice(-2)).toEqual(['final', 'end']);
    expect(kinds.filter(kind => kind === 'reasoning')).toHaveLength(3);
    const statuses = (await sessionExecutions(store, sent.sessionId)).map(({status}) => status);
    expect(statuses).toEqual(['COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED']);
  });
});
