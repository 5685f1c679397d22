import {EventEmitter} from 'node:events';
import {afterEach, beforeEach, describe, expect, test, vi} from 'vitest';
import {Interrupted, Interruption} from '../../src/cli/signals.js';

class FakeProcess extends EventEmitter {
  readonly stdout = new EventEmitter();
  readonly exits: number[] = [];
  exit(code: number): void {
    this.exits.push(code);
  }
}

let host: FakeProcess;
let interruption: Interruption;
beforeEach(() => {
  vi.useFakeTimers();
  host = new FakeProcess();
  interruption = new Interruption(host);
});
afterEach(() => {
  interruption.dispose();
  vi.useRealTimers();
});

const forever = () => new Promise<never>(() => undefined);

describe('the first signal', () => {
  test('ends work that does not look at it', async () => {
    const running = interruption.race(forever());
    host.emit('SIGINT');
    await expect(running).rejects.toMatchObject({reason: 'SIGINT', exitCode: 130});
    expect(host.exits).toEqual([]);
  });

  test('only asks work that looks at it, however long that takes', async () => {
    const {signal} = interruption;
    const running = interruption.race(new Promise(resolve => setTimeout(() => resolve('drained'), 25_000)));
    host.emit('SIGTERM');
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toBeInstanceOf(Interrupted);
    await vi.advanceTimersByTimeAsync(25_000);
    expect(await running).toBe('drained');
    expect(host.exits).toEqual([]);
  });
});

describe('the second signal', () => {
  test('ends the process at once', () => {
    expect(interruption.signal.aborted).toBe(false);
    host.emit('SIGTERM');
    host.emit('SIGTERM');
    expect(host.exits).toEqual([143]);
  });

  test('leaves one second to a command that looks at it', async () => {
    const {signal, force} = interruption;
    host.emit('SIGINT');
    expect([signal.aborted, force.aborted]).toEqual([true, false]);
    host.emit('SIGINT');
    expect(force.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(999);
    expect(host.exits).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(host.exits).toEqual([130]);
  });
});

test('a deadline ends also work that looks at the signal but does not end', async () => {
  expect(interruption.signal.aborted).toBe(false);
  interruption.startDeadline(5000);
  const running = interruption.race(forever());
  const outcome = expect(running).rejects.toMatchObject({reason: 'TIMEOUT', exitCode: 8});
  await vi.advanceTimersByTimeAsync(7000);
  await outcome;
});

test('output that nobody reads any more ends the work with exit code 0', async () => {
  const running = interruption.race(forever());
  host.stdout.emit('error', Object.assign(new Error('write EPIPE'), {code: 'EPIPE'}));
  await expect(running).rejects.toMatchObject({reason: 'EPIPE', exitCode: 0});
});

test('clean-ups run last one first, and one that fails does not keep the others', async () => {
  const order: string[] = [];
  interruption.onExit(() => order.push('first'));
  interruption.onExit(() => {
    throw new Error('broken');
  });
  interruption.onExit(() => order.push('last'));
  expect(await interruption.cleanUp()).toMatchObject([{message: 'broken'}]);
  expect(order).toEqual(['last', 'first']);
});
