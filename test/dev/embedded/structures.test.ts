import {describe, expect, test} from 'vitest';
import {Deque} from '../../../src/dev/embedded/deque.js';
import {ExpiryHeap, type Expiring} from '../../../src/dev/embedded/expiry.js';
import {globMatcher} from '../../../src/dev/embedded/glob.js';
import {IdLog, type Logged} from '../../../src/dev/embedded/id-log.js';
import {IndexedMap} from '../../../src/dev/embedded/indexed-map.js';
import {addDecimals, formatDouble, parseDouble} from '../../../src/dev/embedded/numbers.js';
import {isBefore, SortedBlocks, type Scored} from '../../../src/dev/embedded/sorted-blocks.js';
import {compareIds, nextId, previousId} from '../../../src/dev/embedded/stream-id.js';
import fc from '../../support/properties.js';

/** Sizes past every threshold at which a structure changes its inner form. */
const manySteps = (most = 2000) => fc.array(fc.nat(), {minLength: 300, maxLength: most, size: 'max'});

describe('SortedBlocks', () => {
  test('is a sorted array, whatever its size', () => {
    fc.assert(
      fc.property(manySteps(), steps => {
        const blocks = new SortedBlocks();
        const model = new Map<string, Scored>();
        for (const step of steps) {
          const member = `m${step % 701}`;
          const old = model.get(member);
          if (old !== undefined) {
            blocks.remove(old);
            model.delete(member);
          }
          if (step % 3 === 0) continue;
          const item = {member, score: (step * 7) % 13};
          blocks.insert(item);
          model.set(member, item);
        }
        const sorted = [...model.values()].sort((a, b) => (isBefore(a, b) ? -1 : 1));
        expect(blocks.slice(0, Infinity)).toEqual(sorted);
        expect(blocks.size).toBe(sorted.length);
        const half = Math.floor(sorted.length / 2);
        expect(blocks.slice(half, half + 10)).toEqual(sorted.slice(half, half + 10));
        expect(blocks.rankWhere(item => item.score < 5)).toBe(sorted.filter(item => item.score < 5).length);
      }),
      {numRuns: 30},
    );
  });
});

describe('IdLog', () => {
  test('is a sorted array from which anything may be dropped', () => {
    fc.assert(
      fc.property(manySteps(), steps => {
        const log = new IdLog<Logged>();
        const model = new Map<number, Logged>();
        let last = 0;
        for (const step of steps) {
          const kind = step % 5;
          const known = [...model.keys()];
          if (kind < 2) {
            last += 1 + (step % 3);
            const item = {ms: last, seq: 0, isGone: false};
            log.put(item);
            model.set(last, item);
          } else if (kind === 2) {
            // In between, or in the place of one that is there or was.
            const ms = step % (last + 1);
            const item = {ms, seq: 0, isGone: false};
            log.put(item);
            model.set(ms, item);
          } else {
            const ms = kind === 3 ? known[0] : known[step % Math.max(1, known.length)];
            const item = ms === undefined ? undefined : model.get(ms);
            if (item === undefined || ms === undefined) continue;
            log.drop(item);
            model.delete(ms);
          }
        }
        const sorted = [...model.values()].sort(compareIds);
        expect([...log]).toEqual(sorted);
        expect(log.size).toBe(sorted.length);
        expect(log.first).toBe(sorted[0]);
        expect(log.last).toBe(sorted.at(-1));
        const start = {ms: Math.floor(last / 3), seq: 0};
        const end = {ms: Math.floor((2 * last) / 3), seq: 5};
        const within = sorted.filter(item => compareIds(item, start) >= 0 && compareIds(item, end) <= 0);
        expect([...log.range(start, end)]).toEqual(within);
        expect([...log.rangeBackwards(start, end)]).toEqual([...within].reverse());
        for (const item of sorted) expect(log.find({ms: item.ms, seq: 0})).toBe(item);
        expect(log.find({ms: last + 1, seq: 0})).toBeUndefined();
      }),
      {numRuns: 60},
    );
  });
});

describe('Deque', () => {
  test('is an array', () => {
    fc.assert(
      fc.property(manySteps(), steps => {
        const deque = new Deque<number>();
        const model: number[] = [];
        for (const step of steps) {
          const kind = step % 5;
          if (kind === 0) {
            deque.unshift(step);
            model.unshift(step);
          } else if (kind <= 2) {
            deque.push(step);
            model.push(step);
          } else if (kind === 3) expect(deque.shift()).toBe(model.shift());
          else expect(deque.pop()).toBe(model.pop());
          expect(deque.size).toBe(model.length);
        }
        expect(deque.toArray()).toEqual(model);
        expect(deque.slice(3, 9)).toEqual(model.slice(3, 9));
        expect(deque.at(2)).toBe(model[2]);
      }),
      {numRuns: 30},
    );
  });
});

describe('IndexedMap', () => {
  test('is a map', () => {
    fc.assert(
      fc.property(manySteps(3000), steps => {
        const map = new IndexedMap<number>();
        const model = new Map<string, number>();
        for (const step of steps) {
          const key = `k${step % 1201}`;
          if (step % 4 === 0) expect(map.delete(key)).toBe(model.delete(key));
          else {
            expect(map.set(key, step)).toBe(!model.has(key));
            model.set(key, step);
          }
        }
        expect(map.size).toBe(model.size);
        expect(new Map([...map].map(({key, value}) => [key, value]))).toEqual(model);
      }),
      {numRuns: 20},
    );
  });

  test('a scan returns what is there from its beginning to its end, at any size', () => {
    fc.assert(
      fc.property(
        fc.integer({min: 1, max: 1500}),
        fc.integer({min: 1, max: 100}),
        manySteps(600),
        (size, count, steps) => {
          const map = new IndexedMap<true>();
          for (let i = 0; i < size; i++) map.set(`kept${i}`, true);
          for (let i = 0; i < size; i++) map.set(`gone${i}`, true);
          const seen = new Set<string>();
          let cursor = 0;
          let step = 0;
          do {
            const {next, found} = map.scan(cursor, count);
            for (const {key} of found) seen.add(key);
            for (let i = 0; i < 5; i++, step++) {
              const value = steps[step % steps.length]!;
              if (value % 2 === 0) map.delete(`gone${value % size}`);
              else map.set(`new${value % 50}`, true);
            }
            cursor = next;
          } while (cursor !== 0);
          for (let i = 0; i < size; i++) expect(seen.has(`kept${i}`)).toBe(true);
        },
      ),
      {numRuns: 50},
    );
  });
});

describe('ExpiryHeap', () => {
  test('gives each item once its time has come, and stays small however often it moves', () => {
    fc.assert(
      fc.property(manySteps(5000), steps => {
        const live = new Map<number, Expiring>();
        const heap = new ExpiryHeap<Expiring>(item => [...live.values()].includes(item));
        for (const step of steps) {
          const id = step % 20;
          const item = live.get(id) ?? {expiresAt: 0, queuedAt: 0};
          live.set(id, item);
          item.expiresAt = 1000 + (step % 5000);
          heap.watch(item, live.size);
        }
        expect(heap.size).toBeLessThan(1100);
        const now = 3000;
        const due = new Set<Expiring>();
        for (let item = heap.takeDue(now); item !== undefined; item = heap.takeDue(now)) {
          expect(due.has(item)).toBe(false);
          due.add(item);
        }
        expect(due).toEqual(new Set([...live.values()].filter(item => item.expiresAt < now)));
      }),
      {numRuns: 20},
    );
  });
});

describe('stream ids', () => {
  const max = 2n ** 64n - 1n;
  test('next and previous are inverse, also past what a number holds', () => {
    for (const seq of [
      0,
      1,
      Number.MAX_SAFE_INTEGER - 1,
      Number.MAX_SAFE_INTEGER,
      2n ** 53n,
      max - 1n,
      max,
    ]) {
      const id = {ms: 7, seq};
      expect(previousId(nextId(id)!)).toEqual(id);
    }
    expect(nextId({ms: max, seq: max})).toBeUndefined();
    expect(previousId({ms: 0, seq: 0})).toBeUndefined();
  });

  test('are ordered by value, whatever holds them', () => {
    expect(compareIds({ms: 1, seq: max}, {ms: 2, seq: 0})).toBeLessThan(0);
    expect(compareIds({ms: 2n ** 60n, seq: 0}, {ms: 5, seq: 9})).toBeGreaterThan(0);
  });
});

describe('numbers', () => {
  test('doubles are printed so that they read back the same', () => {
    fc.assert(
      fc.property(fc.double({noNaN: true}), value => {
        expect(parseDouble(formatDouble(value))).toBe(value);
      }),
    );
  });

  test('floats are added as Redis does', () => {
    expect(addDecimals('10.5', '0.1')).toBe('10.6');
    expect(addDecimals('5.0e3', '2.0e2')).toBe('5200');
    expect(addDecimals('3', '-3')).toBe('0');
    expect(() => addDecimals('x', '1')).toThrow('not a valid float');
  });
});

describe('globs', () => {
  test.each([
    ['h?llo', 'hello', true],
    ['h?llo', 'hllo', false],
    ['h*llo', 'heeello', true],
    ['h[ae]llo', 'hallo', true],
    ['h[^e]llo', 'hello', false],
    ['h[a-b]llo', 'hbllo', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'axb', false],
    ['*:*:end', 'x:y:z:end', true],
    ['**', '', true],
    ['', '', true],
  ])('%s and %s: %s', (pattern, text, expected) => {
    expect(globMatcher(pattern)(text)).toBe(expected);
  });

  test('many stars do not take for ever', () => {
    expect(globMatcher('a*'.repeat(30) + 'b')('a'.repeat(5000))).toBe(false);
  });
});
