/** Circuits that open because executions fail, and the one command that tries whether it works again. */
import {expect, test, vi} from 'vitest';
import {dueProbe} from '../../src/availability/circuit-probe.js';
import {decideRoute} from '../../src/availability/decide-route.js';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {closeAutoCircuit, readCircuit, setCircuit} from '../../src/store/admission.js';
import {countEnds, isRules, takeProbe} from '../../src/store/execution-circuit.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {ExecutionEnds} from '../../src/worker/execution-ends.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const rules = {rate: 0.5, min: 4, windowMs: 60_000, openMs: 60_000};
const request = {agentType: 'ocr', content: 'x'} as const;

test('a probe is due once the open time is over, for a command that would go somewhere', () => {
  const circuit = '{"state":"OPEN","x_source":"auto","x_half_open_ms":1000,"x_opening":"1-2"}';
  const facts = {circuit, quota: null, fallback: null, online: true, fallbackOnline: false};
  expect(dueProbe({...facts, circuitMs: 1001}, 'FAIL_FAST')).toBeUndefined();
  expect(dueProbe({...facts, circuitMs: 1000}, 'FAIL_FAST')).toBe('1-2');
  expect(dueProbe({...facts, circuitMs: 1000, online: false}, 'FAIL_FAST')).toBeUndefined();
  expect(dueProbe({...facts, circuitMs: 1000, online: false}, 'WAKE_AND_WAIT')).toBe('1-2');
  expect(dueProbe({...facts, circuitMs: 1000, quota: '{"available":false}'}, 'FAIL_FAST')).toBeUndefined();
  expect(dueProbe({...facts, circuit: '{"state":"OPEN"}', circuitMs: 1}, 'FAIL_FAST')).toBeUndefined();
  expect(decideRoute({...facts, circuitMs: 1700}, 'FAIL_FAST')).toMatchObject({retryAfterMs: 700});
  expect(decideRoute({...facts, circuitMs: 300}, 'FAIL_FAST')).toMatchObject({retryAfterMs: 300});
});

test.each([{rate: 0}, {rate: 1.1}, {rate: NaN}, {rate: 0.5, min: 0}, {rate: 0.5, windowMs: 3_600_001}])(
  'rules that can not be used are known: %o',
  wrong => expect(isRules(wrong)).toBe(false),
);

/** As if its open time were over. */
async function halfOpen(at: TestStore, store: Store, leftMs = rules.openMs - 1) {
  expect(await at.redis().pexpire(store.keys.circuit('ocr'), leftMs)).toBe(1);
}

describeEachStore('a circuit that counts executions', at => {
  test('opens once enough of them failed, for twice its time, and says why', async () => {
    const store = at.open();
    expect(await countEnds(store, 'ocr', {ok: 2, failed: 1}, rules)).toEqual({kind: 'counted'});
    expect(await countEnds(store, 'ocr', {ok: 0, failed: 1}, rules)).toEqual({
      kind: 'opened',
      failed: 2,
      of: 4,
    });
    expect(await readCircuit(store, 'ocr')).toMatchObject({
      ...{open: true, source: 'auto', halfOpen: false, reason: '2 of 4 executions failed'},
    });
    const leftMs = await at.redis().pttl(store.keys.circuit('ocr'));
    expect(leftMs).toBeGreaterThan(rules.openMs);
    expect(leftMs).toBeLessThanOrEqual(2 * rules.openMs);
    // They were accepted before.
    expect(await countEnds(store, 'ocr', {ok: 5, failed: 5}, rules)).toEqual({kind: 'kept'});
    expect(await closeAutoCircuit(store, 'ocr')).toBe(false);
  });

  test('stays closed while most of them complete, and forgets what is out of its window', async () => {
    const store = at.open();
    await countEnds(store, 'ocr', {ok: 6, failed: 0}, rules);
    expect(await countEnds(store, 'ocr', {ok: 0, failed: 5}, rules)).toEqual({kind: 'counted'});
    const two = {...rules, min: 2};
    await countEnds(store, 'other', {ok: 0, failed: 1}, {...two, windowMs: 1000});
    await until(async () => (await at.redis().exists(store.keys.executionEnds('other'))) === 0);
    expect(await countEnds(store, 'other', {ok: 0, failed: 1}, two)).toEqual({kind: 'counted'});
    expect(await countEnds(store, 'other', {ok: 0, failed: 1}, two)).toMatchObject({kind: 'opened'});
  });

  test('leaves an operator its own', async () => {
    const store = at.open();
    await setCircuit(store, 'ocr', {reason: 'by hand'});
    expect(await countEnds(store, 'ocr', {ok: 0, failed: 50}, rules)).toEqual({kind: 'kept'});
    expect(await readCircuit(store, 'ocr')).toMatchObject({source: 'manual', reason: 'by hand'});
  });

  test('is decided by the first end after a probe', async () => {
    const store = at.open();
    await countEnds(store, 'ocr', {ok: 0, failed: 4}, rules);
    const probe = async () => {
      await halfOpen(at, store);
      const text = (await readCircuit(store, 'ocr'))?.text ?? '';
      const {x_opening: opening} = JSON.parse(text) as {x_opening: string};
      const taken = await Promise.all(
        [1, 2, 3].map(() => takeProbe(store, 'ocr', {opening, forMs: rules.openMs})),
      );
      expect(taken.filter(Boolean)).toHaveLength(1);
    };
    await probe();
    expect(await countEnds(store, 'ocr', {ok: 0, failed: 1}, rules)).toMatchObject({
      kind: 'opened',
      failed: 1,
    });
    expect(await readCircuit(store, 'ocr')).toMatchObject({open: true, halfOpen: false});
    expect(await countEnds(store, 'ocr', {ok: 1, failed: 0}, rules)).toEqual({kind: 'kept'});
    await probe();
    expect(await countEnds(store, 'ocr', {ok: 1, failed: 0}, rules)).toEqual({kind: 'closed'});
    expect(await readCircuit(store, 'ocr')).toBeUndefined();
    expect(await countEnds(store, 'ocr', {ok: 0, failed: 3}, rules)).toEqual({kind: 'counted'});
  });
});

describeEachStore('a worker with a circuit', at => {
  test('stops senders while its executions fail, lets one try, and opens the door when that completes', async () => {
    const store = at.open();
    let isBroken = true;
    let runs = 0;
    const agent = defineAgent({
      type: 'ocr',
      run: () => {
        runs++;
        if (isBroken) throw new Error('the model is down');
        return {content: 'done'};
      },
    });
    const worker = await startWorker(store, {agents: [agent], log: silentLogger, circuit: rules});
    at.cleanup(() => worker.stop());
    const client = new GatewayClient(store);
    const refused = (error: unknown) => expect(error).toMatchObject({code: 'AGENT_CIRCUIT_OPEN'});
    await Promise.all([1, 2, 3, 4].map(() => client.send(request)));
    await until(async () => (await readCircuit(store, 'ocr'))?.open === true);
    await client.send(request).then(() => expect.unreachable(), refused);

    await halfOpen(at, store);
    const before = runs;
    const probes = await Promise.allSettled(Array.from({length: 10}, () => client.send(request)));
    expect(probes.filter(one => one.status === 'fulfilled')).toHaveLength(1);
    for (const one of probes) if (one.status === 'rejected') refused(one.reason);
    // It failed: nobody is let through.
    await until(async () => (await readCircuit(store, 'ocr'))?.reason.includes('tried again') === true);
    expect(runs).toBe(before + 1);
    await client.send(request).then(() => expect.unreachable(), refused);

    isBroken = false;
    await halfOpen(at, store);
    await client.send(request);
    await until(async () => (await readCircuit(store, 'ocr')) === undefined);
    await client.send(request);
  });

  test('tells what it counted when it stops, and counts no cancels', async () => {
    const store = at.open();
    const agent = defineAgent({
      type: 'ocr',
      run: async (_ctx, ask) => {
        if (ask.text === 'fail') throw new Error('no');
        await new Promise(() => undefined);
        return {content: ''};
      },
    });
    const worker = await startWorker(store, {
      ...{agents: [agent], log: silentLogger, cancelGraceMs: 1},
      circuit: {...rules, min: 1, rate: 1},
    });
    const client = new GatewayClient(store);
    const sent = await client.send({...request, content: 'hang'});
    await until(() => worker.running === 1);
    await client.cancel({sessionId: sent.sessionId});
    await until(() => worker.running === 0);
    const failing = await client.send({...request, content: 'fail'});
    await until(async () => {
      const text = await at
        .redis()
        .hget(store.keys.sessionRegistry(failing.sessionId), `exec:${failing.executionId}`);
      return (JSON.parse(text ?? '{}') as {status?: string}).status === 'FAILED';
    });
    const telling = vi.spyOn(ExecutionEnds.prototype, 'flush');
    at.cleanup(() => telling.mockRestore());
    await worker.stop();
    expect(telling).toHaveBeenCalled();
    // A worker that stops does not wait for a slow Redis; what it tells arrives all the same.
    await until(async () => (await readCircuit(store, 'ocr')) !== undefined);
    // Without the cancel, which would be another end that did not fail.
    expect((await readCircuit(store, 'ocr'))?.reason).toBe('1 of 1 executions failed');
  });

  test('whose rules can not be used does not start', async () => {
    const agent = defineAgent({type: 'ocr', run: () => ({content: ''})});
    const start = startWorker(at.open(), {agents: [agent], log: silentLogger, circuit: {rate: 2}});
    await expect(start).rejects.toMatchObject({code: 'INVALID_CONFIG'});
  });
});
