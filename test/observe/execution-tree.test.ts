import {describe, expect, test} from 'vitest';
import {executionTree, type TreeRow} from '../../src/observe/execution-tree.js';
import {newExecutionRecord, type ExecutionRecord} from '../../src/protocol/execution.js';

let clock = 0;
function record(name: string, parent = '', messageId = `msg-${name}`): ExecutionRecord {
  return newExecutionRecord({
    executionId: name,
    messageId,
    sessionId: 's',
    traceId: 't',
    parentMessageId: parent === '' ? '' : `msg-${parent}`,
    sourceAgentType: 'client',
    targetAgentType: 'a',
    streamName: '',
    now: ++clock,
  });
}

const drawn = (rows: readonly TreeRow[]) =>
  rows.map(({record: {executionId}, depth, placement}) => `${' '.repeat(depth)}${executionId} ${placement}`);

describe('the tree of executions', () => {
  test('has each parent before its children, the oldest sibling first', () => {
    const records = [record('a'), record('b', 'a'), record('c', 'a'), record('d', 'b'), record('e')];
    expect(drawn(executionTree(records.reverse(), 50))).toEqual([
      'a root',
      ' b child',
      '  d child',
      ' c child',
      'e root',
    ]);
  });

  test('knows which siblings are the last, for the lines of a drawing', () => {
    const rows = executionTree([record('a'), record('b', 'a'), record('c', 'a'), record('d', 'b')], 50);
    expect(rows.map(row => [row.record.executionId, row.lasts])).toEqual([
      ['a', []],
      ['b', [false]],
      ['d', [false, true]],
      ['c', [true]],
    ]);
  });

  test('keeps what was called from elsewhere, as an orphan with its own descendants', () => {
    expect(drawn(executionTree([record('a', 'gone'), record('b', 'a')], 50))).toEqual([
      'a orphan',
      ' b child',
    ]);
  });

  test('cuts rings open, and shows each record once', () => {
    const rows = executionTree(
      [record('a', 'c'), record('b', 'a'), record('c', 'b'), record('self', 'self')],
      50,
    );
    expect(drawn(rows)).toEqual(['a cycle', ' b child', '  c child', 'self cycle']);
  });

  test('counts what is too deep instead of showing it, rings and siblings included', () => {
    const chain = [record('r')];
    for (let i = 0; i < 3000; i++) chain.push(record(`n${i}`, i === 0 ? 'r' : `n${i - 1}`));
    const rows = executionTree([...chain, record('sibling', 'n0')], 2);
    expect(drawn(rows)).toEqual(['r root', ' n0 child', '  n1 child', '  sibling child']);
    expect(rows.map(row => row.hidden)).toEqual([0, 0, 2998, 0]);
    expect(executionTree(chain, 0).map(row => row.hidden)).toEqual([3000]);
  });

  test('hangs the calls of a replayed message on its newest execution', () => {
    const rows = executionTree(
      [record('first', '', 'msg-m'), record('second', '', 'msg-m'), record('child', 'm')],
      50,
    );
    expect(rows.map(row => [row.record.executionId, row.parentExecutionId])).toEqual([
      ['first', ''],
      ['second', ''],
      ['child', 'second'],
    ]);
  });

  test('of nothing is nothing', () => expect(executionTree([], 50)).toEqual([]));
});
