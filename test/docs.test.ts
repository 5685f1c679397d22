import {existsSync, readFileSync} from 'node:fs';
import {expect, test} from 'vitest';
import {ByError, errorCodes} from '../src/errors.js';

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');

test('docs/errors.md has one heading for each code, with its exit code', () => {
  const sections = [...page.matchAll(/^## (\S+)\n\nExit (\d+)\./gm)].map(match => [
    match[1],
    Number(match[2]),
  ]);
  expect(sections).toEqual(errorCodes.map(code => [code, new ByError(code, '', {hint: ''}).exitCode]));
});

test('docs/agents.md shows the examples as they are', () => {
  const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
  const flat = (code: string) => code.replaceAll(/^ +/gm, '').trim();
  const shown = [
    ...read('docs/agents.md').matchAll(/```ts\n([^`]*(?:`[^`]+`[^`]*)*)\n```\n\n_`(examples\/[^`]+)`/g),
  ];
  expect(shown.length).toBe(5);
  for (const [, code = '', file = ''] of shown) expect(flat(read(file)), file).toContain(flat(code));
});

test('docs/guarantees.md names every promise and every story once, each with tests that exist', () => {
  const text = readFileSync(new URL('../docs/guarantees.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| ([GT]\d+) \|.*\|$/gm)];
  const numbered = (letter: string, count: number) =>
    Array.from({length: count}, (_, i) => `${letter}${i + 1}`);
  expect(rows.map(row => row[1])).toEqual([...numbered('G', 19), ...numbered('T', 20)]);
  for (const [row] of rows) expect(row).toMatch(/`test\//);
  const named = [...text.matchAll(/`(test\/[^`]+)`/g)].map(match => match[1] ?? '');
  expect(named.filter(file => !existsSync(new URL(`../${file}`, import.meta.url)))).toEqual([]);
});
