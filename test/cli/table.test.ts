import {describe, expect, test} from 'vitest';
import {tableLines, type Column} from '../../src/cli/table.js';
import {paint, render} from '../../src/cli/text.js';
import {displayWidth, truncate, wrap} from '../../src/cli/width.js';

describe('displayWidth', () => {
  test.each([
    ['hello', 5],
    ['世界', 4],
    ['ｆｕｌｌ', 8],
    ['한국어', 6],
    ['e\u0301', 1],
    ['👍🏽', 2],
    ['👩‍👩‍👧', 2],
    ['❤️', 2],
    ['🇨🇭', 2],
    ['1️⃣', 2],
    ['Grüße', 5],
    ['→ ✓ ● …', 7],
    ['สวัสดี', 4],
  ])('%s takes %d columns', (text, columns) => {
    expect(displayWidth(text)).toBe(columns);
  });

  test('a megabyte without a space is measured too', () => {
    expect(displayWidth('世'.repeat(300_000))).toBe(600_000);
  });
});

test('a text is cut between characters, never inside one', () => {
  expect(truncate('世界地图', 5)).toBe('世界…');
  expect(truncate('世界地图', 8)).toBe('世界地图');
  expect(truncate('👩‍👩‍👧👩‍👩‍👧', 3)).toBe('👩‍👩‍👧…');
  expect(truncate('abc', 0)).toBe('');
});

test('a text is wrapped at spaces where there are any', () => {
  expect(wrap('the quick brown fox', 10)).toEqual(['the quick', 'brown fox']);
  expect(wrap('世界地图世界', 5)).toEqual(['世界', '地图', '世界']);
});

interface Row {
  readonly name: string;
  readonly count: number;
  readonly note: string;
}
const columns: Column<Row>[] = [
  {header: 'NAME', value: row => row.name},
  {header: 'COUNT', value: row => String(row.count), align: 'right'},
  {header: 'NOTE', value: row => paint.dim(row.note)},
];
const rows: Row[] = [
  {name: '翻译', count: 7, note: 'ok'},
  {name: 'translator', count: 1000, note: 'a note that is long enough to be cut'},
];
const plain = (...args: Parameters<typeof tableLines<Row>>) =>
  tableLines(...args).map(line => render(line, false));

describe('a table', () => {
  test('is aligned by columns of the terminal', () => {
    expect(plain(rows, columns)).toEqual([
      'NAME        COUNT  NOTE',
      '翻译            7  ok',
      'translator   1000  a note that is long enough to be cut',
    ]);
  });

  test('is cut to the width, with its colours', () => {
    const lines = tableLines(rows, columns, {width: 30});
    expect(lines.map(line => displayWidth(render(line, false)))).toEqual([23, 21, 30]);
    expect(render(lines[2] ?? '', true)).toBe('translator   1000  \u001b[2ma note tha\u001b[22m…');
  });

  test('escapes what is in its cells', () => {
    const [, line] = plain([{name: 'a\nforged', count: 1, note: '\u001b[2J\u202e'}], columns);
    expect(line).toBe('a\\nforged      1  \\u{1b}[2J\\u{202e}');
  });

  test('shares the loss among the columns that may shrink', () => {
    const wide: Column<Row>[] = [
      {header: 'A', value: () => 'a'.repeat(40), shrink: true},
      {header: 'B', value: () => 'b'.repeat(30), shrink: true},
    ];
    const [, line = ''] = plain(rows, wide, {width: 42});
    expect(displayWidth(line)).toBe(42);
    expect(line).toMatch(/^a{18,20}… {2}b{18,20}…$/);
  });
});
