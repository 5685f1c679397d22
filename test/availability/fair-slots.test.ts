import {expect, test} from 'vitest';
import {FairSlots} from '../../src/availability/fair-slots.js';

const takeAll = (slots: FairSlots<number>, type: string) => {
  let count = 0;
  while (slots.take(type)) count++;
  return count;
};

test('a type gets half of what is left, and a new one finds room until many hang', () => {
  const slots = new FairSlots<number>(256);
  const shares = Array.from({length: 10}, (_, i) => takeAll(slots, `type-${i}`));
  expect(shares).toEqual([128, 64, 32, 16, 8, 4, 2, 1, 1, 0]);
});

test('what waits begins in its order, once there is room, and of the type that has least first', () => {
  const slots = new FairSlots<number>(4);
  expect([takeAll(slots, 'a'), takeAll(slots, 'b'), takeAll(slots, 'c')]).toEqual([2, 1, 1]);
  slots.park('a', 1);
  slots.park('a', 2);
  slots.park('d', 3);
  slots.park('d', 4);
  expect(slots.parked).toBe(4);
  expect(slots.give('a')).toEqual([{type: 'd', item: 3}]);
  expect(slots.give('a')).toEqual([{type: 'a', item: 1}]);
  // Two are free, one is d's: it may have the other only when more is left to the others.
  expect(slots.give('b')).toEqual([]);
  expect(slots.give('c')).toEqual([{type: 'a', item: 2}]);
  expect(slots.parked).toBe(1);
});

test('who comes does not go before who waits', () => {
  const slots = new FairSlots<number>(2);
  expect(takeAll(slots, 'a')).toBe(1);
  slots.park('a', 1);
  expect(slots.take('a')).toBe(false);
  expect(slots.give('a')).toEqual([{type: 'a', item: 1}]);
  expect(slots.parked).toBe(0);
});

test('what is left to others waits no more', () => {
  const slots = new FairSlots<number>(2);
  slots.take('a');
  slots.park('a', 1);
  slots.park('b', 2);
  expect(slots.leave()).toEqual([1, 2]);
  expect(slots.give('a')).toEqual([]);
  expect(slots.parked).toBe(0);
});
