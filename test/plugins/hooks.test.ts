/** Hooks in themselves: order, time, counts, warnings. */
import {expect, test} from 'vitest';
import {loggerTo} from '../../src/log.js';
import {HookKeeper, Hooks} from '../../src/plugins/hooks.js';
import type {HookCall, HookContext, Plugin} from '../../src/plugins/plugin.js';

const CTX = {} as HookContext;

function keeper(timeoutMs?: number) {
  const warnings: Record<string, unknown>[] = [];
  const log = loggerTo((_level, message, fields) => warnings.push({message, ...fields}));
  return {warnings, keeper: new HookKeeper(log, timeoutMs)};
}

const plugin = (name: string, onTaskStart: Plugin['onTaskStart'], hookTimeoutMs?: number): Plugin => ({
  manifest: {name, version: '1'},
  onTaskStart,
  ...(hookTimeoutMs === undefined ? {} : {hookTimeoutMs}),
});

test('they run in the order of registration, one after the other, with what plugins keep in themselves', async () => {
  const order: string[] = [];
  class Slow {
    readonly manifest = {name: 'slow', version: '1'};
    private readonly word = 'slow';
    async onTaskStart() {
      await new Promise(resolve => setImmediate(resolve));
      order.push(this.word);
    }
  }
  const {keeper: kept} = keeper();
  await new Hooks([new Slow(), plugin('quick', () => void order.push('quick'))], kept).run(
    'onTaskStart',
    CTX,
  );
  expect(order).toEqual(['slow', 'quick']);
});

test('one that throws is counted and warned about once a minute, and those after it run', async () => {
  const {warnings, keeper: kept} = keeper();
  let later = 0;
  const broken = plugin('broken', () => {
    throw new Error('boom');
  });
  const hooks = new Hooks(
    [
      broken,
      plugin('fine', () => {
        later++;
      }),
    ],
    kept,
  );
  for (let i = 0; i < 5; i++) await hooks.run('onTaskStart', CTX);
  expect(later).toBe(5);
  expect(warnings).toEqual([expect.objectContaining({plugin: 'broken', hook: 'onTaskStart', error: 'boom'})]);
  expect(kept.statistics.of('broken').onTaskStart).toMatchObject({calls: 5, failures: 5, timeouts: 0});
  expect(kept.statistics.of('fine').onTaskStart).toMatchObject({calls: 5, failures: 0});
});

test('one that hangs is left after its time, its signal aborted; what it throws later is nobody’s', async () => {
  const {warnings, keeper: kept} = keeper(60_000);
  let signal: AbortSignal | undefined;
  let fail: (error: Error) => void = () => undefined;
  const hangs = plugin(
    'hangs',
    (_ctx, call: HookCall) => {
      ({signal} = call);
      return new Promise((_resolve, reject) => (fail = reject));
    },
    20,
  );
  await new Hooks([hangs], kept).run('onTaskStart', CTX);
  expect(signal?.aborted).toBe(true);
  expect(kept.statistics.of('hangs').onTaskStart).toMatchObject({calls: 1, failures: 0, timeouts: 1});
  expect(kept.statistics.of('hangs').onTaskStart?.maxMs).toBeGreaterThan(0);
  expect(warnings[0]?.error).toBe('took longer than 20 ms');
  fail(new Error('too late'));
  await new Promise(resolve => setImmediate(resolve));
});

test('a reload goes on counting, and knows whether anybody wants a hook', async () => {
  const {keeper: kept} = keeper();
  const one = new Hooks([plugin('p', () => undefined)], kept);
  await one.run('onTaskStart', CTX);
  const two = new Hooks([plugin('p', () => undefined)], kept);
  await two.run('onTaskStart', CTX);
  expect(kept.statistics.of('p').onTaskStart?.calls).toBe(2);
  expect(two.has('onTaskStart')).toBe(true);
  expect(two.has('onTaskError', 'onTaskCancel')).toBe(false);
});
