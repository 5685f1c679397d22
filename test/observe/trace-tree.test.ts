import {expect, test} from 'vitest';
import {spanIdHex} from '../../src/ids.js';
import {traceTree} from '../../src/observe/trace-tree.js';
import type {Span} from '../../src/protocol/trace.js';

const span = (spanId: string, parentSpanId: string, startTs = 0): Span => ({
  ...{traceId: 't', spanId, parentSpanId, operation: spanId, status: 'COMPLETED'},
  ...{startTs, endTs: startTs + 1},
});

const drawn = (spans: readonly Span[]) =>
  traceTree(spans).map(({span: {spanId}, depth, placement}) => `${depth} ${spanId} ${placement}`);

test('a parent is found by its id and by the hex form of it, whatever comes first', () => {
  expect(drawn([span('c', spanIdHex('b'), 3), span('b', 'a', 2), span('d', 'a', 1), span('a', '')])).toEqual([
    '0 a root',
    '1 d child',
    '1 b child',
    '2 c child',
  ]);
});

test('what was told twice is shown once, what names nobody here stands by itself, rings end', () => {
  expect(drawn([span('a', ''), span('a', ''), span('x', 'gone', 5)])).toEqual(['0 a root', '0 x orphan']);
  expect(drawn([span('a', 'b'), span('b', 'a', 1)])).toEqual(['0 a orphan', '1 b child']);
  expect(drawn([span('a', 'a')])).toEqual(['0 a orphan']);
});

test('a chain of thousands is no deeper than the stack allows', () => {
  const chain = Array.from({length: 20_000}, (_, i) => span(`s${i}`, i === 0 ? '' : `s${i - 1}`, i));
  expect(traceTree(chain).at(-1)?.depth).toBe(19_999);
});
