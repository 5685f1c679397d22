import {describe, expect, test} from 'vitest';
import {recordFromWire} from '../../src/protocol/execution.js';
import {mustRunAlone, Solitude} from '../../src/worker/solitude.js';

const never = new AbortController().signal;

/** Who is inside, in the order they came in. */
function visits(solitude: Solitude) {
  const order: string[] = [];
  const enter = async (name: string, alone: boolean, signal = never) => {
    const isIn = await solitude.enter(alone, signal);
    order.push(isIn ? name : `${name} gave up`);
  };
  return {order, enter};
}
const settle = () => new Promise(resolve => setImmediate(resolve));

describe('solitude', () => {
  test('lets any number in together', async () => {
    const {order, enter} = visits(new Solitude());
    await Promise.all(['a', 'b', 'c'].map(name => enter(name, false)));
    expect(order).toEqual(['a', 'b', 'c']);
  });

  test('one that wants to be alone waits for those inside, and those who come later wait for it', async () => {
    const solitude = new Solitude();
    const {order, enter} = visits(solitude);
    void enter('a', false);
    void enter('alone', true);
    void enter('b', false);
    await settle();
    expect(order).toEqual(['a']);
    expect(solitude.isWanted).toBe(true);
    solitude.leave();
    await settle();
    expect(order).toEqual(['a', 'alone']);
    solitude.leave();
    await settle();
    expect(order).toEqual(['a', 'alone', 'b']);
    expect(solitude.isWanted).toBe(false);
  });

  test('two that want to be alone take turns', async () => {
    const solitude = new Solitude();
    const {order, enter} = visits(solitude);
    void enter('first', true);
    void enter('second', true);
    await settle();
    expect(order).toEqual(['first']);
    solitude.leave();
    await settle();
    expect(order).toEqual(['first', 'second']);
  });

  test('one that gives up waiting does not keep the others out', async () => {
    const solitude = new Solitude();
    const {order, enter} = visits(solitude);
    const stop = new AbortController();
    void enter('a', false);
    void enter('alone', true, stop.signal);
    void enter('b', false);
    stop.abort();
    await settle();
    expect(order).toEqual(['a', 'alone gave up', 'b']);
    expect(solitude.isWanted).toBe(false);
  });

  test('tells when it is over', async () => {
    const solitude = new Solitude();
    await solitude.enter(true, never);
    let isOver = false;
    void solitude.over(never).then(() => (isOver = true));
    await settle();
    expect(isOver).toBe(false);
    solitude.leave();
    await settle();
    expect(isOver).toBe(true);
  });
});

describe('an execution runs alone', () => {
  const record = (fields: Record<string, unknown>) => recordFromWire(fields);

  test.each([
    ['after two crashes', {status: 'QUEUED', x_crashes: 2}, true],
    ['after one, and one that is not counted yet', {status: 'RUNNING', x_owner: 'w#1', x_crashes: 1}, true],
    ['that another SDK had begun, counts that too', {status: 'RUNNING', x_crashes: 1}, true],
    ['not after one', {status: 'RUNNING', x_owner: 'w#1'}, false],
    ['not when it was handed back', {status: 'QUEUED', x_owner: '', x_crashes: 1}, false],
    ['not for crashes of another command', {status: 'RUNNING', x_entry: 's/0-1', x_crashes: 3}, false],
    ['also when the record names no entry', {status: 'RUNNING', x_entry: undefined, x_crashes: 1}, true],
    ['not for failures', {status: 'QUEUED', x_failures: 4}, false],
    ['not for what is no number', {status: 'QUEUED', x_crashes: 'many'}, false],
  ])('%s', (_, fields, alone) =>
    expect(mustRunAlone(record({x_entry: 's/1-0', ...fields}), 's/1-0')).toBe(alone),
  );
});
